//! What became of everything that came in: received = spooled + quarantined + rejected + duplicate.
//!
//! A record is a span, a log line, an agent's record or a Kubernetes row; an input that could not
//! be taken apart counts as one. The counters live as long as the process and are logged each
//! minute and at the end; no sender's text reaches them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use crate::admit::Dropped;

/// Distinct unknown attribute keys that are told apart; further ones share one count. The
/// conventions name about 600 attributes in all.
const UNKNOWN_KEYS_MAX: usize = 1_024;

#[derive(Debug, Default)]
pub struct Ledger {
    spooled: AtomicU64,
    quarantined: AtomicU64,
    rejected: AtomicU64,
    duplicate: AtomicU64,
    /// Datagrams that found the queue full: UDP has no way to tell the sender.
    datagrams_lost: AtomicU64,
    connections_refused: AtomicU64,
    damaged_bytes: AtomicU64,
    committed: AtomicU64,
    unknown: Mutex<UnknownKeys>,
}

#[derive(Debug, Default)]
struct UnknownKeys {
    counts: BTreeMap<u64, u64>,
    overflow: u64,
}

/// The identity's terms at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub received: u64,
    pub spooled: u64,
    pub quarantined: u64,
    pub rejected: u64,
    pub duplicate: u64,
    /// Rows written to raw tables by this process, some of which an earlier one had spooled.
    pub committed: u64,
}

impl Ledger {
    /// A batch that is on disk now.
    pub fn stored(&self, rows: usize, quarantined: usize) {
        self.spooled.fetch_add((rows - quarantined) as u64, Relaxed);
        self.quarantined.fetch_add(quarantined as u64, Relaxed);
    }

    pub fn duplicate(&self, rows: usize) {
        self.duplicate.fetch_add(rows as u64, Relaxed);
    }

    /// Refused without a trace in any table: over a limit, or the spool did not take it.
    pub fn rejected(&self, records: usize) {
        self.rejected.fetch_add(records as u64, Relaxed);
    }

    pub fn datagram_lost(&self) {
        self.datagrams_lost.fetch_add(1, Relaxed);
    }

    pub fn connection_refused(&self) {
        self.connections_refused.fetch_add(1, Relaxed);
    }

    pub fn connections_refused(&self) -> u64 {
        self.connections_refused.load(Relaxed)
    }

    pub fn damaged(&self, bytes: u64) {
        self.damaged_bytes.fetch_add(bytes, Relaxed);
    }

    pub fn committed(&self, rows: usize) {
        self.committed.fetch_add(rows as u64, Relaxed);
    }

    /// Attributes that the allow-list does not know, by the keyed hash of their names.
    pub fn dropped(&self, dropped: &Dropped) {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        for (&key, &count) in dropped.counts() {
            if unknown.counts.len() < UNKNOWN_KEYS_MAX || unknown.counts.contains_key(&key) {
                *unknown.counts.entry(key).or_default() += count;
            } else {
                unknown.overflow += count;
            }
        }
    }

    pub fn account(&self) -> Account {
        let spooled = self.spooled.load(Relaxed);
        let quarantined = self.quarantined.load(Relaxed);
        let rejected = self.rejected.load(Relaxed);
        let duplicate = self.duplicate.load(Relaxed);
        let received = spooled + quarantined + rejected + duplicate;
        let committed = self.committed.load(Relaxed);
        Account { received, spooled, quarantined, rejected, duplicate, committed }
    }

    pub fn log(&self) {
        let account = self.account();
        let (unknown_keys, unknown_values) = {
            let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
            (unknown.counts.len(), unknown.counts.values().sum::<u64>() + unknown.overflow)
        };
        tracing::info!(
            received = account.received,
            spooled = account.spooled,
            quarantined = account.quarantined,
            rejected = account.rejected,
            duplicate = account.duplicate,
            committed = account.committed,
            datagrams_lost = self.datagrams_lost.load(Relaxed),
            connections_refused = self.connections_refused(),
            damaged_bytes = self.damaged_bytes.load(Relaxed),
            unknown_keys,
            unknown_values,
            "ledger"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_received_has_one_fate() {
        let ledger = Ledger::default();
        ledger.stored(10, 3);
        ledger.duplicate(4);
        ledger.rejected(1);
        let expected = Account {
            received: 15,
            spooled: 7,
            quarantined: 3,
            rejected: 1,
            duplicate: 4,
            committed: 0,
        };
        assert_eq!(ledger.account(), expected);
    }
}
