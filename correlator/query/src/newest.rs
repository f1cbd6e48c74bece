//! The newest rows that answer a question, without reading what cannot be among them.
//!
//! Windows are read from the newest backwards, four times as many at each turn. A request starts
//! before the end of its window, so once enough rows start after the first window that was read,
//! no older window can have a newer one.

use datafusion::common::Result as Planned;
use datafusion::logical_expr::JoinType;
use datafusion::prelude::{DataFrame, SessionContext, col};
use tables::{Ambiguous, Path, Row};

use crate::current::{Pinned, Question, Scanned, current};
use crate::error::QueryError;
use crate::files;
use crate::reader::{collect, read_error};

/// Windows of the first turn: five minutes at the default length.
const WINDOWS_FIRST: usize = 32;
const GROWTH: usize = 4;

const SECOND: i64 = 1_000_000_000;

/// Rows that answer a question.
#[derive(Clone, Debug)]
pub struct Answer<R> {
    pub rows: Vec<R>,
    /// More rows answer than were asked for.
    pub is_cut: bool,
    pub scanned: Scanned,
}

/// A row that began at a moment.
pub(crate) trait Started: Row {
    fn start_ns(&self) -> i64;
}

impl Started for Path {
    fn start_ns(&self) -> i64 {
        self.start_ns
    }
}

impl Started for Ambiguous {
    fn start_ns(&self) -> i64 {
        self.start_ns
    }
}

/// A question to one table, and the hops that a path must have one of, if that matters.
pub(crate) struct Search<'a> {
    pub(crate) ctx: &'a SessionContext,
    pub(crate) table: &'a Pinned,
    pub(crate) question: Question,
    pub(crate) hops: Option<&'a DataFrame>,
    pub(crate) limit: usize,
}

impl Search<'_> {
    /// The newest rows, from as few windows as are needed.
    pub(crate) async fn newest<R: Started>(&self) -> Result<Answer<R>, QueryError> {
        let mut windows = WINDOWS_FIRST;
        let bounds = &self.question.bounds;
        while let Some(first) = files::nth_newest_window(&self.table.files, bounds, windows) {
            let bounds = bounds.since_window(first);
            let answer: Answer<R> = self.ask(Question { bounds, ..self.question.clone() }).await?;
            let oldest_ns = answer.rows.last().map_or(i64::MIN, R::start_ns);
            if answer.is_cut && oldest_ns >= first.saturating_mul(SECOND) {
                return Ok(answer);
            }
            windows = windows.saturating_mul(GROWTH);
        }
        self.all().await
    }

    /// The newest rows of all windows, for questions that few rows answer.
    pub(crate) async fn all<R: Started>(&self) -> Result<Answer<R>, QueryError> {
        self.ask(self.question.clone()).await
    }

    async fn ask<R: Started>(&self, question: Question) -> Result<Answer<R>, QueryError> {
        let (rows, scanned) = current(self.ctx, self.table, question).map_err(read_error::<R>)?;
        let newest_first =
            vec![col("start_ns").sort(false, false), col("path_id").sort(true, false)];
        let rows = self.having_hops(rows).and_then(|rows| rows.sort(newest_first));
        // One row more than asked for tells whether there are more.
        let mut rows: Vec<R> = collect(rows, self.limit.saturating_add(1)).await?;
        let is_cut = rows.len() > self.limit;
        rows.truncate(self.limit);
        Ok(Answer { rows, is_cut, scanned })
    }

    fn having_hops(&self, paths: DataFrame) -> Planned<DataFrame> {
        let Some(hops) = self.hops else { return Ok(paths) };
        let theirs = hops.clone().select(vec![col("path_id").alias("hop_path_id")])?;
        paths.join(theirs, JoinType::LeftSemi, &["path_id"], &["hop_path_id"], None)
    }
}
