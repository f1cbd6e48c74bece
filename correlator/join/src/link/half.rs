//! Calls of which only the server's end was seen: the client's end was lost, is late, or nobody
//! watched there. Each is a trace of something that some request of the caller did.

use crate::columns::{Exchange, Role};
use crate::comparison::{Known, Stamp};
use crate::link::View;
use crate::link::claim::Claim;
use crate::link::tuple::Pairs;
use crate::names::Name;
use crate::ownership::{Owner, Pod};
use crate::skew::Offset;
use crate::slab::{ExchangeId, RowId};

/// A request that came from a pod, and that no client in the windows beside it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unclaimed {
    pub(crate) server: ExchangeId,
    /// Where the call was made, and on which node.
    place: u32,
    node: Name,
}

/// A call that was half seen, as the caller's clock would have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) server: ExchangeId,
    pub(crate) place: u32,
    pub(crate) from_ns: i64,
    pub(crate) to_ns: i64,
    /// By how much both times may be off.
    pub(crate) bound_ns: i64,
}

impl Unclaimed {
    /// The same where both clocks are known as well as they can be.
    pub(crate) fn as_call(&self, clocks: &Known<'_>) -> Call {
        let server = clocks.slabs.exchange(self.server);
        let apart = if server.node == self.node {
            Offset { offset_ns: 0, bound_ns: clocks.set().stamp_ns(server.node) }
        } else {
            let from = Stamp { node: server.node, ns: server.start_ns };
            let to = Stamp { node: self.node, ns: server.start_ns };
            // Of clocks that nobody can compare it is enough to know that they are wrong.
            let anywhere = Offset { offset_ns: 0, bound_ns: clocks.settings.guard_ns };
            clocks.apart(from, to).offset().unwrap_or(anywhere)
        };
        Call {
            server: self.server,
            place: self.place,
            from_ns: server.start_ns.saturating_add(apart.offset_ns),
            to_ns: server.end_ns.saturating_add(apart.offset_ns),
            bound_ns: apart.bound_ns,
        }
    }
}

impl Call {
    /// Whether it can have been made, and answered, while a request was being served. Of one that
    /// was never answered nobody knows how long that was after it was seen last.
    pub(crate) fn may_be_during(&self, request: &Exchange) -> bool {
        request.start_ns <= self.from_ns.saturating_add(self.bound_ns)
            && self.to_ns.saturating_sub(self.bound_ns) <= request.end_ns
    }
}

/// What the servers of one window received from pods, and no client claims for all it knows.
pub(super) fn unclaimed(view: &View<'_>, pairs: &Pairs, count: usize) -> Vec<Unclaimed> {
    let Some(slab) = view.slabs.slab(view.window) else { return Vec::new() };
    let rows = slab.exchanges[..count].iter().zip(0..);
    let servers = rows.filter(|(e, _)| e.role == Role::Server);
    let ids = servers.map(|(e, row)| (e, RowId { window: view.window, row }));
    let unclaimed = ids.filter(|(_, id)| pairs.claims.of(*id) == Claim::Nobody);
    let of_pod = |(exchange, server): (&Exchange, ExchangeId)| {
        let pod = caller(view, exchange)?;
        let place = view.slabs.place_of_pod(pod.uid)?;
        Some(Unclaimed { server, place, node: pod.node.unwrap_or(exchange.node) })
    };
    unclaimed.filter_map(of_pod).collect()
}

/// The pod that a request came from: by its address, or through the masquerade of a pod's bridge.
fn caller<'a>(view: &View<'a>, server: &Exchange) -> Option<&'a Pod> {
    match view.owners.holder(server.remote_ip, server.start_ns) {
        Owner::Pod(pod) => Some(pod),
        Owner::PodRange(_) => {
            let chain = view.nat.chain_to_server(server).ok()?;
            let client = view.nat.get(*chain.first()?).original.source;
            match view.owners.holder(client.ip, server.start_ns) {
                Owner::Pod(pod) => Some(pod),
                _ => None,
            }
        }
        _ => None,
    }
}
