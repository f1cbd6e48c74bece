//! The raw tables: what was observed, as it was observed, one row an observation.

pub mod access_log;
pub mod capability;
pub mod cluster_object;
pub mod connection;
pub mod exchange;
pub mod failure;
pub mod heartbeat;
pub mod nat_binding;
pub mod quarantine;
pub mod span;

use crate::row::{Micros, hour_of_ns, micros_of_ns};

/// Where a raw row came from. (source, node, boot_id, sequence, item) names it once for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// `agent`, `otlp`, `syslog`, `file` or `kubernetes`.
    pub source: String,
    /// Node name for agents; address of the sender for others.
    pub node: String,
    /// Identity of the sender's life: a boot or process id. Sequences start anew with it.
    pub boot_id: String,
    /// Number of the batch within that life.
    pub sequence: i64,
    /// Index of the record within its batch.
    pub item: i32,
    /// Event time: nanoseconds since the Unix epoch on the observer's clock.
    pub event_ns: i64,
    /// Arrival at the collector, nanoseconds since the Unix epoch on the collector's clock.
    pub received_ns: i64,
    /// Name of the collector, and the position in its spool.
    pub collector: String,
    pub ingest_seq: i64,
}

impl Origin {
    pub(crate) fn event_time(&self) -> Micros {
        micros_of_ns(self.event_ns)
    }
    pub(crate) fn received_at(&self) -> Micros {
        micros_of_ns(self.received_ns)
    }
    pub(crate) fn hour(&self) -> String {
        hour_of_ns(self.event_ns)
    }
}

/// Declares the row type of a raw table: the columns of its origin first, then its own.
macro_rules! raw_row {
    (
        $(#[$meta:meta])*
        $name:ident, table = $table:literal, statistics = [$($stat:literal),*], bloom = [$($bloom:literal),*]
        { $( $(#[$field_meta:meta])* $field:ident : $ty:ty ),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            pub source: String,
            pub node: String,
            pub boot_id: String,
            pub sequence: i64,
            pub item: i32,
            pub event_time: crate::row::Micros,
            pub event_ns: i64,
            pub received_at: crate::row::Micros,
            pub collector: String,
            pub ingest_seq: i64,
            pub hour: String,
            $( $(#[$field_meta])* pub $field: $ty, )*
        }

        impl $name {
            /// An otherwise empty row that says where it came from.
            pub fn from_origin(origin: &crate::Origin) -> Self {
                Self {
                    source: origin.source.clone(),
                    node: origin.node.clone(),
                    boot_id: origin.boot_id.clone(),
                    sequence: origin.sequence,
                    item: origin.item,
                    event_time: origin.event_time(),
                    event_ns: origin.event_ns,
                    received_at: origin.received_at(),
                    collector: origin.collector.clone(),
                    ingest_seq: origin.ingest_seq,
                    hour: origin.hour(),
                    ..Self::default()
                }
            }
        }

        impl crate::Row for $name {
            const TABLE: &'static str = $table;
            const LAYER: crate::Layer = crate::Layer::Raw;
            const STATISTICS: &'static [&'static str] =
                &["event_time", "event_ns", "ingest_seq" $(, $stat)*];
            const BLOOM: &'static [&'static str] = &[$($bloom),*];
            fn hour(&self) -> &str {
                &self.hour
            }
            fn observed_ns(&self) -> Option<i64> {
                Some(self.event_ns)
            }
        }
    };
}
pub(crate) use raw_row;
