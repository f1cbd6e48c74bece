//! Messages between clocks, reduced to the few that limit the offset: per pair and second the three
//! smallest excesses of each direction. The reduction is the same for any order of messages.

use std::ops::Range;

use super::{Clock, NO_PAIR};

/// So many are kept; the last of them is the limit, so one fewer bad stamps do no harm. A raw
/// minimum was seen to be moved by 600 us by one bad span.
const KEPT: usize = 3;

/// What a message proves of d(at) = clock b - clock a, `at_ns` on clock a.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Excess {
    /// received - sent: delay plus offset (or minus, for a message from b to a).
    excess_ns: i64,
    at_ns: i64,
}

const NONE: Excess = Excess { excess_ns: i64::MAX, at_ns: i64::MAX };

/// The smallest of a multiset, ascending; `NONE` where there were fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Smallest([Excess; KEPT]);

impl Smallest {
    const EMPTY: Self = Self([NONE; KEPT]);

    fn insert(&mut self, excess: Excess) {
        if excess >= self.0[KEPT - 1] {
            return;
        }
        self.0[KEPT - 1] = excess;
        self.0.sort_unstable();
    }

    fn merge(&mut self, other: &Self) {
        for &excess in &other.0 {
            self.insert(excess);
        }
    }

    fn limit(&self) -> Option<Excess> {
        Some(self.0[KEPT - 1]).filter(|&e| e != NONE)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    second: i64,
    /// From a to b: upper limits of d.
    forward: Smallest,
    /// From b to a: lower limits.
    backward: Smallest,
    samples: u32,
}

#[derive(Clone, Debug)]
struct Pair {
    clocks: (Clock, Clock),
    /// Ascending by second.
    buckets: Vec<Bucket>,
    /// Another pair of the same nodes in other epochs.
    next: u32,
}

/// Messages by pair of clocks and second.
#[derive(Clone, Debug)]
pub struct Buckets {
    nodes: usize,
    pairs: Vec<Pair>,
    /// First pair of two nodes, at `lower * nodes + higher`.
    first: Vec<u32>,
}

/// A point that a line passes below, as (nanoseconds on clock a, nanoseconds).
pub(super) type Limit = (i64, i64);

/// What the messages of one pair prove of d.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) clocks: (Clock, Clock),
    /// d passes below these, and -d below those.
    pub(super) forward: Vec<Limit>,
    pub(super) backward: Vec<Limit>,
    pub(super) samples: u64,
}

impl Buckets {
    /// For nodes numbered from 0 to below `nodes`. Takes 4 bytes a pair of nodes, and 112 a pair
    /// and second that has messages.
    pub fn new(nodes: usize) -> Self {
        Self { nodes, pairs: Vec::new(), first: vec![NO_PAIR; nodes * nodes] }
    }

    /// Counts a message that left `from` and reached `to`, each stamped by its own clock, under
    /// `second` (since the Unix epoch). A message within a node says nothing of clocks.
    pub fn add(&mut self, from: Clock, to: Clock, sent_ns: i64, received_ns: i64, second: i64) {
        if from.node == to.node {
            return;
        }
        let is_forward = from < to;
        let clocks = if is_forward { (from, to) } else { (to, from) };
        let excess_ns = received_ns.saturating_sub(sent_ns);
        let pair = self.pair(clocks);
        let bucket = pair.bucket(second);
        bucket.samples = bucket.samples.saturating_add(1);
        // The moment on clock a for which the limit is exact, whatever the delay was.
        if is_forward {
            bucket.forward.insert(Excess { excess_ns, at_ns: sent_ns });
        } else {
            bucket.backward.insert(Excess { excess_ns, at_ns: received_ns });
        }
    }

    /// Adds what another part of the same run counted.
    pub fn merge(&mut self, other: &Self) {
        for theirs in &other.pairs {
            let pair = self.pair(theirs.clocks);
            for bucket in &theirs.buckets {
                let ours = pair.bucket(bucket.second);
                ours.forward.merge(&bucket.forward);
                ours.backward.merge(&bucket.backward);
                ours.samples = ours.samples.saturating_add(bucket.samples);
            }
        }
    }

    /// One entry a pair that has messages in `seconds`, in any order.
    pub(super) fn limits(&self, seconds: &Range<i64>) -> Vec<Limits> {
        self.pairs
            .iter()
            .filter_map(|pair| {
                let from = pair.buckets.partition_point(|b| b.second < seconds.start);
                let to = pair.buckets.partition_point(|b| b.second < seconds.end);
                let buckets = pair.buckets.get(from..to).filter(|b| !b.is_empty())?;
                Some(Limits {
                    clocks: pair.clocks,
                    forward: pooled(buckets.iter().map(|b| &b.forward)),
                    backward: pooled(buckets.iter().map(|b| &b.backward)),
                    samples: buckets.iter().map(|b| u64::from(b.samples)).sum(),
                })
            })
            .collect()
    }

    fn pair(&mut self, clocks: (Clock, Clock)) -> &mut Pair {
        let head = clocks.0.node as usize * self.nodes + clocks.1.node as usize;
        let mut at = self.first[head];
        while at != NO_PAIR && self.pairs[at as usize].clocks != clocks {
            at = self.pairs[at as usize].next;
        }
        if at == NO_PAIR {
            at = self.pairs.len() as u32;
            self.pairs.push(Pair { clocks, buckets: Vec::new(), next: self.first[head] });
            self.first[head] = at;
        }
        &mut self.pairs[at as usize]
    }
}

impl Pair {
    fn bucket(&mut self, second: i64) -> &mut Bucket {
        // Messages come nearly in the order of time.
        let is_last = self.buckets.last().is_some_and(|b| b.second == second);
        let at = if is_last {
            self.buckets.len() - 1
        } else {
            self.buckets.partition_point(|b| b.second < second)
        };
        if self.buckets.get(at).is_none_or(|b| b.second != second) {
            let (forward, backward) = (Smallest::EMPTY, Smallest::EMPTY);
            self.buckets.insert(at, Bucket { second, forward, backward, samples: 0 });
        }
        &mut self.buckets[at]
    }
}

/// One limit a second; seconds with too few messages are pooled with those that follow.
fn pooled<'a>(seconds: impl Iterator<Item = &'a Smallest>) -> Vec<Limit> {
    let mut limits = Vec::new();
    let mut pool = Smallest::EMPTY;
    for second in seconds {
        pool.merge(second);
        if let Some(limit) = pool.limit() {
            // Stamps are cut to whole nanoseconds at both ends.
            limits.push((limit.at_ns, limit.excess_ns.saturating_add(1)));
            pool = Smallest::EMPTY;
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Clock = Clock { node: 0, epoch: 0 };
    const B: Clock = Clock { node: 1, epoch: 0 };

    #[test]
    fn third_smallest_of_a_second_is_the_limit() {
        let mut buckets = Buckets::new(2);
        for excess in [900, 10, 700, 800, -5000] {
            buckets.add(A, B, 1_000, 1_000 + excess, 0);
        }
        let limits = buckets.limits(&(0..1));
        assert_eq!(limits[0].forward, [(1_000, 701)]);
        assert_eq!((limits[0].backward.len(), limits[0].samples), (0, 5));
    }

    #[test]
    fn seconds_with_few_messages_are_pooled_until_there_are_three() {
        let mut buckets = Buckets::new(2);
        for (second, excess) in [(0, 30), (4, 10), (7, 20), (8, 1)] {
            buckets.add(B, A, 0, excess, second);
        }
        assert_eq!(buckets.limits(&(0..9))[0].backward, [(30, 31)]);
        assert!(buckets.limits(&(0..7))[0].backward.is_empty());
        assert!(buckets.limits(&(1..4)).is_empty());
    }

    #[test]
    fn messages_within_a_node_say_nothing() {
        let mut buckets = Buckets::new(2);
        buckets.add(A, Clock { node: 0, epoch: 1 }, 0, 1, 0);
        assert!(buckets.limits(&(0..1)).is_empty());
    }
}
