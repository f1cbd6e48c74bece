//! The derived tables: each window reaches each of them once per stage, across crashes.
//!
//! Delta has no transaction over tables, so the order is hop, ambiguous, for a final window what
//! sums it up, then path: a window is visible once it is in `path`, and only path's progress says
//! that it is done. The first commit, to hop, decides between several correlators and between a crash
//! and the restart after it: it names the raw rows that it rests on, and whoever finds hop ahead of
//! path completes that same work, from the same rows. So nobody has to know who is alive.
//!
//! A commit is a conflict when the files of its windows are others than it was decided on, so that
//! a process that slept for a while changes nothing that another one did meanwhile. Where
//! maintenance has put windows together, `compacted` says which files these stand for.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use arrow::array::RecordBatch;
use join::{Settings, Stage};
use store::{Commit, FileRef, Progress, StagedFile, Store, StoreError, Table};
use tables::{Ambiguous, Calibration, ClockOffset, DataQuality, EdgeMinute, Hop, Path, Row};

use crate::InputError;
use crate::compacted::{self, Held};
use crate::failpoint::{self, Work};

mod entry;
mod files;
mod revision;
mod staged;
mod step;

pub(crate) use entry::{Entry, Mark};
pub(crate) use files::{is_final_file, prefix};
pub use revision::RevisionError;
pub(crate) use revision::{WindowBatches, WindowColumns};
pub(crate) use staged::{Counts, Drafts, Staged};
pub(crate) use step::{Step, Writer};

use files::{Difference, difference, revision_of, window_of};
use revision::Revisable;

/// Rounds of looking and swapping before we give up on somebody who rewrites the same files.
const ROUNDS: usize = 20;

#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("replace files of table {table}: another writer changed them {ROUNDS} times")]
    Contended { table: &'static str },
}

/// What somebody left undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    Work(Box<Step>),
    /// What it rests on is not known any more: log clean-up removed it, or another release wrote
    /// it. The windows are computed anew, and replace what is there of them.
    Unreadable,
}

/// What became of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) commits: usize,
    /// Windows, by start in seconds, of which any table's files changed.
    pub(crate) changed: BTreeSet<i64>,
    /// Another process has done it, or is at it. What is done must be looked up.
    pub(crate) is_overtaken: bool,
}

pub(crate) struct Output {
    job: String,
    hop: Table,
    ambiguous: Table,
    quality: Table,
    clock_offset: Table,
    edge_minute: Table,
    calibration: Table,
    path: Table,
}

/// What became of one table, or of all.
enum Put {
    /// It was as it should be.
    Unchanged,
    Committed,
    /// Another process has done this step, or is at it.
    Overtaken,
    /// Another writer changed what the tables before this one held.
    Disturbed,
}

impl Output {
    pub(crate) async fn open(store: &Store, job: &str) -> Result<Self, StoreError> {
        Ok(Self {
            job: job.to_owned(),
            hop: store.table(&tables::spec::<Hop>()).await?,
            ambiguous: store.table(&tables::spec::<Ambiguous>()).await?,
            quality: store.table(&tables::spec::<DataQuality>()).await?,
            clock_offset: store.table(&tables::spec::<ClockOffset>()).await?,
            edge_minute: store.table(&tables::spec::<EdgeMinute>()).await?,
            calibration: store.table(&tables::spec::<Calibration>()).await?,
            path: store.table(&tables::spec::<Path>()).await?,
        })
    }

    /// How far path has come in this stage.
    pub(crate) async fn progress(&self, stage: Stage) -> Result<Option<i64>, StoreError> {
        self.path.progress(&app_id(&self.job, stage)).await
    }

    /// Work of this stage that is in the first tables and not in path: somebody died or is at it.
    pub(crate) async fn left(&self, stage: Stage) -> Result<Left, StoreError> {
        let app_id = app_id(&self.job, stage);
        let Some(begun) = self.hop.progress(&app_id).await? else {
            return Ok(Left::Nothing);
        };
        if self.path.progress(&app_id).await?.is_some_and(|done| done >= begun) {
            return Ok(Left::Nothing);
        }
        let entry = self.hop.newest_of(&app_id).await?;
        let step = entry.and_then(|Progress { version, metadata, .. }| {
            let entry = Entry::from_text(&metadata?)?;
            Some(Step { is_completion: true, ..Step::live(stage, version, entry) })
        });
        Ok(step.map_or(Left::Unreadable, |step| Left::Work(Box::new(step))))
    }

    /// The next revision of each of these windows, given by their starts in seconds.
    pub(crate) async fn next_revisions(
        &self,
        windows: &BTreeSet<i64>,
    ) -> Result<BTreeMap<i64, i32>, StoreError> {
        let mut next: BTreeMap<i64, i32> = windows.iter().map(|win| (*win, 1)).collect();
        let wanted = windows.clone();
        let of_windows = move |file: &FileRef| window_of(file).is_some_and(|w| wanted.contains(&w));
        for table in [&self.hop, &self.ambiguous, &self.path] {
            for file in table.select(&of_windows).await?.files {
                if let Some(known) = window_of(&file).and_then(|win| next.get_mut(&win)) {
                    *known = (revision_of(&file) + 1).max(*known);
                }
            }
        }
        Ok(next)
    }

    /// The newest rows of a window, in seconds, among those before a revision.
    pub(crate) async fn before(
        &self,
        win: i64,
        revision: i32,
    ) -> Result<WindowBatches, InputError> {
        let wanted = move |file: &FileRef| {
            window_of(file) == Some(win) && !is_final_file(file) && revision_of(file) < revision
        };
        Ok(WindowBatches {
            hops: read_newest::<Hop>(&self.hop, wanted).await?,
            ambiguous: read_newest::<Ambiguous>(&self.ambiguous, wanted).await?,
            paths: read_newest::<Path>(&self.path, wanted).await?,
        })
    }

    /// Records that windows without rows are done.
    pub(crate) async fn record(&self, step: &Step) -> Result<Written, OutputError> {
        let mut written = Written::default();
        for table in [&self.hop, &self.path] {
            if self.is_done(step).await? {
                return Ok(Written { is_overtaken: true, ..written });
            }
            let basis = table.basis(step.part()).await?;
            let Some(progress) = self.claim(table, step).await? else {
                return Ok(Written { is_overtaken: true, ..written });
            };
            failpoint::reach(Work::Empty, failpoint::Step::Decided(table.spec().name));
            match table.swap_on(basis, Vec::new(), Vec::new(), progress).await? {
                Commit::Committed { .. } => written.commits += 1,
                Commit::AlreadyDone | Commit::Conflict => {
                    return Ok(Written { is_overtaken: true, ..written });
                }
            }
            failpoint::reach(Work::Empty, failpoint::Step::Committed(table.spec().name));
        }
        Ok(written)
    }

    /// Makes the tables hold these rows of a revision for the step's windows, as far as the step may
    /// change them.
    pub(crate) async fn write(
        &self,
        step: &Step,
        rows: &[WindowColumns],
    ) -> Result<Written, OutputError> {
        failpoint::reach(step.work(), failpoint::Step::Computed);
        if self.is_done(step).await? {
            return Ok(Written { is_overtaken: true, ..Written::default() });
        }
        let staged = self.stage(rows, step).await?;
        self.commit(step, staged).await
    }

    /// Makes the tables hold these files for the step's windows, as far as the step may change them.
    pub(crate) async fn commit(
        &self,
        step: &Step,
        Staged(staged): Staged,
    ) -> Result<Written, OutputError> {
        let mut written = Written::default();
        if self.is_done(step).await? {
            return Ok(Written { is_overtaken: true, ..written });
        }
        // Where nothing changes nothing is committed.
        if !step.is_completion && self.is_as_wanted(&staged, step, staged.len()).await? {
            return Ok(written);
        }
        let mut step = step.clone();
        for _ in 0..ROUNDS {
            match self.put_all(&staged, &step, &mut written).await? {
                // Live and backfill may write the same windows, from other raw rows. Live does so
                // once; a backfill that was disturbed by it has the last word.
                Put::Disturbed => {}
                _ if step.writer == Writer::Backfill => {
                    if self.is_as_wanted(&staged, &step, staged.len()).await? {
                        return Ok(written);
                    }
                }
                Put::Overtaken => return Ok(Written { is_overtaken: true, ..written }),
                Put::Unchanged | Put::Committed => return Ok(written),
            }
            step.is_completion = true;
        }
        Err(OutputError::Contended { table: Hop::TABLE })
    }

    /// The tables that a stage writes, in the order of their commits.
    fn tables(&self, stage: Stage) -> Vec<&Table> {
        let sums = [&self.quality, &self.clock_offset, &self.edge_minute, &self.calibration];
        let sums = sums.into_iter().filter(|_| stage == Stage::Final);
        [&self.hop, &self.ambiguous].into_iter().chain(sums).chain([&self.path]).collect()
    }

    /// The tables in their order. Hop decides whose work it is and path makes it visible, be it
    /// with their progress alone.
    async fn put_all(
        &self,
        staged: &[Vec<StagedFile>],
        step: &Step,
        written: &mut Written,
    ) -> Result<Put, OutputError> {
        let is_live = step.writer != Writer::Backfill;
        for nth in 0..staged.len() {
            let is_last = nth + 1 == staged.len();
            let must_commit = if is_last {
                is_live || written.commits > 0
            } else {
                nth == 0 && is_live && !step.is_completion
            };
            match self.put(nth, staged, step, must_commit, written).await? {
                Put::Unchanged => {}
                Put::Committed => written.commits += 1,
                outcome @ (Put::Overtaken | Put::Disturbed) => return Ok(outcome),
            }
        }
        Ok(Put::Committed)
    }

    /// One table: look, decide, swap; anew as long as others change the same windows.
    async fn put(
        &self,
        nth: usize,
        staged: &[Vec<StagedFile>],
        step: &Step,
        must_commit: bool,
        written: &mut Written,
    ) -> Result<Put, OutputError> {
        let table = self.tables(step.stage())[nth];
        let name = table.spec().name;
        for _ in 0..ROUNDS {
            let held = match held(table, &staged[nth], step).await? {
                Held::AsWanted(held) => held,
                Held::Otherwise(files) => {
                    compacted::take_apart(table, &files).await?;
                    continue;
                }
            };
            let basis = table.basis(step.part()).await?;
            let wanted: Vec<&StagedFile> =
                staged[nth].iter().filter(|staged| !held.contains(staged)).collect();
            let names: Vec<&FileRef> = wanted.iter().map(|staged| staged.file()).collect();
            let Difference { remove, add } = difference(step, basis.files(), &names);
            if self.is_done(step).await? {
                return Ok(Put::Overtaken);
            }
            if !self.is_as_wanted(staged, step, nth).await? {
                return Ok(Put::Disturbed);
            }
            if remove.is_empty() && add.is_empty() && !must_commit {
                return Ok(Put::Unchanged);
            }
            let Some(progress) = self.claim(table, step).await? else {
                return Ok(Put::Overtaken);
            };
            let is_added = |staged: &&&StagedFile| add.contains(&staged.file().path);
            let add: Vec<StagedFile> = wanted.iter().filter(is_added).copied().cloned().collect();
            let remove: Vec<FileRef> =
                basis.files().iter().filter(|file| remove.contains(&file.path)).cloned().collect();
            let files = remove.iter().chain(add.iter().map(StagedFile::file));
            let changed: Vec<i64> = files.filter_map(window_of).collect();
            failpoint::reach(step.work(), failpoint::Step::Decided(name));
            match table.swap_on(basis, remove, add, progress).await? {
                Commit::Committed { .. } => {
                    failpoint::reach(step.work(), failpoint::Step::Committed(name));
                    written.changed.extend(changed);
                    return Ok(Put::Committed);
                }
                Commit::AlreadyDone | Commit::Conflict => {}
            }
        }
        Err(OutputError::Contended { table: name })
    }

    /// Whether the first tables hold what they should.
    async fn is_as_wanted(
        &self,
        staged: &[Vec<StagedFile>],
        step: &Step,
        tables: usize,
    ) -> Result<bool, StoreError> {
        for (table, staged) in self.tables(step.stage()).into_iter().zip(staged).take(tables) {
            let Held::AsWanted(held) = held(table, staged, step).await? else {
                return Ok(false);
            };
            let names: Vec<&FileRef> =
                staged.iter().filter(|s| !held.contains(s)).map(StagedFile::file).collect();
            let current = table.select(step.part()).await?.files;
            if !difference(step, &current, &names).is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn is_done(&self, step: &Step) -> Result<bool, StoreError> {
        match step.writer {
            Writer::Live(stage) => {
                let reached = self.progress(stage).await?;
                Ok(reached.is_some_and(|reached| reached >= step.index))
            }
            Writer::Backfill => Ok(false),
        }
    }

    /// Progress that a commit of the step may claim. None where this table is ahead by the work of
    /// another process. Progress never goes back: what a crash left is completed under a name of
    /// its own.
    async fn claim(&self, table: &Table, step: &Step) -> Result<Option<Progress>, StoreError> {
        let counted = async |app_id: String| {
            let next = table.progress(&app_id).await?.unwrap_or(0) + 1;
            Ok::<_, StoreError>(Progress::new(app_id, next))
        };
        let progress = match step.writer {
            Writer::Backfill => counted(format!("{}/backfill", self.job)).await?,
            Writer::Live(stage) => {
                let app_id = app_id(&self.job, stage);
                let reached = table.progress(&app_id).await?;
                match reached.filter(|reached| *reached >= step.index) {
                    None => Progress::new(app_id, step.index),
                    Some(_) if !step.is_completion => return Ok(None),
                    Some(_) => counted(format!("{}/repair", self.job)).await?,
                }
            }
        };
        Ok(Some(progress.with_metadata(step.entry.to_text())))
    }

    /// Newest path rows of a run of windows, in nanoseconds, as they are now.
    pub(crate) async fn current_paths(
        &self,
        windows: &Range<i64>,
    ) -> Result<BTreeMap<String, Path>, InputError> {
        let seconds = windows.start / join::SECOND..windows.end / join::SECOND;
        let run = seconds.clone();
        let of_run = move |file: &FileRef| {
            window_of(file).is_some_and(|win| run.contains(&win)) || compacted::overlaps(file, &run)
        };
        let files = self.path.select(of_run).await?.files;
        let mut paths = BTreeMap::new();
        for batch in newest(self.path.read(&files).await?).await? {
            let rows = tables::from_batch::<Path>(&batch)?.into_iter();
            let rows = rows.filter(|path| seconds.contains(&path.win));
            paths.extend(rows.map(|path| (path.path_id.clone(), path)));
        }
        Ok(paths)
    }

    /// How far the backfill that changed something last had come.
    pub(crate) async fn mark(&self) -> Result<Option<Mark>, StoreError> {
        let newest = self.path.newest_of(&format!("{}/backfill", self.job)).await?;
        Ok(newest.and_then(|p| p.metadata).and_then(|t| Entry::from_text(&t)?.backfill))
    }

    /// Says how far a backfill has come, where no rows say it.
    pub(crate) async fn record_mark(&self, mark: Mark) -> Result<(), StoreError> {
        let entry = Entry { backfill: Some(mark), ..Entry::default() };
        let Some(progress) = self.claim(&self.path, &Step::backfill(entry)).await? else {
            return Ok(());
        };
        failpoint::reach(Work::Mark, failpoint::Step::Decided(Path::TABLE));
        // Another backfill under the same name has said where it is: one of the two is enough.
        self.path.append(Vec::new(), progress).await?;
        failpoint::reach(Work::Mark, failpoint::Step::Committed(Path::TABLE));
        Ok(())
    }
}

/// Name in the progress of what a job has done in one stage.
pub(crate) fn app_id(job: &str, stage: Stage) -> String {
    format!("{job}/{}", stage.code())
}

/// Index of the last window of a range that ends here: the progress that writing it stands for.
pub(crate) fn last_index(end_ns: i64, settings: &Settings) -> i64 {
    join::window::window_index(end_ns, settings) - 1
}

async fn held(table: &Table, staged: &[StagedFile], step: &Step) -> Result<Held, StoreError> {
    compacted::held(table, &step.entry.windows, staged, step.stage()).await
}

async fn read_newest<R: Revisable>(
    table: &Table,
    is_before: impl Fn(&FileRef) -> bool,
) -> Result<Vec<RecordBatch>, InputError> {
    let mut batches = Vec::new();
    for file in table.select(is_before).await?.files {
        batches.extend(table.read_columns(&file, &revision::wanted::<R>()).await?);
    }
    newest(batches).await
}

async fn newest(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, InputError> {
    let newest = move || Ok::<_, RevisionError>(revision::newest(batches)?);
    let newest = tokio::task::spawn_blocking(newest).await;
    // A bug in pure code: the panic goes on where it can be seen.
    Ok(newest.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))?)
}
