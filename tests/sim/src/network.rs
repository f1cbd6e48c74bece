//! Connections: who has which port, what is translated where, and which idle one is used next.

use std::collections::{HashMap, HashSet};

use crate::address::End;
use crate::chance::{Chance, hash};
use crate::cluster::Cluster;
use crate::dials::{Dials, Protocol};
use crate::fate::Fate;
use crate::observation::{Exchange, NodeId, PodId, Role, ServiceId};
use crate::slab::Slab;

pub(crate) type ConnectionId = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    Pod(PodId),
    Outside(u32),
}

/// What a client addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Service(ServiceId),
    /// A pod's own address, as a proxy does.
    Pod(PodId),
}

/// A request and its response at one end, in true time, until it is reported.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) request: u64,
    pub(crate) leg: u32,
    pub(crate) exchange: Exchange,
}

#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) target: Target,
    pub(crate) server: PodId,
    /// As the client's socket sees it: its own end and what it addressed.
    pub(crate) original: (End, End),
    /// As the server's socket sees it: its own end and whom it answers.
    pub(crate) reply: (End, End),
    pub(crate) nat: Option<Nat>,
    pub(crate) protocol: Protocol,
    /// Of the client's socket; the server's is the next number.
    pub(crate) cookie: i64,
    pub(crate) client_opened_ns: i64,
    pub(crate) server_opened_ns: i64,
    pub(crate) seq_request: u32,
    pub(crate) seq_response: u32,
    pub(crate) requests: u32,
    pub(crate) in_flight: u32,
    pub(crate) last_used_ns: i64,
    /// Of its last row.
    pub(crate) reported_ns: i64,
    pub(crate) bytes_up: i64,
    pub(crate) bytes_down: i64,
    pub(crate) tells_streams: bool,
    /// Turns that have ended, but are not yet reported.
    pub(crate) client_turn: Option<Turn>,
    pub(crate) server_turn: Option<Turn>,
    /// Nobody takes it from its pool any more.
    pub(crate) is_retired: bool,
}

/// A translation on a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nat {
    pub(crate) node: NodeId,
    pub(crate) first_seen_ns: i64,
    pub(crate) fate: Fate,
    /// Known from a dump of the connection table, not from its first packet.
    pub(crate) is_dump: bool,
}

impl Connection {
    pub(crate) fn cookie_of(&self, role: Role) -> i64 {
        self.cookie + i64::from(role == Role::Server)
    }

    /// The pod, the own end and the other end of one side; no pod for an outside client.
    pub(crate) fn side(&self, role: Role) -> (Option<PodId>, End, End) {
        match (role, self.client) {
            (Role::Server, _) => (Some(self.server), self.reply.0, self.reply.1),
            (Role::Client, Client::Pod(pod)) => (Some(pod), self.original.0, self.original.1),
            (Role::Client, Client::Outside(_)) => (None, self.original.0, self.original.1),
        }
    }

    pub(crate) fn opened_ns(&self, role: Role) -> i64 {
        match role {
            Role::Client => self.client_opened_ns,
            Role::Server => self.server_opened_ns,
        }
    }
}

/// All connections, their ports and their pools.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) connections: Slab<Connection>,
    pools: HashMap<(Client, Target), Vec<ConnectionId>>,
    next_port: HashMap<Client, u16>,
    ports: HashSet<(Client, u16)>,
    /// Masquerading ports in use, by node and the server they lead to.
    masquerades: HashSet<(NodeId, u16, PodId)>,
    nat_ports: u32,
    seed: u64,
    opened: u64,
}

/// Linux' own range of ports for clients.
const EPHEMERAL: std::ops::Range<u16> = 32_768..60_999;
const MASQUERADE_FIRST: u32 = 1_024;
const TRIES: usize = 32;

impl Network {
    pub(crate) fn new(dials: &Dials) -> Self {
        Self {
            connections: Slab::default(),
            pools: HashMap::new(),
            next_port: HashMap::new(),
            ports: HashSet::new(),
            masquerades: HashSet::new(),
            nat_ports: dials.nat_ports,
            seed: dials.seed,
            opened: 0,
        }
    }

    /// A connection that may take one more request: the last one that was put back, or any one
    /// that streams share.
    pub(crate) fn take(&mut self, client: Client, target: Target) -> Option<ConnectionId> {
        let pool = self.pools.get_mut(&(client, target))?;
        while let Some(&id) = pool.last() {
            let connection = self.connections.get_mut(id);
            if connection.is_retired {
                pool.pop();
                continue;
            }
            if connection.protocol != Protocol::Http2 {
                pool.pop();
            }
            connection.in_flight += 1;
            return Some(id);
        }
        None
    }

    /// Puts a connection back after a request; streams never took it out.
    pub(crate) fn put_back(&mut self, id: ConnectionId, now_ns: i64) {
        let connection = self.connections.get_mut(id);
        connection.in_flight -= 1;
        connection.last_used_ns = now_ns;
        if connection.protocol == Protocol::Http1 && !connection.is_retired {
            let key = (connection.client, connection.target);
            self.pools.entry(key).or_default().push(id);
        }
    }

    /// Opens a connection to a server through whatever translates on the way.
    pub(crate) fn open(
        &mut self,
        cluster: &Cluster,
        chance: &mut Chance,
        (client, target, server): (Client, Target, PodId),
        protocol: Protocol,
        entry: NodeId,
    ) -> ConnectionId {
        self.opened += 1;
        let listener = cluster.listener(server);
        let port = self.client_port(client);
        let (original, reply, node) = match (client, target) {
            (Client::Outside(id), Target::Service(service)) => {
                let node_port = cluster.service(service).node_port.unwrap_or(0);
                let from = End::new(cluster.outside(id as usize), port);
                let node = cluster.node(entry);
                let masked = End::new(node.ip, self.masquerade(chance, entry, server));
                ((from, End::new(node.ip, node_port)), (listener, masked), Some(entry))
            }
            (Client::Pod(pod), Target::Service(service)) => {
                let from = End::new(cluster.pod(pod).ip, port);
                let node = cluster.pod(pod).node;
                // A pod that reaches itself is masqueraded, or its answers would never leave it.
                let seen_from = if pod == server {
                    End::new(cluster.node(node).ip, self.masquerade(chance, node, server))
                } else {
                    from
                };
                ((from, cluster.service(service).address), (listener, seen_from), Some(node))
            }
            (Client::Pod(pod), Target::Pod(_)) => {
                let from = End::new(cluster.pod(pod).ip, port);
                ((from, listener), (listener, from), None)
            }
            (Client::Outside(id), Target::Pod(_)) => {
                let from = End::new(cluster.outside(id as usize), port);
                ((from, listener), (listener, from), None)
            }
        };
        let seqs = hash(self.seed, &[0x5e9, self.opened]);
        let is_shared = protocol == Protocol::Http2;
        let id = self.connections.insert(Connection {
            client,
            target,
            server,
            original,
            reply,
            nat: node.map(|node| Nat { node, first_seen_ns: 0, fate: Fate::SEEN, is_dump: false }),
            protocol,
            cookie: 20_000 + 2 * self.opened as i64,
            client_opened_ns: 0,
            server_opened_ns: 0,
            seq_request: seqs as u32,
            seq_response: (seqs >> 32) as u32,
            requests: 0,
            in_flight: 1,
            last_used_ns: 0,
            reported_ns: 0,
            bytes_up: 0,
            bytes_down: 0,
            tells_streams: true,
            client_turn: None,
            server_turn: None,
            is_retired: false,
        });
        if is_shared {
            self.pools.entry((client, target)).or_default().push(id);
        }
        id
    }

    /// Forgets a connection that has ended; its ports are free at once.
    pub(crate) fn close(&mut self, id: ConnectionId) -> Connection {
        let connection = self.connections.remove(id);
        self.ports.remove(&(connection.client, connection.original.0.port));
        let peer = connection.reply.1;
        if let Some(nat) = connection.nat {
            self.masquerades.remove(&(nat.node, peer.port, connection.server));
        }
        if let Some(pool) = self.pools.get_mut(&(connection.client, connection.target)) {
            pool.retain(|&pooled| pooled != id);
        }
        connection
    }

    /// A port for a connection that never comes about.
    pub(crate) fn passing_port(&mut self, client: PodId) -> u16 {
        let port = self.client_port(Client::Pod(client));
        self.ports.remove(&(Client::Pod(client), port));
        port
    }

    fn client_port(&mut self, client: Client) -> u16 {
        let seed = self.seed;
        let width = EPHEMERAL.end - EPHEMERAL.start;
        let next = self.next_port.entry(client).or_insert_with(|| {
            let which = match client {
                Client::Pod(pod) => u64::from(pod) << 1,
                Client::Outside(id) => u64::from(id) << 1 | 1,
            };
            (hash(seed, &[0x9087, which]) % u64::from(width)) as u16
        });
        loop {
            *next = (*next + 1) % width;
            let port = EPHEMERAL.start + *next;
            if self.ports.insert((client, port)) {
                return port;
            }
        }
    }

    /// A port at random, as netfilter's `fully-random` does; another range when all are taken.
    fn masquerade(&mut self, chance: &mut Chance, node: NodeId, server: PodId) -> u16 {
        let mut width = self.nat_ports;
        loop {
            for _ in 0..TRIES {
                let port = (MASQUERADE_FIRST + chance.below(width as usize) as u32) as u16;
                if self.masquerades.insert((node, port, server)) {
                    return port;
                }
            }
            width = 64_000;
        }
    }
}
