//! When nodes' wall clocks were set: stamps around such a moment may be of two clocks.
//!
//! An agent takes boot time to wall time with the epoch in force when it sends a batch. What one
//! request's calls went out with may then differ from what the request itself went out with, by the
//! step, and what lay inside another lies outside, or inside a third. So it is with spans and lines,
//! which tell the wall clock itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::columns::Heartbeat;
use crate::names::{Name, Names};
use crate::skew::{ClockSample, Epochs, Jump};

/// An agent takes its boot clock to wall time by an epoch that follows where the wall clock was
/// slewed by so much.
const STAMP_NS: i64 = 1_000_000;

/// Under one epoch stamps are as far apart as on the boot clock. This is what the bound of an offset
/// leaves out between the moments at which it was taken.
const STEADY_NS: i64 = 50_000;

/// No node has this index.
const NO_NODE: u32 = u32::MAX;

/// The clocks of all nodes as their heartbeats tell of them.
#[derive(Debug, Default)]
pub(crate) struct NodeClocks {
    /// Sorted by their names, which makes their places the indexes of [`Epochs`].
    pub(crate) nodes: Vec<Name>,
    /// By name.
    index: Vec<u32>,
    pub(crate) epochs: Epochs,
    /// By index: the agent took boot time to wall time by one epoch all the while.
    is_steady: Vec<bool>,
}

impl NodeClocks {
    /// From heartbeats, of which only those of agents that tell their clocks count.
    pub(crate) fn new<'a>(beats: impl Iterator<Item = &'a Heartbeat>, names: &Names) -> Self {
        let beats: Vec<&Heartbeat> = beats.filter(|h| h.is_agent && h.clock_wall_ns > 0).collect();
        let named: BTreeSet<(&str, Name)> =
            beats.iter().map(|h| (names.text(h.node), h.node)).collect();
        let nodes: Vec<Name> = named.into_iter().map(|(_, node)| node).collect();
        let mut index = vec![NO_NODE; nodes.iter().map(|n| n.index() + 1).max().unwrap_or(0)];
        (0..).zip(&nodes).for_each(|(at, node)| index[node.index()] = at);
        let sample = |h: &&Heartbeat| ClockSample {
            node: index[h.node.index()],
            boot_ns: h.clock_boot_ns,
            wall_ns: h.clock_wall_ns,
            told_to_ns: h.covered_to_ns,
        };
        let mut samples: Vec<ClockSample> = beats.iter().map(sample).collect();
        samples.extend(beginnings(&beats).map(|h| {
            let sample = sample(&h);
            let since_ns = sample.wall_ns - h.covered_from_ns;
            let (boot_ns, wall_ns) = (sample.boot_ns - since_ns, h.covered_from_ns);
            ClockSample { boot_ns, wall_ns, told_to_ns: wall_ns, ..sample }
        }));
        let epochs = Epochs::new(nodes.len(), &samples);
        let mut told: Vec<Option<i64>> = vec![None; nodes.len()];
        let mut is_steady = vec![true; nodes.len()];
        for beat in &beats {
            let at = index[beat.node.index()] as usize;
            is_steady[at] &= *told[at].get_or_insert(beat.clock_epoch_ns) == beat.clock_epoch_ns;
        }
        Self { nodes, index, epochs, is_steady }
    }

    /// By how much the distance of two stamps of a node may differ from that on its boot clock, as
    /// long as its clock was not set.
    pub(crate) fn stamp_ns(&self, node: Name) -> i64 {
        let is_steady = self.index(node).is_some_and(|at| self.is_steady[at as usize]);
        if is_steady { STEADY_NS } else { STAMP_NS }
    }

    /// Whether both say the same of every moment before `until_ns`.
    pub(crate) fn agrees(&self, other: &Self, until_ns: i64) -> bool {
        self.nodes == other.nodes
            && self.is_steady == other.is_steady
            && self.epochs.agrees(&other.epochs, until_ns)
    }

    pub(crate) fn index(&self, node: Name) -> Option<u32> {
        self.index.get(node.index()).copied().filter(|&at| at != NO_NODE)
    }

    /// How far stamps of a node between two moments may be off each other; none where its clock was
    /// not set.
    pub(crate) fn set_by(&self, node: Name, from_ns: i64, to_ns: i64) -> Option<Jump> {
        self.epochs.set_by(self.index(node)?, from_ns, to_ns)
    }
}

/// The first heartbeat of each node: what it covers was stamped with the clock that it shows, as
/// there was no other yet.
fn beginnings<'a>(beats: &[&'a Heartbeat]) -> impl Iterator<Item = &'a Heartbeat> + use<'a> {
    let mut first: BTreeMap<Name, &Heartbeat> = BTreeMap::new();
    for beat in beats {
        let known = first.entry(beat.node).or_insert(beat);
        if (beat.covered_from_ns, *beat) < (known.covered_from_ns, *known) {
            *known = beat;
        }
    }
    first.into_values()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SECOND;

    fn clocks(epochs_ns: &[i64]) -> NodeClocks {
        let mut names = Names::default();
        let node = names.name("node-1");
        let beat = |(at, &clock_epoch_ns): (usize, &i64)| {
            let to_ns = (100 + 2 * at as i64) * SECOND;
            Heartbeat {
                covered_from_ns: to_ns - 2 * SECOND,
                covered_to_ns: to_ns,
                event_ns: to_ns,
                clock_epoch_ns,
                clock_boot_ns: to_ns - 90 * SECOND,
                clock_wall_ns: to_ns,
                lost: 0,
                shipped: 0,
                is_agent: true,
                node,
            }
        };
        let beats: Vec<Heartbeat> = epochs_ns.iter().enumerate().map(beat).collect();
        NodeClocks::new(beats.iter(), &names)
    }

    #[test]
    fn clocks_told_by_other_epochs_do_not_agree_though_their_samples_do() {
        let (steady, moved) = (clocks(&[90 * SECOND; 3]), clocks(&[90 * SECOND, 90 * SECOND, 5]));
        assert!(steady.agrees(&clocks(&[90 * SECOND; 3]), i64::MAX));
        assert!(!steady.agrees(&moved, i64::MAX));
    }
}
