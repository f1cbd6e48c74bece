//! The rows of one window as they were computed, or as they are in the tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, StringArray, new_empty_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use arrow::error::ArrowError;
use join::Run;
use store::Wanted;
use tables::finality;

use super::grouped::groups_of;
use super::{Revisable, column, texts};

/// The rows of a window in the tables that are revised. Texts that repeat are dictionaries, and what
/// another of these tables tells too need not be there.
#[derive(Clone, Debug, Default)]
pub(crate) struct WindowBatches {
    pub(crate) hops: Vec<RecordBatch>,
    pub(crate) ambiguous: Vec<RecordBatch>,
    pub(crate) paths: Vec<RecordBatch>,
}

impl WindowBatches {
    /// Computes a window. None where nothing is known of it.
    pub(crate) fn of(run: &mut Run, start_ns: i64) -> Option<Self> {
        let (mut hops, mut paths) = (Vec::new(), Vec::new());
        let rest = run.batches(start_ns, |batches| {
            hops.push(batches.hops);
            paths.push(batches.paths);
        })?;
        Some(Self { hops, ambiguous: vec![tables::to_batch(&rest.ambiguous)], paths })
    }
}

/// The columns of a table that are needed of the rows before.
pub(crate) fn wanted<R: Revisable>() -> Wanted {
    let schema = tables::spec::<R>().schema;
    let names = schema.fields().iter().map(|field| field.name().clone());
    let columns = names.filter(|name| !R::TOLD_ELSEWHERE.contains(&name.as_str())).collect();
    Wanted { columns, repeated: R::REPEATED.to_vec(), ..Wanted::default() }
}

/// The rows of the newest revision of each group, without groups that are withdrawn.
pub(crate) fn newest(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, ArrowError> {
    let mut newer: BTreeMap<_, i32> = BTreeMap::new();
    let revisions = batches.iter().map(Revisions::of).collect::<Result<Vec<_>, _>>()?;
    let all = revisions.iter().flat_map(|rows| rows.revisions).copied();
    let first = all.min().unwrap_or_default();
    for rows in &revisions {
        for (row, &revision) in rows.revisions.iter().enumerate().filter(|(_, r)| **r > first) {
            let known = newer.entry(rows.key(row)).or_insert(revision);
            *known = revision.max(*known);
        }
    }
    let current = batches.iter().zip(&revisions).map(|(batch, rows)| {
        let is_newest = |row: usize| {
            newer.get(&rows.key(row)).map_or(first, |&newest| newest) == rows.revisions[row]
        };
        let finalities = texts(batch, "finality")?;
        let is_current =
            |row: usize| is_newest(row) && finalities.value(row) != finality::WITHDRAWN;
        let current: BooleanArray = (0..batch.num_rows()).map(|r| Some(is_current(r))).collect();
        filter_record_batch(batch, &current)
    });
    current.collect()
}

/// What the rows of a batch are revisions of.
struct Revisions<'a> {
    groups: &'a StringArray,
    windows: &'a [i64],
    revisions: &'a [i32],
}

impl<'a> Revisions<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        Ok(Self {
            groups: groups_of(batch)?,
            windows: column(batch, "win")?.as_primitive::<Int64Type>().values(),
            revisions: column(batch, "revision")?.as_primitive::<Int32Type>().values(),
        })
    }

    fn key(&self, row: usize) -> (i64, Option<&'a str>) {
        (self.windows[row], self.groups.is_valid(row).then(|| self.groups.value(row)))
    }
}

/// The columns of a table in its order, dictionaries as texts. Lists that are told elsewhere are
/// empty.
pub(super) fn in_schema<R: Revisable>(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = tables::spec::<R>().schema;
    let columns = schema.fields().iter().map(|field| {
        let is_elsewhere = R::TOLD_ELSEWHERE.contains(&field.name().as_str());
        match rows.column_by_name(field.name()) {
            None if is_elsewhere => no_lists(field, rows.num_rows()),
            None => column(rows, field.name()).cloned(),
            Some(found) if found.data_type() == field.data_type() => Ok(found.clone()),
            Some(found) => cast(found, field.data_type()),
        }
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_new(schema, columns)
}

fn no_lists(field: &Field, rows: usize) -> Result<ArrayRef, ArrowError> {
    let DataType::List(item) = field.data_type() else {
        return Err(ArrowError::SchemaError(format!("column {} is no list", field.name())));
    };
    let lengths = OffsetBuffer::from_lengths(std::iter::repeat_n(0, rows));
    let items = new_empty_array(item.data_type());
    Ok(Arc::new(ListArray::try_new(item.clone(), lengths, items, None)?))
}
