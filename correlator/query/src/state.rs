//! What state the data is in: how far each table is, who reported, who lost what.
//!
//! Spans of time reach back from the newest row of a table and not from now, so that a recorded run
//! can be looked at like a live one.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::common::Result as Planned;
use datafusion::functions_aggregate::expr_fn::{count, max};
use datafusion::prelude::{DataFrame, col, lit};
use store::FileRef;
use tables::{Capability, Heartbeat, Layer, Path, Quarantine};

use crate::current::Pinned;
use crate::error::QueryError;
use crate::files::{by_finality, windows};
use crate::reader::{Reader, collect, read_error};

const EVENT: &str = "event_ns";
const SECOND: i64 = 1_000_000_000;

/// Heartbeats that are read: an hour of 250 agents that report every 10 seconds, eleven times over.
const HEARTBEATS_MAX: usize = 1_000_000;
const HEARTBEATS_SPAN_NS: i64 = 3_600 * SECOND;

/// Capability rows that are read: about ten features of 250 nodes, forty starts of each.
const CAPABILITIES_MAX: usize = 100_000;

const QUARANTINE_SPAN_NS: i64 = 24 * 3_600 * SECOND;

/// One table of the product, whether or not it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableState {
    pub name: &'static str,
    pub layer: Layer,
    /// None where nobody has written the table.
    pub content: Option<Content>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub version: u64,
    pub files: usize,
    pub rows: u64,
    /// Newest event time of a raw table, start of the newest window of a derived one.
    pub newest_ns: Option<i64>,
}

/// Windows that have paths, by whether they may still change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    pub provisional: usize,
    pub fixed: usize,
    pub oldest_provisional_ns: Option<i64>,
    pub newest_ns: Option<i64>,
}

/// What was refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub receiver: String,
    pub reason: String,
    pub count: i64,
    pub newest_ns: i64,
}

impl Reader {
    /// The state of every table of the product.
    ///
    /// # Errors
    /// When a table is there and its log cannot be read.
    pub async fn tables(&self) -> Result<Vec<TableState>, QueryError> {
        let mut states = Vec::new();
        for spec in tables::all() {
            let (name, layer) = (spec.name, spec.layer);
            let content = self.pin_existing(spec).await?.map(|table| content(&table));
            states.push(TableState { name, layer, content });
        }
        Ok(states)
    }

    /// How many windows of the `path` table are provisional and how many final.
    ///
    /// # Errors
    /// When the log of the table cannot be read.
    pub async fn windows(&self) -> Result<Windows, QueryError> {
        let table = self.pin_existing(tables::spec::<Path>()).await?;
        Ok(table.map(|table| count_windows(&table.files)).unwrap_or_default())
    }

    /// The heartbeats of the last hour that has any.
    ///
    /// # Errors
    /// When the table is there and cannot be read.
    pub async fn heartbeats(&self) -> Result<Vec<Heartbeat>, QueryError> {
        let Some(table) = self.pin_existing(tables::spec::<Heartbeat>()).await? else {
            return Ok(Vec::new());
        };
        collect(self.newest_span(&table, HEARTBEATS_SPAN_NS), HEARTBEATS_MAX).await
    }

    /// Every capability manifest, newest first.
    ///
    /// # Errors
    /// When the table is there and cannot be read.
    pub async fn capabilities(&self) -> Result<Vec<Capability>, QueryError> {
        let Some(table) = self.pin_existing(tables::spec::<Capability>()).await? else {
            return Ok(Vec::new());
        };
        let rows = table
            .scan(&self.ctx, table.files.clone())
            .and_then(|rows| rows.sort(vec![col(EVENT).sort(false, false)]));
        collect(rows, CAPABILITIES_MAX).await
    }

    /// What was refused on the last day that has anything, most often first.
    ///
    /// # Errors
    /// When the table is there and cannot be read.
    pub async fn refused(&self) -> Result<Vec<Refused>, QueryError> {
        let Some(table) = self.pin_existing(tables::spec::<Quarantine>()).await? else {
            return Ok(Vec::new());
        };
        let counted = async {
            self.newest_span(&table, QUARANTINE_SPAN_NS)?
                .aggregate(
                    vec![col("receiver"), col("reason")],
                    vec![count(lit(1)).alias("count"), max(col(EVENT)).alias("newest_ns")],
                )?
                .sort(vec![col("count").sort(false, false), col("reason").sort(true, false)])?
                .collect()
                .await
        };
        let batches = counted.await.map_err(read_error::<Quarantine>)?;
        Ok(batches.iter().flat_map(refused_rows).collect())
    }

    fn newest_span(&self, table: &Pinned, span_ns: i64) -> Planned<DataFrame> {
        let since = newest_event(&table.files).unwrap_or_default().saturating_sub(span_ns);
        let files = table.files.iter().filter(|file| file.may_overlap(EVENT, since, i64::MAX));
        table.scan(&self.ctx, files.cloned().collect())?.filter(col(EVENT).gt_eq(lit(since)))
    }
}

fn content(table: &Pinned) -> Content {
    let newest_ns = match table.spec.layer {
        Layer::Raw => newest_event(&table.files),
        Layer::Derived => newest_window(&table.files),
    };
    Content {
        version: table.version,
        files: table.files.len(),
        rows: table.files.iter().map(|file| file.rows).sum(),
        newest_ns,
    }
}

fn count_windows(files: &[FileRef]) -> Windows {
    let split = by_finality(files);
    let starts = |files: &[FileRef]| -> BTreeSet<i64> {
        files.iter().filter_map(windows).map(|(first, _)| first).collect()
    };
    let provisional = starts(&split.provisional);
    Windows {
        oldest_provisional_ns: provisional.first().map(|start| start * SECOND),
        newest_ns: newest_window(files),
        provisional: provisional.len(),
        fixed: starts(&split.fixed).len(),
    }
}

fn newest_event(files: &[FileRef]) -> Option<i64> {
    files.iter().filter_map(|file| file.stats.get(EVENT)).map(|range| range.max).max()
}

fn newest_window(files: &[FileRef]) -> Option<i64> {
    files.iter().filter_map(windows).map(|(_, last)| last * SECOND).max()
}

fn refused_rows(batch: &RecordBatch) -> Vec<Refused> {
    let (receivers, reasons) =
        (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
    let counts = batch.column(2).as_primitive::<Int64Type>();
    let newest = batch.column(3).as_primitive::<Int64Type>();
    let row = |i: usize| Refused {
        receiver: receivers.value(i).to_owned(),
        reason: reasons.value(i).to_owned(),
        count: counts.value(i),
        newest_ns: newest.value(i),
    };
    (0..receivers.len()).map(row).collect()
}
