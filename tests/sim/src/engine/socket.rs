//! Sockets and translations: opened, reported while they live, closed, refused.

use super::{Simulation, What};
use crate::address::End;
use crate::chance::{hash, unit};
use crate::dials::{Protocol, SECOND};
use crate::fate;
use crate::network::{Client, Connection, ConnectionId, Target};
use crate::observation::{self, EndedBy, NatBinding, NodeId, PodId, Role, Seen, ServiceId, State};

/// The connection table is dumped this often, which shows that a translation lives.
const DUMP_NS: i64 = 30 * SECOND;
const US: i64 = 1_000;

impl Simulation {
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
        self.tell_translation(id, self.now_ns + 5 * US);
        self.tell_connection(id, State::Open, None);
        self.look_later(id);
        // A stream's first frame follows the preface of its connection.
        let preface_ns = if protocol == Protocol::Http2 { 60 * US } else { 30 * US };
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

    pub(super) fn tell_binding(&mut self, id: ConnectionId, last_ns: i64) {
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

    pub(super) fn tell_end(
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

    /// A connection that was asked for and refused: what the kernels of both ends say of it.
    pub(super) fn tell_refusal(&mut self, client: PodId, server: PodId) {
        let listener = self.cluster.listener(server);
        let (ip, port) = (self.cluster.pod(client).ip, self.network.passing_port(client));
        let ends = (End::new(ip, port), listener);
        for (pod, kind, (local, remote)) in
            [(server, "refused", (ends.1, ends.0)), (client, "reset_received", ends)]
        {
            let node = self.cluster.pod(pod).node;
            let subject = i64::from(port) << 32 | i64::from(pod);
            let what = fate::What::Failure;
            let fate = self.fates.of_socket(what, subject ^ self.now_ns, node, self.now_ns);
            let event_ns = self.stamp(node, self.now_ns);
            let row = Seen::Failure(observation::Failure { pod, kind, local, remote });
            self.tell_by_agent(node, (event_ns, row), fate, self.now_ns);
        }
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
}
