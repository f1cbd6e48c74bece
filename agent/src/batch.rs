//! What is shipped together, and what is dropped first when memory is full. Pure.
//!
//! Records collect in an open batch; a sealed batch has its sequence number and waits until it is
//! acknowledged. When the sum passes the limit the oldest batch is dropped whole, and the stream
//! says so: the sequence has a gap, the next heartbeat carries the count, and the heartbeats that
//! would have vouched for the time of the dropped records vouch for nothing.

use std::collections::VecDeque;

use prost::Message;
use wire::{Batch, Record, RecordKind};

/// A batch is sealed at this size at the latest. A quarter of what the collector accepts, so that
/// the envelope and one large record never matter.
const BATCH_BYTES: usize = wire::BATCH_BYTES_MAX / 4;

/// What a record costs in memory beside its encoded size: the structure and its small allocations.
const RECORD_OVERHEAD_BYTES: usize = size_of::<Record>() + 96;

pub struct Outbox {
    node: String,
    boot_id: String,
    memory_max: usize,
    next_sequence: u64,
    open: Vec<Record>,
    open_bytes: usize,
    sealed: VecDeque<Sealed>,
    in_flight: Option<u64>,
    memory: usize,
    totals: Totals,
    debt: Debt,
}

/// What heartbeats that are yet to come have to own up to.
#[derive(Default)]
struct Debt {
    /// Records that were lost and are in no heartbeat yet.
    lost: u64,
    /// Heartbeats that cover a time of which records were dropped.
    without_cover: usize,
}

/// A record waits for at most the interval after its own to be covered, so dropping it takes the
/// word of the two heartbeats that follow.
const HEARTBEATS_TOUCHED: usize = 2;

struct Sealed {
    batch: Batch,
    memory: usize,
}

/// Records since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Accepted into the outbox.
    pub taken: u64,
    /// Dropped because memory was full.
    pub shed: u64,
    /// Refused by the collector.
    pub refused: u64,
    pub acknowledged: u64,
}

impl Outbox {
    pub fn new(node: String, boot_id: String, memory_max: usize) -> Self {
        Self {
            node,
            boot_id,
            memory_max,
            next_sequence: 0,
            open: Vec::new(),
            open_bytes: 0,
            sealed: VecDeque::new(),
            in_flight: None,
            memory: 0,
            totals: Totals::default(),
            debt: Debt::default(),
        }
    }

    pub fn push(&mut self, mut record: Record, clock_epoch_ns: i64) {
        if let Some(RecordKind::Heartbeat(heartbeat)) = &mut record.kind {
            self.debt.settle_with(heartbeat);
        }
        let bytes = record.encoded_len();
        if self.open_bytes + bytes > BATCH_BYTES {
            self.seal(clock_epoch_ns);
        }
        self.open.push(record);
        self.open_bytes += bytes;
        self.memory += bytes + RECORD_OVERHEAD_BYTES;
        self.totals.taken += 1;
        self.shed();
    }

    /// Closes the open batch, if it holds anything.
    pub fn seal(&mut self, clock_epoch_ns: i64) {
        if self.open.is_empty() {
            return;
        }
        let records = std::mem::take(&mut self.open);
        let memory = self.open_bytes + records.len() * RECORD_OVERHEAD_BYTES;
        self.open_bytes = 0;
        let batch = Batch {
            node: self.node.clone(),
            boot_id: self.boot_id.clone(),
            sequence: self.next_sequence,
            clock_epoch_ns,
            records,
        };
        self.next_sequence += 1;
        self.sealed.push_back(Sealed { batch, memory });
    }

    /// The oldest sealed batch, which stays here until it is settled.
    pub fn take_off(&mut self) -> Option<Batch> {
        let batch = self.sealed.front()?.batch.clone();
        self.in_flight = Some(batch.sequence);
        Some(batch)
    }

    /// The collector has it, but for the records that it refused.
    pub fn acknowledged(&mut self, sequence: u64, rejected: u64) {
        if let Some(records) = self.settle(sequence) {
            self.totals.refused += rejected;
            self.debt.lost += rejected;
            self.totals.acknowledged += records.saturating_sub(rejected);
        }
    }

    /// The collector refuses it for good.
    pub fn refused(&mut self, sequence: u64) {
        if let Some(records) = self.settle(sequence) {
            self.totals.refused += records;
            self.debt.lost += records;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.sealed.is_empty()
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    fn settle(&mut self, sequence: u64) -> Option<u64> {
        self.in_flight = None;
        let at = self.sealed.iter().position(|sealed| sealed.batch.sequence == sequence)?;
        let sealed = self.sealed.remove(at)?;
        self.memory -= sealed.memory;
        Some(sealed.batch.records.len() as u64)
    }

    /// Drops the oldest sealed batches until the rest fits. One in flight stays: it may be on the
    /// collector's disk already, and then counting it as lost would be false. Records of the open
    /// batch are the youngest and go last, all together.
    fn shed(&mut self) {
        while self.memory > self.memory_max {
            let oldest =
                self.sealed.iter().position(|sealed| Some(sealed.batch.sequence) != self.in_flight);
            let records = match oldest.and_then(|at| self.sealed.remove(at)) {
                Some(sealed) => {
                    self.memory -= sealed.memory;
                    sealed.batch.records
                }
                None if self.open.is_empty() => return,
                None => {
                    self.memory -= self.open_bytes + self.open.len() * RECORD_OVERHEAD_BYTES;
                    self.open_bytes = 0;
                    std::mem::take(&mut self.open)
                }
            };
            self.totals.shed += records.len() as u64;
            self.withdraw_cover(oldest.unwrap_or(self.sealed.len()), records);
        }
    }

    /// Takes the word of the heartbeats after dropped records, which stood at position `at`.
    fn withdraw_cover(&mut self, at: usize, dropped: Vec<Record>) {
        // What a dropped heartbeat had owned up to is owed again.
        let owed = |record: Record| match record.kind {
            Some(RecordKind::Heartbeat(heartbeat)) => heartbeat.lost_user,
            _ => 0,
        };
        self.debt.lost += dropped.len() as u64 + dropped.into_iter().map(owed).sum::<u64>();
        self.debt.without_cover = HEARTBEATS_TOUCHED;
        let sealed = self.sealed.iter_mut().skip(at).flat_map(|sealed| &mut sealed.batch.records);
        for record in sealed.chain(&mut self.open) {
            if let Some(RecordKind::Heartbeat(heartbeat)) = &mut record.kind {
                self.debt.settle_with(heartbeat);
            }
        }
    }
}

impl Debt {
    fn settle_with(&mut self, heartbeat: &mut wire::Heartbeat) {
        heartbeat.lost_user += std::mem::take(&mut self.lost);
        if self.without_cover > 0 {
            self.without_cover -= 1;
            heartbeat.covered_from_ns = heartbeat.covered_to_ns;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outbox(memory_max: usize) -> Outbox {
        Outbox::new("node-1".to_owned(), "boot".to_owned(), memory_max)
    }

    fn heartbeat(shipped: u64) -> Record {
        let heartbeat = wire::Heartbeat { shipped, ..wire::Heartbeat::default() };
        Record { kind: Some(wire::RecordKind::Heartbeat(heartbeat)) }
    }

    fn fill(outbox: &mut Outbox, batches: u64) {
        for number in 0..batches {
            outbox.push(heartbeat(number), 0);
            outbox.seal(0);
        }
    }

    fn sequences(outbox: &Outbox) -> Vec<u64> {
        outbox.sealed.iter().map(|sealed| sealed.batch.sequence).collect()
    }

    #[test]
    fn a_batch_stays_until_it_is_acknowledged() {
        let mut outbox = outbox(1 << 20);
        fill(&mut outbox, 2);
        assert_eq!(outbox.take_off().map(|batch| batch.sequence), Some(0));
        assert_eq!(outbox.take_off().map(|batch| batch.sequence), Some(0));
        outbox.acknowledged(0, 0);
        assert_eq!(outbox.take_off().map(|batch| batch.sequence), Some(1));
    }

    #[test]
    fn the_oldest_goes_first_but_never_the_one_in_flight() {
        let mut outbox = outbox(4 * (RECORD_OVERHEAD_BYTES + 8));
        fill(&mut outbox, 1);
        outbox.take_off();
        for number in 1..6 {
            outbox.push(heartbeat(number), 0);
            outbox.seal(0);
        }
        assert_eq!(sequences(&outbox), [0, 3, 4, 5]);
        assert_eq!(outbox.totals().shed, 2);
    }

    #[test]
    fn dropped_records_take_the_word_of_the_heartbeats_that_would_cover_them() {
        let mut outbox = outbox(3 * (RECORD_OVERHEAD_BYTES + 24));
        let beat = |from, to| {
            let heartbeat = wire::Heartbeat {
                covered_from_ns: from,
                covered_to_ns: to,
                ..wire::Heartbeat::default()
            };
            Record { kind: Some(RecordKind::Heartbeat(heartbeat)) }
        };
        for interval in 0..5 {
            outbox.push(beat(interval * 10, interval * 10 + 10), 0);
            outbox.seal(0);
        }
        outbox.push(beat(50, 60), 0);
        outbox.seal(0);
        let kept: Vec<_> = outbox
            .sealed
            .iter()
            .flat_map(|sealed| &sealed.batch.records)
            .map(|record| match &record.kind {
                Some(RecordKind::Heartbeat(row)) => {
                    (row.covered_from_ns, row.covered_to_ns, row.lost_user)
                }
                other => panic!("not a heartbeat: {other:?}"),
            })
            .collect();
        assert_eq!(kept, [(40, 40, 3), (50, 50, 0), (50, 60, 0)]);
    }

    #[test]
    fn a_refused_batch_is_counted_and_not_sent_again() {
        let mut outbox = outbox(1 << 20);
        fill(&mut outbox, 1);
        outbox.take_off();
        outbox.refused(0);
        assert!(outbox.is_empty());
        assert_eq!(outbox.totals().refused, 1);
    }

    #[test]
    fn an_open_batch_is_sealed_before_it_grows_too_large() {
        let mut outbox = outbox(1 << 30);
        let record = heartbeat(1);
        let count = 2 * BATCH_BYTES / record.encoded_len() + 2;
        for _ in 0..count {
            outbox.push(record.clone(), 0);
        }
        outbox.seal(0);
        assert!(outbox.sealed.len() >= 2);
        for sealed in &outbox.sealed {
            assert!(sealed.batch.encoded_len() <= wire::BATCH_BYTES_MAX);
        }
    }

    proptest! {
        /// Every record taken is acknowledged, refused, shed or still here, and the sum of memory
        /// never passes the limit.
        #[test]
        fn records_are_accounted_for_to_the_last(steps in prop::collection::vec(0u8..5, 0..200)) {
            let limit = 6 * (RECORD_OVERHEAD_BYTES + 16);
            let mut outbox = outbox(limit);
            for step in steps {
                match step {
                    0 | 1 => outbox.push(heartbeat(1), 0),
                    2 => outbox.seal(0),
                    3 => { outbox.take_off(); }
                    _ => if let Some(sequence) = outbox.in_flight { outbox.acknowledged(sequence, 0) },
                }
                let held = outbox.open.len()
                    + outbox.sealed.iter().map(|sealed| sealed.batch.records.len()).sum::<usize>();
                let totals = outbox.totals();
                let settled = totals.acknowledged + totals.refused + totals.shed;
                prop_assert_eq!(totals.taken, settled + held as u64);
                prop_assert!(outbox.memory <= limit || outbox.in_flight.is_some());
            }
        }
    }
}
