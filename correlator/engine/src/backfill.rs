//! Computes past windows again, and changes only what differs.
//!
//! Files are named by their content, so windows that come out as they are need no look at their
//! rows and no commit: a second run changes nothing.

use std::ops::Range;

use join::Stage;
use join::watermark::Watermark;
use join::window::window_start;
use store::Store;

use crate::correlation::compute;
use crate::input::Input;
use crate::output::{Output, Writer};
use crate::{Config, EngineError, moment};

mod difference;

pub use difference::{Change, differences};

/// Adjacent windows computed at once: the guard band is paid once for five minutes.
const WINDOWS_PER_RUN: i64 = 30;

/// What a backfill did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub windows: u64,
    pub changed: usize,
    pub commits: usize,
    /// Raw rows read.
    pub rows: usize,
    /// Windows that may still change, and were left to the live correlator.
    pub skipped: u64,
}

/// How far a backfill is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub windows: u64,
    pub of: u64,
    /// Raw rows read.
    pub rows: usize,
}

/// Computes every window that touches the range, and writes the final rows of those that differ.
///
/// # Errors
/// When tables can't be read or written.
pub async fn backfill(
    config: &Config,
    range: Range<i64>,
    mut report: impl FnMut(Progress),
) -> Result<Summary, EngineError> {
    let mut past = Past::open(config, range).await?;
    let output = Output::open(&past.store, &config.job).await?;
    let mut summary = Summary { skipped: past.skipped, ..Summary::default() };
    for windows in past.runs() {
        let settings = &config.settings;
        let computed = compute(&mut past.input, windows.clone(), Stage::Final, settings).await?;
        let written = output
            .write(Writer::Backfill, windows, &computed.rows, &computed.pins, settings)
            .await?;
        summary.windows += computed.rows.len() as u64;
        summary.changed += written.changed.len();
        summary.commits += written.commits;
        summary.rows += computed.read;
        report(Progress { windows: summary.windows, of: past.count(), rows: summary.rows });
    }
    Ok(summary)
}

/// Past windows, and the raw tables they are computed from.
struct Past {
    store: Store,
    input: Input,
    windows: Range<i64>,
    window_ns: i64,
    skipped: u64,
}

impl Past {
    async fn open(config: &Config, range: Range<i64>) -> Result<Self, EngineError> {
        let store = Store::open(&config.tables).await?;
        let settings = &config.settings;
        let mut input = Input::new(&store);
        let mut watermark = Watermark::default();
        for heartbeat in input.refresh().await? {
            watermark.observe(&heartbeat);
        }
        let Some(watermark_ns) = watermark.advance() else {
            return Err(EngineError::NoHeartbeat { at: store.root().to_owned() });
        };
        let end = window_start(range.end + settings.window_ns - 1, settings);
        let mut windows = window_start(range.start, settings)..end;
        let final_end = window_start(watermark_ns - settings.lateness_ns, settings);
        let mut skipped = 0;
        if final_end < windows.end {
            let first = final_end.max(windows.start);
            skipped = ((windows.end - first) / settings.window_ns).unsigned_abs();
            tracing::warn!(
                "{skipped} windows from {} on are skipped: they may change until the watermark, \
                 now {}, has passed their end by {} s (--lateness)",
                moment::show(first),
                moment::show(watermark_ns),
                settings.lateness_ns / join::SECOND,
            );
            windows.end = first;
        }
        let no_rows = || EngineError::NoRows { at: store.root().to_owned() };
        let oldest_ns = input.oldest_ns().ok_or_else(no_rows)?;
        windows.start = windows.start.max(window_start(oldest_ns, settings)).min(windows.end);
        Ok(Self { store, input, windows, window_ns: settings.window_ns, skipped })
    }

    fn count(&self) -> u64 {
        ((self.windows.end - self.windows.start) / self.window_ns).unsigned_abs()
    }

    fn runs(&self) -> impl Iterator<Item = Range<i64>> + use<> {
        let (windows, longest_ns) = (self.windows.clone(), WINDOWS_PER_RUN * self.window_ns);
        (windows.start..windows.end)
            .step_by(usize::try_from(longest_ns).unwrap_or(usize::MAX))
            .map(move |start| start..(start + longest_ns).min(windows.end))
    }
}
