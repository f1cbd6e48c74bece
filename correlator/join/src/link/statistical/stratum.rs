//! Calls of one caller and the requests that may be their other ends, as columns.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::{End, Tuple};
use crate::assignment::{self, Stratum};
use crate::columns::Exchange;
use crate::comparison::Stamp;
use crate::link::View;
use crate::names::Name;
use crate::ownership::Owner;
use crate::slab::{ExchangeId, RowId, Slab};

/// Candidates that are listed where nothing was weighed.
const LISTED_MAX: usize = 5;

/// Something is always lost, however few rows seem to be.
const UNSEEN_MIN: f64 = 0.02;

/// One side of a stratum.
#[derive(Default)]
pub(super) struct Side {
    pub(super) ids: Vec<ExchangeId>,
    pub(super) start_ns: Vec<i64>,
    pub(super) end_ns: Vec<i64>,
    pub(super) kind: Vec<u32>,
}

/// The calls of one caller, the requests that may be their other ends, and the caller's node. None
/// where there are no such requests.
pub(super) fn stratum(
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
    pub(super) fn push(&mut self, id: ExchangeId, exchange: &Exchange, kind: u32) {
        self.ids.push(id);
        self.start_ns.push(exchange.start_ns);
        self.end_ns.push(exchange.end_ns);
        self.kind.push(kind);
    }

    pub(super) fn copy(&self) -> Self {
        Self {
            ids: self.ids.clone(),
            start_ns: self.start_ns.clone(),
            end_ns: self.end_ns.clone(),
            kind: self.kind.clone(),
        }
    }

    /// All that nothing tells apart, where they are few enough to list.
    pub(super) fn all_of(&self, kind: u32) -> Vec<(ExchangeId, f64)> {
        let same = self.ids.iter().zip(&self.kind).filter(|(_, k)| **k == kind);
        let ids: Vec<ExchangeId> = same.map(|(&id, _)| id).collect();
        let p = 1.0 / ids.len().max(1) as f64;
        if ids.len() > LISTED_MAX {
            Vec::new()
        } else {
            ids.into_iter().map(|id| (id, p)).collect()
        }
    }

    pub(super) fn nodes(&self, view: &View<'_>) -> BTreeSet<Name> {
        self.ids.iter().map(|&id| view.slabs.exchange(id).node).collect()
    }

    /// Takes the times to the clock of another node. Answers how far they may be off; none where
    /// that is not proven.
    pub(super) fn correct(&mut self, view: &View<'_>, node: Name) -> Option<i64> {
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

    pub(super) fn against<'a>(
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
