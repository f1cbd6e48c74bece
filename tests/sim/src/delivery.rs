//! From a source to its tables: batches of each sender, and rows that come late, again or out of
//! order.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::chance::{hash, unit};
use crate::dials::{Dials, SECOND};
use crate::fate::Fate;
use crate::observation::{Batch, Row, Seen, Sender};

/// Late rows are gathered for so long, so that they come in batches too.
const GATHERED_NS: i64 = SECOND / 2;
const AGENT_FLUSH_NS: i64 = SECOND / 2;
const LOG_FLUSH_NS: i64 = SECOND / 4;
const WATCH_FLUSH_NS: i64 = SECOND / 20;
/// A row that comes again does so within this time.
const AGAIN_NS_MAX: i64 = 5 * SECOND;

/// Collector of what comes on time, of what comes again, and of what comes late.
const FIRST: u8 = 0;
const SECOND_ONE: u8 = 1;
const LATE: u8 = 2;
const COLLECTORS: usize = 3;

#[derive(Debug)]
pub(crate) struct Delivery {
    seed: u64,
    duplicates: f64,
    span_export_ns: i64,
    open: HashMap<Sender, Open>,
    /// Rows by the moment at which they arrive, with their sender and collector.
    gathered: BTreeMap<i64, Vec<(Sender, u8, Row)>>,
    ready: VecDeque<Batch>,
    positions: [i64; COLLECTORS],
}

#[derive(Debug, Default)]
struct Open {
    sequence: i64,
    items: i32,
    rows: Vec<Row>,
    is_due: bool,
}

/// Something to be done at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Flush(Sender),
    Gathered(i64),
}

impl Delivery {
    pub(crate) fn new(dials: &Dials) -> Self {
        Self {
            seed: dials.seed,
            duplicates: dials.duplicates,
            span_export_ns: dials.span_export.max(1),
            open: HashMap::new(),
            gathered: BTreeMap::new(),
            ready: VecDeque::new(),
            positions: [0; COLLECTORS],
        }
    }

    /// When a row that a sender has now leaves it.
    pub(crate) fn flush_ns(&self, sender: Sender, now_ns: i64) -> i64 {
        let (interval_ns, which) = match sender {
            Sender::Agent(node, _) => (AGENT_FLUSH_NS, u64::from(node)),
            Sender::Kubernetes => (WATCH_FLUSH_NS, 0),
            Sender::Otlp(pod) => (self.span_export_ns, u64::from(pod)),
            Sender::Syslog(pod) => (LOG_FLUSH_NS, u64::from(pod)),
        };
        let phase_ns = (hash(self.seed, &[0xf1, which]) % interval_ns as u64) as i64;
        let since_ns = now_ns - phase_ns;
        phase_ns + (since_ns.div_euclid(interval_ns) + 1) * interval_ns
    }

    /// Takes a row that was made now. Says what is to be called for when, if that is new.
    pub(crate) fn push(
        &mut self,
        sender: Sender,
        now_ns: i64,
        (event_ns, seen): (i64, Seen),
        fate: Fate,
        true_event_ns: i64,
    ) -> Option<(i64, Due)> {
        let flush_ns = self.flush_ns(sender, now_ns);
        let open = self.open.entry(sender).or_default();
        let row = Row { sequence: open.sequence, item: open.items, event_ns, seen };
        open.items += 1;
        if fate.delay_ns > 0 {
            let arrives_ns = flush_ns.max(true_event_ns + fate.delay_ns);
            return self.gather(arrives_ns, sender, LATE, row);
        }
        open.rows.push(row);
        let is_new = !std::mem::replace(&mut open.is_due, true);
        is_new.then_some((flush_ns, Due::Flush(sender)))
    }

    /// Does what is due. The answer is what is due because of it.
    pub(crate) fn due(&mut self, due: Due, now_ns: i64) -> Vec<(i64, Due)> {
        match due {
            Due::Flush(sender) => self.flush(sender, now_ns),
            Due::Gathered(at_ns) => {
                self.deliver_gathered(at_ns);
                Vec::new()
            }
        }
    }

    pub(crate) fn take(&mut self) -> Option<Batch> {
        self.ready.pop_front()
    }

    fn flush(&mut self, sender: Sender, now_ns: i64) -> Vec<(i64, Due)> {
        let Some(open) = self.open.get_mut(&sender) else { return Vec::new() };
        let rows = std::mem::take(&mut open.rows);
        open.is_due = false;
        open.sequence += 1;
        open.items = 0;
        let mut due = Vec::new();
        if self.duplicates > 0.0 {
            for row in &rows {
                let draw = |what: u64| {
                    let key = [0xd0b1e, row.sequence as u64, row.item as u64, row.event_ns as u64];
                    unit(hash(self.seed ^ what, &key))
                };
                if draw(0) < self.duplicates {
                    let again_ns = now_ns + (draw(1) * AGAIN_NS_MAX as f64) as i64;
                    due.extend(self.gather(again_ns, sender, SECOND_ONE, row.clone()));
                }
            }
        }
        self.deliver(sender, FIRST, now_ns, rows);
        due
    }

    fn gather(
        &mut self,
        at_ns: i64,
        sender: Sender,
        collector: u8,
        row: Row,
    ) -> Option<(i64, Due)> {
        let at_ns = (at_ns.div_euclid(GATHERED_NS) + 1) * GATHERED_NS;
        let rows = self.gathered.entry(at_ns).or_default();
        rows.push((sender, collector, row));
        (rows.len() == 1).then_some((at_ns, Due::Gathered(at_ns)))
    }

    fn deliver_gathered(&mut self, at_ns: i64) {
        let mut gathered = self.gathered.remove(&at_ns).unwrap_or_default();
        gathered.sort_by_key(|(sender, collector, _)| (*collector, *sender));
        let mut rows = gathered.into_iter().peekable();
        while let Some((sender, collector, row)) = rows.next() {
            let mut batch = vec![row];
            while let Some((_, _, row)) = rows.next_if(|r| (r.0, r.1) == (sender, collector)) {
                batch.push(row);
            }
            self.deliver(sender, collector, at_ns, batch);
        }
    }

    /// Only agents number their batches; others are numbered by the collector's spool.
    fn deliver(&mut self, sender: Sender, collector: u8, received_ns: i64, mut rows: Vec<Row>) {
        if rows.is_empty() {
            return;
        }
        let position = &mut self.positions[usize::from(collector)];
        *position += 1;
        let ingest_seq = *position;
        if !matches!(sender, Sender::Agent(..)) {
            for (item, row) in rows.iter_mut().enumerate() {
                row.sequence = ingest_seq;
                row.item = item as i32;
            }
        }
        self.ready.push_back(Batch { sender, collector, ingest_seq, received_ns, rows });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Heartbeat;

    const SENDER: Sender = Sender::Agent(0, 0);

    fn row(lost: i64) -> (i64, Seen) {
        let heartbeat = Heartbeat {
            covered_from_ns: 0,
            covered_to_ns: 0,
            lost,
            shipped: 0,
            clock_boot_ns: 0,
            clock_wall_ns: 0,
            clock_epoch_ns: 0,
            idle_after_ns: 0,
        };
        (0, Seen::Heartbeat(heartbeat))
    }

    fn run(delivery: &mut Delivery, mut due: BTreeMap<(i64, Due), ()>) -> Vec<(i64, u8, usize)> {
        let mut found = Vec::new();
        while let Some(((at_ns, what), ())) = due.pop_first() {
            due.extend(delivery.due(what, at_ns).into_iter().map(|next| (next, ())));
            while let Some(batch) = delivery.take() {
                found.push((batch.received_ns, batch.collector, batch.rows.len()));
            }
        }
        found
    }

    #[test]
    fn rows_of_a_sender_come_together_and_late_ones_after_their_delay() {
        let mut delivery = Delivery::new(&Dials::default());
        let mut due = BTreeMap::new();
        let late = Fate { delay_ns: 10 * SECOND, ..Fate::SEEN };
        for (lost, fate) in [(0, Fate::SEEN), (1, late), (2, Fate::SEEN)] {
            due.extend(delivery.push(SENDER, 0, row(lost), fate, 0).map(|next| (next, ())));
        }
        assert_eq!(due.len(), 2);
        let [(first_ns, FIRST, 2), (late_ns, LATE, 1)] = run(&mut delivery, due)[..] else {
            panic!()
        };
        assert!(first_ns <= AGENT_FLUSH_NS && late_ns >= 10 * SECOND);
    }

    #[test]
    fn a_duplicate_comes_once_more_by_another_collector_with_the_same_number() {
        let dials = Dials { duplicates: 1.0, ..Dials::default() };
        let mut delivery = Delivery::new(&dials);
        let due: BTreeMap<_, _> = delivery
            .push(SENDER, 0, row(0), Fate::SEEN, 0)
            .map(|next| (next, ()))
            .into_iter()
            .collect();
        let found = run(&mut delivery, due);
        assert_eq!(found.iter().map(|f| f.1).collect::<Vec<_>>(), [FIRST, SECOND_ONE]);
    }
}
