//! Raw rows into the join's columns: only the columns that it reads, only rows of the range, file by
//! file on all cores.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use arrow::error::ArrowError;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use join::window::{ReadRange, long_ns};
use join::{Columns, Settings};
use store::{FileRef, Table, Wanted};

use super::followed::{Followed, Observed};
use super::recent::{Decoded, Recent};
use super::{Input, InputError, Limit};
use crate::pins::Pins;

/// Files decoded at once: enough for all cores of a small machine, and a bound for memory.
const FILES_IN_FLIGHT: usize = 4;

/// What says which collector wrote a row, and where it is in its spool.
const POSITION: [&str; 2] = ["collector", "ingest_seq"];

/// Raw rows of a stretch of time.
#[derive(Default)]
pub(crate) struct Taken {
    /// One for each file, in the order of the files.
    pub(crate) parts: Vec<Columns>,
    pub(crate) pins: Pins,
    pub(crate) rows: usize,
}

impl Input {
    /// Reads what lies in `range`, which may be a part of what a window needs.
    pub(crate) async fn columns(
        &mut self,
        range: &ReadRange,
        limit: Limit<'_>,
        settings: &Settings,
    ) -> Result<Taken, InputError> {
        let mut taken = Taken::default();
        let rows = [("event_ns", range.rows.clone())];
        self.exchanges.take_columns(&rows, limit, &mut taken).await?;
        if !range.requests.is_empty() {
            // Of what comes after, only requests that were open before.
            let began = ("start_ns", i64::MIN..range.requests.start);
            let open = [("event_ns", range.requests.clone()), began];
            self.exchanges.take_columns(&open, limit, &mut taken).await?;
        }
        let longer_than_ns = long_ns(settings);
        self.long.take(&self.exchanges, &range.long, longer_than_ns, limit, &mut taken).await?;
        self.connections.take_columns(&rows, limit, &mut taken).await?;
        self.spans.take_columns(&rows, limit, &mut taken).await?;
        self.access_logs.take_columns(&rows, limit, &mut taken).await?;
        self.quarantine.take_columns(&rows, limit, &mut taken).await?;
        let bindings = [("event_ns", range.connections.clone())];
        self.nat_bindings.take_columns(&bindings, limit, &mut taken).await?;
        let heartbeats = [("event_ns", range.heartbeats.clone())];
        self.heartbeats.take_columns(&heartbeats, limit, &mut taken).await?;
        Ok(taken)
    }

    /// Versions of cluster objects: for the first look, from the last full snapshot before the
    /// range on.
    pub(crate) async fn objects(
        &mut self,
        range: &Range<i64>,
        is_first: bool,
        limit: Limit<'_>,
        taken: &mut Taken,
    ) -> Result<(), InputError> {
        let objects = if is_first {
            self.cluster_history(range, limit, &mut taken.pins).await?
        } else {
            self.cluster_objects.rows(range, limit, &mut taken.pins).await?
        };
        taken.rows += objects.len();
        let mut columns = Columns::default();
        columns.take_objects(objects);
        taken.parts.push(columns);
        Ok(())
    }
}

impl<R: Observed> Followed<R> {
    async fn take_columns(
        &self,
        within: &[(&'static str, Range<i64>)],
        limit: Limit<'_>,
        taken: &mut Taken,
    ) -> Result<(), InputError> {
        let wanted = Wanted { within: within.to_vec(), ..of_join(R::TABLE) };
        let mut parts = pin!(self.parts(&wanted, limit));
        while let Some((columns, pins, rows)) = parts.try_next().await? {
            taken.parts.push(columns);
            taken.pins.merge(&pins);
            taken.rows += rows;
        }
        Ok(())
    }

    /// Wanted rows with what they rest on and how many they are, in the order of the files. The
    /// first range of `wanted` is that of event times.
    pub(super) fn parts(
        &self,
        wanted: &Wanted,
        limit: Limit<'_>,
    ) -> impl Stream<Item = Result<(Columns, Pins, usize), InputError>> + use<R> {
        let files = match wanted.within.first() {
            Some((_, events)) => self.overlapping(events, |_| true),
            None => Vec::new(),
        };
        let limit = limit.map(|pins| Arc::new(pins.clone()));
        // Each read owns what it needs, so that reads may go on on any thread.
        let table = self.table();
        let each = table.into_iter().flat_map(move |table| {
            files.clone().into_iter().map(move |file| (table.clone(), file))
        });
        let (wanted, recent) = (wanted.clone(), self.recent().clone());
        let reads: Vec<_> = each
            .map(|(table, file)| {
                read::<R>(table, file, wanted.clone(), recent.clone(), limit.clone())
            })
            .collect();
        futures::stream::iter(reads).buffered(FILES_IN_FLIGHT)
    }
}

/// The columns that the join reads, with those that say where a row is from.
pub(super) fn of_join(table: &str) -> Wanted {
    let needed = join::names_of_columns(table);
    let position = POSITION.iter().filter(|name| !needed.contains(name));
    let columns = needed.iter().chain(position).map(|&name| name.to_owned()).collect();
    let mut repeated = join::repeated_columns(table).to_vec();
    repeated.push(POSITION[0]);
    Wanted { columns, repeated, ..Wanted::default() }
}

async fn read<R: Observed>(
    table: Table,
    file: FileRef,
    wanted: Wanted,
    recent: Recent,
    limit: Option<Arc<Pins>>,
) -> Result<(Columns, Pins, usize), InputError> {
    let known = whole::<R>(&table, &file, &wanted, &recent).await?;
    let read = match known {
        Some(_) => Vec::new(),
        None => table.read_columns(&file, &wanted).await?,
    };
    let taken = tokio::task::spawn_blocking(move || {
        let rows = match known {
            Some(rows) => within(&rows, &wanted.within)?,
            None => read,
        };
        decoded(R::TABLE, &rows, limit.as_deref())
    });
    match taken.await {
        Ok(taken) => taken,
        // A bug in the pure core: the panic goes on where it can be seen.
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}

/// All rows of a file, where they are known or most of them are wanted, and other runs will want
/// them too.
async fn whole<R: Observed>(
    table: &Table,
    file: &FileRef,
    wanted: &Wanted,
    recent: &Recent,
) -> Result<Option<Decoded>, InputError> {
    if !wanted.any_of.is_empty() || wanted.apart.is_some() {
        return Ok(None);
    }
    let known = recent.get(R::TABLE, file);
    if known.is_some() || !wants_most(file, wanted) {
        return Ok(known);
    }
    let all = Wanted { within: Vec::new(), ..wanted.clone() };
    let rows = Arc::new(table.read_columns(file, &all).await?);
    recent.keep(R::TABLE, file, &rows);
    Ok(Some(rows))
}

/// Whether a file is wanted by its event times alone, and up to its newest row: what comes together
/// happened together, and only what came late lies before the rest.
fn wants_most(file: &FileRef, wanted: &Wanted) -> bool {
    let [(_, events)] = wanted.within.as_slice() else { return false };
    file.stats.get("event_ns").is_some_and(|of_file| of_file.max < events.end)
}

/// The rows in which each of these columns lies in its range.
pub(super) fn within(
    rows: &[RecordBatch],
    ranges: &[(&'static str, Range<i64>)],
) -> Result<Vec<RecordBatch>, ArrowError> {
    let wanted = |rows: &RecordBatch| {
        let mut is_within = vec![true; rows.num_rows()];
        for (name, range) in ranges {
            let missing = || ArrowError::SchemaError(format!("no column {name}"));
            let column = rows.column_by_name(name).ok_or_else(missing)?;
            let values = column.as_primitive::<Int64Type>().values();
            is_within.iter_mut().zip(values).for_each(|(is, value)| *is &= range.contains(value));
        }
        if is_within.iter().all(|is| *is) {
            return Ok(rows.clone());
        }
        filter_record_batch(rows, &BooleanArray::from(is_within))
    };
    rows.iter().map(wanted).collect()
}

/// The rows of batches that may be read, what they rest on, and how many they are.
pub(super) fn decoded(
    table: &str,
    batches: &[RecordBatch],
    limit: Limit<'_>,
) -> Result<(Columns, Pins, usize), InputError> {
    let (mut columns, mut pins, mut rows) = (Columns::default(), Pins::default(), 0);
    for batch in batches {
        let admitted = admitted(table, batch, limit)?;
        note(table, &admitted, &mut pins);
        rows += admitted.num_rows();
        columns.take(table, &admitted)?;
    }
    Ok((columns, pins, rows))
}

/// The rows that may be read.
fn admitted(
    table: &str,
    batch: &RecordBatch,
    limit: Option<&Pins>,
) -> Result<RecordBatch, InputError> {
    let Some(pins) = limit else { return Ok(batch.clone()) };
    let mask: BooleanArray =
        positions(batch).map(|(collector, seq)| Some(pins.admit(table, collector, seq))).collect();
    Ok(filter_record_batch(batch, &mask)?)
}

/// Records how far each collector had come in a batch.
fn note(table: &str, batch: &RecordBatch, pins: &mut Pins) {
    let mut last: Option<(&str, i64)> = None;
    for (collector, seq) in positions(batch) {
        match &mut last {
            Some((known, highest)) if *known == collector => *highest = seq.max(*highest),
            _ => {
                if let Some((known, highest)) = last.replace((collector, seq)) {
                    pins.saw(table, known, highest);
                }
            }
        }
    }
    if let Some((collector, seq)) = last {
        pins.saw(table, collector, seq);
    }
}

/// Collector and position of each row.
fn positions(batch: &RecordBatch) -> impl Iterator<Item = (&str, i64)> {
    let collectors = batch.column_by_name(POSITION[0]);
    let seqs = batch.column_by_name(POSITION[1]).and_then(|c| c.as_primitive_opt::<Int64Type>());
    (0..batch.num_rows()).filter_map(move |row| {
        let collector = collectors?;
        let text = match collector.data_type() {
            DataType::Dictionary(_, _) => {
                let dictionary = collector.as_dictionary_opt::<Int32Type>()?;
                let key = dictionary.key(row)?;
                dictionary.values().as_string_opt::<i32>()?.value(key)
            }
            _ => collector.as_string_opt::<i32>().filter(|c| c.is_valid(row))?.value(row),
        };
        Some((text, seqs?.value(row)))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn file_is_read_whole_where_its_newest_row_is_wanted_and_all_that_happened_then() {
        let stats = [("event_ns".to_owned(), store::Range { min: 5, max: 20 })];
        let check = |within: &[(&'static str, Range<i64>)], stats: BTreeMap<_, _>, expected| {
            let (path, hour) = ("a".to_owned(), "2026-11-21T12".to_owned());
            let file = FileRef { path, hour, size: 1, rows: 1, stats };
            let wanted = Wanted { within: within.to_vec(), ..Wanted::default() };
            assert_eq!(wants_most(&file, &wanted), expected, "{within:?}");
        };
        check(&[("event_ns", 10..21)], stats.clone().into(), true);
        check(&[("event_ns", 0..20)], stats.clone().into(), false);
        check(&[("event_ns", 0..21), ("start_ns", 0..9)], stats.into(), false);
        check(&[("event_ns", 0..21)], BTreeMap::new(), false);
    }

    #[test]
    fn rows_are_taken_that_lie_in_every_range() {
        let column = |values: [i64; 4]| Arc::new(Int64Array::from(values.to_vec())) as _;
        let columns = [("event_ns", column([1, 2, 3, 4])), ("start_ns", column([0, 2, 1, 0]))];
        let rows = [RecordBatch::try_from_iter(columns).unwrap()];
        let found = |ranges: &[(&'static str, Range<i64>)]| -> Vec<i64> {
            let rows = within(&rows, ranges).unwrap();
            let events = rows.iter().flat_map(|rows| {
                rows.column(0).as_primitive::<Int64Type>().values().iter().copied()
            });
            events.collect()
        };
        assert_eq!(found(&[("event_ns", 1..5)]), [1, 2, 3, 4]);
        assert_eq!(found(&[("event_ns", 2..4)]), [2, 3]);
        assert_eq!(found(&[("event_ns", 2..5), ("start_ns", 0..2)]), [3, 4]);
        assert!(within(&rows, &[("end_ns", 0..1)]).is_err());
    }
}
