//! Which batches of which senders are on disk, so that one sent again is not stored again.
//!
//! For each sender's life it keeps ranges of sequences. Both the number of senders and of ranges
//! is bounded; what falls out is chosen so that memory is bounded and order is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::batch::Sender;

/// 250 agents, each restarted a dozen times, and a few tailed files leave room below this.
const SENDERS_MAX: usize = 4_096;
/// Ranges of one sender: each further one is a gap that the sender never filled. An agent drops
/// its oldest batches first, so gaps come from long outages, a few a day at worst.
const RANGES_MAX: usize = 64;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<(Sender, Window)>", into = "Vec<(Sender, Window)>")]
pub(crate) struct Seen {
    senders: BTreeMap<Sender, Window>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Window {
    /// Inclusive ranges, ascending, never touching each other.
    ranges: Vec<(u64, u64)>,
    /// Position in the spool of the newest batch: the sender silent for longest is forgotten first.
    touched: u64,
}

impl Seen {
    pub(crate) fn contains(&self, sender: &Sender, sequence: u64) -> bool {
        let Some(window) = self.senders.get(sender) else { return false };
        window.ranges.iter().any(|&(first, last)| (first..=last).contains(&sequence))
    }

    /// The highest sequence of a sender's life.
    pub(crate) fn last(&self, sender: &Sender) -> Option<u64> {
        self.senders.get(sender).and_then(|window| window.ranges.last()).map(|&(_, last)| last)
    }

    pub(crate) fn insert(&mut self, sender: &Sender, sequence: u64, position: u64) {
        if !self.senders.contains_key(sender) && self.senders.len() >= SENDERS_MAX {
            self.forget_the_longest_silent();
        }
        let window = self.senders.entry(sender.clone()).or_default();
        window.insert(sequence);
        window.touched = window.touched.max(position);
    }

    fn forget_the_longest_silent(&mut self) {
        let silent = self.senders.iter().min_by_key(|(_, window)| window.touched);
        if let Some(sender) = silent.map(|(sender, _)| sender.clone()) {
            self.senders.remove(&sender);
        }
    }
}

impl Window {
    fn insert(&mut self, sequence: u64) {
        let at = self.ranges.partition_point(|&(first, _)| first <= sequence);
        self.ranges.insert(at, (sequence, sequence));
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(self.ranges.len());
        for &(first, last) in &self.ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last)
                }
                _ => merged.push((first, last)),
            }
        }
        // The oldest gap is closed: a batch from it would be older than dozens of later outages.
        if merged.len() > RANGES_MAX {
            let first = merged.remove(0).0;
            merged[0].0 = first;
        }
        self.ranges = merged;
    }
}

impl From<Vec<(Sender, Window)>> for Seen {
    fn from(senders: Vec<(Sender, Window)>) -> Self {
        Self { senders: senders.into_iter().collect() }
    }
}

impl From<Seen> for Vec<(Sender, Window)> {
    fn from(seen: Seen) -> Self {
        seen.senders.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(node: &str) -> Sender {
        Sender { source: "agent".into(), node: node.into(), boot_id: "b".into() }
    }

    #[test]
    fn a_sequence_is_seen_once_inserted_whatever_the_order() {
        let mut seen = Seen::default();
        for sequence in [5, 3, 4, 9, 0] {
            assert!(!seen.contains(&sender("n"), sequence));
            seen.insert(&sender("n"), sequence, sequence);
            assert!(seen.contains(&sender("n"), sequence));
        }
        assert_eq!(seen.senders[&sender("n")].ranges, [(0, 0), (3, 5), (9, 9)]);
        assert!(!seen.contains(&sender("n"), 6));
        assert!(!seen.contains(&sender("other"), 5));
        assert_eq!(seen.last(&sender("n")), Some(9));
    }

    #[test]
    fn gaps_and_senders_stay_bounded() {
        let mut seen = Seen::default();
        for sequence in 0..1_000 {
            seen.insert(&sender("n"), sequence * 2, sequence);
        }
        assert_eq!(seen.senders[&sender("n")].ranges.len(), RANGES_MAX);
        assert!(seen.contains(&sender("n"), 1_998) && !seen.contains(&sender("n"), 1_997));
        for number in 0..=SENDERS_MAX as u64 {
            seen.insert(&sender(&number.to_string()), 1, 10_000 + number);
        }
        assert_eq!(seen.senders.len(), SENDERS_MAX);
        assert!(!seen.contains(&sender("n"), 1_998), "the longest silent sender is forgotten");
    }

    #[test]
    fn what_was_seen_survives_being_written_down() {
        let mut seen = Seen::default();
        seen.insert(&sender("n"), 7, 1);
        let text = serde_json::to_string(&seen).unwrap();
        assert_eq!(serde_json::from_str::<Seen>(&text).unwrap(), seen);
    }
}
