//! Which server exchange answered a call that no exact key links: what times alone prove.
//!
//! Asked are calls without a sequence number; candidates are requests that nobody claims, at the
//! addresses that the call may have reached. How long requests travel is learned from exact links
//! of the same two nodes, and what an answer is worth from exact links that are asked again with
//! their keys hidden. All of it is found from one window and the one before, like the exact links,
//! and never stands against one of those.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::{End, Tuple};
use crate::assignment::{self, Doubt, Learned, Partner, Stratum, Thresholds};
use crate::calibration::{Calibration, Trials};
use crate::columns::{Exchange, Protocol, Role};
use crate::comparison::{Pair, Stamp, pairs};
use crate::link::View;
use crate::link::claim::{Claim, Claims};
use crate::link::tuple::Pairs;
use crate::names::Name;
use crate::ownership::Owner;
use crate::reason::Reason;
use crate::slab::{ExchangeId, RowId, Slab};

/// Exact links of one window that are learned from and tried, about; of more, those of some callers.
const LINKS_MAX: usize = 1 << 15;

/// Candidates that are listed where nothing was weighed.
const LISTED_MAX: usize = 5;

/// Something is always lost, however few rows seem to be.
const UNSEEN_MIN: f64 = 0.02;

/// What times say of the calls of one window.
#[derive(Debug, Default)]
pub(crate) struct Likely {
    /// Calls that were decided, with the probability that was seen to hold.
    servers: BTreeMap<ExchangeId, (ExchangeId, f64)>,
    claims: Claims,
    undecided: BTreeMap<ExchangeId, Undecided>,
    trials: Trials,
}

/// A call that times do not decide.
#[derive(Clone, Debug)]
pub(crate) struct Undecided {
    /// Most likely first; empty where nothing was weighed.
    pub(crate) candidates: Vec<(ExchangeId, f64)>,
    pub(crate) why: Reason,
}

/// Calls of one place to one address.
type Caller = (u32, End);

/// One side of a stratum.
#[derive(Default)]
struct Side {
    ids: Vec<ExchangeId>,
    start_ns: Vec<i64>,
    end_ns: Vec<i64>,
    kind: Vec<u32>,
}

impl Likely {
    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.undecided.is_empty()
    }

    pub(crate) fn server_of(&self, client: ExchangeId) -> Option<ExchangeId> {
        self.servers.get(&client).map(|(server, _)| *server)
    }

    /// How probable it is that a call was answered by the server that it was given.
    pub(crate) fn probability(&self, client: ExchangeId) -> Option<f64> {
        self.servers.get(&client).map(|(_, p)| *p)
    }

    pub(crate) fn claim_of(&self, server: ExchangeId) -> Claim {
        if self.servers.is_empty() { Claim::Nobody } else { self.claims.of(server) }
    }

    pub(crate) fn undecided(&self, client: ExchangeId) -> Option<&Undecided> {
        self.undecided.get(&client)
    }

    /// Servers that an undecided call fits.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = ExchangeId> + '_ {
        self.undecided.values().flat_map(|u| &u.candidates).map(|(server, _)| *server)
    }

    /// The window's `calibration` row; none where nothing was tried.
    pub(crate) fn calibration(
        &self,
        template: &tables::Calibration,
    ) -> Option<tables::Calibration> {
        let row = Calibration::fit(&self.trials).row("hop", self.trials.raw_quality(), template);
        (row.samples > 0).then_some(row)
    }

    /// Asks about the calls among the first `count` exchanges of `view.window`.
    pub(crate) fn new(view: &View<'_>, exact: &Pairs, count: usize) -> Self {
        let mut likely = Self::default();
        let Some(slab) = view.slabs.slab(view.window) else { return likely };
        let mut asked: BTreeMap<Caller, Vec<u32>> = BTreeMap::new();
        for (row, client) in (0u32..).zip(&slab.exchanges[..count]) {
            let id = RowId { window: view.window, row };
            let is_open = is_asked(client) && exact.server_of[row as usize].is_none();
            if is_open && !exact.contested.contains_key(&id) {
                asked.entry((client.place, client.remote())).or_default().push(row);
            }
        }
        if asked.is_empty() {
            return likely;
        }
        let unclaimed = unclaimed(view, exact);
        let strata: Vec<(Side, Side, Name)> =
            asked.values().filter_map(|rows| stratum(view, slab, rows, &unclaimed)).collect();
        if strata.is_empty() {
            return likely;
        }
        likely.claims = Claims::new(view.window, count);
        let links = Links::new(view);
        links.try_hidden(view, &mut likely.trials);
        let worth = Calibration::fit(&likely.trials);
        for (clients, servers, node) in &strata {
            likely.decide(view, &links, &worth, (clients, servers, *node));
        }
        likely.withdraw_disputed(view.window);
        likely
    }

    fn decide(
        &mut self,
        view: &View<'_>,
        links: &Links<'_>,
        worth: &Calibration,
        (clients, servers, node): (&Side, &Side, Name),
    ) {
        let mut servers = servers.copy();
        let bound_ns = servers.correct(view, node);
        let delays = links.learned(node, servers.nodes(view)).at(view.until_ns);
        let stratum = clients.against(&servers, bound_ns, view.settings.window_ns);
        // No score is worth more than it says, also where too few like it were tried to tell.
        let worth = |raw: f64| worth.apply(raw).min(raw);
        let partners = assignment::assign(&stratum, &delays, &Thresholds::default(), worth);
        for ((&client, &kind), partner) in clients.ids.iter().zip(&clients.kind).zip(partners) {
            match partner {
                Partner::Committed(best) => {
                    self.servers.insert(client, (servers.ids[best.server], best.p));
                }
                Partner::Ambiguous { candidates, doubt } => {
                    let named = candidates.iter().map(|c| (servers.ids[c.server], c.p));
                    let mut candidates: Vec<(ExchangeId, f64)> = named.collect();
                    if candidates.is_empty() {
                        candidates = servers.all_of(kind);
                    }
                    self.undecided.insert(client, Undecided { candidates, why: reason(doubt) });
                }
                Partner::Nobody => {}
            }
        }
    }

    /// One server answered one call: of two that were given the same, neither is believed.
    fn withdraw_disputed(&mut self, window: u32) {
        let mut calls: BTreeMap<ExchangeId, Vec<ExchangeId>> = BTreeMap::new();
        for (client, (server, _)) in &self.servers {
            calls.entry(*server).or_default().push(*client);
        }
        for (server, clients) in calls {
            if let [client] = clients[..] {
                debug_assert_eq!(client.window, window, "only calls of the window are asked");
                self.claims.claim(server, client.row);
                continue;
            }
            for client in clients {
                if let Some((server, p)) = self.servers.remove(&client) {
                    let candidates = vec![(server, p / 2.0)];
                    let why = Reason::AmbigTimeOnly;
                    self.undecided.insert(client, Undecided { candidates, why });
                }
            }
        }
    }
}

/// Calls of HTTP/2 are told apart by their connection.
fn is_asked(client: &Exchange) -> bool {
    client.role == Role::Client
        && client.seq_req < 0
        && client.has_response()
        && client.protocol != Protocol::Http2
}

fn reason(doubt: Doubt) -> Reason {
    match doubt {
        Doubt::TimeOnly | Doubt::Unlearned => Reason::AmbigTimeOnly,
        Doubt::Dense => Reason::AmbigDense,
        Doubt::SkewUnknown => Reason::AmbigSkewUnknown,
    }
}

/// Requests received in and beside the window that no exact key gives to a client.
fn unclaimed(view: &View<'_>, exact: &Pairs) -> Vec<ExchangeId> {
    let contested: BTreeSet<ExchangeId> = exact.contested.values().flatten().copied().collect();
    let mut found = Vec::new();
    let mut rows = Vec::new();
    let near = view.window.saturating_sub(1)..view.window + 2;
    for window in near.clone() {
        let Some(slab) = view.slabs.slab(window) else { continue };
        for (row, server) in (0u32..).zip(&slab.exchanges[..view.visible(window)]) {
            let id = RowId { window, row };
            let is_open = server.role == Role::Server
                && server.has_response()
                && server.protocol != Protocol::Http2
                && exact.claims.of(id) == Claim::Nobody
                && !contested.contains(&id);
            if !is_open {
                continue;
            }
            rows.clear();
            for other in near.clone().filter_map(|window| view.slabs.slab(window)) {
                other.with_seq(server.seq_req, Role::Client, &mut rows);
            }
            // A client with its sequence number has it, or will be told why not.
            if rows.is_empty() {
                found.push(id);
            }
        }
    }
    found
}

/// The calls of one caller, the requests that may be their other ends, and the caller's node. None
/// where there are no such requests.
fn stratum(
    view: &View<'_>,
    slab: &Slab,
    rows: &[u32],
    unclaimed: &[ExchangeId],
) -> Option<(Side, Side, Name)> {
    let first = &slab.exchanges[*rows.first()? as usize];
    let at_ns = first.start_ns;
    let service = view.owners.service(first.remote(), at_ns).map(|s| (s.namespace, s.name));
    let expected: BTreeMap<u32, Tuple> =
        rows.iter().map(|&row| (row, seen_as(view, &slab.exchanges[row as usize]))).collect();
    let targets: BTreeSet<End> = expected.values().map(|tuple| tuple.source).collect();
    let is_target = |server: &Exchange| {
        targets.contains(&server.local())
            || service.is_some_and(|service| {
                view.owners.services_of_endpoint(server.local(), at_ns).contains(&service)
            })
    };
    let is_from_here = |server: &Exchange| {
        expected.values().any(|tuple| tuple.destination.ip == server.remote_ip)
            || match view.owners.holder(server.remote_ip, at_ns) {
                Owner::Node(node) | Owner::PodRange(node) => node == first.node,
                _ => false,
            }
    };
    let fits = |id: &&ExchangeId| {
        let server = view.slabs.exchange(**id);
        is_target(server) && is_from_here(server)
    };
    let servers: Vec<ExchangeId> = unclaimed.iter().filter(fits).copied().collect();
    if servers.is_empty() {
        return None;
    }
    // Where the server saw the client's own end, only calls from there are its.
    let ends: BTreeSet<End> = expected.values().map(|tuple| tuple.destination).collect();
    let seen: BTreeMap<End, u32> = servers
        .iter()
        .map(|&id| view.slabs.exchange(id).remote())
        .filter(|end| ends.contains(end))
        .collect::<BTreeSet<End>>()
        .into_iter()
        .zip(1..)
        .collect();
    let kind = |end: End| seen.get(&end).copied().unwrap_or(0);
    let (mut asked, mut candidates) = (Side::default(), Side::default());
    for (&row, tuple) in &expected {
        let id = RowId { window: view.window, row };
        asked.push(id, &slab.exchanges[row as usize], kind(tuple.destination));
    }
    for id in servers {
        let server = view.slabs.exchange(id);
        candidates.push(id, server, kind(server.remote()));
    }
    Some((asked, candidates, first.node))
}

/// The server's view of a call's connection, as far as translations of it are known.
fn seen_as(view: &View<'_>, client: &Exchange) -> Tuple {
    let direct = Tuple { source: client.remote(), destination: client.local() };
    view.nat.of_client(client).map_or(direct, |binding| view.nat.get(binding).reply)
}

impl Side {
    fn push(&mut self, id: ExchangeId, exchange: &Exchange, kind: u32) {
        self.ids.push(id);
        self.start_ns.push(exchange.start_ns);
        self.end_ns.push(exchange.end_ns);
        self.kind.push(kind);
    }

    fn copy(&self) -> Self {
        Self {
            ids: self.ids.clone(),
            start_ns: self.start_ns.clone(),
            end_ns: self.end_ns.clone(),
            kind: self.kind.clone(),
        }
    }

    /// All that nothing tells apart, where they are few enough to list.
    fn all_of(&self, kind: u32) -> Vec<(ExchangeId, f64)> {
        let same = self.ids.iter().zip(&self.kind).filter(|(_, k)| **k == kind);
        let ids: Vec<ExchangeId> = same.map(|(&id, _)| id).collect();
        let p = 1.0 / ids.len().max(1) as f64;
        if ids.len() > LISTED_MAX {
            Vec::new()
        } else {
            ids.into_iter().map(|id| (id, p)).collect()
        }
    }

    fn nodes(&self, view: &View<'_>) -> BTreeSet<Name> {
        self.ids.iter().map(|&id| view.slabs.exchange(id).node).collect()
    }

    /// Takes the times to the clock of another node. Answers how far they may be off; none where
    /// that is not proven.
    fn correct(&mut self, view: &View<'_>, node: Name) -> Option<i64> {
        let mut bound_ns = 0;
        for at in 0..self.ids.len() {
            let own = Stamp { node: view.slabs.exchange(self.ids[at]).node, ns: self.start_ns[at] };
            let offset = view.nat.clocks.proven(own, Stamp { node, ns: own.ns })?;
            self.start_ns[at] += offset.offset_ns;
            self.end_ns[at] += offset.offset_ns;
            bound_ns = offset.bound_ns.max(bound_ns);
        }
        Some(bound_ns)
    }

    fn against<'a>(
        &'a self,
        servers: &'a Self,
        skew_bound_ns: Option<i64>,
        span_ns: i64,
    ) -> Stratum<'a> {
        let unseen =
            |ours: usize, theirs: usize| (1.0 - theirs as f64 / ours.max(1) as f64).max(UNSEEN_MIN);
        let (asked, there) = (self.ids.len(), servers.ids.len());
        Stratum {
            clients: self.columns(),
            servers: servers.columns(),
            span_ns,
            skew_bound_ns,
            servers_unseen: unseen(asked, there),
            clients_unseen: unseen(there, asked),
        }
    }

    fn columns(&self) -> assignment::Exchanges<'_> {
        assignment::Exchanges { start_ns: &self.start_ns, end_ns: &self.end_ns, kind: &self.kind }
    }
}

/// Exact links of the window and the one before: those of the same callers are all here, or none.
struct Links<'a> {
    of_caller: BTreeMap<(u32, Caller), Vec<(Pair<'a>, i64)>>,
    /// By the client's and the server's node.
    learned: BTreeMap<(Name, Name), Learned>,
}

impl<'a> Links<'a> {
    fn new(view: &View<'a>) -> Self {
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
    fn learned(&self, client: Name, servers: BTreeSet<Name>) -> Learned {
        let mut sum = Learned::default();
        for server in servers {
            if let Some(learned) = self.learned.get(&(client, server)) {
                sum.merge(learned);
            }
        }
        sum
    }

    /// Asks for the exact links as if their keys and tuples were not known, and counts the answers.
    fn try_hidden(&self, view: &View<'_>, trials: &mut Trials) {
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
