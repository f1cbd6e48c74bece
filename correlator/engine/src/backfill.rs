//! Computes past windows again, and changes only what differs.
//!
//! Files are named by their content, so windows that come out as they are need no look at their
//! rows and no commit: a second run changes nothing.

use std::ops::Range;

use join::watermark::Watermark;
use join::window::window_start;
use join::{SECOND, Settings};
use store::Store;
use tokio::sync::watch;

use crate::correlation::{Feed, upload};
use crate::input::Input;
use crate::maintain::first_window_kept;
use crate::output::{Entry, Mark, Output, Step};
use crate::{Config, EngineError, moment};

mod difference;

pub use difference::{Change, differences};

/// Where a backfill begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Where the newest one of the same range stopped, if it did.
    WhereItStopped,
    Anew,
}

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
    /// Windows that an earlier run had done.
    pub resumed: u64,
    /// Windows that are left, because it was told to stop.
    pub left: u64,
    /// Number of this backfill among those that changed anything; none where it changed nothing.
    pub generation: Option<i64>,
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
/// When told to stop it finishes the windows in hand and notes where it stopped.
///
/// # Errors
/// When tables can't be read or written. What is done by then stays done.
pub async fn backfill(
    config: &Config,
    range: Range<i64>,
    begin: Begin,
    stop: &watch::Receiver<bool>,
    mut report: impl FnMut(Progress),
) -> Result<Summary, EngineError> {
    let asked = whole_windows(&range, &config.settings);
    let mut past = Past::open(config, range).await?;
    let output = Output::open(&past.store, &config.job).await?;
    let newest = output.mark().await?;
    let unfinished = newest
        .filter(|mark| (mark.from, mark.to) == (asked.start, asked.end) && mark.next < mark.to);
    let mut mark = Mark {
        from: asked.start,
        to: asked.end,
        next: asked.start,
        generation: newest.map_or(0, |mark| mark.generation) + 1,
    };
    let mut summary = Summary { skipped: past.skipped, ..Summary::default() };
    if let (Begin::WhereItStopped, Some(unfinished)) = (begin, unfinished) {
        mark = unfinished;
        summary.resumed = past.begin_at(mark.next * SECOND);
    }
    let mut noted = unfinished.map(|mark| mark.next);
    for windows in past.runs() {
        if *stop.borrow() {
            summary.left = past.count() - summary.windows;
            break;
        }
        mark.next = windows.end / SECOND;
        let entry = Entry {
            windows: windows.start / SECOND..windows.end / SECOND,
            backfill: Some(mark),
            ..Entry::default()
        };
        let mut step = Step::backfill(entry);
        let feed = Feed::anew(&mut past.input, None, &config.settings);
        let uploaded = upload(feed, &output, windows, &step).await?;
        step.entry.inputs = uploaded.pins;
        let written = output.commit(&step, uploaded.staged).await?;
        if written.commits > 0 {
            noted = Some(mark.next);
        }
        summary.windows += uploaded.counts.windows as u64;
        summary.changed += written.changed.len();
        summary.commits += written.commits;
        summary.rows += uploaded.read;
        report(Progress { windows: summary.windows, of: past.count(), rows: summary.rows });
    }
    if summary.left == 0 {
        mark.next = mark.to;
    }
    // One that changed nothing and was not stopped leaves no trace.
    let is_worth_noting = summary.left > 0 || noted.is_some();
    if is_worth_noting && noted != Some(mark.next) {
        output.record_mark(mark).await?;
    }
    past.store.settle().await;
    summary.generation = (summary.commits > 0).then_some(mark.generation);
    Ok(summary)
}

/// From the first window that touches a range to the end of the last, seconds.
fn whole_windows(range: &Range<i64>, settings: &Settings) -> Range<i64> {
    let end = window_start(range.end + settings.window_ns - 1, settings);
    window_start(range.start, settings) / SECOND..end / SECOND
}

/// Past windows, and the raw tables they are computed from.
struct Past {
    store: Store,
    input: Input,
    windows: Range<i64>,
    window_ns: i64,
    windows_per_run: u32,
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
        let asked = whole_windows(&range, settings);
        let mut windows = asked.start * SECOND..asked.end * SECOND;
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
        windows.start = windows.start.max(window_start(oldest_ns, settings));
        // What rows that are gone had said stays.
        if let Some(first_ns) = first_window_kept(&store, settings).await? {
            windows.start = windows.start.max(first_ns);
        }
        windows.start = windows.start.min(windows.end);
        Ok(Self {
            store,
            input,
            windows,
            window_ns: settings.window_ns,
            windows_per_run: config.windows_per_run,
            skipped,
        })
    }

    /// Leaves out the windows before this one, and counts them.
    fn begin_at(&mut self, start_ns: i64) -> u64 {
        let all = self.count();
        self.windows.start = start_ns.clamp(self.windows.start, self.windows.end);
        all - self.count()
    }

    fn count(&self) -> u64 {
        ((self.windows.end - self.windows.start) / self.window_ns).unsigned_abs()
    }

    fn runs(&self) -> impl Iterator<Item = Range<i64>> + use<> {
        let (windows, longest_ns) =
            (self.windows.clone(), i64::from(self.windows_per_run.max(1)) * self.window_ns);
        (windows.start..windows.end)
            .step_by(usize::try_from(longest_ns).unwrap_or(usize::MAX))
            .map(move |start| start..(start + longest_ns).min(windows.end))
    }
}
