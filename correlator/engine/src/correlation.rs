//! One run of adjacent windows: read what they need, compute them away from the async threads.

use std::ops::Range;

use join::window::read_range;
use join::{Settings, Stage, WindowRows};

use crate::input::{Input, InputError, Limit};
use crate::pins::Pins;

/// The rows of a run of windows and what they rest on.
pub(crate) struct Computed {
    pub(crate) rows: Vec<WindowRows>,
    pub(crate) pins: Pins,
    /// Raw rows read.
    pub(crate) read: usize,
}

/// Computes the windows of a range. Where no file holds rows for them nothing is read.
pub(crate) async fn compute(
    input: &mut Input,
    windows: Range<i64>,
    stage: Stage,
    limit: Limit<'_>,
    settings: &Settings,
) -> Result<Computed, InputError> {
    let range = read_range(windows.clone(), settings);
    if !input.has_rows(&range.rows) {
        let empty =
            |w: Range<i64>| WindowRows { win: w.start / join::SECOND, ..Default::default() };
        let rows = join::window::windows(windows, settings).map(empty).collect();
        return Ok(Computed { rows, pins: Pins::default(), read: 0 });
    }
    let (observations, pins) = input.read(&range, limit).await?;
    let read = observations.exchanges.len()
        + observations.connections.len()
        + observations.nat_bindings.len()
        + observations.failures.len()
        + observations.spans.len()
        + observations.access_logs.len()
        + observations.heartbeats.len()
        + observations.cluster_objects.len();
    let settings = settings.clone();
    let compute = move || join::correlate(windows, stage, &observations, &settings);
    match tokio::task::spawn_blocking(compute).await {
        Ok(rows) => Ok(Computed { rows, pins, read }),
        // A bug in the pure core: the panic goes on where it can be seen.
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}
