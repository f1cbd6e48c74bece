//! Observations as Arrow columns in the tables' own schemas: what the product's collector writes.
//!
//! Rows go straight into columns, one builder a table and hour of event time, for the benchmarks
//! write tens of millions of them; [`Rows`] is the same as row types, for tests.

mod agent;
mod proxy;
mod socket;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
    new_null_array,
};
use arrow::datatypes::SchemaRef;

use crate::names::{self, Names};
use crate::observation::{Batch, Row, Seen, Sender};

/// Which table, in the order in which a collector's commits go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    Exchange,
    Connection,
    NatBinding,
    Failure,
    Span,
    AccessLog,
    Heartbeat,
    Capability,
    ClusterObject,
}

impl Table {
    pub const ALL: [Self; 9] = [
        Self::Exchange,
        Self::Connection,
        Self::NatBinding,
        Self::Failure,
        Self::Span,
        Self::AccessLog,
        Self::Heartbeat,
        Self::Capability,
        Self::ClusterObject,
    ];

    pub fn spec(self) -> tables::TableSpec {
        match self {
            Self::Exchange => tables::spec::<tables::Exchange>(),
            Self::Connection => tables::spec::<tables::Connection>(),
            Self::NatBinding => tables::spec::<tables::NatBinding>(),
            Self::Failure => tables::spec::<tables::Failure>(),
            Self::Span => tables::spec::<tables::Span>(),
            Self::AccessLog => tables::spec::<tables::AccessLog>(),
            Self::Heartbeat => tables::spec::<tables::Heartbeat>(),
            Self::Capability => tables::spec::<tables::Capability>(),
            Self::ClusterObject => tables::spec::<tables::ClusterObject>(),
        }
    }
}

/// The columns that every raw table begins with, and the partition.
#[derive(Debug, Default)]
struct Origin {
    source: StringBuilder,
    node: StringBuilder,
    boot_id: StringBuilder,
    sequence: Int64Builder,
    item: Int32Builder,
    event_time: TimestampMicrosecondBuilder,
    event_ns: Int64Builder,
    received_at: TimestampMicrosecondBuilder,
    collector: StringBuilder,
    ingest_seq: Int64Builder,
    hour: StringBuilder,
    rows: usize,
}

/// What the rows of one batch have in common.
struct Common<'a> {
    names: &'a Names,
    sender: Sender,
    source: &'static str,
    node: &'a str,
    boot_id: &'a str,
    collector: &'static str,
    received_us: i64,
    ingest_seq: i64,
}

impl Origin {
    fn push(&mut self, common: &Common<'_>, row: &Row, hour: &str) {
        self.source.append_value(common.source);
        self.node.append_value(common.node);
        self.boot_id.append_value(common.boot_id);
        self.sequence.append_value(row.sequence);
        self.item.append_value(row.item);
        self.event_time.append_value(row.event_ns.div_euclid(1_000));
        self.event_ns.append_value(row.event_ns);
        self.received_at.append_value(common.received_us);
        self.collector.append_value(common.collector);
        self.ingest_seq.append_value(common.ingest_seq);
        self.hour.append_value(hour);
        self.rows += 1;
    }

    fn finish(&mut self) -> Vec<(&'static str, ArrayRef)> {
        let utc = |mut times: TimestampMicrosecondBuilder| -> ArrayRef {
            Arc::new(times.finish().with_timezone("UTC"))
        };
        self.rows = 0;
        vec![
            ("source", Arc::new(self.source.finish())),
            ("node", Arc::new(self.node.finish())),
            ("boot_id", Arc::new(self.boot_id.finish())),
            ("sequence", Arc::new(self.sequence.finish())),
            ("item", Arc::new(self.item.finish())),
            ("event_time", utc(std::mem::take(&mut self.event_time))),
            ("event_ns", Arc::new(self.event_ns.finish())),
            ("received_at", utc(std::mem::take(&mut self.received_at))),
            ("collector", Arc::new(self.collector.finish())),
            ("ingest_seq", Arc::new(self.ingest_seq.finish())),
            ("hour", Arc::new(self.hour.finish())),
        ]
    }
}

/// Declares the builders of one table: the columns of its origin, then those of a group that more
/// tables have, then its own.
macro_rules! columns {
    ($name:ident $(with $group:ident: $group_type:ty)? {
        $($field:ident: $builder:ty),* $(,)?
    }) => {
        #[derive(Debug, Default)]
        pub(super) struct $name {
            pub(super) origin: super::Origin,
            $($group: $group_type,)?
            $($field: $builder,)*
        }

        impl $name {
            pub(super) fn finish(&mut self) -> Vec<(&'static str, arrow::array::ArrayRef)> {
                let mut columns = self.origin.finish();
                $(columns.extend(self.$group.finish());)?
                $(columns.push((stringify!($field), std::sync::Arc::new(self.$field.finish())));)*
                columns
            }
        }
    };
}
use columns;

/// Columns in the order of a schema. Columns that the simulator knows nothing of are null.
fn assemble(schema: &SchemaRef, mut columns: Vec<(&'static str, ArrayRef)>) -> RecordBatch {
    let rows = columns.first().map_or(0, |(_, column)| column.len());
    let arrays = schema.fields().iter().map(|field| {
        match columns.iter().position(|(name, _)| name == field.name()) {
            Some(at) => columns.swap_remove(at).1,
            None => new_null_array(field.data_type(), rows),
        }
    });
    let arrays: Vec<ArrayRef> = arrays.collect();
    // Only a column that was changed in the tables and not here can disagree, and tests show it.
    RecordBatch::try_new(schema.clone(), arrays)
        .unwrap_or_else(|e| panic!("columns do not fit their schema: {e}"))
}

/// Builders of all tables for one hour of event time.
#[derive(Debug, Default)]
struct Hour {
    exchanges: agent::Exchanges,
    connections: agent::Connections,
    nat_bindings: agent::NatBindings,
    failures: agent::Failures,
    heartbeats: agent::Heartbeats,
    capabilities: agent::Capabilities,
    spans: proxy::Spans,
    access_logs: proxy::AccessLogs,
    cluster_objects: watch::ClusterObjects,
}

/// Rows that wait to be columns, by hour.
#[derive(Debug)]
pub struct Columns {
    hours: BTreeMap<i64, (String, Hour)>,
    schemas: BTreeMap<Table, SchemaRef>,
}

impl Default for Columns {
    fn default() -> Self {
        let schemas = Table::ALL.map(|table| (table, table.spec().schema));
        Self { hours: BTreeMap::new(), schemas: schemas.into() }
    }
}

const HOUR_NS: i64 = 3_600_000_000_000;

impl Columns {
    pub fn take(&mut self, batch: &Batch, names: &Names) {
        let boot_id = names.life(batch.sender);
        let common = Common {
            names,
            sender: batch.sender,
            source: names::source(batch.sender),
            node: names.sender(batch.sender),
            boot_id: &boot_id,
            collector: names::collector(batch.collector),
            received_us: batch.received_ns.div_euclid(1_000),
            ingest_seq: batch.ingest_seq,
        };
        for row in &batch.rows {
            let hour = row.event_ns.div_euclid(HOUR_NS);
            let (hour, builders) = self
                .hours
                .entry(hour)
                .or_insert_with(|| (tables::hour_of_ns(row.event_ns), Hour::default()));
            match &row.seen {
                Seen::Exchange(e) => builders.exchanges.push(e, row, &common, hour),
                Seen::Connection(c) => builders.connections.push(c, row, &common, hour),
                Seen::NatBinding(n) => builders.nat_bindings.push(n, row, &common, hour),
                Seen::Failure(f) => builders.failures.push(f, row, &common, hour),
                Seen::Span(s) => builders.spans.push(s, row, &common, hour),
                Seen::AccessLog(l) => builders.access_logs.push(l, row, &common, hour),
                Seen::Heartbeat(h) => builders.heartbeats.push(h, row, &common, hour),
                Seen::Capability(c) => builders.capabilities.push(c, row, &common, hour),
                Seen::ClusterObject(o) => builders.cluster_objects.push(o, row, &common, hour),
            }
        }
    }

    /// Rows taken since the last call: one batch a table and hour that has any.
    pub fn finish(&mut self) -> Vec<(Table, RecordBatch)> {
        let mut batches = Vec::new();
        for (_, hour) in self.hours.values_mut() {
            macro_rules! finish_each {
                ($($table:ident: $field:ident),*) => {
                    $(if hour.$field.origin.rows > 0 {
                        let columns = hour.$field.finish();
                        let schema = &self.schemas[&Table::$table];
                        batches.push((Table::$table, assemble(schema, columns)));
                    })*
                };
            }
            finish_each!(
                Exchange: exchanges,
                Connection: connections,
                NatBinding: nat_bindings,
                Failure: failures,
                Span: spans,
                AccessLog: access_logs,
                Heartbeat: heartbeats,
                Capability: capabilities,
                ClusterObject: cluster_objects
            );
        }
        batches.sort_by_key(|(table, _)| *table);
        batches
    }
}

/// The same as row types.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub exchanges: Vec<tables::Exchange>,
    pub connections: Vec<tables::Connection>,
    pub nat_bindings: Vec<tables::NatBinding>,
    pub failures: Vec<tables::Failure>,
    pub spans: Vec<tables::Span>,
    pub access_logs: Vec<tables::AccessLog>,
    pub heartbeats: Vec<tables::Heartbeat>,
    pub capabilities: Vec<tables::Capability>,
    pub cluster_objects: Vec<tables::ClusterObject>,
}

impl Rows {
    /// # Errors
    /// When a batch is not in the schema of its table.
    pub fn of(batches: &[(Table, RecordBatch)]) -> Result<Self, tables::DecodeError> {
        let mut rows = Self::default();
        for (table, batch) in batches {
            match table {
                Table::Exchange => rows.exchanges.extend(tables::from_batch(batch)?),
                Table::Connection => rows.connections.extend(tables::from_batch(batch)?),
                Table::NatBinding => rows.nat_bindings.extend(tables::from_batch(batch)?),
                Table::Failure => rows.failures.extend(tables::from_batch(batch)?),
                Table::Span => rows.spans.extend(tables::from_batch(batch)?),
                Table::AccessLog => rows.access_logs.extend(tables::from_batch(batch)?),
                Table::Heartbeat => rows.heartbeats.extend(tables::from_batch(batch)?),
                Table::Capability => rows.capabilities.extend(tables::from_batch(batch)?),
                Table::ClusterObject => rows.cluster_objects.extend(tables::from_batch(batch)?),
            }
        }
        Ok(rows)
    }
}
