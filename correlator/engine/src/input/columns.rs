//! Raw rows into the join's columns: only the columns that it reads, only rows of the range, file by
//! file on all cores.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use join::window::{ReadRange, long_ns};
use join::{Columns, Settings};
use store::{FileRef, Table, Wanted};

use super::followed::{Followed, Observed};
use super::{Input, InputError, Limit, Look, NO_LOOK};
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
        self.exchanges.take_columns(&rows, NO_LOOK, limit, &mut taken).await?;
        if !range.requests.is_empty() {
            // Of what comes after, only requests that were open before.
            let began = ("start_ns", i64::MIN..range.requests.start);
            let open = [("event_ns", range.requests.clone()), began];
            self.exchanges.take_columns(&open, NO_LOOK, limit, &mut taken).await?;
        }
        let longer_than_ns = long_ns(settings);
        self.long.take(&self.exchanges, &range.long, longer_than_ns, limit, &mut taken).await?;
        self.connections.take_columns(&rows, NO_LOOK, limit, &mut taken).await?;
        self.spans.take_columns(&rows, NO_LOOK, limit, &mut taken).await?;
        self.access_logs.take_columns(&rows, NO_LOOK, limit, &mut taken).await?;
        self.quarantine.take_columns(&rows, NO_LOOK, limit, &mut taken).await?;
        let bindings = [("event_ns", range.connections.clone())];
        self.nat_bindings.take_columns(&bindings, NO_LOOK, limit, &mut taken).await?;
        let heartbeats = [("event_ns", range.heartbeats.clone())];
        self.heartbeats.take_columns(&heartbeats, NO_LOOK, limit, &mut taken).await?;
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
    /// Takes rows that came after a look.
    pub(super) async fn take_columns(
        &self,
        within: &[(&'static str, Range<i64>)],
        since: Look,
        limit: Limit<'_>,
        taken: &mut Taken,
    ) -> Result<(), InputError> {
        let wanted = Wanted { within: within.to_vec(), ..of_join(R::TABLE) };
        let mut parts = pin!(self.parts(&wanted, since, limit));
        while let Some((columns, pins, rows)) = parts.try_next().await? {
            taken.parts.push(columns);
            taken.pins.merge(&pins);
            taken.rows += rows;
        }
        Ok(())
    }

    /// Wanted rows that came after a look, with what they rest on and how many they are, in the order
    /// of the files. The first range of `wanted` is that of event times.
    pub(super) fn parts(
        &self,
        wanted: &Wanted,
        since: Look,
        limit: Limit<'_>,
    ) -> impl Stream<Item = Result<(Columns, Pins, usize), InputError>> + use<R> {
        let files = match wanted.within.first() {
            Some((_, events)) => self.since(since, events),
            None => Vec::new(),
        };
        let limit = limit.map(|pins| Arc::new(pins.clone()));
        // Each read owns what it needs, so that reads may go on on any thread.
        let table = self.table();
        let each = table.into_iter().flat_map(move |table| {
            files.clone().into_iter().map(move |file| (table.clone(), file))
        });
        let wanted = wanted.clone();
        let reads: Vec<_> = each
            .map(|(table, file)| read::<R>(table, file, wanted.clone(), limit.clone()))
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
    limit: Option<Arc<Pins>>,
) -> Result<(Columns, Pins, usize), InputError> {
    let rows = table.read_columns(&file, &wanted).await?;
    let taken = tokio::task::spawn_blocking(move || decoded(R::TABLE, &rows, limit.as_deref()));
    match taken.await {
        Ok(taken) => taken,
        // A bug in the pure core: the panic goes on where it can be seen.
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}

/// The rows of batches that may be read, what they rest on, and how many they are.
pub(super) fn decoded(
    table: &str,
    batches: &[RecordBatch],
    limit: Limit<'_>,
) -> Result<(Columns, Pins, usize), InputError> {
    let (mut columns, mut pins, mut rows) = (Columns::default(), Pins::default(), 0);
    columns.reserve(table, batches.iter().map(RecordBatch::num_rows).sum());
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
