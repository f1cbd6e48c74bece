//! What exact links teach: how long requests travel, and what answers are worth where the keys of
//! such links are hidden.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::End;
use crate::assignment::{self, Learned, Partner, Thresholds};
use crate::calibration::Trials;
use crate::columns::Exchange;
use crate::comparison::{Pair, Stamp, pairs};
use crate::link::View;
use crate::link::statistical::Caller;
use crate::link::statistical::stratum::Side;
use crate::names::Name;
use crate::slab::RowId;

/// Exact links of one window that are learned from and tried, about; of more, those of some callers.
const LINKS_MAX: usize = 1 << 15;

/// Exact links of the window and the one before: those of the same callers are all here, or none.
pub(super) struct Links<'a> {
    of_caller: BTreeMap<(u32, Caller), Vec<(Pair<'a>, i64)>>,
    /// By the client's and the server's node.
    learned: BTreeMap<(Name, Name), Learned>,
}

impl<'a> Links<'a> {
    pub(super) fn new(view: &View<'a>) -> Self {
        let mut links = Self { of_caller: BTreeMap::new(), learned: BTreeMap::new() };
        for window in view.window.saturating_sub(1)..=view.window {
            let Some(slab) = view.slabs.slab(window) else { continue };
            let sparse = (slab.exchanges.len() / 2 / LINKS_MAX).next_power_of_two() as u64;
            let is_looked_at = |client: &Exchange| {
                let caller = End { ip: client.local_ip, port: 0 };
                (client.remote().hash() ^ caller.hash().rotate_left(17)).is_multiple_of(sparse)
            };
            for pair in pairs(slab, is_looked_at) {
                links.add(view, window, pair);
            }
        }
        links
    }

    fn add(&mut self, view: &View<'a>, window: u32, pair: Pair<'a>) {
        let (client, server) = (pair.client, pair.server);
        let own = Stamp { node: server.node, ns: server.start_ns };
        let to = Stamp { node: client.node, ns: client.start_ns };
        let Some(offset) = view.nat.clocks.proven(own, to) else { return };
        let corrected = (server.start_ns + offset.offset_ns, server.end_ns + offset.offset_ns);
        let learned = self.learned.entry((client.node, server.node)).or_default();
        learned.add((client.start_ns, client.end_ns), corrected);
        let caller = (window, (client.place, client.remote()));
        self.of_caller.entry(caller).or_default().push((pair, offset.bound_ns));
    }

    /// What links between a client's node and these servers' took.
    pub(super) fn learned(&self, client: Name, servers: BTreeSet<Name>) -> Learned {
        let mut sum = Learned::default();
        for server in servers {
            if let Some(learned) = self.learned.get(&(client, server)) {
                sum.merge(learned);
            }
        }
        sum
    }

    /// Asks for the exact links as if their keys and tuples were not known, and counts the answers.
    pub(super) fn try_hidden(&self, view: &View<'_>, trials: &mut Trials) {
        for links in self.of_caller.values() {
            let (mut clients, mut servers) = (Side::default(), Side::default());
            let mut bound_ns = 0;
            let mut nodes = BTreeSet::new();
            let mut node = None;
            for (at, (pair, bound)) in (0u32..).zip(links) {
                let id = RowId { window: view.window, row: at };
                clients.push(id, pair.client, 0);
                servers.push(id, pair.server, 0);
                let own = Stamp { node: pair.server.node, ns: pair.server.start_ns };
                let to = Stamp { node: pair.client.node, ns: pair.client.start_ns };
                if let Some(offset) = view.nat.clocks.proven(own, to) {
                    servers.start_ns[at as usize] += offset.offset_ns;
                    servers.end_ns[at as usize] += offset.offset_ns;
                }
                bound_ns = bound_ns.max(*bound);
                nodes.insert(pair.server.node);
                node = Some(pair.client.node);
            }
            let Some(node) = node else { continue };
            let delays = self.learned(node, nodes).at(view.until_ns);
            let stratum = clients.against(&servers, Some(bound_ns), view.settings.window_ns);
            let partners = assignment::assign(&stratum, &delays, &Thresholds::default(), |raw| raw);
            for (truth, partner) in partners.into_iter().enumerate() {
                let best = match partner {
                    Partner::Committed(best) => Some(best),
                    Partner::Ambiguous { candidates, .. } => candidates.first().copied(),
                    Partner::Nobody => None,
                };
                if let Some(best) = best {
                    trials.add(best.p, best.server == truth);
                }
            }
        }
    }
}
