//! The slow lane: rows from before a window's range, for requests that lasted longer than the guard.
//!
//! The join names the pods that served such a request, and since when; whoever reads raw rows brings
//! theirs; the pods that these called are named in the next round, until nothing is missing or a
//! limit is reached. Rows that a round did not name are left out and forgotten with the window, so
//! that it rests on the same rows in a run of any length.

mod needs;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::Settings;
use crate::address::Address;
use crate::columns::{Columns, Heartbeat};
use crate::link::Evidence;
use crate::link::nat::Bindings;
use crate::names::{Name, Names};
use crate::slabs::{Front, Slabs};
use crate::window::ReadRange;

pub(crate) use needs::{Need, Needs, needs};

/// A path is seldom this deep, and each depth is a round.
const ROUNDS_MAX: usize = 16;

/// Earlier rows that a window needs. More rows do no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Event times of exchanges, spans, access logs, ends of connections and heartbeats.
    pub rows: Range<i64>,
    /// Event times of NAT bindings.
    pub connections: Range<i64>,
    /// Uids of the pods whose exchanges, spans and lines are needed.
    pub pods: BTreeSet<String>,
    /// Their addresses, in every form that a row may write them in: of who sent a span, wrote a
    /// line, or stands as the source in a binding's original tuple.
    pub addresses: BTreeSet<String>,
    /// Their nodes: of ends of connections. Heartbeats are needed of all nodes.
    pub nodes: BTreeSet<String>,
}

/// What the limits left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Over {
    /// Requests that began longer ago than is read back.
    pub(crate) age: usize,
    /// Pods beyond as many as are read back for a window.
    pub(crate) pods: usize,
    /// Pods with more exchanges than are read back of one.
    pub(crate) exchanges: usize,
}

/// What the slow lane adds to a window's sight.
#[derive(Debug, Default)]
pub(crate) struct Reached<'a> {
    /// The first window that anything was read of.
    pub(crate) first: Option<u32>,
    /// Since when places are known, where that is before the window's range.
    pub(crate) places: BTreeMap<u32, i64>,
    /// The same by pod, also of those that did nothing.
    pub(crate) pods: BTreeMap<Name, i64>,
    /// Of the windows from the first one to where the range begins.
    pub(crate) evidence: Option<&'a BTreeMap<u32, Evidence>>,
    pub(crate) over: Over,
}

/// What one window has of rows from before its range.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// Start of the window.
    pub(crate) of_ns: i64,
    /// The first window of which all rows are read for every window: the lane ends before it.
    pub(crate) until: u32,
    /// The first window that anything was read of; none of which nothing was asked for.
    pub(crate) first: Option<u32>,
    pub(crate) front: Front,
    pub(crate) bindings: Bindings,
    pub(crate) heartbeats: Vec<Heartbeat>,
    pub(crate) evidence: BTreeMap<u32, Evidence>,
    pub(crate) over: Over,
    /// Since when each pod is known.
    pub(crate) pods: BTreeMap<Name, i64>,
    exchanges: BTreeMap<Name, usize>,
    /// Pods with too many.
    busy: BTreeSet<Name>,
    round: Round,
    rounds: usize,
}

/// What is asked for at once.
#[derive(Debug, Default)]
struct Round {
    rows: Range<i64>,
    connections: Range<i64>,
    heartbeats: Range<i64>,
    /// With the event times of their exchanges.
    pods: BTreeMap<Name, Range<i64>>,
    addresses: BTreeSet<Address>,
    nodes: BTreeSet<Name>,
}

impl Lane {
    pub(crate) fn new(of_ns: i64, until: u32) -> Self {
        Self { of_ns, until, ..Self::default() }
    }

    /// Begins a round for what is needed and may be had; none where that is nothing.
    pub(crate) fn ask(
        &mut self,
        needs: Needs,
        range: &ReadRange,
        names: &Names,
        settings: &Settings,
    ) -> Option<Earlier> {
        self.over.age = needs.too_old;
        let lane_end_ns = i64::from(self.until) * settings.window_ns;
        let granted = self.grant(needs, names, settings.slow.pods);
        let from_ns = granted.iter().map(|(_, need)| need.from_ns).min()? - settings.guard_ns;
        let sighted_ns = settings.active_timeout_ns + settings.propagation_ns;
        self.round = Round {
            rows: from_ns..lane_end_ns,
            connections: from_ns - sighted_ns..range.connections.start,
            heartbeats: from_ns..range.heartbeats.start,
            pods: granted
                .iter()
                .map(|(pod, need)| (*pod, self.unread(*pod, need, settings)))
                .collect(),
            addresses: granted.iter().flat_map(|(_, need)| &need.addresses).copied().collect(),
            nodes: granted.iter().filter_map(|(_, need)| need.node).collect(),
        };
        self.rounds += 1;
        self.pods.extend(granted.iter().map(|(pod, need)| (*pod, need.from_ns)));
        let texts = |all: &mut dyn Iterator<Item = Name>| -> BTreeSet<String> {
            all.map(|name| names.text(name).to_owned()).collect()
        };
        Some(Earlier {
            rows: from_ns..lane_end_ns.max(range.heartbeats.start),
            connections: self.round.connections.clone(),
            pods: texts(&mut self.round.pods.keys().copied()),
            addresses: self.round.addresses.iter().flat_map(|ip| ip.forms()).collect(),
            nodes: texts(&mut self.round.nodes.iter().copied()),
        })
    }

    /// The pods that may be read, the shortest way back first; equals in the order of their uids.
    fn grant(&mut self, needs: Needs, names: &Names, pods_max: usize) -> Vec<(Name, Need)> {
        let is_new = |(pod, need): &(Name, Need)| {
            !self.busy.contains(pod) && self.pods.get(pod).is_none_or(|from| need.from_ns < *from)
        };
        let mut asked: Vec<(Name, Need)> = needs.pods.into_iter().filter(is_new).collect();
        asked.sort_by_key(|(pod, need)| (std::cmp::Reverse(need.from_ns), names.text(*pod)));
        let room = if self.rounds < ROUNDS_MAX { pods_max } else { 0 };
        let mut held = self.pods.len();
        let mut left_out = 0;
        asked.retain(|(pod, _)| {
            let is_known = self.pods.contains_key(pod) && room > 0;
            let is_granted = is_known || held < room;
            held += usize::from(is_granted && !is_known);
            left_out += usize::from(!is_granted);
            is_granted
        });
        self.over.pods = left_out;
        asked
    }

    /// Event times of a pod's exchanges that were not read yet. How long a request without an answer
    /// was served nobody knows: such ones are looked at as far back as in a window's own range.
    fn unread(&self, pod: Name, need: &Need, settings: &Settings) -> Range<i64> {
        let lane_end_ns = i64::from(self.until) * settings.window_ns;
        let read_from_ns = self.pods.get(&pod).map(|from_ns| from_ns - settings.guard_ns);
        need.from_ns - settings.guard_ns..read_from_ns.unwrap_or(lane_end_ns)
    }

    /// Leaves of these rows those that the round asked for.
    pub(crate) fn keep_asked(&mut self, columns: &mut Columns, exchanges_max: usize) {
        let Round { connections, heartbeats, pods, addresses, nodes, .. } = &self.round;
        let is_of = |pod: Option<Name>, ip: Option<Address>| match pod {
            Some(pod) => pods.contains_key(&pod),
            None => ip.is_some_and(|ip| addresses.contains(&ip)),
        };
        columns.spans.retain(|span| is_of(span.pod, span.sender()));
        columns.access_logs.retain(|line| is_of(line.pod, line.emitter_ip));
        columns.endings.retain(|end| nodes.contains(&end.node));
        columns.bindings.retain(|b| {
            connections.contains(&b.event_ns) && addresses.contains(&b.original.source.ip)
        });
        columns.heartbeats.retain(|h| heartbeats.contains(&h.event_ns));
        columns.malformed.clear();
        columns.objects.clear();
        let (counts, busy) = (&mut self.exchanges, &mut self.busy);
        columns.exchanges.retain(|e| {
            let Some(pod) = e.pod else { return false };
            let is_asked = pods.get(&pod).is_some_and(|times| times.contains(&e.end_ns));
            if !is_asked || busy.contains(&pod) {
                return false;
            }
            let count = counts.entry(pod).or_default();
            *count += 1;
            if *count > exchanges_max {
                busy.insert(pod);
            }
            true
        });
        self.bindings.add(&mut columns.bindings);
        self.heartbeats.append(&mut columns.heartbeats);
    }

    /// What is in sight by it.
    pub(crate) fn reached(&self, slabs: &Slabs) -> Reached<'_> {
        let places = self
            .pods
            .iter()
            .filter_map(|(&pod, &from_ns)| slabs.place_of_pod(pod).map(|place| (place, from_ns)));
        Reached {
            first: self.first,
            places: places.collect(),
            pods: self.pods.clone(),
            evidence: self.first.map(|_| &self.evidence),
            over: self.over,
        }
    }

    /// Event times of rows that the round takes.
    pub(crate) fn rows(&self) -> Range<i64> {
        self.round.rows.clone()
    }

    /// Ends a round: of pods with too many rows nothing is looked at, for which ones came first is
    /// chance.
    pub(crate) fn close_round(&mut self) {
        self.over.exchanges = self.busy.len();
        let is_busy = self.busy.iter().any(|pod| self.pods.contains_key(pod));
        if is_busy {
            self.pods.retain(|pod, _| !self.busy.contains(pod));
            self.front.drop_exchanges_of(&self.busy);
        }
    }
}
