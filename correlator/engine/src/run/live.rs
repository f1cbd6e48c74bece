//! The state of a live correlator between two rounds. All of it can be rebuilt from the tables.

use std::collections::BTreeMap;
use std::ops::Range;

use join::schedule::{self, Next};
use join::watermark::Watermark;
use join::window::{furthest_range, window_index, window_start};
use join::{SECOND, Settings, Stage};
use store::Store;
use tokio::sync::watch;

use super::due::{Run, next_of_others, runs};
use super::report::report;
use crate::correlation::{Feed, Held, upload};
use crate::input::{Input, Look};
use crate::late::Late;
use crate::moment;
use crate::output::{Entry, Left, Output, Step, Written, last_index};
use crate::pins::Pins;
use crate::{Config, EngineError};

/// A job that starts without progress begins at most this far before what is not final yet. Older
/// windows are for a backfill.
const FIRST_LOOK_BACK_NS: i64 = 3_600 * SECOND;

/// Windows without rows are recorded together, so that an idle cluster does not fill the log.
const EMPTY_WINDOWS_PER_COMMIT: i64 = 60;

pub(super) struct Live {
    pub(super) settings: Settings,
    pub(super) input: Input,
    /// Rows of windows that are not final, for all stages.
    pub(super) held: Held,
    pub(super) output: Output,
    late: Late,
    watermark: Watermark,
    /// None until there is anything to begin with.
    pub(super) cursors: Option<Cursors>,
    /// What was visible when a window that is not final was computed last.
    pub(super) computed: BTreeMap<i64, Look>,
}

/// How far each stage has come.
pub(super) struct Cursors {
    pub(super) provisional: Cursor,
    pub(super) revised: Cursor,
    pub(super) finals: Cursor,
}

/// How far one stage has come.
pub(super) struct Cursor {
    /// Start of the first window that is not done, nanoseconds; for revisions the boundary.
    pub(super) next_ns: i64,
    /// Windows before `next_ns` that are done and not recorded yet.
    unrecorded: i64,
}

impl Cursors {
    fn next(&self) -> Next {
        Next {
            provisional_ns: self.provisional.next_ns,
            revised_ns: self.revised.next_ns,
            final_ns: self.finals.next_ns,
        }
    }

    fn of(&mut self, stage: Stage) -> &mut Cursor {
        match stage {
            Stage::Provisional => &mut self.provisional,
            Stage::Revised => &mut self.revised,
            Stage::Final => &mut self.finals,
        }
    }
}

impl Live {
    pub(super) async fn open(store: &Store, config: &Config) -> Result<Self, EngineError> {
        Ok(Self {
            settings: config.settings.clone(),
            input: Input::new(store),
            held: Held::new(config.raw_bytes_max),
            output: Output::open(store, &config.job).await?,
            late: Late::open(store, &config.job).await?,
            watermark: Watermark::default(),
            cursors: None,
            computed: BTreeMap::new(),
        })
    }

    /// Looks at the raw tables once and writes what is due: all provisional runs, then the one run of
    /// revised or final windows that has been due for longest, so that a backlog of these holds up
    /// neither new paths nor each other. True when more is due.
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
        let Some(next) = self.begin(watermark_ns).await? else {
            return Ok(false);
        };
        self.late.record(&mut self.input, next.final_ns, &self.settings).await?;
        let open = next.final_ns..next.provisional_ns.max(next.final_ns);
        let read = self.held.take_in(&mut self.input, open.clone(), &self.settings).await?;
        tracing::debug!(read, "raw rows");
        let runs = runs(&schedule::due(watermark_ns, &next, &self.settings), &self.settings);
        let news = runs.iter().filter(|run| run.stage == Stage::Provisional).cloned();
        let other = next_of_others(&runs, &self.settings).map(|run| self.in_turn(run, open.end));
        let now: Vec<Run> = news.chain(other).collect();
        for run in &now {
            if *stop.borrow() {
                return Ok(false);
            }
            let is_ours = match run.stage {
                Stage::Revised => self.revise(run.range.clone()).await?,
                stage => self.write(stage, run.range.clone()).await?,
            };
            if !is_ours {
                // Somebody else was faster: what is due has to be found out anew.
                return Ok(true);
            }
        }
        self.forget();
        Ok(now != runs)
    }

    /// As much of a run as is done before it is looked for new rows again. Windows whose rows are not
    /// held are read for, and that costs less the more of them are done at once.
    fn in_turn(&self, run: Run, newest_ns: i64) -> Run {
        let first_ns = match run.stage {
            Stage::Revised => schedule::revised_at(run.range.start, &self.settings).min(),
            _ => Some(run.range.start),
        };
        let is_held = first_ns.is_some_and(|start_ns| self.held.holds(start_ns));
        if !is_held {
            return run;
        }
        run.shortened(self.held.bytes_of_window(newest_ns, &self.settings), &self.settings)
    }

    /// Records what is done and not recorded yet.
    pub(super) async fn close(mut self) -> Result<(), EngineError> {
        for stage in [Stage::Provisional, Stage::Revised, Stage::Final] {
            self.record(stage).await?;
        }
        Ok(())
    }

    /// Finds where each stage goes on. None while there is nothing to begin with.
    async fn begin(&mut self, watermark_ns: i64) -> Result<Option<Next>, EngineError> {
        if self.cursors.is_none() {
            let Some(oldest_ns) = self.input.oldest_ns() else {
                return Ok(None);
            };
            let earliest = watermark_ns - self.settings.lateness_ns - FIRST_LOOK_BACK_NS;
            let first_ns = window_start(oldest_ns.max(earliest), &self.settings);
            self.cursors = Some(Cursors {
                provisional: self.cursor(Stage::Provisional, first_ns).await?,
                revised: self.cursor(Stage::Revised, first_ns).await?,
                finals: self.cursor(Stage::Final, first_ns).await?,
            });
        }
        Ok(self.cursors.as_ref().map(Cursors::next))
    }

    async fn cursor(&self, stage: Stage, first_ns: i64) -> Result<Cursor, EngineError> {
        let progress = self.output.progress(stage).await?;
        let next_ns = progress.map_or(first_ns, |index| (index + 1) * self.settings.window_ns);
        tracing::info!(stage = stage.code(), from = moment::show(next_ns), "stage goes on");
        Ok(Cursor { next_ns, unrecorded: 0 })
    }

    /// Computes and writes a run of windows. False where another process is at work on them.
    async fn write(&mut self, stage: Stage, windows: Range<i64>) -> Result<bool, EngineError> {
        let is_redone = match self.output.left(stage).await? {
            Left::Work(step) => return self.complete(*step).await,
            left => left == Left::Unreadable,
        };
        let settings = &self.settings;
        let entry = Entry {
            windows: windows.start / SECOND..windows.end / SECOND,
            seen: self.seen(stage),
            ..Entry::default()
        };
        let mut step = Step::live(stage, last_index(windows.end, settings), entry);
        step.is_completion = is_redone;
        let feed = Feed::visible(&mut self.input, &mut self.held, windows.start, settings);
        let uploaded = upload(feed, &self.output, windows.clone(), &step).await?;
        step.entry.inputs = uploaded.pins;
        let written = self.output.commit(&step, uploaded.staged).await?;
        report(stage, &windows, uploaded.counts, uploaded.read, &written);
        self.advance(stage, windows, &written).await
    }

    /// Finishes what another process began, or this one before it died, from the same raw rows.
    pub(super) async fn complete(&mut self, step: Step) -> Result<bool, EngineError> {
        let stage = step.stage();
        let windows = step.entry.windows.start * SECOND..step.entry.windows.end * SECOND;
        tracing::info!(stage = stage.code(), from = moment::show(windows.start), "completed");
        let written = if stage == Stage::Revised {
            let rows = self.revision_of(&step.entry).await?;
            self.output.write(&step, &rows).await?
        } else {
            let pins = Some(&step.entry.inputs);
            let feed = Feed::anew(&mut self.input, pins, &self.settings);
            let uploaded = upload(feed, &self.output, windows, &step).await?;
            self.output.commit(&step, uploaded.staged).await?
        };
        tracing::debug!(commits = written.commits, "completed");
        self.catch_up(stage).await?;
        Ok(false)
    }

    /// Goes on where path says that the stage is.
    async fn catch_up(&mut self, stage: Stage) -> Result<(), EngineError> {
        let reached = self.output.progress(stage).await?;
        let next_ns = reached.map(|index| (index + 1) * self.settings.window_ns);
        if let (Some(cursors), Some(next_ns)) = (&mut self.cursors, next_ns) {
            let cursor = cursors.of(stage);
            if next_ns > cursor.next_ns {
                cursor.next_ns = next_ns;
                cursor.unrecorded = 0;
            }
        }
        Ok(())
    }

    /// Takes note that a range of a stage is done. False where it was another process's work.
    pub(super) async fn advance(
        &mut self,
        stage: Stage,
        range: Range<i64>,
        written: &Written,
    ) -> Result<bool, EngineError> {
        if written.is_overtaken {
            self.catch_up(stage).await?;
            return Ok(false);
        }
        let look = self.input.look();
        let Some(cursors) = &mut self.cursors else {
            return Ok(true);
        };
        match stage {
            Stage::Provisional => {
                let starts = join::window::windows(range.clone(), &self.settings);
                self.computed.extend(starts.map(|window| (window.start, look)));
            }
            Stage::Revised => {}
            Stage::Final => self.computed = self.computed.split_off(&range.end),
        }
        let cursor = cursors.of(stage);
        cursor.next_ns = range.end;
        let windows = (range.end - range.start) / self.settings.window_ns;
        cursor.unrecorded = if written.commits > 0 { 0 } else { cursor.unrecorded + windows };
        if cursor.unrecorded >= EMPTY_WINDOWS_PER_COMMIT {
            self.record(stage).await?;
        }
        Ok(true)
    }

    async fn record(&mut self, stage: Stage) -> Result<(), EngineError> {
        let Some(&mut Cursor { next_ns, unrecorded }) =
            self.cursors.as_mut().map(|cursors| cursors.of(stage))
        else {
            return Ok(());
        };
        if unrecorded == 0 {
            return Ok(());
        }
        let end = window_index(next_ns, &self.settings);
        let seconds = |index: i64| index * self.settings.window_ns / SECOND;
        let windows = seconds(end - unrecorded)..seconds(end);
        let seen = self.seen(stage);
        let step = Step::live(stage, end - 1, Entry { windows, seen, ..Entry::default() });
        // Where another process is at work on these windows, it will have said so.
        self.output.record(&step).await?;
        if let Some(cursors) = &mut self.cursors {
            cursors.of(stage).unrecorded = 0;
        }
        Ok(())
    }

    /// What late rows are told by: they came after everything that a final commit could see.
    fn seen(&self, stage: Stage) -> Pins {
        if stage == Stage::Final { self.input.visible() } else { Pins::default() }
    }

    /// Drops raw rows that no window to come will read.
    fn forget(&mut self) {
        if let Some(cursors) = &self.cursors {
            let next_ns = cursors.finals.next_ns;
            let next = next_ns..next_ns + self.settings.window_ns;
            self.input.forget_before(furthest_range(next, &self.settings).connections.start);
        }
    }
}
