//! The derived tables: each window reaches each of them once per stage, across crashes.
//!
//! Delta has no transaction over tables, so the order is hop, ambiguous, path: a window is visible
//! once it is in `path`, and only path's progress says that it is done. What a crash left in the
//! first two is found by comparing names on the next attempt: files are named by window and
//! content, so the same rows are already there, and others are replaced in one commit.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use join::{Settings, Stage, WindowRows};
use serde_json::json;
use store::{Commit, FileRef, Progress, StagedFile, Store, StoreError, Table};
use tables::Row;

use crate::input::Pins;

/// Rounds of looking and swapping before we give up on somebody who rewrites the same files.
const ROUNDS: usize = 5;

#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("replace files of table {table}: another writer changed them {ROUNDS} times")]
    Contended { table: &'static str },
}

/// Who commits, which decides the names of its progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Windows in order; progress is the index of the newest one.
    Live(Stage),
    /// Any past windows; progress counts generations.
    Backfill,
}

/// What became of a run of windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) commits: usize,
    /// Windows, by start in seconds, of which any table's files changed.
    pub(crate) changed: BTreeSet<i64>,
    /// Another process had done these windows already.
    pub(crate) already_done: bool,
}

pub(crate) struct Output {
    job: String,
    hop: Table,
    ambiguous: Table,
    path: Table,
}

/// A table's files of a run of windows, as they are and as they should be.
struct Difference {
    remove: Vec<FileRef>,
    add: Vec<StagedFile>,
}

impl Output {
    pub(crate) async fn open(store: &Store, job: &str) -> Result<Self, StoreError> {
        Ok(Self {
            job: job.to_owned(),
            hop: store.table(&tables::spec::<tables::Hop>()).await?,
            ambiguous: store.table(&tables::spec::<tables::Ambiguous>()).await?,
            path: store.table(&tables::spec::<tables::Path>()).await?,
        })
    }

    /// Index of the newest window that is visible in this stage.
    pub(crate) async fn progress(&self, stage: Stage) -> Result<Option<i64>, StoreError> {
        self.path.progress(&self.app_id(Writer::Live(stage))).await
    }

    /// Records that windows without rows are done.
    pub(crate) async fn record(&self, stage: Stage, index: i64) -> Result<(), StoreError> {
        let progress = Progress::new(self.app_id(Writer::Live(stage)), index);
        self.path.append(Vec::new(), progress).await.map(drop)
    }

    /// Makes the tables hold exactly these rows for these windows.
    pub(crate) async fn write(
        &self,
        writer: Writer,
        windows: Range<i64>,
        rows: &[WindowRows],
        pins: &Pins,
        settings: &Settings,
    ) -> Result<Written, OutputError> {
        let index = join::window::window_index(windows.end, settings) - 1;
        let mut written = Written::default();
        if let Writer::Live(stage) = writer
            && self.progress(stage).await?.is_some_and(|reached| reached >= index)
        {
            written.already_done = true;
            return Ok(written);
        }
        let metadata = json!({
            "inputs": pins.0,
            "windows": [windows.start / join::SECOND, windows.end / join::SECOND],
        });
        let step = Step { writer, index, metadata: metadata.to_string(), windows };
        self.replace(&self.hop, rows, |w| &w.hops, &step, &mut written).await?;
        self.replace(&self.ambiguous, rows, |w| &w.ambiguous, &step, &mut written).await?;
        self.replace(&self.path, rows, |w| &w.paths, &step, &mut written).await?;
        Ok(written)
    }

    /// One table: stage what should be there, and swap where that differs from what is.
    async fn replace<R: Row>(
        &self,
        table: &Table,
        rows: &[WindowRows],
        of_table: impl Fn(&WindowRows) -> &Vec<R>,
        step: &Step,
        written: &mut Written,
    ) -> Result<(), OutputError> {
        let code = step.stage().code();
        let mut staged = Vec::new();
        for window in rows.iter().filter(|window| !of_table(window).is_empty()) {
            let prefix = format!("{}-{code}", window.win);
            staged.extend(table.stage_rows(of_table(window), &prefix).await?);
        }
        for _ in 0..ROUNDS {
            let Difference { remove, add } = self.difference(table, &staged, step).await?;
            let is_changed = !(remove.is_empty() && add.is_empty());
            let changed: Vec<i64> = remove
                .iter()
                .chain(add.iter().map(StagedFile::file))
                .filter_map(window_of)
                .collect();
            // Where nothing changes nothing is committed, except that windows which are new in
            // the other tables become visible with path's progress.
            let is_visible_step = R::TABLE == self.path.spec().name && written.commits > 0;
            if !is_changed && !is_visible_step {
                return Ok(());
            }
            let progress = self.next_progress(table, step).await?;
            match table.swap(remove, add, progress).await? {
                Commit::Committed { .. } => {
                    written.commits += 1;
                    written.changed.extend(changed);
                    return Ok(());
                }
                Commit::AlreadyDone | Commit::Conflict => {}
            }
        }
        Err(OutputError::Contended { table: table.spec().name })
    }

    async fn difference(
        &self,
        table: &Table,
        staged: &[StagedFile],
        step: &Step,
    ) -> Result<Difference, StoreError> {
        let seconds = step.windows.start / join::SECOND..step.windows.end / join::SECOND;
        let of_run = |file: &FileRef| window_of(file).is_some_and(|win| seconds.contains(&win));
        let current = table.select(of_run).await?.files;
        // Provisional rows never come after final ones.
        let is_final = |win: Option<i64>| {
            current.iter().any(|file| window_of(file) == win && is_final_file(file))
        };
        let may_change =
            |file: &FileRef| step.stage() == Stage::Final || !is_final(window_of(file));
        let is_staged = |file: &FileRef| staged.iter().any(|s| s.file().path == file.path);
        let is_current = |s: &&StagedFile| current.iter().any(|file| s.file().path == file.path);
        Ok(Difference {
            remove: current.iter().filter(|f| may_change(f) && !is_staged(f)).cloned().collect(),
            add: staged
                .iter()
                .filter(|s| may_change(s.file()) && !is_current(s))
                .cloned()
                .collect(),
        })
    }

    /// Progress that this commit may claim. Where a crash left a table ahead of path, the windows
    /// are done once more under a name of their own, as progress never goes back.
    async fn next_progress(&self, table: &Table, step: &Step) -> Result<Progress, StoreError> {
        let app_id = self.app_id(step.writer);
        let reached = table.progress(&app_id).await?;
        let progress = match step.writer {
            Writer::Backfill => Progress::new(app_id, reached.unwrap_or(0) + 1),
            Writer::Live(_) if reached.is_none_or(|reached| reached < step.index) => {
                Progress::new(app_id, step.index)
            }
            Writer::Live(_) => {
                let repair = format!("{}/repair", self.job);
                let generation = table.progress(&repair).await?.unwrap_or(0) + 1;
                Progress::new(repair, generation)
            }
        };
        Ok(progress.with_metadata(&step.metadata))
    }

    fn app_id(&self, writer: Writer) -> String {
        let name = match writer {
            Writer::Live(stage) => stage.code(),
            Writer::Backfill => "backfill",
        };
        format!("{}/{name}", self.job)
    }

    /// Path rows of a run of windows as they are now.
    pub(crate) async fn current_paths(
        &self,
        windows: &Range<i64>,
    ) -> Result<BTreeMap<String, tables::Path>, crate::InputError> {
        let seconds = windows.start / join::SECOND..windows.end / join::SECOND;
        let of_run = |file: &FileRef| window_of(file).is_some_and(|win| seconds.contains(&win));
        let files = self.path.select(of_run).await?.files;
        let mut paths = BTreeMap::new();
        for batch in self.path.read(&files).await? {
            for path in tables::from_batch::<tables::Path>(&batch)? {
                paths.insert(path.path_id.clone(), path);
            }
        }
        Ok(paths)
    }
}

/// What the three tables' commits of one run have in common.
struct Step {
    writer: Writer,
    /// Index of the last window.
    index: i64,
    metadata: String,
    windows: Range<i64>,
}

impl Step {
    fn stage(&self) -> Stage {
        match self.writer {
            Writer::Live(stage) => stage,
            Writer::Backfill => Stage::Final,
        }
    }
}

/// Derived files are named `<window start in seconds>-<stage>-<hash>.parquet`.
fn window_of(file: &FileRef) -> Option<i64> {
    file.name().split('-').next()?.parse().ok()
}

fn is_final_file(file: &FileRef) -> bool {
    file.name().split('-').nth(1) == Some(Stage::Final.code())
}
