//! The nodes' agents: exchanges, connections, translations, heartbeats and what they lost.

use super::{Simulation, What};
use crate::chance::{hash, unit};
use crate::dials::{Protocol, SECOND};
use crate::fate::{self, Fate, Word};
use crate::network::{Client, Connection, ConnectionId, Target, Turn};
use crate::observation::{
    self, Capability, EndedBy, Heartbeat, NatBinding, NodeId, PodId, Role, Seen, Sender, ServiceId,
    State,
};
use crate::truth;

/// Each so often an agent looks for turns that have been silent for as long.
pub(super) const SWEEP_NS: i64 = 2 * SECOND;
/// The connection table is dumped this often, which shows that a translation lives.
const DUMP_NS: i64 = 30 * SECOND;
const US: i64 = 1_000;

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
    fn tell_by_agent(&mut self, node: NodeId, row: (i64, Seen), fate: Fate, true_ns: i64) {
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
    fn stamp(&self, node: NodeId, true_ns: i64) -> i64 {
        let life = self.watchers[usize::from(node)].life;
        let closed_ns = self.delivery.flush_ns(Sender::Agent(node, life), self.now_ns);
        self.clocks[usize::from(node)].under_epoch_of(true_ns, closed_ns)
    }

    /// Whether a connection that was opened then is older than the node's agent.
    fn is_older_than_agent(&self, node: NodeId, opened_ns: i64) -> bool {
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

    /// A pooled connection, or a new one; and when the first byte of the request can leave.
    pub(super) fn connection_to(
        &mut self,
        client: Client,
        target: Target,
        server: PodId,
        service: ServiceId,
    ) -> (ConnectionId, i64) {
        if let Some(id) = self.network.take(client, target) {
            let ready_ns = self.network.connections.get(id).client_opened_ns;
            return (id, self.now_ns.max(ready_ns + 10 * US));
        }
        let protocol = self.shape.services[usize::from(service)].protocol;
        let entry = self.chance.below(self.cluster.nodes.len()) as NodeId;
        let parties = (client, target, server);
        let id = self.network.open(&self.cluster, &mut self.chance, parties, protocol, entry);
        let round_trip_ns = 2 * US * self.chance.between(30, 250);
        let c = self.network.connections.get_mut(id);
        c.client_opened_ns = self.now_ns + round_trip_ns;
        c.server_opened_ns = c.client_opened_ns + round_trip_ns / 2;
        c.last_used_ns = c.client_opened_ns;
        c.reported_ns = self.now_ns;
        let draw = unit(hash(self.dials.seed, &[0x57e, c.cookie as u64]));
        c.tells_streams = draw < self.dials.stream_ids;
        let cookie = c.cookie;
        self.tell_translation(id, self.now_ns + 5 * US);
        self.tell_connection(id, State::Open, None);
        self.look_later(id);
        // A stream's first frame follows the preface of its connection.
        let preface_ns = if protocol == Protocol::Http2 { 60 * US } else { 30 * US };
        debug_assert!(cookie > 0);
        (id, self.now_ns + round_trip_ns + preface_ns)
    }

    /// The first row of a translation.
    fn tell_translation(&mut self, id: ConnectionId, first_ns: i64) {
        let c = self.network.connections.get(id);
        let Some(nat) = c.nat else { return };
        let fate = self.fates.of_socket(fate::What::NatBinding, c.cookie, nat.node, first_ns);
        let c = self.network.connections.get_mut(id);
        if let Some(nat) = &mut c.nat {
            nat.first_seen_ns = first_ns;
            nat.fate = fate;
        }
        self.tell_binding(id, first_ns);
    }

    fn tell_binding(&mut self, id: ConnectionId, last_ns: i64) {
        let c = self.network.connections.get(id);
        let Some(nat) = c.nat else { return };
        // A row that repeats another is lost or late with it, so that the truth of the binding is
        // one; while the agent is down there is none.
        if !self.fates.agent(nat.node).tells(last_ns, last_ns) {
            return;
        }
        let last_seen_ns = self.stamp(nat.node, last_ns);
        let binding = NatBinding {
            node: nat.node,
            original: c.original,
            reply: c.reply,
            first_seen_ns: self.stamp(nat.node, nat.first_seen_ns),
            last_seen_ns,
            is_dump: nat.is_dump,
        };
        self.tell_by_agent(nat.node, (last_seen_ns, Seen::NatBinding(binding)), nat.fate, last_ns);
    }

    /// A row of a connection at both of its ends.
    fn tell_connection(&mut self, id: ConnectionId, state: State, cause: Option<&'static str>) {
        let connection = self.network.connections.get(id).clone();
        for role in [Role::Client, Role::Server] {
            self.tell_end(&connection, role, state, cause);
        }
    }

    fn tell_end(
        &mut self,
        connection: &Connection,
        role: Role,
        state: State,
        cause: Option<&'static str>,
    ) {
        let (Some(pod), local, remote) = connection.side(role) else { return };
        let node = self.cluster.pod(pod).node;
        let opened_ns = connection.opened_ns(role);
        let true_ns = if state == State::Open { opened_ns } else { self.now_ns };
        let what = match role {
            Role::Client => fate::What::ClientConnection,
            Role::Server => fate::What::ServerConnection,
        };
        let cookie = connection.cookie_of(role);
        let fate = self.fates.of_socket(what, cookie ^ state as i64, node, true_ns);
        let (sent, received) = match role {
            Role::Client => (connection.bytes_up, connection.bytes_down),
            Role::Server => (connection.bytes_down, connection.bytes_up),
        };
        let is_known = !self.is_older_than_agent(node, opened_ns);
        let is_open = state == State::Open;
        let row = observation::Connection {
            pod,
            cookie,
            role,
            local,
            remote,
            state,
            opened_ns: is_known.then(|| self.stamp(node, opened_ns)),
            bytes_sent: if is_open { 0 } else { sent },
            bytes_received: if is_open { 0 } else { received },
            srtt_us: 60 + (connection.cookie & 0xff),
            end_cause: cause,
        };
        let event_ns = self.stamp(node, true_ns);
        self.tell_by_agent(node, (event_ns, Seen::Connection(row)), fate, true_ns);
    }

    fn look_later(&mut self, id: ConnectionId) {
        let c = self.network.connections.get(id);
        let idle_ns = (c.last_used_ns + self.dials.idle_timeout).max(self.now_ns + SECOND);
        let at_ns = idle_ns.min(c.reported_ns + self.shape.active_timeout_ns);
        let cookie = c.cookie;
        self.at(at_ns, What::Look(id, cookie));
    }

    /// A connection is reported while it lives, and closed when nobody uses it.
    pub(super) fn look(&mut self, id: ConnectionId, cookie: i64) {
        let Some(c) = self.network.connections.find(id).filter(|c| c.cookie == cookie) else {
            return;
        };
        let idle_since_ns = self.now_ns - c.last_used_ns;
        if c.in_flight == 0 && (idle_since_ns >= self.dials.idle_timeout || c.is_retired) {
            return self.close(id);
        }
        if self.now_ns - c.reported_ns >= self.shape.active_timeout_ns {
            self.network.connections.get_mut(id).reported_ns = self.now_ns;
            self.tell_connection(id, State::Active, None);
            self.tell_binding_again(id);
        }
        self.look_later(id);
    }

    fn tell_binding_again(&mut self, id: ConnectionId) {
        let first_ns = self.network.connections.get(id).nat.map_or(0, |nat| nat.first_seen_ns);
        let dumped_ns = self.now_ns.div_euclid(DUMP_NS) * DUMP_NS;
        if dumped_ns > first_ns {
            self.tell_binding(id, dumped_ns);
        }
    }

    /// Closes a connection at once, or when its last stream is done.
    pub(super) fn close_when_unused(&mut self, id: ConnectionId) {
        let c = self.network.connections.get_mut(id);
        c.is_retired = true;
        if c.in_flight == 0 {
            self.close(id);
        }
    }

    fn close(&mut self, id: ConnectionId) {
        self.turn_ends(id, EndedBy::Close);
        self.tell_connection(id, State::Closed, Some("fin"));
        self.network.close(id);
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
