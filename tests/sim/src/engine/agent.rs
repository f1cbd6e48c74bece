//! The nodes' agents: exchanges, heartbeats, what they lost, and their other lives.

use super::{Simulation, What};
use crate::dials::SECOND;
use crate::fate::{self, Fate, Word};
use crate::network::{ConnectionId, Turn};
use crate::observation::{Capability, EndedBy, Heartbeat, NodeId, Role, Seen, Sender, State};
use crate::truth;

/// Each so often an agent looks for turns that have been silent for as long.
pub(super) const SWEEP_NS: i64 = 2 * SECOND;

/// What one agent has told and lost so far.
#[derive(Clone, Debug)]
pub(super) struct Watcher {
    life: u8,
    covered_to_ns: i64,
    shipped: i64,
    /// True times of what was lost and is not told yet.
    lost: Vec<i64>,
}

impl Watcher {
    pub(super) fn starting_at(begin_ns: i64) -> Self {
        Self { life: 0, covered_to_ns: begin_ns, shipped: 0, lost: Vec::new() }
    }
}

/// Features as an agent names them, and what is not known without each.
const FEATURES: [(&str, &str); 3] = [
    ("exchange", "requests on the wire: hops come from spans and access logs alone"),
    ("connection", "connections, and with them the roles of sockets and their requests"),
    ("nat_binding", "translations of short connections: dumps show only what lives long enough"),
];

impl Simulation {
    pub(super) fn tell_by_agent(
        &mut self,
        node: NodeId,
        row: (i64, Seen),
        fate: Fate,
        true_ns: i64,
    ) {
        let watcher = &mut self.watchers[usize::from(node)];
        match fate.word {
            Word::Lost => watcher.lost.push(true_ns),
            Word::Seen | Word::Late => {
                watcher.shipped += 1;
                let sender = Sender::Agent(node, watcher.life);
                self.tell(sender, row, fate, true_ns);
            }
            Word::Down | Word::Sampled | Word::Off | Word::None => {}
        }
    }

    /// The wall clock stamp of a moment as a batch that is closed next tells it.
    pub(super) fn stamp(&self, node: NodeId, true_ns: i64) -> i64 {
        let life = self.watchers[usize::from(node)].life;
        let closed_ns = self.delivery.flush_ns(Sender::Agent(node, life), self.now_ns);
        self.clocks[usize::from(node)].under_epoch_of(true_ns, closed_ns)
    }

    /// Whether a connection that was opened then is older than the node's agent.
    pub(super) fn is_older_than_agent(&self, node: NodeId, opened_ns: i64) -> bool {
        self.fates.agent(node).down.is_some_and(|(_, to)| opened_ns < to && to <= self.now_ns)
    }

    pub(super) fn tell_exchange(&mut self, id: ConnectionId, turn: Turn, ended_by: EndedBy) {
        let Turn { request, leg, mut exchange } = turn;
        let node = self.cluster.pod(exchange.pod).node;
        let what = match exchange.role {
            Role::Client => fate::What::ClientExchange,
            Role::Server => fate::What::ServerExchange,
        };
        let (start_ns, end_ns) = (exchange.start_ns, exchange.end_ns);
        let fate = self.fates.of_exchange(what, (request, leg), node, (start_ns, end_ns));
        let opened_ns = self.network.connections.get(id).opened_ns(exchange.role);
        if self.is_older_than_agent(node, opened_ns) {
            exchange.ordinal = -1;
        }
        exchange.ended_by = ended_by;
        exchange.start_ns = self.stamp(node, start_ns);
        exchange.first_response_ns = exchange.first_response_ns.map(|ns| self.stamp(node, ns));
        exchange.end_ns = self.stamp(node, end_ns);
        self.tell_by_agent(node, (exchange.end_ns, Seen::Exchange(exchange)), fate, end_ns);
    }

    /// Tells the turns that a connection's ends hold.
    pub(super) fn turn_ends(&mut self, id: ConnectionId, how: EndedBy) {
        let connection = self.network.connections.get_mut(id);
        let turns = [connection.client_turn.take(), connection.server_turn.take()];
        for turn in turns.into_iter().flatten() {
            // Without an answer there is nothing to be silent after.
            self.tell_exchange(id, turn, how);
        }
    }

    pub(super) fn sweep(&mut self) {
        while let Some(&(end_ns, id, cookie)) = self.silent.front() {
            if end_ns > self.now_ns - SWEEP_NS {
                break;
            }
            self.silent.pop_front();
            let connection = self.network.connections.find(id);
            let is_silent = connection.is_some_and(|c| {
                c.cookie == cookie && c.last_used_ns == end_ns && c.in_flight == 0
            });
            if is_silent {
                self.turn_ends(id, EndedBy::Quiet);
            }
        }
        self.at(self.now_ns + SWEEP_NS, What::Sweep);
    }

    pub(super) fn heartbeat(&mut self, node: NodeId) {
        self.at(self.now_ns + self.dials.heartbeat, What::Heartbeat(node));
        let agent = *self.fates.agent(node);
        if !agent.watches(self.now_ns) {
            return;
        }
        let swept_ns = self.start_of_last_sweep_ns() - SWEEP_NS;
        let clock = self.clocks[usize::from(node)];
        let watcher = &mut self.watchers[usize::from(node)];
        let from_ns = watcher.covered_to_ns;
        let to_ns = swept_ns.max(from_ns);
        let before = watcher.lost.len();
        watcher.lost.retain(|&at_ns| at_ns >= to_ns);
        let lost = (before - watcher.lost.len()) as i64;
        watcher.covered_to_ns = to_ns;
        let shipped = std::mem::take(&mut watcher.shipped);
        let (boot_ns, epoch_ns) = clock.sample(self.now_ns);
        let covered_to_ns = self.stamp(node, to_ns);
        // Who sees no requests vouches for no time.
        let covered_from_ns =
            if agent.is_blind { covered_to_ns } else { self.stamp(node, from_ns) };
        let heartbeat = Heartbeat {
            covered_from_ns,
            covered_to_ns,
            lost,
            shipped,
            clock_boot_ns: boot_ns,
            clock_wall_ns: clock.wall_ns(self.now_ns),
            clock_epoch_ns: epoch_ns,
            idle_after_ns: 3 * self.dials.heartbeat,
        };
        if !agent.is_blind {
            self.truth.coverage.push(truth::Coverage { node, from_ns, to_ns, lost });
        }
        self.tell_by_agent(node, (covered_to_ns, Seen::Heartbeat(heartbeat)), Fate::SEEN, to_ns);
    }

    fn start_of_last_sweep_ns(&self) -> i64 {
        let begin_ns = self.start_ns - super::LEAD_NS;
        begin_ns + (self.now_ns - begin_ns).div_euclid(SWEEP_NS) * SWEEP_NS
    }

    pub(super) fn tell_capabilities(&mut self, node: NodeId) {
        let is_blind = self.fates.agent(node).is_blind;
        let event_ns = self.stamp(node, self.now_ns);
        for (feature, lost) in FEATURES {
            let loaded = !(is_blind && feature == "exchange");
            let reason = (!loaded).then_some("this kernel has no tracepoint sock_send_length");
            let row = Capability { feature, loaded, reason, lost };
            self.tell_by_agent(node, (event_ns, Seen::Capability(row)), Fate::SEEN, self.now_ns);
        }
    }

    /// An agent begins another life: it finds the connections and translations that are there.
    pub(super) fn restart(&mut self, node: NodeId) {
        let watcher = &mut self.watchers[usize::from(node)];
        *watcher = Watcher { life: watcher.life + 1, ..Watcher::starting_at(self.now_ns) };
        self.tell_capabilities(node);
        let ids: Vec<ConnectionId> = self.network.connections.ids().collect();
        for id in ids {
            let connection = self.network.connections.get(id).clone();
            for role in [Role::Client, Role::Server] {
                let pod = connection.side(role).0;
                if pod.is_some_and(|pod| self.cluster.pod(pod).node == node) {
                    self.tell_end(&connection, role, State::Active, None);
                }
            }
            let c = self.network.connections.get_mut(id);
            if let Some(nat) = c.nat.as_mut().filter(|nat| nat.node == node) {
                nat.first_seen_ns = self.now_ns;
                nat.is_dump = true;
                nat.fate = Fate::SEEN;
                self.tell_binding(id, self.now_ns);
            }
        }
    }
}
