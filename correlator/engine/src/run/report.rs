//! One line in the log for each piece of work.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use join::{SECOND, Stage, WindowRows};

use crate::moment;
use crate::output::Written;

pub(super) fn report(
    stage: Stage,
    range: &Range<i64>,
    rows: &[WindowRows],
    read: usize,
    written: &Written,
) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let lag_s = now.as_secs_f64() - range.end as f64 / SECOND as f64;
    let paths: usize = rows.iter().map(|window| window.paths.len()).sum();
    let hops: usize = rows.iter().map(|window| window.hops.len()).sum();
    let ambiguous: usize = rows.iter().map(|window| window.ambiguous.len()).sum();
    let line = format!(
        "{} {} windows={} read={read} paths={paths} hops={hops} ambiguous={ambiguous} \
         commits={} lag={lag_s:.1}s",
        stage.code(),
        moment::show(range.start),
        rows.len(),
        written.commits,
    );
    // An idle cluster is not worth a line each window.
    if paths + hops + ambiguous + written.commits == 0 {
        tracing::debug!("{line}");
    } else {
        tracing::info!("{line}");
    }
}
