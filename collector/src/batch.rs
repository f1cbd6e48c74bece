//! What every receiver hands on and what the spool holds: admitted rows and who sent them.
//!
//! A [`Batch`] is made after the allow-list, so nothing here can hold a payload. It is the unit of
//! acknowledgement, of deduplication and of the spool; its rows go to one raw table each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tables::Row;

/// Rows of one sender that are stored, or refused, together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub sender: Sender,
    /// The sender's own number, or `None` where the protocol has none: the position in the spool
    /// then serves as one, and the batch can't be recognised when it comes again.
    pub sequence: Option<u64>,
    pub rows: Rows,
}

/// One life of one sender. Sequences count anew with each life.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sender {
    pub source: String,
    pub node: String,
    pub boot_id: String,
}

/// Highest `ingest_seq` that each table holds already, by table name.
pub type Progress = BTreeMap<&'static str, i64>;

macro_rules! rows {
    ($($field:ident: $row:ident),* $(,)?) => {
        /// Rows by table.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Rows {
            $(
                #[serde(skip_serializing_if = "Vec::is_empty")]
                pub $field: Vec<tables::$row>,
            )*
        }

        impl Rows {
            pub fn len(&self) -> usize {
                0 $(+ self.$field.len())*
            }

            /// Writes the position in the spool into every row, and into `sequence` of rows whose
            /// sender has no numbers of its own.
            pub fn stamp(&mut self, ingest_seq: i64, has_own_sequence: bool) {
                $(
                    for row in &mut self.$field {
                        row.ingest_seq = ingest_seq;
                        if !has_own_sequence {
                            row.sequence = ingest_seq;
                        }
                    }
                )*
            }

            /// Moves over the rows of one stamped batch that their tables don't hold yet.
            pub fn take_uncommitted(&mut self, batch: Rows, ingest_seq: i64, progress: &Progress) {
                $(
                    let committed = progress.get(tables::$row::TABLE);
                    if committed.is_none_or(|&committed| ingest_seq > committed) {
                        self.$field.extend(batch.$field);
                    }
                )*
            }
        }

        /// Calls a macro with each field of [`Rows`] and its row type.
        macro_rules! each_table {
            ($callback:ident) => { $callback! { $($field: $row),* } };
        }
        pub(crate) use each_table;
    };
}

rows! {
    connections: Connection,
    nat_bindings: NatBinding,
    exchanges: Exchange,
    failures: Failure,
    capabilities: Capability,
    spans: Span,
    access_logs: AccessLog,
    cluster_objects: ClusterObject,
    quarantine: Quarantine,
    // Committed last: who sees a heartbeat in its table may take it that the rows before it are
    // in theirs.
    heartbeats: Heartbeat,
}

impl Rows {
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_table_that_holds_the_batch_already_are_left_out() {
        let batch = Rows {
            spans: vec![tables::Span::default()],
            heartbeats: vec![tables::Heartbeat::default()],
            ..Rows::default()
        };
        let progress = Progress::from([(tables::Span::TABLE, 7)]);
        for (ingest_seq, spans) in [(6, 0), (7, 0), (8, 1)] {
            let mut rows = Rows::default();
            rows.take_uncommitted(batch.clone(), ingest_seq, &progress);
            assert_eq!((rows.spans.len(), rows.heartbeats.len()), (spans, 1), "{ingest_seq}");
        }
    }

    #[test]
    fn position_becomes_the_sequence_only_of_senders_without_numbers() {
        for (has_own_sequence, expected) in [(true, 3), (false, 9)] {
            let span = tables::Span { sequence: 3, ..tables::Span::default() };
            let mut rows = Rows { spans: vec![span], ..Rows::default() };
            rows.stamp(9, has_own_sequence);
            assert_eq!((rows.spans[0].ingest_seq, rows.spans[0].sequence), (9, expected));
        }
    }
}
