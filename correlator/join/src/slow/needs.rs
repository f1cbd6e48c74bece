//! Which pods' earlier rows the paths of a window lack.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::Address;
use crate::names::Name;
use crate::ownership::Owner;
use crate::path::{Grove, Leg, Paths};
use crate::relay::place::older_calls;
use crate::sight::Sight;
use crate::slab::{ExchangeId, RowId};

/// What paths lack, as far as it is known by now.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    pub(crate) pods: BTreeMap<Name, Need>,
    /// Requests that began longer ago than is read back.
    pub(crate) too_old: usize,
}

/// One pod.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    /// Since when it served a request of a path.
    pub(crate) from_ns: i64,
    pub(crate) addresses: BTreeSet<Address>,
    pub(crate) node: Option<Name>,
}

/// Pods that served requests of the window's paths before the window's range begins, and pods that
/// these called then.
pub(crate) fn needs(sight: &Sight<'_>, paths: &Paths) -> Needs {
    let mut needs = Needs::default();
    for tree in paths.groves.iter().flat_map(Grove::trees) {
        let root = sight.exchange(tree.root.id());
        let is_too_old = !sight.is_followed(root);
        for server in tree.legs.iter().filter_map(|leg: &Leg| leg.server) {
            let exchange = sight.exchange(server);
            if exchange.start_ns >= sight.rows.start {
                continue;
            }
            if is_too_old {
                // What a stream causes is told where it happens, and it may go on for hours.
                needs.too_old += usize::from(!exchange.is_stream);
                continue;
            }
            needs.server(sight, server);
        }
    }
    needs
}

impl Needs {
    fn server(&mut self, sight: &Sight<'_>, server: ExchangeId) {
        let exchange = sight.exchange(server);
        let Some(pod) = exchange.pod else { return };
        if exchange.start_ns < sight.known_from(exchange.place) {
            let own = [exchange.local_ip];
            return self.pod(sight, pod, exchange.start_ns, &own, Some(exchange.node));
        }
        for (window, row) in older_calls(sight, exchange.place, exchange.start_ns) {
            let call = RowId { window, row };
            if window >= sight.first || sight.server_of(call).is_some() {
                continue;
            }
            let client = sight.exchange(call);
            let translated = sight.nat.of_client(client).ok();
            let to = translated.map_or(client.remote(), |id| sight.nat.get(id).reply.source);
            if let Owner::Pod(callee) = sight.owners.owner(to, client.start_ns) {
                self.pod(sight, callee.uid, client.start_ns, &[to.ip], callee.node);
            }
        }
    }

    fn pod(
        &mut self,
        sight: &Sight<'_>,
        pod: Name,
        from_ns: i64,
        addresses: &[Address],
        node: Option<Name>,
    ) {
        let known = sight.owners.pod(pod).map_or(&[][..], |pod| pod.addresses());
        let addresses = addresses.iter().chain(known).copied();
        let need = self.pods.entry(pod).or_insert_with(|| Need {
            from_ns,
            addresses: BTreeSet::new(),
            node,
        });
        need.from_ns = need.from_ns.min(from_ns);
        need.addresses.extend(addresses);
    }
}
