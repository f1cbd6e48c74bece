//! The groups of a window's rows, and which of them say something else than before.

use std::collections::BTreeSet;

use arrow::array::{Array, DynComparator, RecordBatch, StringArray, make_comparator};
use arrow::compute::SortOptions;
use arrow::error::ArrowError;

use super::texts;

/// Columns that say which output of a window a row belongs to, and nothing of the path.
const STAMPS: [&str; 3] = ["stage", "revision", "finality"];

/// Path ids; none is that of what belongs to no path.
pub(super) type Groups<'a> = BTreeSet<Option<&'a str>>;

/// The group of each row.
pub(super) fn groups_of(rows: &RecordBatch) -> Result<&StringArray, ArrowError> {
    texts(rows, "path_id")
}

/// Groups of which one side says what the other does not.
pub(super) fn differing<'a>(
    before: &'a RecordBatch,
    now: &'a RecordBatch,
) -> Result<Groups<'a>, ArrowError> {
    let comparison = Comparison::new(before, now)?;
    let (before, now) = (Grouped::new(groups_of(before)?), Grouped::new(groups_of(now)?));
    let mut old = before.groups().peekable();
    let mut differing = Groups::new();
    for (group, rows) in now.groups() {
        while let Some((gone, _)) = old.next_if(|(other, _)| *other < group) {
            differing.insert(gone);
        }
        let known = old.next_if(|(other, _)| *other == group);
        if !known.is_some_and(|(_, known)| comparison.say_the_same(known, rows)) {
            differing.insert(group);
        }
    }
    differing.extend(old.map(|(gone, _)| gone));
    Ok(differing)
}

/// Rows by group, within a group in their order.
struct Grouped<'a> {
    ids: &'a StringArray,
    rows: Vec<usize>,
}

impl<'a> Grouped<'a> {
    fn new(ids: &'a StringArray) -> Self {
        let mut rows: Vec<usize> = (0..ids.len()).collect();
        rows.sort_by_key(|row| id(ids, *row));
        Self { ids, rows }
    }

    fn groups<'b>(&'b self) -> impl Iterator<Item = (Option<&'a str>, &'b [usize])> {
        let groups = self.rows.chunk_by(|a, b| id(self.ids, *a) == id(self.ids, *b));
        groups.map(|rows| (id(self.ids, rows[0]), rows))
    }
}

fn id(ids: &StringArray, row: usize) -> Option<&str> {
    ids.is_valid(row).then(|| ids.value(row))
}

/// What compares rows, column by column.
struct Comparison(Vec<DynComparator>);

impl Comparison {
    fn new(before: &RecordBatch, now: &RecordBatch) -> Result<Self, ArrowError> {
        let schema = now.schema();
        let told = schema.fields().iter().filter(|field| !STAMPS.contains(&field.name().as_str()));
        let columns = told.map(|field| {
            let missing = || ArrowError::SchemaError(format!("no column {}", field.name()));
            let of = |rows: &RecordBatch| rows.column_by_name(field.name()).cloned();
            let (before, now) = of(before).zip(of(now)).ok_or_else(missing)?;
            make_comparator(&before, &now, SortOptions::default())
        });
        columns.collect::<Result<_, _>>().map(Self)
    }

    fn say_the_same(&self, before: &[usize], now: &[usize]) -> bool {
        let are_same = |(&before, &now): (&usize, &usize)| {
            self.0.iter().all(|column| column(before, now).is_eq())
        };
        before.len() == now.len() && before.iter().zip(now).all(are_same)
    }
}
