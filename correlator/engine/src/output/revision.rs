//! Revisions: of what was computed again, the rows that say something new.
//!
//! The rows of a window fall into groups, one for each path and one for what belongs to no path.
//! A group that is as it was is not written. Of a group that changed all rows are written with the
//! new revision, and in a table where it has none any more a row that withdraws it. Nearly all of a
//! window is compared and little of it changes, so rows stay in the columns in which they were
//! computed or read, and only those that changed are put together.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::error::ArrowError;
use tables::{Ambiguous, DecodeError, Hop, Path};

pub(crate) use batches::WindowBatches;
pub(super) use batches::{newest, wanted};
pub(crate) use revisable::Revisable;

use batches::in_schema;
use grouped::{Groups, differing, groups_of};

mod batches;
mod grouped;
mod revisable;

#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    #[error("compare the rows of a window with those before")]
    Columns(#[from] ArrowError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// What one window says that it did not say before, each table's rows in its schema.
#[derive(Clone, Debug)]
pub(crate) struct WindowColumns {
    /// Start of the window, seconds.
    pub(crate) win: i64,
    pub(crate) hops: RecordBatch,
    pub(crate) ambiguous: RecordBatch,
    pub(crate) paths: RecordBatch,
}

impl WindowColumns {
    /// What to write so that the newest rows of a window, which are those `before`, become those of
    /// `now`.
    pub(crate) fn changed(
        win: i64,
        before: &WindowBatches,
        now: &WindowBatches,
        revision: i32,
    ) -> Result<Self, RevisionError> {
        let mut groups = differing::<Path>(&before.paths, &now.paths)?;
        groups.append(&mut differing::<Hop>(&before.hops, &now.hops)?);
        groups.append(&mut differing::<Ambiguous>(&before.ambiguous, &now.ambiguous)?);
        Ok(Self {
            win,
            hops: rows_of::<Hop>(&groups, &before.hops, &now.hops, revision)?,
            ambiguous: rows_of::<Ambiguous>(&groups, &before.ambiguous, &now.ambiguous, revision)?,
            paths: rows_of::<Path>(&groups, &before.paths, &now.paths, revision)?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        [&self.hops, &self.ambiguous, &self.paths].iter().all(|rows| rows.num_rows() == 0)
    }
}

/// Rows of these groups as they are now, and of those that are gone what withdraws them.
fn rows_of<R: Revisable>(
    groups: &Groups<'_>,
    before: &[RecordBatch],
    now: &[RecordBatch],
    revision: i32,
) -> Result<RecordBatch, RevisionError> {
    let mut left = Groups::new();
    let mut rows = Vec::new();
    for batch in now {
        let is_current: BooleanArray = groups_of(batch)?
            .iter()
            .map(|group| {
                let is_current = groups.contains(&group);
                if is_current {
                    left.insert(group);
                }
                Some(is_current)
            })
            .collect();
        let current = in_schema::<R>(&filter_record_batch(batch, &is_current)?)?;
        rows.push(with_revision(&current, revision)?);
    }
    let (mut gone, mut withdrawals) = (BTreeSet::new(), Vec::new());
    for batch in before {
        let mut is_first_gone =
            |group| groups.contains(&group) && !left.contains(&group) && gone.insert(group);
        let is_gone: BooleanArray =
            groups_of(batch)?.iter().map(|group| Some(is_first_gone(group))).collect();
        let of_batch = in_schema::<R>(&filter_record_batch(batch, &is_gone)?)?;
        withdrawals.extend(tables::from_batch::<R>(&of_batch)?);
    }
    let withdrawals: Vec<R> = withdrawals.iter().map(|row| row.withdrawal(revision)).collect();
    rows.push(tables::to_batch(&withdrawals));
    Ok(concat_batches(&tables::spec::<R>().schema, &rows)?)
}

fn with_revision(rows: &RecordBatch, revision: i32) -> Result<RecordBatch, ArrowError> {
    let mut columns = rows.columns().to_vec();
    columns[rows.schema().index_of("revision")?] =
        Arc::new(Int32Array::from(vec![revision; rows.num_rows()]));
    RecordBatch::try_new(rows.schema(), columns)
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
    use arrow::compute::cast;
    use arrow::datatypes::DataType;
    use tables::{PathHop, Row, finality};

    use super::*;

    fn path(id: &str, status: i32) -> Path {
        Path { win: 10, path_id: id.into(), status: Some(status), ..Default::default() }
    }

    fn undecided(path_id: Option<&str>, segment: &str) -> Ambiguous {
        let path_id = path_id.map(str::to_owned);
        Ambiguous { win: 10, path_id, segment: segment.into(), ..Default::default() }
    }

    fn rows(paths: &[Path], ambiguous: &[Ambiguous]) -> WindowBatches {
        WindowBatches {
            hops: Vec::new(),
            ambiguous: vec![tables::to_batch(ambiguous)],
            paths: vec![tables::to_batch(paths)],
        }
    }

    /// What is newest once rows were added.
    fn newest_with(before: &[RecordBatch], added: &RecordBatch) -> Vec<RecordBatch> {
        newest([before, std::slice::from_ref(added)].concat()).unwrap()
    }

    fn read<R: Row>(batches: &[RecordBatch]) -> Vec<R> {
        batches.iter().flat_map(|batch| tables::from_batch(batch).unwrap()).collect()
    }

    /// (group, what it says) of each row, `-` where it is withdrawn.
    fn check(before: &WindowBatches, now: &WindowBatches, paths: &[&str], ambiguous: &[&str]) {
        let changed = WindowColumns::changed(10, before, now, 3).unwrap();
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
        assert_eq!(differing::<Path>(&paths, &now.paths).unwrap(), Groups::new());
        let ambiguous = newest_with(&before.ambiguous, &changed.ambiguous);
        assert_eq!(differing::<Ambiguous>(&ambiguous, &now.ambiguous).unwrap(), Groups::new());
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
        let before = WindowBatches { paths: newest(vec![all]).unwrap(), ..rows(&[], &[]) };
        assert_eq!(read::<Path>(&before.paths), []);
        check(&before, &rows(&[path("a", 200)], &[]), &["a 200"], &[]);
    }

    #[test]
    fn newest_rows_are_those_of_the_last_revision_of_their_window_and_group() {
        let of = |id: &str, win: i64, revision: i32| Path { win, revision, ..path(id, 200) };
        let all = [of("a", 10, 0), of("b", 10, 0), of("a", 20, 0), of("a", 10, 2), of("a", 10, 1)];
        let (first, second) = all.split_at(3);
        let files = vec![tables::to_batch(first), tables::to_batch(second)];
        let newest = read::<Path>(&newest(files).unwrap());
        assert_eq!(newest, [of("b", 10, 0), of("a", 20, 0), of("a", 10, 2)]);
    }

    /// As rows are computed: texts that repeat as dictionaries.
    fn with_dictionaries<R: Revisable>(rows: &[R]) -> RecordBatch {
        let rows = tables::to_batch(rows);
        let text = Box::new(DataType::Utf8);
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), text);
        let columns = rows.schema_ref().fields().iter().zip(rows.columns());
        let columns = columns.map(|(field, column)| match field.name().as_str() {
            name if R::REPEATED.contains(&name) => (name, cast(column, &dictionary).unwrap()),
            name => (name, column.clone()),
        });
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn rows_are_compared_across_batches_and_however_their_texts_are_held() {
        let hop = |id: &str, method: &str| Hop {
            path_id: id.into(),
            method: Some(method.into()),
            ..Default::default()
        };
        let with_hop = |id: &str| Path { hops: vec![PathHop::default()], ..path(id, 200) };
        let now = WindowBatches {
            hops: vec![with_dictionaries(&[hop("a", "GET"), hop("a", "PUT"), hop("b", "GET")])],
            ambiguous: Vec::new(),
            paths: vec![with_dictionaries(&[with_hop("a"), with_hop("b")])],
        };
        let changed = |put: &str| {
            let hops = [hop("a", "GET"), hop("a", put), hop("b", "GET")];
            let paths = with_dictionaries(&[path("a", 200), path("b", 200)]);
            let hops_of_paths = paths.schema().index_of("hops").unwrap();
            let paths = paths.project(&(0..hops_of_paths).collect::<Vec<_>>()).unwrap();
            let before = WindowBatches {
                hops: vec![tables::to_batch(&hops[..1]), with_dictionaries(&hops[1..])],
                ambiguous: Vec::new(),
                paths: vec![paths],
            };
            WindowColumns::changed(10, &before, &now, 1).unwrap()
        };
        assert!(changed("PUT").is_empty());
        for other in ["POST", "TRACE"] {
            let changed = changed(other);
            let hops = read::<Hop>(&[changed.hops]);
            let methods: Vec<_> = hops.iter().filter_map(|hop| hop.method.as_deref()).collect();
            assert_eq!(methods, ["GET", "PUT"], "{other}");
            let paths = read::<Path>(&[changed.paths]);
            assert_eq!((paths.len(), paths[0].hops.len()), (1, 1), "{other}");
        }
    }
}
