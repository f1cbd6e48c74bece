//! What came since a look, whole: for who holds what came before.

use std::ops::Range;

use join::Columns;
use join::window::ReadRange;

use super::columns::Taken;
use super::{Input, InputError, Look, NO_LOOK};

impl Input {
    /// Rows in the ranges that came after a look, and before the first one all of them.
    pub(crate) async fn columns_since(
        &mut self,
        look: Look,
        range: &ReadRange,
    ) -> Result<Taken, InputError> {
        let mut taken = Taken::default();
        let all = &mut taken;
        let of = |events: &Range<i64>| [("event_ns", events.clone())];
        let (rows, bindings) = (of(&range.rows), of(&range.connections));
        self.exchanges.take_columns(&rows, look, None, all).await?;
        self.connections.take_columns(&rows, look, None, all).await?;
        self.spans.take_columns(&rows, look, None, all).await?;
        self.access_logs.take_columns(&rows, look, None, all).await?;
        self.quarantine.take_columns(&rows, look, None, all).await?;
        self.nat_bindings.take_columns(&bindings, look, None, all).await?;
        self.heartbeats.take_columns(&of(&range.heartbeats), look, None, all).await?;
        if look == NO_LOOK {
            self.objects(&range.cluster, true, None, all).await?;
        } else {
            // However old it is: no snapshot since has told of it.
            let ever = i64::MIN..range.cluster.end;
            let objects = self.cluster_objects.rows_since(look, &ever, &mut all.pins).await?;
            all.rows += objects.len();
            let mut columns = Columns::default();
            columns.take_objects(objects);
            all.parts.push(columns);
        }
        Ok(taken)
    }

    /// How many rows that would be, at most.
    pub(crate) fn rows_since(&self, look: Look, range: &ReadRange) -> u64 {
        let count = |files: Vec<store::FileRef>| files.iter().map(|file| file.rows).sum::<u64>();
        count(self.exchanges.since(look, &range.rows))
            + count(self.connections.since(look, &range.rows))
            + count(self.spans.since(look, &range.rows))
            + count(self.access_logs.since(look, &range.rows))
            + count(self.nat_bindings.since(look, &range.connections))
    }

    /// Whether rows from a moment on are in other files since the newest look, without being new.
    pub(crate) fn was_rewritten(&self, from_ns: i64) -> bool {
        self.exchanges.was_rewritten(from_ns)
            || self.connections.was_rewritten(from_ns)
            || self.spans.was_rewritten(from_ns)
            || self.access_logs.was_rewritten(from_ns)
            || self.quarantine.was_rewritten(from_ns)
            || self.nat_bindings.was_rewritten(from_ns)
            || self.heartbeats.was_rewritten(from_ns)
            || self.cluster_objects.was_rewritten(from_ns)
    }
}
