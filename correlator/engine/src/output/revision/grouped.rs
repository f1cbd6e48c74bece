//! The groups of a window's rows, and which of them say something else than before.

use std::borrow::Cow;
use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, make_comparator};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::{Revisable, column, texts};

/// Columns that say which output of a window a row belongs to, and nothing of the path.
const STAMPS: [&str; 5] = ["hour", "win", "stage", "revision", "finality"];

/// Path ids; none is that of what belongs to no path.
pub(super) type Groups<'a> = BTreeSet<Option<&'a str>>;

/// A row of several batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    batch: u32,
    row: u32,
}

/// A row of a window and the one that it is compared with.
#[derive(Clone, Copy)]
struct Pair {
    now: At,
    before: At,
}

/// The group of each row.
pub(super) fn groups_of(rows: &RecordBatch) -> Result<&StringArray, ArrowError> {
    texts(rows, "path_id")
}

/// Groups of which one side says what the other does not.
pub(super) fn differing<'a, R: Revisable>(
    before: &'a [RecordBatch],
    now: &'a [RecordBatch],
) -> Result<Groups<'a>, ArrowError> {
    let (old, new) = (Grouped::new(before)?, Grouped::new(now)?);
    let mut old = old.groups().peekable();
    let mut differing = Groups::new();
    let mut pairs = Vec::with_capacity(new.rows.len());
    for (group, rows) in new.groups() {
        while let Some((gone, _)) = old.next_if(|(other, _)| *other < group) {
            differing.insert(gone);
        }
        match old.next_if(|(other, _)| *other == group) {
            Some((_, known)) if known.len() == rows.len() => {
                let both = rows.iter().zip(known);
                pairs.extend(both.map(|(&now, &before)| Pair { now, before }));
            }
            _ => _ = differing.insert(group),
        }
    }
    differing.extend(old.map(|(gone, _)| gone));
    // Both sides are in much the same order: by columns, and in this, memory is read once.
    pairs.sort_unstable_by_key(|pair| (pair.now.batch, pair.before.batch, pair.now.row));
    let others = with_others::<R>(before, now, &pairs)?;
    differing.extend(others.into_iter().map(|at| new.id(at)));
    Ok(differing)
}

/// Rows of `now` that say something else than those `before` that they are paired with.
fn with_others<R: Revisable>(
    before: &[RecordBatch],
    now: &[RecordBatch],
    pairs: &[Pair],
) -> Result<BTreeSet<At>, ArrowError> {
    let schema = tables::spec::<R>().schema;
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let told: Vec<&str> =
        names.filter(|name| !STAMPS.contains(name) && !R::TOLD_ELSEWHERE.contains(name)).collect();
    let mut others = BTreeSet::new();
    for of_both in
        pairs.chunk_by(|a, b| (a.now.batch, a.before.batch) == (b.now.batch, b.before.batch))
    {
        let Some(Pair { now: at_now, before: at_before }) = of_both.first() else { continue };
        let (now, before) = (&now[at_now.batch as usize], &before[at_before.batch as usize]);
        for name in &told {
            let (now, before) = alike(column(now, name)?, column(before, name)?)?;
            let compared = make_comparator(now.as_ref(), before.as_ref(), SortOptions::default())?;
            let is_other = |p: &&Pair| compared(p.now.row as usize, p.before.row as usize).is_ne();
            others.extend(of_both.iter().filter(is_other).map(|pair| pair.now));
        }
    }
    Ok(others)
}

/// Both columns in one type: dictionaries stay where both are.
fn alike<'a>(
    now: &'a ArrayRef,
    before: &'a ArrayRef,
) -> Result<(Cow<'a, ArrayRef>, Cow<'a, ArrayRef>), ArrowError> {
    let (of_now, of_before) = (now.data_type(), before.data_type());
    if of_now == of_before {
        return Ok((Cow::Borrowed(now), Cow::Borrowed(before)));
    }
    match of_before {
        DataType::Dictionary(_, _) => Ok((Cow::Borrowed(now), Cow::Owned(cast(before, of_now)?))),
        _ => Ok((Cow::Owned(cast(now, of_before)?), Cow::Borrowed(before))),
    }
}

/// Rows by group, within a group in their order.
struct Grouped<'a> {
    /// Of each batch.
    ids: Vec<&'a StringArray>,
    rows: Vec<At>,
}

impl<'a> Grouped<'a> {
    fn new(batches: &'a [RecordBatch]) -> Result<Self, ArrowError> {
        let ids = batches.iter().map(groups_of).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::of(ids))
    }

    fn of(ids: Vec<&'a StringArray>) -> Self {
        // The beginnings of ids tell nearly all groups apart.
        let of_batches = (0..).zip(&ids);
        let mut rows: Vec<(u64, At)> = of_batches
            .flat_map(|(batch, ids)| {
                (0..).zip(ids.iter()).map(move |(row, id)| (beginning(id), At { batch, row }))
            })
            .collect();
        let id = |at: At| id(ids[at.batch as usize], at.row);
        rows.sort_unstable_by(|(a, left), (b, right)| {
            a.cmp(b).then_with(|| id(*left).cmp(&id(*right))).then(left.cmp(right))
        });
        Self { rows: rows.into_iter().map(|(_, at)| at).collect(), ids }
    }

    fn groups<'b>(&'b self) -> impl Iterator<Item = (Option<&'a str>, &'b [At])> {
        let groups = self.rows.chunk_by(|a, b| self.id(*a) == self.id(*b));
        groups.map(|rows| (self.id(rows[0]), rows))
    }

    fn id(&self, at: At) -> Option<&'a str> {
        id(self.ids[at.batch as usize], at.row)
    }
}

fn id(ids: &StringArray, row: u32) -> Option<&str> {
    let row = row as usize;
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
        let first = StringArray::from(ids.to_vec());
        let second = StringArray::from(vec![Some("01234567"), Some("")]);
        let grouped = Grouped::of(vec![&first, &second]);
        let of = |rows: &[At]| rows.iter().map(|at| (at.batch, at.row)).collect::<Vec<_>>();
        let found: Vec<_> = grouped.groups().map(|(id, rows)| (id, of(rows))).collect();
        let expected = [
            (None, vec![(0, 1), (0, 5)]),
            (Some(""), vec![(1, 1)]),
            (Some("01234567"), vec![(0, 2), (1, 0)]),
            (Some("0123456788"), vec![(0, 3)]),
            (Some("0123456789"), vec![(0, 0)]),
            (Some("1"), vec![(0, 4)]),
        ];
        assert_eq!(found, expected);
    }
}
