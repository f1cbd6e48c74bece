//! The two ends of one stream: client and server exchange with the same TCP sequence numbers.
//!
//! Sequence numbers are absolute and unchanged by L3/L4 NAT, so this needs neither synchronised
//! clocks nor a conntrack record. Tuples must agree too, directly or through a translation.
//!
//! Most pairs end in one window and agree in both sequence numbers: those are settled first. What
//! is left also looks at the neighbouring windows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::address::Tuple;
use crate::columns::{Exchange, Protocol, Role};
use crate::comparison::Stamp;
use crate::link::View;
use crate::link::claim::{Claim, Claims};
use crate::link::multiplex::{self, Turn};
use crate::skew::Offset;
use crate::slab::{ExchangeId, RowId, Slab};

/// Pairs of the clients of one window.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    /// By row of the client.
    pub(crate) server_of: Vec<Option<ExchangeId>>,
    /// Clients by server.
    pub(crate) claims: Claims,
    /// Clients that more than one server fits, or that share the only one that fits.
    pub(crate) contested: BTreeMap<ExchangeId, Vec<ExchangeId>>,
    /// Those of the contested clients that only clocks could decide, and nobody can compare them.
    pub(crate) skew_unknown: BTreeSet<ExchangeId>,
}

impl Pairs {
    /// Pairs the clients among the first `count` exchanges of `view.window`.
    pub(crate) fn new(view: &View<'_>, count: usize) -> Self {
        let Some(slab) = view.slabs.slab(view.window) else { return Self::default() };
        let mut pairs = Self {
            server_of: vec![None; count],
            claims: Claims::new(view.window, count),
            ..Self::default()
        };
        let left = pairs.settle(view, slab, count);
        pairs.search(view, slab, &left);
        pairs.part_streams(view, slab, count);
        pairs
    }

    /// Pairs what ends in the window and agrees in both sequence numbers; answers what is left.
    fn settle(&mut self, view: &View<'_>, slab: &Slab, count: usize) -> Vec<u32> {
        let mut left = Vec::new();
        let mut found = Vec::new();
        let mut settled: Vec<Option<u32>> = vec![None; count];
        let mut twice = Vec::new();
        for (row, client) in slab.exchanges[..count].iter().enumerate() {
            if client.role != Role::Client {
                continue;
            }
            let row = row as u32;
            found.clear();
            slab.with_seq(client.seq_req, Role::Server, &mut found);
            found.retain(|&s| {
                let server = &slab.exchanges[s as usize];
                (s as usize) < count && view.is_whole_match(client, server)
            });
            match found[..] {
                [s] if settled[s as usize].is_none() => settled[s as usize] = Some(row),
                [s] => twice.push((s, row)),
                _ => left.push(row),
            }
        }
        for (server, row) in twice {
            left.push(row);
            left.extend(settled[server as usize].take());
        }
        left.sort_unstable();
        for (server, client) in settled.into_iter().enumerate() {
            let Some(client) = client else { continue };
            let server = RowId { window: view.window, row: server as u32 };
            self.claims.claim(server, client);
            self.server_of[client as usize] = Some(server);
        }
        left
    }

    /// Looks at the neighbours too, and at servers without a response.
    fn search(&mut self, view: &View<'_>, slab: &Slab, left: &[u32]) {
        let mut fits: Vec<(u32, Vec<ExchangeId>)> = Vec::new();
        let mut wanted: BTreeMap<ExchangeId, usize> = BTreeMap::new();
        let mut rows = Vec::new();
        for &row in left {
            let client = &slab.exchanges[row as usize];
            let mut servers = Vec::new();
            let mut is_unknown = false;
            for (window, limit) in view.neighbours() {
                let Some(other) = view.slabs.slab(window) else { continue };
                rows.clear();
                other.with_seq(client.seq_req, Role::Server, &mut rows);
                for &s in rows.iter().filter(|&&s| (s as usize) < limit) {
                    let id = RowId { window, row: s };
                    let server = &other.exchanges[s as usize];
                    if !self.is_free(view, id, server) {
                        continue;
                    }
                    let is_one = view.is_one_stream(client, server);
                    is_unknown |= is_one.is_none();
                    if is_one.unwrap_or(true) {
                        servers.push(id);
                    }
                }
            }
            for &server in &servers {
                *wanted.entry(server).or_default() += 1;
            }
            if !servers.is_empty() {
                fits.push((row, servers));
            }
            if is_unknown {
                self.skew_unknown.insert(RowId { window: view.window, row });
            }
        }
        for (row, servers) in fits {
            let client = RowId { window: view.window, row };
            match servers[..] {
                [server] if wanted[&server] == 1 && !self.skew_unknown.contains(&client) => {
                    self.server_of[row as usize] = Some(server);
                    self.claims.claim(server, row);
                }
                _ => {
                    self.contested.insert(client, servers);
                }
            }
        }
    }

    /// Pairs calls of which no byte is known, by their connection and what names them there.
    fn part_streams(&mut self, view: &View<'_>, slab: &Slab, count: usize) {
        let turn = |id: ExchangeId, e: &Exchange| Turn {
            id,
            start_ns: e.start_ns,
            end_ns: e.end_ns,
            stream: (e.stream_id >= 0).then_some(i64::from(e.stream_id)),
            ordinal: i64::from(e.ordinal),
        };
        let is_unnamed =
            |e: &&Exchange| e.seq_req < 0 && e.protocol == Protocol::Http2 && e.has_response();
        // Calls by the server's view of their connection.
        let mut clients: BTreeMap<Tuple, Vec<Turn>> = BTreeMap::new();
        for (row, client) in slab.exchanges[..count].iter().enumerate() {
            if client.role != Role::Client || !is_unnamed(&client) {
                continue;
            }
            let id = RowId { window: view.window, row: row as u32 };
            let direct = Tuple { source: client.remote(), destination: client.local() };
            let reply = view.nat.of_client(client).map_or(direct, |b| view.nat.get(b).reply);
            clients.entry(reply).or_default().push(turn(id, client));
        }
        if clients.is_empty() {
            return;
        }
        let mut servers: BTreeMap<Tuple, Vec<Turn>> = BTreeMap::new();
        for (window, limit) in view.neighbours() {
            let Some(other) = view.slabs.slab(window) else { continue };
            for (row, server) in other.exchanges[..limit].iter().enumerate() {
                let seen = Tuple { source: server.local(), destination: server.remote() };
                if server.role == Role::Server && is_unnamed(&server) && clients.contains_key(&seen)
                {
                    let id = RowId { window, row: row as u32 };
                    servers.entry(seen).or_default().push(turn(id, server));
                }
            }
        }
        for (connection, calls) in clients {
            let Some(turns) = servers.get(&connection) else { continue };
            let found = multiplex::pair(&calls, turns, view.settings.skew_ns);
            for (client, server) in found.pairs {
                self.server_of[client.row as usize] = Some(server);
                self.claims.claim(server, client.row);
            }
            self.contested.extend(found.contested);
        }
    }

    /// Whether no client of the server's own window is settled with it.
    fn is_free(&self, view: &View<'_>, id: ExchangeId, server: &Exchange) -> bool {
        if id.window == view.window {
            return self.claims.of(id) == Claim::Nobody;
        }
        let Some(slab) = view.slabs.slab(id.window) else { return true };
        let mut clients = Vec::new();
        slab.with_seq(server.seq_req, Role::Client, &mut clients);
        !clients.iter().any(|&c| view.is_whole_match(&slab.exchanges[c as usize], server))
    }
}

impl View<'_> {
    /// Windows in which the other end of a stream may have ended, each with how many of its
    /// exchanges may be looked at.
    fn neighbours(&self) -> impl Iterator<Item = (u32, usize)> {
        let range: Range<u32> = self.window.saturating_sub(1)..self.window + 2;
        range.map(|window| (window, self.visible(window)))
    }

    /// Both sequence numbers agree, and what the tuples say.
    fn is_whole_match(&self, client: &Exchange, server: &Exchange) -> bool {
        let same_response = client.seq_resp().is_some() && client.seq_resp() == server.seq_resp();
        same_response && self.is_one_stream(client, server) == Some(true)
    }

    /// None where clocks would have to say so that nobody can compare.
    fn is_one_stream(&self, client: &Exchange, server: &Exchange) -> Option<bool> {
        if client.seq_req < 0 || client.stream_id != server.stream_id {
            return Some(false);
        }
        let same_response = match (client.seq_resp(), server.seq_resp()) {
            (Some(at_client), Some(at_server)) if at_client == at_server => true,
            // The same sequence number of the request by chance, or of a tuple's earlier life.
            (Some(_), Some(_)) => return Some(false),
            // The client read a response that the server never sent.
            (Some(_), None) => return Some(false),
            (None, _) => false,
        };
        // Both sequence numbers agree by chance once in 2^64, so that clocks further apart than
        // they should be do no harm; one alone needs the clocks too.
        let far = Offset { offset_ns: 0, bound_ns: self.settings.guard_ns };
        if same_response {
            return Some(
                began_with(client, server, far) && self.is_one_tuple(client, server, true),
            );
        }
        if !self.is_one_tuple(client, server, false) {
            return Some(false);
        }
        let from = Stamp { node: client.node, ns: client.start_ns };
        let to = Stamp { node: server.node, ns: server.start_ns };
        let offset = self.nat.clocks.apart(from, to).offset()?;
        Some(began_with(client, server, offset))
    }

    /// Whether the tuples of two ends are those of one connection.
    fn is_one_tuple(&self, client: &Exchange, server: &Exchange, same_response: bool) -> bool {
        let same_client_end = client.local() == server.remote();
        if same_client_end && (client.remote() == server.local() || same_response) {
            return true;
        }
        if self.nat.between(client, server).is_some() {
            return true;
        }
        // Without the record of the translation: 64 bits of sequence numbers agree, and what the
        // client addressed is a Service that had this server behind it.
        let at = client.start_ns;
        let service = self.owners.service(client.remote(), at);
        let service_has_server =
            service.is_some_and(|service| self.owners.is_endpoint(service, server.local(), at));
        service_has_server && (same_response || same_client_end)
    }
}

/// Whether a server's turn began while its client's went on, as far as their clocks tell.
fn began_with(client: &Exchange, server: &Exchange, apart: Offset) -> bool {
    let start_ns = server.start_ns - apart.offset_ns;
    start_ns >= client.start_ns - apart.bound_ns
        && start_ns <= client.upper_ns().saturating_add(apart.bound_ns)
}
