//! The nodes' clocks: how two stamps of different nodes may be compared.
//!
//! What is believed near a window rests on the exact pairs that ended in it and in the window
//! before, and on the clock samples around them, so that it is a function of that window in a run
//! of any length. Pairs are settled by both sequence numbers alone: no clock helps to know them.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::address::MIX;
use crate::columns::{Exchange, Heartbeat, Role};
use crate::names::Name;
use crate::skew::{Buckets, ClockSample, Epochs, Offset, Offsets, SAMPLE_GAP_NS_MAX};
use crate::slab::Slab;
use crate::slabs::Slabs;
use crate::{SECOND, Settings};

/// Pairs of one window that are looked at, about. Of more, those with certain sequence numbers: 250
/// nodes get a limit every few seconds of each of their pairs, for a tenth of a second's work.
const PAIRS_MAX: usize = 1 << 17;

/// A batch takes its boot clock to wall time by a sample of its own, and a clock may be slewed.
const STAMP_NS: i64 = 1_000_000;

/// Clocks take memory by pairs of nodes: 64 MiB at this size. Nodes beyond are compared as where
/// nothing is known.
const NODES_MAX: usize = 4_096;

/// A moment that a node's clock showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) node: Name,
    pub(crate) ns: i64,
}

/// How far a second clock is from a first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Apart {
    /// By what messages prove.
    Proven(Offset),
    /// By no more than clocks are allowed to be.
    Allowed { bound_ns: i64 },
    /// Nobody can say: a clock was set meanwhile, or what was measured contradicts itself.
    Unknown,
}

impl Apart {
    /// Second clock minus first, and the bound of that.
    pub(crate) fn offset(self) -> Option<Offset> {
        match self {
            Self::Proven(offset) => Some(offset),
            Self::Allowed { bound_ns } => Some(Offset { offset_ns: 0, bound_ns }),
            Self::Unknown => None,
        }
    }
}

/// The clocks as they are known near one window. Solved when the first comparison asks.
#[derive(Debug)]
pub(crate) struct Clocks {
    window: u32,
    solved: OnceCell<Solved>,
}

/// Clocks of a window and what they are known from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) clocks: &'a Clocks,
    pub(crate) slabs: &'a Slabs,
    pub(crate) settings: &'a Settings,
}

#[derive(Debug)]
struct Solved {
    /// Sorted by their names, which makes their places the indexes of the solution.
    nodes: Vec<Name>,
    index: BTreeMap<Name, u32>,
    epochs: Epochs,
    offsets: Offsets,
}

/// Both ends of one exact stream.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'a> {
    pub(crate) client: &'a Exchange,
    pub(crate) server: &'a Exchange,
    client_answered_ns: i64,
    server_answered_ns: i64,
}

/// Event times of the heartbeats whose samples a window looks at.
fn sampled(window: &Range<i64>, settings: &Settings) -> Range<i64> {
    window.start - settings.window_ns - SAMPLE_GAP_NS_MAX..window.end + SAMPLE_GAP_NS_MAX
}

impl Clocks {
    pub(crate) fn new(window: u32) -> Self {
        Self { window, solved: OnceCell::new() }
    }
}

impl<'a> Known<'a> {
    /// How far the clock of `to` is from that of `from`, where each showed its stamp.
    pub(crate) fn apart(&self, from: Stamp, to: Stamp) -> Apart {
        let allowed = Apart::Allowed { bound_ns: self.settings.skew_ns };
        if from.node == to.node {
            return allowed;
        }
        if let Some(offset) = self.proven(from, to) {
            let bound_ns = offset.bound_ns.saturating_add(STAMP_NS);
            return Apart::Proven(Offset { bound_ns, ..offset });
        }
        let solved = self.solved();
        let (Some(&a), Some(&b)) = (solved.index.get(&from.node), solved.index.get(&to.node))
        else {
            return allowed;
        };
        let is_contradicted = match (solved.epochs.at(a, from.ns), solved.epochs.at(b, to.ns)) {
            (Some(from), Some(to)) => solved.offsets.is_contradicted(from, to),
            _ => false,
        };
        let is_set = solved.epochs.is_set(a) || solved.epochs.is_set(b);
        if is_contradicted || is_set { Apart::Unknown } else { allowed }
    }

    /// The same as messages prove it; none where they do not.
    pub(crate) fn proven(&self, from: Stamp, to: Stamp) -> Option<Offset> {
        if from.node == to.node {
            return Some(Offset::default());
        }
        let solved = self.solved();
        let a = solved.epochs.at(*solved.index.get(&from.node)?, from.ns)?;
        let b = solved.epochs.at(*solved.index.get(&to.node)?, to.ns)?;
        solved.offsets.offset(a, b, from.ns)
    }

    /// What is known of each pair of nodes, as rows of the window.
    pub(crate) fn rows(&self, template: &tables::ClockOffset) -> Vec<tables::ClockOffset> {
        let solved = self.solved();
        let names: Vec<&str> = solved.nodes.iter().map(|&n| self.slabs.names.text(n)).collect();
        let window = self.window();
        let from_ns = window.start - self.settings.window_ns;
        solved.offsets.rows(&names, &solved.epochs, from_ns, &window, template)
    }

    fn window(&self) -> Range<i64> {
        let start_ns = i64::from(self.clocks.window) * self.settings.window_ns;
        start_ns..start_ns + self.settings.window_ns
    }

    fn solved(&self) -> &'a Solved {
        self.clocks.solved.get_or_init(|| self.solve())
    }

    fn solve(&self) -> Solved {
        let window = self.window();
        let sampled = sampled(&window, self.settings);
        let beats = self.slabs.heartbeats.iter();
        let beats = beats.filter(|h| h.is_agent && sampled.contains(&h.event_ns));
        let beats: Vec<&Heartbeat> = beats.filter(|h| h.clock_wall_ns > 0).collect();
        let named: BTreeSet<(&str, Name)> =
            beats.iter().map(|h| (self.slabs.names.text(h.node), h.node)).collect();
        let nodes: Vec<Name> = named.into_iter().map(|(_, node)| node).take(NODES_MAX).collect();
        let index: BTreeMap<Name, u32> = nodes.iter().copied().zip(0..).collect();
        let sample = |h: &&Heartbeat| {
            let node = *index.get(&h.node)?;
            Some(ClockSample { node, boot_ns: h.clock_boot_ns, wall_ns: h.clock_wall_ns })
        };
        let samples: Vec<ClockSample> = beats.iter().filter_map(sample).collect();
        let epochs = Epochs::new(nodes.len(), &samples);
        let mut buckets = Buckets::new(nodes.len());
        if nodes.len() > 1 {
            for window in self.clocks.window.saturating_sub(1)..=self.clocks.window {
                let slab = self.slabs.slab(window);
                slab.into_iter().for_each(|slab| measure(slab, &index, &epochs, &mut buckets));
            }
        }
        let seconds = (window.start - self.settings.window_ns).div_euclid(SECOND)
            ..(window.end + SECOND - 1).div_euclid(SECOND);
        let offsets = Offsets::solve(&buckets, seconds);
        Solved { nodes, index, epochs, offsets }
    }
}

/// Counts the messages of the pairs that ended in one window.
fn measure(slab: &Slab, index: &BTreeMap<Name, u32>, epochs: &Epochs, buckets: &mut Buckets) {
    let sparse = (slab.exchanges.len() / 2 / PAIRS_MAX).next_power_of_two() as u64;
    let is_looked_at =
        |client: &Exchange| ((client.seq_req as u64).wrapping_mul(MIX) >> 32) % sparse == 0;
    let between_nodes = |pair: &Pair<'_>| pair.client.node != pair.server.node;
    for pair in pairs(slab, is_looked_at).filter(between_nodes) {
        let (Some(&c), Some(&s)) = (index.get(&pair.client.node), index.get(&pair.server.node))
        else {
            continue;
        };
        let second = pair.client.end_ns.max(pair.server.end_ns).div_euclid(SECOND);
        let (asked_ns, heard_ns) = (pair.client.start_ns, pair.server.start_ns);
        if let (Some(from), Some(to)) = (epochs.at(c, asked_ns), epochs.at(s, heard_ns)) {
            buckets.add(from, to, asked_ns, heard_ns, second);
        }
        let (said_ns, answered_ns) = (pair.server_answered_ns, pair.client_answered_ns);
        if let (Some(from), Some(to)) = (epochs.at(s, said_ns), epochs.at(c, answered_ns)) {
            buckets.add(from, to, said_ns, answered_ns, second);
        }
    }
}

/// Streams of which both ends ended in one window, and nothing else there has their sequence
/// numbers.
pub(crate) fn pairs<'a>(
    slab: &'a Slab,
    is_looked_at: impl Fn(&Exchange) -> bool,
) -> impl Iterator<Item = Pair<'a>> {
    let mut rows = Vec::new();
    let clients = slab.exchanges.iter().filter(move |client| {
        client.role == Role::Client && client.seq_req >= 0 && is_looked_at(client)
    });
    clients.filter_map(move |client| {
        let client_answered_ns = client.first_response_ns()?;
        client.seq_resp()?;
        let mut only = |role| {
            rows.clear();
            slab.with_seq(client.seq_req, role, &mut rows);
            rows.retain(|&row| {
                let other = &slab.exchanges[row as usize];
                other.seq_resp() == client.seq_resp() && other.stream_id == client.stream_id
            });
            match rows[..] {
                [row] => Some(&slab.exchanges[row as usize]),
                _ => None,
            }
        };
        let server = only(Role::Server)?;
        only(Role::Client)?;
        let server_answered_ns = server.first_response_ns()?;
        Some(Pair { client, server, client_answered_ns, server_answered_ns })
    })
}
