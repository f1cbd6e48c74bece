//! The raw tables as the correlator reads them: followed, pruned by statistics, decoded once.
//!
//! Heartbeats are looked at before everything else. The collector commits them after the rows they
//! cover, so whatever a watermark stands on is visible by the time the rows are read.

use std::ops::Range;

use join::SECOND;
use join::window::ReadRange;
use store::{Store, StoreError};
use tables::DecodeError;

use crate::output::RevisionError;
use crate::pins::Pins;

mod arrived;
mod columns;
mod earlier;
mod followed;
mod long;
mod since;

use long::LongRequests;

pub(crate) use arrived::Arrival;
pub(crate) use columns::Taken;
pub(crate) use followed::{Followed, collector_of};

/// Full snapshots of the cluster are hourly; this far back there is one unless they are late.
const SNAPSHOT_NS: i64 = 2 * 3_600 * SECOND;

/// Objects of one snapshot are seen one after another within this time.
const SNAPSHOT_SPREAD_NS: i64 = 60 * SECOND;

#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Columns(#[from] join::ColumnError),
    #[error(transparent)]
    Revision(#[from] RevisionError),
    #[error("leave out rows that are not wanted")]
    Limit(#[from] arrow::error::ArrowError),
}

/// Number of a look at the raw tables, from 1.
pub(crate) type Look = u64;

/// Before the first look.
pub(crate) const NO_LOOK: Look = 0;

/// Every raw table that the join reads.
pub(crate) struct Input {
    exchanges: Followed<tables::Exchange>,
    connections: Followed<tables::Connection>,
    nat_bindings: Followed<tables::NatBinding>,
    failures: Followed<tables::Failure>,
    spans: Followed<tables::Span>,
    access_logs: Followed<tables::AccessLog>,
    heartbeats: Followed<tables::Heartbeat>,
    quarantine: Followed<tables::Quarantine>,
    cluster_objects: Followed<tables::ClusterObject>,
    /// Requests longer than the guard, by file.
    long: LongRequests,
    /// How often new files were looked for.
    looks: Look,
}

/// What may be read: all that is visible, or what was visible when something was computed before.
pub(crate) type Limit<'a> = Option<&'a Pins>;

impl Input {
    /// Reads the tables of a store.
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            exchanges: Followed::new(store),
            connections: Followed::new(store),
            nat_bindings: Followed::new(store),
            failures: Followed::new(store),
            spans: Followed::new(store),
            access_logs: Followed::new(store),
            heartbeats: Followed::new(store),
            quarantine: Followed::new(store),
            cluster_objects: Followed::new(store),
            long: LongRequests::default(),
            looks: NO_LOOK,
        }
    }

    /// Looks for new files in every table, and answers the heartbeats among them.
    pub(crate) async fn refresh(&mut self) -> Result<Vec<tables::Heartbeat>, InputError> {
        let look = self.looks + 1;
        let new = self.heartbeats.refresh(look).await?;
        self.exchanges.refresh(look).await?;
        self.connections.refresh(look).await?;
        self.nat_bindings.refresh(look).await?;
        self.failures.refresh(look).await?;
        self.spans.refresh(look).await?;
        self.access_logs.refresh(look).await?;
        self.quarantine.refresh(look).await?;
        self.cluster_objects.refresh(look).await?;
        self.looks = look;
        self.heartbeats.newest_of(new).await
    }

    /// Event time of the oldest row that could be part of a path.
    pub(crate) fn oldest_ns(&self) -> Option<i64> {
        let oldest =
            [self.exchanges.oldest_ns(), self.spans.oldest_ns(), self.access_logs.oldest_ns()];
        oldest.into_iter().flatten().min()
    }

    /// The look that what is visible now comes from.
    pub(crate) fn look(&self) -> Look {
        self.looks
    }

    /// How far each collector has come in each table, as far as is visible.
    pub(crate) fn visible(&self) -> Pins {
        let mut pins = Pins::default();
        self.exchanges.visible(&mut pins);
        self.connections.visible(&mut pins);
        self.nat_bindings.visible(&mut pins);
        self.failures.visible(&mut pins);
        self.spans.visible(&mut pins);
        self.access_logs.visible(&mut pins);
        pins
    }

    /// Rows about events before a moment that came in the looks after the first of the range up to
    /// its end, without those that are `known`.
    pub(crate) async fn arrived(
        &self,
        looks: Range<Look>,
        before_ns: i64,
        known: &Pins,
    ) -> Result<Vec<Arrival>, InputError> {
        let mut rows = self.exchanges.arrived(&looks, before_ns, known).await?;
        rows.extend(self.connections.arrived(&looks, before_ns, known).await?);
        rows.extend(self.nat_bindings.arrived(&looks, before_ns, known).await?);
        rows.extend(self.failures.arrived(&looks, before_ns, known).await?);
        rows.extend(self.spans.arrived(&looks, before_ns, known).await?);
        rows.extend(self.access_logs.arrived(&looks, before_ns, known).await?);
        Ok(rows)
    }

    /// Whether rows of the range that paths are made of came after a look.
    pub(crate) async fn touched_since(
        &self,
        look: Look,
        range: &ReadRange,
    ) -> Result<bool, InputError> {
        let ReadRange { rows, requests, connections, .. } = range;
        // Of the time after the rows, only requests that were open before.
        let open = [("start_ns", i64::MIN..requests.start)];
        Ok(self.exchanges.touched_since(look, rows, &[]).await?
            || self.exchanges.touched_since(look, requests, &open).await?
            || self.spans.touched_since(look, rows, &[]).await?
            || self.access_logs.touched_since(look, rows, &[]).await?
            || self.failures.touched_since(look, rows, &[]).await?
            || self.connections.touched_since(look, connections, &[]).await?
            || self.nat_bindings.touched_since(look, connections, &[]).await?)
    }

    /// Rows of the range, and those from the last full snapshot before it on.
    async fn cluster_history(
        &mut self,
        range: &Range<i64>,
        limit: Limit<'_>,
        pins: &mut Pins,
    ) -> Result<Vec<tables::ClusterObject>, InputError> {
        let recent = range.start - SNAPSHOT_NS..range.end;
        let mut rows = self.cluster_objects.rows(&recent, limit, pins).await?;
        let mut snapshot = last_snapshot(&rows, range.start);
        if snapshot.is_none() {
            rows = self.cluster_objects.rows(&(i64::MIN..range.end), limit, pins).await?;
            snapshot = last_snapshot(&rows, range.start);
        }
        if let Some(at) = snapshot {
            rows.retain(|row| row.event_ns >= at - SNAPSHOT_SPREAD_NS);
        }
        Ok(rows)
    }

    /// Drops what no window from here on reads.
    pub(crate) fn forget_before(&mut self, ns: i64) {
        self.exchanges.forget_before(ns);
        self.long.retain(|path| self.exchanges.has(path));
        self.connections.forget_before(ns);
        self.nat_bindings.forget_before(ns);
        self.failures.forget_before(ns);
        self.spans.forget_before(ns);
        self.access_logs.forget_before(ns);
        self.heartbeats.forget_before(ns);
        self.quarantine.forget_before(ns);
    }
}

fn last_snapshot(rows: &[tables::ClusterObject], before_ns: i64) -> Option<i64> {
    rows.iter()
        .filter(|row| row.change == "snapshot" && row.event_ns < before_ns)
        .map(|row| row.event_ns)
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(change: &str, event_ns: i64) -> tables::ClusterObject {
        tables::ClusterObject { change: change.into(), event_ns, ..Default::default() }
    }

    #[test]
    fn last_snapshot_is_the_newest_one_before_the_range() {
        let rows = [
            object("snapshot", 10),
            object("snapshot", 20),
            object("modified", 25),
            object("snapshot", 30),
        ];
        assert_eq!(last_snapshot(&rows, 30), Some(20));
        assert_eq!(last_snapshot(&rows, 31), Some(30));
        assert_eq!(last_snapshot(&rows, 10), None);
    }
}
