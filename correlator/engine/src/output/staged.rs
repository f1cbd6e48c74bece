//! Rows become uploaded files, table by table, before any commit names them.

use arrow::array::RecordBatch;
use join::{Stage, WindowBatches, WindowRows};
use store::{StagedFile, StoreError, Table};
use tables::Row;

use super::{Output, Step, WindowColumns};
use crate::failpoint;

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

impl Counts {
    pub(crate) fn add(&mut self, window: &WindowBatches) {
        self.windows += 1;
        self.paths += window.paths.num_rows();
        self.hops += window.hops.num_rows();
        self.ambiguous += window.rest.ambiguous.len();
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

    /// Uploads one window's rows, those of the large tables from columns.
    pub(crate) async fn stage_window(
        &self,
        window: &WindowBatches,
        step: &Step,
    ) -> Result<Staged, StoreError> {
        failpoint::reach(step.work(), failpoint::Step::Computed);
        let (hops, rest, paths) = tokio::try_join!(
            stage_columns(&self.hop, window.win, &window.hops, step),
            self.stage_rest(&window.rest, step),
            stage_columns(&self.path, window.win, &window.paths, step),
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
