//! One line in the log for each piece of work.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use join::{SECOND, Stage};

use crate::moment;
use crate::output::{Counts, Written};

pub(super) fn report(
    stage: Stage,
    range: &Range<i64>,
    counts: Counts,
    read: usize,
    written: &Written,
) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let lag_s = now.as_secs_f64() - range.end as f64 / SECOND as f64;
    let Counts { windows, paths, hops, ambiguous } = counts;
    let line = format!(
        "{} {} windows={windows} read={read} paths={paths} hops={hops} ambiguous={ambiguous} \
         commits={} lag={lag_s:.1}s",
        stage.code(),
        moment::show(range.start),
        written.commits,
    );
    // An idle cluster is not worth a line each window.
    if paths + hops + ambiguous + written.commits == 0 {
        tracing::debug!("{line}");
    } else {
        tracing::info!("{line}");
    }
}
