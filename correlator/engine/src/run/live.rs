//! The state of a live correlator between two rounds. All of it can be rebuilt from the tables.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use join::schedule::{self, Due};
use join::watermark::Watermark;
use join::window::{read_range, window_index, window_start};
use join::{SECOND, Settings, Stage};
use store::Store;
use tokio::sync::watch;

use crate::correlation::compute;
use crate::input::Input;
use crate::moment;
use crate::output::{Output, Writer, Written};
use crate::{Config, EngineError};

/// Adjacent windows computed at once: the guard band is read once for them, and a commit's size
/// and the time until the first of them is visible stay small.
const WINDOWS_PER_RUN: i64 = 6;

/// A job that starts without progress begins at most this far before what is not final yet. Older
/// windows are for a backfill.
const FIRST_LOOK_BACK_NS: i64 = 3_600 * SECOND;

/// Windows without rows are recorded together, so that an idle cluster does not fill the log.
const EMPTY_WINDOWS_PER_COMMIT: i64 = 60;

pub(super) struct Live {
    settings: Settings,
    input: Input,
    output: Output,
    watermark: Watermark,
    /// None until there is anything to begin with.
    provisional: Option<Cursor>,
    finals: Option<Cursor>,
}

/// How far one stage has come.
struct Cursor {
    stage: Stage,
    /// Start of the first window that is not done, nanoseconds.
    next_ns: i64,
    /// Windows before `next_ns` that are done and not recorded yet.
    unrecorded: i64,
}

impl Live {
    pub(super) async fn open(store: &Store, config: &Config) -> Result<Self, EngineError> {
        Ok(Self {
            settings: config.settings.clone(),
            input: Input::new(store),
            output: Output::open(store, &config.job).await?,
            watermark: Watermark::default(),
            provisional: None,
            finals: None,
        })
    }

    /// Looks at the raw tables once and writes what is due: all provisional runs, then one final
    /// run, so that a backlog of final windows does not hold up new paths. True when more is due.
    pub(super) async fn round(
        &mut self,
        stop: &watch::Receiver<bool>,
    ) -> Result<bool, EngineError> {
        for heartbeat in self.input.refresh().await? {
            self.watermark.observe(&heartbeat);
        }
        let Some(watermark_ns) = self.watermark.advance() else {
            return Ok(false);
        };
        if !self.begin(watermark_ns).await? {
            return Ok(false);
        }
        let (Some(provisional), Some(finals)) = (&self.provisional, &self.finals) else {
            return Ok(false);
        };
        let due = schedule::due(watermark_ns, provisional.next_ns, finals.next_ns, &self.settings);
        let runs = runs(&due, &self.settings);
        let is_final = |run: &&(Stage, Range<i64>)| run.0 == Stage::Final;
        let first_final = runs.iter().find(is_final);
        for (stage, windows) in runs.iter().filter(|run| !is_final(run)).chain(first_final) {
            if *stop.borrow() {
                return Ok(false);
            }
            self.write(*stage, windows.clone()).await?;
        }
        self.forget();
        Ok(runs.iter().filter(is_final).count() > 1)
    }

    /// Records what is done and not recorded yet.
    pub(super) async fn close(mut self) -> Result<(), EngineError> {
        for cursor in [self.provisional.take(), self.finals.take()].into_iter().flatten() {
            if cursor.unrecorded > 0 {
                let last = window_index(cursor.next_ns, &self.settings) - 1;
                self.output.record(cursor.stage, last).await?;
            }
        }
        Ok(())
    }

    /// Finds where each stage goes on. False while there is nothing to begin with.
    async fn begin(&mut self, watermark_ns: i64) -> Result<bool, EngineError> {
        if self.provisional.is_some() && self.finals.is_some() {
            return Ok(true);
        }
        let Some(oldest_ns) = self.input.oldest_ns() else {
            return Ok(false);
        };
        let earliest = watermark_ns - self.settings.lateness_ns - FIRST_LOOK_BACK_NS;
        let first_ns = window_start(oldest_ns.max(earliest), &self.settings);
        self.provisional = Some(self.cursor(Stage::Provisional, first_ns).await?);
        self.finals = Some(self.cursor(Stage::Final, first_ns).await?);
        Ok(true)
    }

    async fn cursor(&self, stage: Stage, first_ns: i64) -> Result<Cursor, EngineError> {
        let progress = self.output.progress(stage).await?;
        let next_ns = progress.map_or(first_ns, |index| (index + 1) * self.settings.window_ns);
        tracing::info!(stage = stage.code(), from = moment::show(next_ns), "stage goes on");
        Ok(Cursor { stage, next_ns, unrecorded: 0 })
    }

    async fn write(&mut self, stage: Stage, windows: Range<i64>) -> Result<(), EngineError> {
        let computed = compute(&mut self.input, windows.clone(), stage, &self.settings).await?;
        let writer = Writer::Live(stage);
        let written = self
            .output
            .write(writer, windows.clone(), &computed.rows, &computed.pins, &self.settings)
            .await?;
        report(stage, &windows, &computed.rows, computed.read, &written);
        self.advance(stage, &windows, &written).await
    }

    async fn advance(
        &mut self,
        stage: Stage,
        windows: &Range<i64>,
        written: &Written,
    ) -> Result<(), EngineError> {
        let cursor = match stage {
            Stage::Provisional => &mut self.provisional,
            Stage::Final => &mut self.finals,
            Stage::Revised => return Ok(()),
        };
        let Some(cursor) = cursor else {
            return Ok(());
        };
        cursor.next_ns = windows.end;
        let is_recorded = written.commits > 0 || written.already_done;
        cursor.unrecorded = if is_recorded {
            0
        } else {
            cursor.unrecorded + (windows.end - windows.start) / self.settings.window_ns
        };
        if cursor.unrecorded >= EMPTY_WINDOWS_PER_COMMIT {
            let last = window_index(windows.end, &self.settings) - 1;
            self.output.record(stage, last).await?;
            cursor.unrecorded = 0;
        }
        Ok(())
    }

    /// Drops raw rows that no window to come will read.
    fn forget(&mut self) {
        if let Some(finals) = &self.finals {
            let next = finals.next_ns..finals.next_ns + self.settings.window_ns;
            self.input.forget_before(read_range(next, &self.settings).connections.start);
        }
    }
}

/// Adjacent windows of one stage, at most [`WINDOWS_PER_RUN`] together, in the order they are due.
fn runs(due: &[Due], settings: &Settings) -> Vec<(Stage, Range<i64>)> {
    let longest_ns = WINDOWS_PER_RUN * settings.window_ns;
    let mut runs: Vec<(Stage, Range<i64>)> = Vec::new();
    for due in due {
        let (stage, start) = match *due {
            Due::Provisional(start) => (Stage::Provisional, start),
            Due::Final(start) => (Stage::Final, start),
        };
        match runs.last_mut() {
            Some((same, run))
                if *same == stage && run.end == start && start - run.start < longest_ns =>
            {
                run.end = start + settings.window_ns;
            }
            _ => runs.push((stage, start..start + settings.window_ns)),
        }
    }
    runs
}

fn report(
    stage: Stage,
    windows: &Range<i64>,
    rows: &[join::WindowRows],
    read: usize,
    written: &Written,
) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let lag_s = now.as_secs_f64() - windows.end as f64 / SECOND as f64;
    let paths: usize = rows.iter().map(|window| window.paths.len()).sum();
    let hops: usize = rows.iter().map(|window| window.hops.len()).sum();
    let ambiguous: usize = rows.iter().map(|window| window.ambiguous.len()).sum();
    let line = format!(
        "{} {} windows={} read={read} paths={paths} hops={hops} ambiguous={ambiguous} \
         commits={} lag={lag_s:.1}s",
        stage.code(),
        moment::show(windows.start),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_windows_of_one_stage_are_one_run_up_to_the_limit() {
        let settings = Settings::default();
        let second = |s: i64| s * SECOND;
        let mut due: Vec<Due> = (10..18).map(|i| Due::Provisional(second(i * 10))).collect();
        due.extend([Due::Final(0), Due::Final(second(20))]);
        assert_eq!(
            runs(&due, &settings),
            [
                (Stage::Provisional, second(100)..second(160)),
                (Stage::Provisional, second(160)..second(180)),
                (Stage::Final, 0..second(10)),
                (Stage::Final, second(20)..second(30)),
            ]
        );
    }
}
