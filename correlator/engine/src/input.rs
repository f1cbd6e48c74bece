//! The raw tables as the correlator reads them: followed, pruned by statistics, decoded once.
//!
//! Heartbeats are looked at before everything else. The collector commits them after the rows they
//! cover, so whatever a watermark stands on is visible by the time the rows are read.

use std::collections::BTreeMap;
use std::ops::Range;

use join::window::ReadRange;
use join::{Observations, SECOND};
use store::{Store, StoreError};
use tables::DecodeError;

mod followed;

pub(crate) use followed::Followed;

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
}

/// Every raw table that the join reads.
pub(crate) struct Input {
    exchanges: Followed<tables::Exchange>,
    connections: Followed<tables::Connection>,
    nat_bindings: Followed<tables::NatBinding>,
    failures: Followed<tables::Failure>,
    spans: Followed<tables::Span>,
    access_logs: Followed<tables::AccessLog>,
    heartbeats: Followed<tables::Heartbeat>,
    cluster_objects: Followed<tables::ClusterObject>,
}

/// Per collector, the highest position in its spool of the rows that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pins(pub(crate) BTreeMap<String, i64>);

impl Pins {
    pub(crate) fn saw(&mut self, collector: &str, ingest_seq: i64) {
        match self.0.get_mut(collector) {
            Some(highest) => *highest = ingest_seq.max(*highest),
            None => {
                self.0.insert(collector.to_owned(), ingest_seq);
            }
        }
    }
}

impl Input {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            exchanges: Followed::new(store),
            connections: Followed::new(store),
            nat_bindings: Followed::new(store),
            failures: Followed::new(store),
            spans: Followed::new(store),
            access_logs: Followed::new(store),
            heartbeats: Followed::new(store),
            cluster_objects: Followed::new(store),
        }
    }

    /// Looks for new files in every table, and answers the heartbeats among them.
    pub(crate) async fn refresh(&mut self) -> Result<Vec<tables::Heartbeat>, InputError> {
        let new = self.heartbeats.refresh().await?;
        self.exchanges.refresh().await?;
        self.connections.refresh().await?;
        self.nat_bindings.refresh().await?;
        self.failures.refresh().await?;
        self.spans.refresh().await?;
        self.access_logs.refresh().await?;
        self.cluster_objects.refresh().await?;
        self.heartbeats.newest_of(new).await
    }

    /// Event time of the oldest row that could be part of a path.
    pub(crate) fn oldest_ns(&self) -> Option<i64> {
        let oldest =
            [self.exchanges.oldest_ns(), self.spans.oldest_ns(), self.access_logs.oldest_ns()];
        oldest.into_iter().flatten().min()
    }

    /// Whether any file may hold rows that paths are made of. Everything else only adds to them.
    pub(crate) fn has_rows(&self, range: &Range<i64>) -> bool {
        self.exchanges.overlaps(range)
            || self.spans.overlaps(range)
            || self.access_logs.overlaps(range)
            || self.failures.overlaps(range)
    }

    /// Reads what a run of windows needs, and says how far each collector had come.
    pub(crate) async fn read(
        &mut self,
        range: &ReadRange,
    ) -> Result<(Observations, Pins), InputError> {
        let mut pins = Pins::default();
        let observations = Observations {
            exchanges: self.exchanges.rows(&range.rows, &mut pins).await?,
            connections: self.connections.rows(&range.connections, &mut pins).await?,
            nat_bindings: self.nat_bindings.rows(&range.connections, &mut pins).await?,
            failures: self.failures.rows(&range.rows, &mut pins).await?,
            spans: self.spans.rows(&range.rows, &mut pins).await?,
            access_logs: self.access_logs.rows(&range.rows, &mut pins).await?,
            heartbeats: self.heartbeats.rows(&range.heartbeats, &mut pins).await?,
            cluster_objects: self.cluster_history(&range.cluster, &mut pins).await?,
        };
        Ok((observations, pins))
    }

    /// Rows of the range, and those from the last full snapshot before it on.
    async fn cluster_history(
        &mut self,
        range: &Range<i64>,
        pins: &mut Pins,
    ) -> Result<Vec<tables::ClusterObject>, InputError> {
        let recent = range.start - SNAPSHOT_NS..range.end;
        let mut rows = self.cluster_objects.rows(&recent, pins).await?;
        let mut snapshot = last_snapshot(&rows, range.start);
        if snapshot.is_none() {
            rows = self.cluster_objects.rows(&(i64::MIN..range.end), pins).await?;
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
        self.connections.forget_before(ns);
        self.nat_bindings.forget_before(ns);
        self.failures.forget_before(ns);
        self.spans.forget_before(ns);
        self.access_logs.forget_before(ns);
        self.heartbeats.forget_before(ns);
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

    #[test]
    fn pins_keep_the_highest_position_of_each_collector() {
        let mut pins = Pins::default();
        for (collector, ingest_seq) in [("a", 3), ("b", 9), ("a", 7), ("a", 5)] {
            pins.saw(collector, ingest_seq);
        }
        assert_eq!(pins.0, BTreeMap::from([("a".to_owned(), 7), ("b".to_owned(), 9)]));
    }
}
