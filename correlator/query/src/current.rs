//! The readers' rule: final rows, and for windows that are not final the newest revision of a path
//! that is not withdrawn.
//!
//! A predicate on something that a revision may change must not look at older revisions: a path
//! that was `partial` and became `complete` is no answer to `partial`. So every question has two
//! parts, one that is asked of each row and one that is asked of the newest row only.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::functions_window::expr_fn::rank;
use datafusion::logical_expr::{Expr, ExprFunctionExt, JoinType};
use datafusion::prelude::{DataFrame, SessionContext, col, lit};
use store::FileRef;
use tables::finality;

use crate::files::{self, Bounds};
use crate::scan::FileList;

/// Name of the working column that orders what replaces each other, newest 1.
const AGE: &str = "__age";

/// One table of one pinned snapshot.
pub(crate) struct Pinned {
    pub(crate) spec: tables::TableSpec,
    pub(crate) version: u64,
    pub(crate) folder: ObjectStoreUrl,
    pub(crate) files: Vec<FileRef>,
}

/// What is asked of a derived table.
#[derive(Clone)]
pub(crate) struct Question {
    /// Holds for all revisions of a path or for none.
    pub(crate) of_each: Vec<Expr>,
    /// May hold for one revision of a path and not for the next.
    pub(crate) of_newest: Vec<Expr>,
    pub(crate) bounds: Bounds,
}

/// How many files a question needed, of how many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    pub files: usize,
    pub of: usize,
}

impl Pinned {
    pub(crate) fn scan(&self, ctx: &SessionContext, files: Vec<FileRef>) -> Result<DataFrame> {
        ctx.read_table(Arc::new(FileList::new(&self.spec.schema, self.folder.clone(), files)))
    }
}

/// The rows that answer the question and are current.
pub(crate) fn current(
    ctx: &SessionContext,
    table: &Pinned,
    question: Question,
) -> Result<(DataFrame, Scanned)> {
    let all = files::by_finality(&table.files);
    let fixed_files = files::within(&all.fixed, &question.bounds);
    // What a revision may change cannot skip files either: the newest would be skipped.
    let lasting = question.bounds.of_all_revisions();
    let provisional_files = files::within(&all.provisional, &lasting);
    let superseding_files = files::superseding(&all.fixed, &provisional_files);
    let scanned =
        Scanned { files: fixed_files.len() + provisional_files.len(), of: table.files.len() };

    let fixed = table.scan(ctx, fixed_files)?;
    let fixed = having(having(fixed, &question.of_each)?, &question.of_newest)?;
    if provisional_files.is_empty() {
        return Ok((fixed, scanned));
    }
    let provisional = having(table.scan(ctx, provisional_files)?, &question.of_each)?;
    let superseding = table.scan(ctx, superseding_files)?;
    let newest = without_paths_of(newest_revisions(provisional)?, superseding)?;
    Ok((fixed.union(having(newest, &question.of_newest)?)?, scanned))
}

/// All rows of the newest revision of each path in a window, unless that withdraws it, and of a path
/// that moved those of its newest window. What belongs to no path is revised window by window.
fn newest_revisions(rows: DataFrame) -> Result<DataFrame> {
    let of_window = youngest(vec![col("path_id"), col("win")], "revision")?;
    let is_newest = col(AGE).eq(lit(1_u64)).and(col("finality").not_eq(lit(finality::WITHDRAWN)));
    let rows = rows.window(vec![of_window])?.filter(is_newest)?.drop_columns(&[AGE])?;
    let of_all = youngest(vec![col("path_id")], "win")?;
    let is_newest = col(AGE).eq(lit(1_u64)).or(col("path_id").is_null());
    rows.window(vec![of_all])?.filter(is_newest)?.drop_columns(&[AGE])
}

/// The rank of a row among those that agree in `same`, by what is greatest first.
fn youngest(same: Vec<Expr>, greatest: &str) -> Result<Expr> {
    let order = vec![col(greatest).sort(false, false)];
    Ok(rank().partition_by(same).order_by(order).build()?.alias(AGE))
}

/// Rows whose path is not in `others`: a path that moved to a final window is final.
fn without_paths_of(rows: DataFrame, others: DataFrame) -> Result<DataFrame> {
    let theirs = others.select(vec![col("path_id").alias("final_path_id")])?;
    rows.join(theirs, JoinType::LeftAnti, &["path_id"], &["final_path_id"], None)
}

fn having(rows: DataFrame, predicates: &[Expr]) -> Result<DataFrame> {
    predicates.iter().cloned().try_fold(rows, DataFrame::filter)
}
