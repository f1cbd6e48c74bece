//! Raw rows as the join holds them: records of fixed size, texts as numbers, ids as integers.
//!
//! A caller fills [`Columns`] from the Arrow batches of the raw tables, in any order, or from row
//! structs with [`Columns::from_rows`].

mod access_log;
mod exchange;
mod read;
mod rest;
mod span;

use arrow::array::RecordBatch;
use tables::Row;

pub(crate) use access_log::{AccessLog, Attempt};
pub(crate) use exchange::{Ended, Exchange, Protocol, Role};
pub use read::ColumnError;
pub(crate) use rest::{Binding, EndCause, Ending, Heartbeat};
pub(crate) use span::{Kind, Span};

use crate::id::OddIds;
use crate::names::{Name, Names};
use crate::order::Named;

/// Raw rows as row structs. Rows that no window needs, and duplicates, do no harm.
#[derive(Clone, Debug, Default)]
pub struct Observations {
    pub exchanges: Vec<tables::Exchange>,
    pub connections: Vec<tables::Connection>,
    pub nat_bindings: Vec<tables::NatBinding>,
    pub spans: Vec<tables::Span>,
    pub access_logs: Vec<tables::AccessLog>,
    pub heartbeats: Vec<tables::Heartbeat>,
    pub cluster_objects: Vec<tables::ClusterObject>,
    pub quarantine: Vec<tables::Quarantine>,
}

/// An exchange that contradicts itself, or input that a door of the collector could not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Malformed {
    pub(crate) event_ns: i64,
    /// The observer, or the sender of the input.
    pub(crate) node: Name,
    /// The door.
    pub(crate) receiver: Option<Name>,
}

impl Named for Malformed {
    fn names(&self) -> [Option<Name>; 3] {
        [Some(self.node), self.receiver, None]
    }

    fn unnamed(self) -> Self {
        Self { node: Name::FIRST, receiver: None, ..self }
    }
}

/// Raw rows in columns.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) malformed: Vec<Malformed>,
    pub(crate) spans: Vec<Span>,
    pub(crate) access_logs: Vec<AccessLog>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) endings: Vec<Ending>,
    pub(crate) heartbeats: Vec<Heartbeat>,
    pub(crate) objects: Vec<tables::ClusterObject>,
    pub(crate) names: Names,
    pub(crate) odd_ids: OddIds,
}

impl Columns {
    /// Makes room for rows of a table: these are large, and are not to be moved when more come.
    pub fn reserve(&mut self, table: &str, rows: usize) {
        match table {
            tables::Exchange::TABLE => self.exchanges.reserve(rows),
            tables::Span::TABLE => self.spans.reserve(rows),
            tables::AccessLog::TABLE => self.access_logs.reserve(rows),
            _ => {}
        }
    }

    /// Appends the rows of a batch of the raw table `table`. Tables that the join does not read
    /// are passed over.
    ///
    /// # Errors
    /// When a column is missing or of another type than the table's contract says.
    pub fn take(&mut self, table: &str, batch: &RecordBatch) -> Result<(), ColumnError> {
        match table {
            tables::Exchange::TABLE => exchange::take(self, batch),
            tables::Span::TABLE => span::take(self, batch),
            tables::AccessLog::TABLE => access_log::take(self, batch),
            tables::NatBinding::TABLE => rest::take_bindings(self, batch),
            tables::Connection::TABLE => rest::take_endings(self, batch),
            tables::Heartbeat::TABLE => rest::take_heartbeats(self, batch),
            tables::Quarantine::TABLE => rest::take_refused(self, batch),
            _ => Ok(()),
        }
    }

    /// Appends versions of cluster objects; they are few, and are read as rows.
    pub fn take_objects(&mut self, objects: Vec<tables::ClusterObject>) {
        self.objects.extend(objects);
    }

    /// # Errors
    /// Never for rows of this release's types.
    pub fn from_rows(rows: &Observations) -> Result<Self, ColumnError> {
        let mut columns = Self::default();
        columns.take_rows(&rows.exchanges)?;
        columns.take_rows(&rows.connections)?;
        columns.take_rows(&rows.nat_bindings)?;
        columns.take_rows(&rows.spans)?;
        columns.take_rows(&rows.access_logs)?;
        columns.take_rows(&rows.heartbeats)?;
        columns.take_rows(&rows.quarantine)?;
        columns.take_objects(rows.cluster_objects.clone());
        Ok(columns)
    }

    fn take_rows<R: Row>(&mut self, rows: &[R]) -> Result<(), ColumnError> {
        self.reserve(R::TABLE, rows.len());
        self.take(R::TABLE, &tables::to_batch(rows))
    }

    /// Makes the names of these rows those of `names`.
    pub(crate) fn rename(&mut self, names: &mut Names) {
        let translation = names.take(&self.names);
        self.names = Names::default();
        let t = &translation;
        self.exchanges.iter_mut().for_each(|row| row.rename(t));
        self.spans.iter_mut().for_each(|row| row.rename(t));
        self.access_logs.iter_mut().for_each(|row| row.rename(t));
        self.bindings.iter_mut().for_each(|row| row.rename(t));
        self.endings.iter_mut().for_each(|row| row.rename(t));
        self.heartbeats.iter_mut().for_each(|row| row.rename(t));
        self.malformed.iter_mut().for_each(|row| {
            t.apply(&mut row.node);
            t.apply_to(&mut row.receiver);
        });
    }
}

/// Columns of a raw table that the join reads, for a reader that projects.
pub fn names_of_columns(table: &str) -> &'static [&'static str] {
    match table {
        tables::Exchange::TABLE => &[
            "node",
            "event_ns",
            "netns_cookie",
            "pod_uid",
            "attributed_by",
            "socket_cookie",
            "role",
            "local_ip",
            "local_port",
            "remote_ip",
            "remote_port",
            "ordinal",
            "tcp_seq_req",
            "tcp_seq_resp",
            "start_ns",
            "first_response_ns",
            "end_ns",
            "bytes_request",
            "bytes_response",
            "process",
            "thread",
            "response_thread",
            "ended_by",
            "protocol",
            "stream_id",
            "is_stream",
        ],
        tables::Span::TABLE => &[
            "event_ns",
            "trace_id",
            "span_id",
            "parent_span_id",
            "kind",
            "pod_uid",
            "sender_ip",
            "start_ns",
            "end_ns",
            "method",
            "route",
            "status_code",
            "peer_ip",
            "peer_port",
            "request_id",
        ],
        tables::AccessLog::TABLE => &[
            "event_ns",
            "collector",
            "ingest_seq",
            "item",
            "emitter_ip",
            "pod_uid",
            "request_id",
            "trace_id",
            "remote_ip",
            "remote_port",
            "method",
            "route",
            "status",
            "bytes_received",
            "body_bytes_sent",
            "end_lo_ns",
            "end_hi_ns",
            "duration_ns",
            "duration_error_ns",
            "attempts",
            "attempts_malformed",
            "upstream_name",
            "upstream_local_ip",
            "upstream_local_port",
            "attempt_count",
            "response_flags",
        ],
        tables::NatBinding::TABLE => &[
            "node",
            "event_ns",
            "netns_cookie",
            "zone",
            "original_source_ip",
            "original_source_port",
            "original_destination_ip",
            "original_destination_port",
            "reply_source_ip",
            "reply_source_port",
            "reply_destination_ip",
            "reply_destination_port",
            "first_seen_ns",
        ],
        tables::Quarantine::TABLE => &["node", "event_ns", "receiver", "reason"],
        tables::Connection::TABLE => &["node", "event_ns", "socket_cookie", "end_cause"],
        tables::Heartbeat::TABLE => &[
            "source",
            "node",
            "event_ns",
            "covered_from_ns",
            "covered_to_ns",
            "lost_kernel",
            "lost_user",
            "shipped",
            "clock_epoch_ns",
            "clock_boot_ns",
            "clock_wall_ns",
        ],
        _ => &[],
    }
}

/// Those of them whose texts repeat from row to row, for a reader that decodes dictionaries.
pub fn repeated_columns(table: &str) -> &'static [&'static str] {
    match table {
        tables::Exchange::TABLE => &[
            "node",
            "pod_uid",
            "attributed_by",
            "role",
            "local_ip",
            "remote_ip",
            "ended_by",
            "protocol",
        ],
        tables::Span::TABLE => &["kind", "pod_uid", "sender_ip", "peer_ip", "method", "route"],
        tables::AccessLog::TABLE => {
            &["collector", "emitter_ip", "pod_uid", "remote_ip", "method", "route"]
        }
        tables::NatBinding::TABLE => {
            &["node", "original_destination_ip", "reply_source_ip", "reply_destination_ip"]
        }
        tables::Connection::TABLE => &["node", "end_cause"],
        tables::Heartbeat::TABLE => &["source", "node"],
        _ => &[],
    }
}

/// Within 73 years of the epoch: sums of three such times never overflow.
fn sane(ns: i64) -> bool {
    ns.unsigned_abs() < 1 << 61
}
