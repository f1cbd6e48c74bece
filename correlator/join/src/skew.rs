//! How far the nodes' clocks are apart, with bounds that hold.
//!
//! Feed every message that is known exactly (both ends of one stream, kernel stamps) to
//! [`Buckets::add`], solve once a window with [`Offsets::solve`], then ask [`Offsets::offset`]. No
//! answer means that a comparison of the two nodes' times proves nothing: `AMBIG_SKEW_UNKNOWN`.
//!
//! A message from a to b arrives after it was sent, so with d = clock b - clock a it proves
//! d <= received - sent; one from b to a proves d >= sent - received. Per second the third smallest
//! of each is kept, so that two bad stamps do no harm, and each is met only up to how late kernels
//! stamp what was sent. Between all upper and all lower limits of a
//! pair lie the lines that d can be, whatever the delays were: [`corridor`] (the linear program of
//! Moon, Skelly and Towsley, "Estimation and Removal of Clock Skew from Network Delay
//! Measurements", INFOCOM 1999, with limits from both directions). What is believed of a clock is
//! that its rate, while it is not set, changes slowly. [`network`] makes the pairs agree with each
//! other and composes what no message measured.
//!
//! A clock that was set begins a new epoch and is another [`Clock`]; nothing of before counts. What
//! contradicts itself within one epoch is quarantined and has no offset.
//!
//! **Feeding it.** A window's offsets must be a function of that window's read range alone. Buckets
//! are whole seconds of the caller's `second` (the later event time of the pair's two rows), and
//! they may be filled once for a run of windows: each window solves the seconds that lie inside its
//! own row range. Clock samples must reach back [`SAMPLE_GAP_NS_MAX`] before that range, so that
//! every moment in it has the same samples around it in a run of any length. A pair needs a few
//! messages a second; of more than 100,000 a second in all, those whose TCP sequence number is a
//! multiple of some number bound nearly as well and cost less.

mod bucket;
mod corridor;
mod epoch;
mod network;
mod rows;

#[cfg(test)]
mod tests;

use std::ops::Range;

pub use bucket::Buckets;
pub use epoch::{ClockSample, Epochs, Jump, SAMPLE_GAP_NS_MAX};

use bucket::Limits;
use corridor::Corridor;
use network::{Edge, Network};

const NO_PAIR: u32 = u32::MAX;

/// One node's clock between two settings of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clock {
    /// Index of the node among the names of all nodes, sorted.
    pub node: u32,
    /// From [`Epochs::at`].
    pub epoch: u32,
}

/// One clock minus another: the truth is at most `bound_ns` from `offset_ns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    pub offset_ns: i64,
    pub bound_ns: i64,
}

/// The offsets of all pairs of clocks that can be known from one window's messages.
#[derive(Debug, Default)]
pub struct Offsets {
    /// Sorted; what follows names clocks by their index here.
    clocks: Vec<Clock>,
    /// Sorted by (a, b), a before b.
    pairs: Vec<Pair>,
    /// Place of each pair, at `a * clocks + b`.
    place: Vec<u32>,
    /// Clocks that are part of a contradiction: one of its two is not what it seems. Nothing is
    /// composed by way of them, and what was measured of them holds only while it was measured.
    doubtful: Vec<bool>,
    network: Network,
}

/// What the messages between two clocks say.
#[derive(Debug)]
struct Pair {
    a: usize,
    b: usize,
    /// Messages of both directions.
    samples: u64,
    knowledge: Knowledge,
}

#[derive(Debug)]
enum Knowledge {
    Bounded(Corridor),
    /// Too few messages in one of the directions.
    OneSided,
    Contradicted,
}

impl Offsets {
    /// Solves from the messages counted in `seconds` (since the Unix epoch, half-open).
    pub fn solve(buckets: &Buckets, seconds: Range<i64>) -> Self {
        let mut limits = buckets.limits(&seconds);
        limits.sort_unstable_by_key(|l| l.clocks);
        let mut clocks: Vec<Clock> = limits.iter().flat_map(|l| [l.clocks.0, l.clocks.1]).collect();
        clocks.sort_unstable();
        clocks.dedup();
        let pairs: Vec<Pair> = limits.iter().map(|l| Pair::new(l, &clocks)).collect();
        let range = seconds.start * crate::SECOND..seconds.end * crate::SECOND;
        let doubtful = doubtful(&pairs, clocks.len());
        let network = Network::solve(&range, &edges(&pairs), &doubtful);
        let place = places(&pairs, clocks.len());
        Self { clocks, pairs, place, doubtful, network }
    }

    /// Clock b minus clock a at the moment when clock a showed `at_ns`.
    ///
    /// None: not known, or the pair's messages contradict each other.
    pub fn offset(&self, a: Clock, b: Clock, at_ns: i64) -> Option<Offset> {
        if a == b {
            return Some(Offset::default());
        }
        let from = self.clocks.binary_search(&a).ok()?;
        let to = self.clocks.binary_search(&b).ok()?;
        if self.is_contradicted(a, b) || a.node == b.node {
            return None;
        }
        let (lowest, highest) = self.proven(from, to, at_ns)?;
        Some(around(self.network.difference(from, to, at_ns), lowest, highest))
    }

    /// Whether the messages between two clocks contradict each other.
    pub fn is_contradicted(&self, a: Clock, b: Clock) -> bool {
        let (Ok(a), Ok(b)) = (self.clocks.binary_search(&a), self.clocks.binary_search(&b)) else {
            return false;
        };
        let pair = self.pair(a.min(b), a.max(b));
        pair.is_some_and(|pair| matches!(pair.knowledge, Knowledge::Contradicted))
    }

    fn pair(&self, a: usize, b: usize) -> Option<&Pair> {
        let place = *self.place.get(a * self.clocks.len() + b)?;
        self.pairs.get(place as usize)
    }

    /// Limits of (clock `to` - clock `from`), composed along the tightest way between the two.
    fn proven(&self, from: usize, to: usize, at_ns: i64) -> Option<(f64, f64)> {
        let (mut lowest, mut highest) = (0.0, 0.0);
        let (mut here, mut at_ns) = (from, at_ns);
        // A way visits each clock once.
        for _ in 0..self.clocks.len() {
            if here == to {
                break;
            }
            let next = self.network.step(here, to)?;
            let (low, high) = self.measured(here, next, at_ns)?;
            lowest += low;
            highest += high;
            at_ns += f64::midpoint(low, high) as i64;
            here = next;
        }
        Some((lowest, highest))
    }

    /// Limits that the messages between the two clocks prove.
    fn measured(&self, from: usize, to: usize, at_ns: i64) -> Option<(f64, f64)> {
        let Knowledge::Bounded(corridor) = &self.pair(from.min(to), from.max(to))?.knowledge else {
            return None;
        };
        let is_doubtful = self.doubtful[from] || self.doubtful[to];
        if is_doubtful && !corridor.spans(at_ns) {
            return None;
        }
        if from < to {
            return Some(corridor.limits(at_ns));
        }
        // A corridor is a function of its first clock's time; `at_ns` is the second's.
        let (low, high) = corridor.limits(at_ns);
        let (low, high) = corridor.limits(at_ns - f64::midpoint(low, high) as i64);
        Some((-high, -low))
    }
}

impl Pair {
    fn new(limits: &Limits, clocks: &[Clock]) -> Self {
        let index = |clock| clocks.partition_point(|c| *c < clock);
        let knowledge = if limits.forward.is_empty() || limits.backward.is_empty() {
            Knowledge::OneSided
        } else {
            Corridor::fit(&limits.forward, &limits.backward)
                .map_or(Knowledge::Contradicted, Knowledge::Bounded)
        };
        let (a, b) = (index(limits.clocks.0), index(limits.clocks.1));
        Self { a, b, samples: limits.samples, knowledge }
    }
}

fn edges(pairs: &[Pair]) -> Vec<Edge<'_>> {
    pairs
        .iter()
        .filter_map(|pair| match &pair.knowledge {
            Knowledge::Bounded(corridor) => Some(Edge { a: pair.a, b: pair.b, corridor }),
            Knowledge::OneSided | Knowledge::Contradicted => None,
        })
        .collect()
}

fn places(pairs: &[Pair], clocks: usize) -> Vec<u32> {
    let mut places = vec![NO_PAIR; clocks * clocks];
    for (place, pair) in pairs.iter().enumerate() {
        places[pair.a * clocks + pair.b] = place as u32;
    }
    places
}

fn doubtful(pairs: &[Pair], clocks: usize) -> Vec<bool> {
    let mut doubtful = vec![false; clocks];
    for pair in pairs.iter().filter(|p| matches!(p.knowledge, Knowledge::Contradicted)) {
        doubtful[pair.a] = true;
        doubtful[pair.b] = true;
    }
    doubtful
}

/// The offset that is as near `agreed` as the limits allow (in their middle where nothing was
/// agreed), with the bound that they prove for it.
fn around(agreed: Option<f64>, lowest: f64, highest: f64) -> Offset {
    let middle = f64::midpoint(lowest, highest);
    let offset = agreed.unwrap_or(middle).clamp(lowest, highest).round();
    let bound = (highest - offset).max(offset - lowest).ceil();
    Offset { offset_ns: offset as i64, bound_ns: bound as i64 }
}
