//! The groups of a window's rows, and which of them say something else than before.

use std::collections::BTreeSet;

use arrow::array::{Array, RecordBatch, StringArray, make_comparator};
use arrow::compute::SortOptions;
use arrow::error::ArrowError;

use super::{column, texts};

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
    let (old, new) = (Grouped::new(groups_of(before)?), Grouped::new(groups_of(now)?));
    let mut old = old.groups().peekable();
    let mut differing = Groups::new();
    let mut pairs = Vec::with_capacity(now.num_rows());
    for (group, rows) in new.groups() {
        while let Some((gone, _)) = old.next_if(|(other, _)| *other < group) {
            differing.insert(gone);
        }
        match old.next_if(|(other, _)| *other == group) {
            Some((_, known)) if known.len() == rows.len() => {
                pairs.extend(rows.iter().copied().zip(known.iter().copied()));
            }
            _ => _ = differing.insert(group),
        }
    }
    differing.extend(old.map(|(gone, _)| gone));
    // Both sides are in much the same order: by columns, and in this, memory is read once.
    pairs.sort_unstable();
    let ids = groups_of(now)?;
    let others = with_others(before, now, &pairs)?;
    differing.extend(others.into_iter().map(|row| id(ids, row)));
    Ok(differing)
}

/// Rows of `now` that say something else than those `before` that they are paired with.
fn with_others(
    before: &RecordBatch,
    now: &RecordBatch,
    pairs: &[(usize, usize)],
) -> Result<BTreeSet<usize>, ArrowError> {
    let schema = now.schema();
    let told = schema.fields().iter().filter(|field| !STAMPS.contains(&field.name().as_str()));
    let mut others = BTreeSet::new();
    for field in told {
        let (now, before) = (column(now, field.name())?, column(before, field.name())?);
        let compared = make_comparator(now, before, SortOptions::default())?;
        others.extend(pairs.iter().filter(|(now, old)| compared(*now, *old).is_ne()).map(|p| p.0));
    }
    Ok(others)
}

/// Rows by group, within a group in their order.
struct Grouped<'a> {
    ids: &'a StringArray,
    rows: Vec<usize>,
}

impl<'a> Grouped<'a> {
    fn new(ids: &'a StringArray) -> Self {
        // The beginnings of ids tell nearly all groups apart.
        let mut rows: Vec<(u64, usize)> =
            (0..ids.len()).map(|row| (beginning(id(ids, row)), row)).collect();
        rows.sort_unstable_by(|(a, left), (b, right)| {
            a.cmp(b).then_with(|| id(ids, *left).cmp(&id(ids, *right))).then(left.cmp(right))
        });
        Self { ids, rows: rows.into_iter().map(|(_, row)| row).collect() }
    }

    fn groups<'b>(&'b self) -> impl Iterator<Item = (Option<&'a str>, &'b [usize])> {
        let groups = self.rows.chunk_by(|a, b| id(self.ids, *a) == id(self.ids, *b));
        groups.map(|rows| (id(self.ids, rows[0]), rows))
    }
}

fn id(ids: &StringArray, row: usize) -> Option<&str> {
    ids.is_valid(row).then(|| ids.value(row))
}

/// A number that is no less for a greater id.
fn beginning(id: Option<&str>) -> u64 {
    let mut bytes = [0; 8];
    for (byte, of_id) in bytes.iter_mut().zip(id.unwrap_or_default().bytes()) {
        *byte = of_id;
    }
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_in_the_order_of_their_ids_with_their_rows_in_order() {
        let ids = [Some("0123456789"), None, Some("01234567"), Some("0123456788"), Some("1"), None];
        let ids = StringArray::from([&ids[..], &[Some("01234567"), Some("")]].concat());
        let grouped = Grouped::new(&ids);
        let found: Vec<_> = grouped.groups().map(|(id, rows)| (id, rows.to_vec())).collect();
        let expected = [
            (None, vec![1, 5]),
            (Some(""), vec![7]),
            (Some("01234567"), vec![2, 6]),
            (Some("0123456788"), vec![3]),
            (Some("0123456789"), vec![0]),
            (Some("1"), vec![4]),
        ];
        assert_eq!(found, expected);
    }
}
