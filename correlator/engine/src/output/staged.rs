//! Rows become uploaded files, table by table, before any commit names them.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, ScopedJoinHandle};

use arrow::array::RecordBatch;
use join::{Run, SECOND, Stage, WindowRows};
use store::{Draft, StagedFile, StoreError, Table, Writing};
use tables::Row;

use super::{Output, Step, WindowColumns};
use crate::failpoint;

/// Batches of a table that wait to be encoded.
const BATCHES_AHEAD: usize = 2;

/// Uploaded files of each table, in the order of their commits.
#[derive(Debug, Default)]
pub(crate) struct Staged(pub(super) Vec<Vec<StagedFile>>);

impl Staged {
    /// Adds another window's files.
    pub(crate) fn append(&mut self, other: Self) {
        self.0.resize(self.0.len().max(other.0.len()), Vec::new());
        for (files, more) in self.0.iter_mut().zip(other.0) {
            files.extend(more);
        }
    }
}

/// How many rows a run of windows has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) windows: usize,
    pub(crate) paths: usize,
    pub(crate) hops: usize,
    pub(crate) ambiguous: usize,
}

/// Writes the files of windows for one piece of work.
#[derive(Clone)]
pub(crate) struct Pen {
    hop: Table,
    path: Table,
    step: Step,
}

/// The rows of one window, hops and paths as files that are nowhere yet.
pub(crate) struct Drafts {
    hops: Option<Draft>,
    paths: Option<Draft>,
    rest: WindowRows,
    pub(crate) counts: Counts,
}

impl Pen {
    /// Computes a window and encodes its hops and paths as they come, each on a thread of its own:
    /// encoding is half of the work, and this is what reading waits for.
    pub(crate) fn write(&self, run: &mut Run, start_ns: i64) -> Result<Drafts, StoreError> {
        let prefix = self.step.prefix(start_ns / SECOND);
        let (hops, paths) = (self.hop.write(&prefix)?, self.path.write(&prefix)?);
        let mut counts = Counts::default();
        thread::scope(|scope| {
            let (to_hops, of_hops) = sync_channel(BATCHES_AHEAD);
            let (to_paths, of_paths) = sync_channel(BATCHES_AHEAD);
            let hops = scope.spawn(|| encode(hops, of_hops));
            let paths = scope.spawn(|| encode(paths, of_paths));
            let rest = run.batches(start_ns, |batches| {
                counts.hops += batches.hops.num_rows();
                counts.paths += batches.paths.num_rows();
                // Who takes no more has failed, and says so below.
                let _ = to_hops.send(batches.hops);
                let _ = to_paths.send(batches.paths);
            });
            drop((to_hops, to_paths));
            counts.windows = usize::from(rest.is_some());
            let rest = rest.unwrap_or_default();
            counts.ambiguous = rest.ambiguous.len();
            Ok(Drafts { hops: drafted(hops)?, paths: drafted(paths)?, rest, counts })
        })
    }
}

/// Encodes the batches of one file; none where they have no rows.
fn encode(mut file: Writing, batches: Receiver<RecordBatch>) -> Result<Option<Draft>, StoreError> {
    let mut rows = 0;
    for batch in batches {
        rows += batch.num_rows();
        file.write(&batch)?;
    }
    (rows > 0).then(|| file.finish()).transpose()
}

fn drafted(
    encoding: ScopedJoinHandle<'_, Result<Option<Draft>, StoreError>>,
) -> Result<Option<Draft>, StoreError> {
    encoding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.windows += other.windows;
        self.paths += other.paths;
        self.hops += other.hops;
        self.ambiguous += other.ambiguous;
    }

    pub(crate) fn of(rows: &[WindowColumns]) -> Self {
        Self {
            windows: rows.len(),
            paths: rows.iter().map(|window| window.paths.num_rows()).sum(),
            hops: rows.iter().map(|window| window.hops.num_rows()).sum(),
            ambiguous: rows.iter().map(|window| window.ambiguous.num_rows()).sum(),
        }
    }
}

impl Output {
    /// Uploads the rows of a revision.
    pub(super) async fn stage(
        &self,
        rows: &[WindowColumns],
        step: &Step,
    ) -> Result<Staged, StoreError> {
        // Where nothing changed the tables still get their commits, for these say that it is done.
        let mut staged = Staged(vec![Vec::new(); self.tables(Stage::Revised).len()]);
        for window in rows {
            let (hops, ambiguous, paths) = tokio::try_join!(
                stage_columns(&self.hop, window.win, &window.hops, step),
                stage_columns(&self.ambiguous, window.win, &window.ambiguous, step),
                stage_columns(&self.path, window.win, &window.paths, step),
            )?;
            staged.append(Staged(vec![hops, ambiguous, paths]));
        }
        Ok(staged)
    }

    /// Uploads the rows of the tables between hop and path.
    async fn stage_rest(
        &self,
        rows: &WindowRows,
        step: &Step,
    ) -> Result<Vec<Vec<StagedFile>>, StoreError> {
        let mut staged = vec![stage(&self.ambiguous, rows.win, &rows.ambiguous, step).await?];
        if step.stage() == Stage::Final {
            staged.push(stage(&self.quality, rows.win, &rows.quality, step).await?);
            staged.push(stage(&self.clock_offset, rows.win, &rows.clock_offsets, step).await?);
            staged.push(stage(&self.edge_minute, rows.win, &rows.edges, step).await?);
            staged.push(stage(&self.calibration, rows.win, &rows.calibrations, step).await?);
        }
        Ok(staged)
    }

    /// What writes the files of a step's windows.
    pub(crate) fn pen(&self, step: &Step) -> Pen {
        Pen { hop: self.hop.clone(), path: self.path.clone(), step: step.clone() }
    }

    /// Uploads one window's rows.
    pub(crate) async fn upload_window(
        &self,
        window: Drafts,
        step: &Step,
    ) -> Result<Staged, StoreError> {
        failpoint::reach(step.work(), failpoint::Step::Computed);
        let Drafts { hops, paths, rest, .. } = window;
        let (hops, rest, paths) = tokio::try_join!(
            upload(&self.hop, hops, step),
            self.stage_rest(&rest, step),
            upload(&self.path, paths, step),
        )?;
        let mut staged = vec![hops];
        staged.extend(rest);
        staged.push(paths);
        Ok(Staged(staged))
    }
}

/// Uploads rows of one window.
async fn stage<R: Row>(
    table: &Table,
    win: i64,
    rows: &[R],
    step: &Step,
) -> Result<Vec<StagedFile>, StoreError> {
    let staged = table.stage_rows(rows, &step.prefix(win)).await?;
    if !staged.is_empty() {
        failpoint::reach(step.work(), failpoint::Step::Uploaded(R::TABLE));
    }
    Ok(staged)
}

/// Uploads a table's file of one window, where it has one.
async fn upload(
    table: &Table,
    file: Option<Draft>,
    step: &Step,
) -> Result<Vec<StagedFile>, StoreError> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let staged = table.upload(file).await?;
    failpoint::reach(step.work(), failpoint::Step::Uploaded(table.spec().name));
    Ok(vec![staged])
}

/// Uploads columns of one window.
async fn stage_columns(
    table: &Table,
    win: i64,
    rows: &RecordBatch,
    step: &Step,
) -> Result<Vec<StagedFile>, StoreError> {
    if rows.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let staged = table.stage(std::slice::from_ref(rows), &step.prefix(win)).await?;
    failpoint::reach(step.work(), failpoint::Step::Uploaded(table.spec().name));
    Ok(vec![staged])
}
