//! The nodes' clocks: how two stamps of different nodes may be compared.
//!
//! What is believed near a window rests on the exact pairs that ended in it and in the window
//! before, and on the clock samples around them, so that it is a function of that window in a run
//! of any length. Pairs are settled by both sequence numbers alone: no clock helps to know them.

use std::ops::Range;
use std::sync::OnceLock;

use crate::address::MIX;
use crate::clock::NodeClocks;
use crate::columns::{Exchange, Role};
use crate::names::Name;
use crate::skew::{Buckets, Epochs, Offset, Offsets, SAMPLE_GAP_NS_MAX};
use crate::slab::Slab;
use crate::slabs::Slabs;
use crate::{SECOND, Settings};

/// Pairs of one window that are looked at, about. Of more, those with certain sequence numbers: 250
/// nodes get a limit every few seconds of each of their pairs, for a tenth of a second's work.
const PAIRS_MAX: usize = 1 << 17;

/// Clocks take memory by pairs of nodes: 128 MiB at this size. Nodes beyond are compared as where
/// nothing is known.
const NODES_MAX: usize = 2_048;

/// Where no clock was set, one offset stands for a whole range: what holds at moments this far apart.
/// Nearly every comparison is of such clocks, and most are not close.
const STRIDE_NS: i64 = 5 * SECOND;

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
    set: OnceLock<NodeClocks>,
    solved: OnceLock<Solved>,
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
    offsets: Offsets,
    /// How many nodes are compared: the first ones of all.
    nodes: u32,
    /// Of clocks that were not set, over all of the range in which both are known, at
    /// `from * nodes + to`.
    whole: Vec<OnceLock<Option<Offset>>>,
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
        Self { window, set: OnceLock::new(), solved: OnceLock::new() }
    }

    /// Takes the clocks as they are known by now. False where they say something else of a moment
    /// before `until_ns`: nothing that was found by them holds.
    pub(crate) fn take(&mut self, set: NodeClocks, until_ns: i64) -> bool {
        let is_as_before = self.set.get().is_some_and(|known| known.agrees(&set, until_ns));
        if !is_as_before {
            self.solved = OnceLock::new();
        }
        self.set = OnceLock::from(set);
        is_as_before
    }
}

impl<'a> Known<'a> {
    /// How far the clock of `to` is from that of `from`, where each showed its stamp.
    pub(crate) fn apart(&self, from: Stamp, to: Stamp) -> Apart {
        let allowed = Apart::Allowed { bound_ns: self.settings.skew_ns };
        if from.node == to.node {
            return allowed;
        }
        if let Some(offset) = self.whole(from, to).or_else(|| self.proven(from, to)) {
            let set = self.set();
            let stamp_ns = set.stamp_ns(from.node).max(set.stamp_ns(to.node));
            let bound_ns = offset.bound_ns.saturating_add(stamp_ns);
            return Apart::Proven(Offset { bound_ns, ..offset });
        }
        let (Some(a), Some(b)) = (self.index(from.node), self.index(to.node)) else {
            return allowed;
        };
        let epochs = &self.set().epochs;
        let is_contradicted = match (epochs.at(a, from.ns), epochs.at(b, to.ns)) {
            (Some(from), Some(to)) => self.solved().offsets.is_contradicted(from, to),
            _ => false,
        };
        let is_set = epochs.is_set(a) || epochs.is_set(b);
        if is_contradicted || is_set { Apart::Unknown } else { allowed }
    }

    /// The same as messages prove it; none where they do not.
    pub(crate) fn proven(&self, from: Stamp, to: Stamp) -> Option<Offset> {
        if from.node == to.node {
            return Some(Offset::default());
        }
        let epochs = &self.set().epochs;
        let a = epochs.at(self.index(from.node)?, from.ns)?;
        let b = epochs.at(self.index(to.node)?, to.ns)?;
        self.solved().offsets.offset(a, b, from.ns)
    }

    /// The same over the whole range, as far as both clocks are known in it, with a bound that holds
    /// for all of that.
    fn whole(&self, from: Stamp, to: Stamp) -> Option<Offset> {
        let mut range = self.range();
        let (a, b) = (self.index(from.node)?, self.index(to.node)?);
        let epochs = &self.set().epochs;
        range.start = range.start.max(epochs.known_from(a)?).max(epochs.known_from(b)?);
        let is_inside = range.contains(&from.ns) && range.contains(&to.ns);
        if !is_inside || epochs.is_set(a) || epochs.is_set(b) {
            return None;
        }
        let solved = self.solved();
        let place = a * solved.nodes + b;
        let whole = solved.whole.get(place as usize)?;
        *whole.get_or_init(|| solved.over(epochs, a, b, &range))
    }

    /// Times of the pairs that are looked at.
    fn range(&self) -> Range<i64> {
        let window = self.window();
        window.start - self.settings.window_ns..window.end
    }

    /// What is known of each pair of nodes, as rows of the window.
    pub(crate) fn rows(&self, template: &tables::ClockOffset) -> Vec<tables::ClockOffset> {
        let set = self.set();
        let names: Vec<&str> = set.nodes.iter().map(|&n| self.slabs.names.text(n)).collect();
        let window = self.window();
        let from_ns = window.start - self.settings.window_ns;
        self.solved().offsets.rows(&names, &set.epochs, from_ns, &window, template)
    }

    /// When the clocks were set, as far as it matters near the window.
    pub(crate) fn set(&self) -> &'a NodeClocks {
        self.clocks.set.get_or_init(|| self.read())
    }

    /// The same as all heartbeats tell of it that there are by now; none where they were not asked
    /// yet, or where none that was `heard` matters.
    pub(crate) fn set_anew(&self, heard: &Range<i64>) -> Option<NodeClocks> {
        let sampled = sampled(&self.window(), self.settings);
        let matters = heard.start < sampled.end && sampled.start <= heard.end;
        (matters && self.clocks.set.get().is_some()).then(|| self.read())
    }

    fn read(&self) -> NodeClocks {
        let sampled = sampled(&self.window(), self.settings);
        let beats = self.slabs.heartbeats.iter();
        NodeClocks::new(beats.filter(|h| sampled.contains(&h.event_ns)), &self.slabs.names)
    }

    /// The place of a node in the solution.
    fn index(&self, node: Name) -> Option<u32> {
        self.set().index(node).filter(|&at| (at as usize) < NODES_MAX)
    }

    fn window(&self) -> Range<i64> {
        let start_ns = i64::from(self.clocks.window) * self.settings.window_ns;
        start_ns..start_ns + self.settings.window_ns
    }

    fn solved(&self) -> &'a Solved {
        self.clocks.solved.get_or_init(|| self.solve())
    }

    fn solve(&self) -> Solved {
        let nodes = self.set().nodes.len().min(NODES_MAX);
        let mut buckets = Buckets::new(nodes);
        if nodes > 1 {
            for window in self.clocks.window.saturating_sub(1)..=self.clocks.window {
                let slab = self.slabs.slab(window);
                slab.into_iter().for_each(|slab| self.measure(slab, &mut buckets));
            }
        }
        let range = self.range();
        let seconds = range.start.div_euclid(SECOND)..(range.end + SECOND - 1).div_euclid(SECOND);
        let offsets = Offsets::solve(&buckets, seconds);
        let whole = (0..nodes * nodes).map(|_| OnceLock::new()).collect();
        Solved { offsets, nodes: nodes as u32, whole }
    }

    /// Counts the messages of the pairs that ended in one window.
    fn measure(&self, slab: &Slab, buckets: &mut Buckets) {
        let sparse = (slab.exchanges.len() / 2 / PAIRS_MAX).next_power_of_two() as u64;
        let is_looked_at = |client: &Exchange| {
            ((client.seq_req as u64).wrapping_mul(MIX) >> 32).is_multiple_of(sparse)
        };
        let epochs = &self.set().epochs;
        let between_nodes = |pair: &Pair<'_>| pair.client.node != pair.server.node;
        for pair in pairs(slab, is_looked_at).filter(between_nodes) {
            let (client, server) = (pair.client.node, pair.server.node);
            let (Some(c), Some(s)) = (self.index(client), self.index(server)) else { continue };
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
}

impl Solved {
    /// What an offset is between all moments of a range.
    fn over(&self, epochs: &Epochs, a: u32, b: u32, range: &Range<i64>) -> Option<Offset> {
        let (mut lowest_ns, mut highest_ns) = (i64::MAX, i64::MIN);
        let moments = (range.start..range.end).step_by(STRIDE_NS as usize);
        for at_ns in moments.chain([range.end]) {
            let (from, to) = (epochs.at(a, at_ns)?, epochs.at(b, at_ns)?);
            let offset = self.offsets.offset(from, to, at_ns)?;
            lowest_ns = lowest_ns.min(offset.offset_ns - offset.bound_ns);
            highest_ns = highest_ns.max(offset.offset_ns + offset.bound_ns);
        }
        let offset_ns = lowest_ns.midpoint(highest_ns);
        Some(Offset { offset_ns, bound_ns: highest_ns - offset_ns })
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
