//! Revisions: of what was computed again, the rows that say something new.
//!
//! The rows of a window fall into groups, one for each path and one for what belongs to no path.
//! A group that is as it was is not written. Of a group that changed all rows are written with the
//! new revision, and in a table where it has none any more a row that withdraws it. Nearly all of a
//! window is compared and little of it changes, so rows stay in columns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::{Int32Type, Int64Type, Schema};
use arrow::error::ArrowError;
use join::{Run, SECOND, Stage};
use tables::{Ambiguous, DecodeError, Hop, Path, Row, finality};

use grouped::{Groups, differing, groups_of};

mod grouped;

#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    #[error("compare the rows of a window with those before")]
    Columns(#[from] ArrowError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// The rows of one window in the tables that are revised, each in its table's schema.
#[derive(Clone, Debug)]
pub(crate) struct WindowColumns {
    /// Start of the window, seconds.
    pub(crate) win: i64,
    pub(crate) hops: RecordBatch,
    pub(crate) ambiguous: RecordBatch,
    pub(crate) paths: RecordBatch,
}

impl WindowColumns {
    /// Computes a window. None where nothing is known of it.
    pub(crate) fn of(run: &mut Run, start_ns: i64) -> Option<Result<Self, RevisionError>> {
        let (mut hops, mut paths) = (Vec::new(), Vec::new());
        let rest = run.batches(start_ns, |batches| {
            hops.push(in_schema::<Hop>(&batches.hops));
            paths.push(in_schema::<Path>(&batches.paths));
        })?;
        let columns = || {
            Ok(Self {
                win: start_ns / SECOND,
                hops: joined::<Hop>(hops)?,
                ambiguous: tables::to_batch(&rest.ambiguous),
                paths: joined::<Path>(paths)?,
            })
        };
        Some(columns())
    }

    /// What to write so that the newest rows, which these are, become those of `now`.
    pub(crate) fn changed_to(&self, now: &Self, revision: i32) -> Result<Self, RevisionError> {
        changed(self, now, revision)
    }

    pub(crate) fn is_empty(&self) -> bool {
        [&self.hops, &self.ambiguous, &self.paths].iter().all(|rows| rows.num_rows() == 0)
    }
}

/// A row of a table that is revised.
pub(crate) trait Revisable: Row {
    /// What stands for the group of this row once it is gone: what identifies it.
    fn withdrawal(&self, revision: i32) -> Self;
}

macro_rules! revisable {
    ($row:ident, $($identifies:ident),*) => {
        impl Revisable for $row {
            fn withdrawal(&self, revision: i32) -> Self {
                Self {
                    hour: self.hour.clone(),
                    win: self.win,
                    stage: Stage::Revised.code().into(),
                    revision,
                    finality: finality::WITHDRAWN.into(),
                    path_id: self.path_id.clone(),
                    start_time: self.start_time,
                    start_ns: self.start_ns,
                    end_ns: self.end_ns,
                    $($identifies: self.$identifies.clone(),)*
                    ..Self::default()
                }
            }
        }
    };
}

revisable!(Path, request_id, trace_id);
revisable!(Hop,);
revisable!(Ambiguous,);

/// The rows of the newest revision of each group, without groups that are withdrawn.
pub(crate) fn newest(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (groups, finalities) = (groups_of(rows)?, texts(rows, "finality")?);
    let windows = column(rows, "win")?.as_primitive::<Int64Type>().values();
    let revisions = column(rows, "revision")?.as_primitive::<Int32Type>().values();
    let first = revisions.iter().copied().min().unwrap_or_default();
    let key = |row: usize| (windows[row], groups.is_valid(row).then(|| groups.value(row)));
    let mut newer: BTreeMap<_, i32> = BTreeMap::new();
    for (row, &revision) in revisions.iter().enumerate().filter(|(_, r)| **r > first) {
        let known = newer.entry(key(row)).or_insert(revision);
        *known = revision.max(*known);
    }
    let is_newest =
        |row: usize| newer.get(&key(row)).map_or(first, |&newest| newest) == revisions[row];
    let is_current = |row: usize| is_newest(row) && finalities.value(row) != finality::WITHDRAWN;
    let current: BooleanArray = (0..rows.num_rows()).map(|row| Some(is_current(row))).collect();
    filter_record_batch(rows, &current)
}

fn changed(
    before: &WindowColumns,
    now: &WindowColumns,
    revision: i32,
) -> Result<WindowColumns, RevisionError> {
    let mut groups = differing(&before.paths, &now.paths)?;
    groups.append(&mut differing(&before.hops, &now.hops)?);
    groups.append(&mut differing(&before.ambiguous, &now.ambiguous)?);
    Ok(WindowColumns {
        win: now.win,
        hops: rows_of::<Hop>(&groups, &before.hops, &now.hops, revision)?,
        ambiguous: rows_of::<Ambiguous>(&groups, &before.ambiguous, &now.ambiguous, revision)?,
        paths: rows_of::<Path>(&groups, &before.paths, &now.paths, revision)?,
    })
}

/// Rows of these groups as they are now, and of those that are gone what withdraws them.
fn rows_of<R: Revisable>(
    groups: &Groups<'_>,
    before: &RecordBatch,
    now: &RecordBatch,
    revision: i32,
) -> Result<RecordBatch, RevisionError> {
    let mut left = Groups::new();
    let is_current: BooleanArray = groups_of(now)?
        .iter()
        .map(|group| {
            let is_current = groups.contains(&group);
            if is_current {
                left.insert(group);
            }
            Some(is_current)
        })
        .collect();
    let mut gone = BTreeSet::new();
    let is_gone: BooleanArray = groups_of(before)?
        .iter()
        .map(|group| Some(groups.contains(&group) && !left.contains(&group) && gone.insert(group)))
        .collect();
    let gone = tables::from_batch::<R>(&filter_record_batch(before, &is_gone)?)?;
    let withdrawals: Vec<R> = gone.iter().map(|row| row.withdrawal(revision)).collect();
    let current = with_revision(&filter_record_batch(now, &is_current)?, revision)?;
    let withdrawals = tables::to_batch(&withdrawals);
    Ok(concat_batches(&tables::spec::<R>().schema, [&current, &withdrawals])?)
}

fn with_revision(rows: &RecordBatch, revision: i32) -> Result<RecordBatch, ArrowError> {
    let mut columns = rows.columns().to_vec();
    columns[rows.schema().index_of("revision")?] =
        Arc::new(Int32Array::from(vec![revision; rows.num_rows()]));
    RecordBatch::try_new(rows.schema(), columns)
}

/// The columns of a table in its order, dictionaries as texts.
fn in_schema<R: Row>(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema: Arc<Schema> = tables::spec::<R>().schema;
    let columns = schema.fields().iter().map(|field| {
        let found = column(rows, field.name())?;
        if found.data_type() == field.data_type() {
            return Ok(found.clone());
        }
        cast(found, field.data_type())
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_new(schema, columns)
}

fn joined<R: Row>(
    batches: Vec<Result<RecordBatch, ArrowError>>,
) -> Result<RecordBatch, ArrowError> {
    let batches = batches.into_iter().collect::<Result<Vec<_>, ArrowError>>()?;
    concat_batches(&tables::spec::<R>().schema, &batches)
}

fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    let missing = || ArrowError::SchemaError(format!("no column {name}"));
    rows.column_by_name(name).ok_or_else(missing)
}

fn texts<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a StringArray, ArrowError> {
    let other = || ArrowError::SchemaError(format!("column {name} is no text"));
    column(rows, name)?.as_string_opt::<i32>().ok_or_else(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(id: &str, status: i32) -> Path {
        Path { win: 10, path_id: id.into(), status: Some(status), ..Default::default() }
    }

    fn undecided(path_id: Option<&str>, segment: &str) -> Ambiguous {
        let path_id = path_id.map(str::to_owned);
        Ambiguous { win: 10, path_id, segment: segment.into(), ..Default::default() }
    }

    fn rows(paths: &[Path], ambiguous: &[Ambiguous]) -> WindowColumns {
        WindowColumns {
            win: 10,
            hops: tables::to_batch::<Hop>(&[]),
            ambiguous: tables::to_batch(ambiguous),
            paths: tables::to_batch(paths),
        }
    }

    /// What is newest once rows were added.
    fn newest_with(before: &RecordBatch, added: &RecordBatch) -> RecordBatch {
        newest(&concat_batches(&before.schema(), [before, added]).unwrap()).unwrap()
    }

    /// (group, what it says) of each row, `-` where it is withdrawn.
    fn check(before: &WindowColumns, now: &WindowColumns, paths: &[&str], ambiguous: &[&str]) {
        let changed = changed(before, now, 3).unwrap();
        let says = |finality: &str, text: String| {
            if finality == finality::WITHDRAWN { "-".to_owned() } else { text }
        };
        let of_paths = tables::from_batch::<Path>(&changed.paths).unwrap();
        let found: Vec<String> = of_paths
            .iter()
            .map(|p| {
                let status = p.status.unwrap_or_default().to_string();
                format!("{} {}", p.path_id, says(&p.finality, status))
            })
            .collect();
        assert_eq!(found, paths);
        let found: Vec<String> = tables::from_batch::<Ambiguous>(&changed.ambiguous)
            .unwrap()
            .iter()
            .map(|a| {
                let path = a.path_id.as_deref().unwrap_or("none");
                format!("{path} {}", says(&a.finality, a.segment.clone()))
            })
            .collect();
        assert_eq!(found, ambiguous);
        assert!(of_paths.iter().all(|p| p.revision == 3));
        // What is written last is the newest, and says what now is.
        let paths = newest_with(&before.paths, &changed.paths);
        assert_eq!(differing(&paths, &now.paths).unwrap(), Groups::new());
        let ambiguous = newest_with(&before.ambiguous, &changed.ambiguous);
        assert_eq!(differing(&ambiguous, &now.ambiguous).unwrap(), Groups::new());
    }

    #[test]
    fn only_paths_that_changed_are_written() {
        let before = rows(&[path("a", 200), path("b", 200)], &[]);
        check(&before, &before, &[], &[]);
        let now = rows(&[path("a", 200), path("b", 502), path("c", 200)], &[]);
        check(&before, &now, &["b 502", "c 200"], &[]);
    }

    #[test]
    fn path_that_merged_away_is_withdrawn() {
        let before = rows(&[path("a", 200), path("b", 200)], &[undecided(Some("a"), "relay")]);
        let now = rows(&[path("b", 200)], &[]);
        check(&before, &now, &["a -"], &["a -"]);
    }

    #[test]
    fn path_whose_doubt_is_resolved_is_written_in_both_tables() {
        let before = rows(&[path("a", 200)], &[undecided(Some("a"), "relay")]);
        let now = rows(&[path("a", 200)], &[]);
        check(&before, &now, &["a 200"], &["a -"]);
    }

    #[test]
    fn what_belongs_to_no_path_is_revised_together() {
        let (one, two) = (undecided(None, "one"), undecided(None, "two"));
        let before = rows(&[], &[one.clone(), two.clone()]);
        check(&before, &rows(&[], &[two]), &[], &["none two"]);
        check(&before, &rows(&[], &[]), &[], &["none -"]);
    }

    #[test]
    fn path_that_comes_back_after_its_withdrawal_is_written() {
        let gone = path("a", 200).withdrawal(1);
        let all = tables::to_batch(&[path("a", 200), gone]);
        let before = WindowColumns { paths: newest(&all).unwrap(), ..rows(&[], &[]) };
        assert!(before.is_empty());
        check(&before, &rows(&[path("a", 200)], &[]), &["a 200"], &[]);
    }

    #[test]
    fn newest_rows_are_those_of_the_last_revision_of_their_window_and_group() {
        let of = |id: &str, win: i64, revision: i32| Path { win, revision, ..path(id, 200) };
        let all = [of("a", 10, 0), of("b", 10, 0), of("a", 20, 0), of("a", 10, 2), of("a", 10, 1)];
        let newest = newest(&tables::to_batch(&all)).unwrap();
        let newest = tables::from_batch::<Path>(&newest).unwrap();
        assert_eq!(newest, [of("b", 10, 0), of("a", 20, 0), of("a", 10, 2)]);
    }
}
