//! NAT: which conntrack entries translated a connection, on which node.
//!
//! The client's socket sees an entry's original tuple, the server's socket its reply tuple
//! inverted. Several nodes may translate one after the other.

use std::collections::BTreeMap;

use crate::Settings;
use crate::address::{End, Tuple};
use crate::observation::{Exchange, Seen};

/// Index of a binding in [`Seen::bindings`].
pub(crate) type BindingId = usize;

/// Node-to-node forwarding of a NodePort is two translations, a load balancer before it a third.
const CHAIN_MAX: usize = 3;

/// Two batches of one agent take their boot clock to wall time by samples of their own.
const SAME_NODE_SLACK_NS: i64 = 1_000_000;

#[derive(Debug, Default)]
pub(crate) struct Translations {
    by_original: BTreeMap<Tuple, Vec<BindingId>>,
    by_reply: BTreeMap<Tuple, Vec<BindingId>>,
    skew_ns: i64,
}

/// Why no single binding is the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoBinding {
    None,
    /// The same tuple was translated differently at nearly the same time.
    PortReuse,
}

impl Translations {
    pub(crate) fn new(seen: &Seen<'_>, settings: &Settings) -> Self {
        let mut all = Self { skew_ns: settings.skew_ns, ..Self::default() };
        for (id, b) in seen.bindings.iter().enumerate() {
            all.by_original.entry(b.original).or_default().push(id);
            all.by_reply.entry(b.reply).or_default().push(id);
        }
        all
    }

    /// The binding that a client's connection went through, known from the client's end alone.
    pub(crate) fn of_client(
        &self,
        seen: &Seen<'_>,
        client: &Exchange<'_>,
    ) -> Result<BindingId, NoBinding> {
        let original = Tuple { source: client.local, destination: client.remote };
        self.newest_before(seen, self.by_original.get(&original), client)
    }

    /// The binding between two known ends of one stream.
    pub(crate) fn between(
        &self,
        seen: &Seen<'_>,
        client: &Exchange<'_>,
        server: &Exchange<'_>,
    ) -> Option<BindingId> {
        let original = Tuple { source: client.local, destination: client.remote };
        let reply = Tuple { source: server.local, destination: server.remote };
        let ids = self.by_original.get(&original)?;
        ids.iter().copied().find(|&id| seen.bindings[id].reply == reply)
    }

    /// Bindings from the outermost client to a server's socket, the first translation first.
    pub(crate) fn chain_to_server(
        &self,
        seen: &Seen<'_>,
        server: &Exchange<'_>,
    ) -> Result<Vec<BindingId>, NoBinding> {
        let mut chain = Vec::new();
        let mut ends: (End, End) = (server.local, server.remote);
        while chain.len() < CHAIN_MAX {
            let reply = Tuple { source: ends.0, destination: ends.1 };
            match self.newest_before(seen, self.by_reply.get(&reply), server) {
                Ok(id) => {
                    chain.insert(0, id);
                    let original = seen.bindings[id].original;
                    ends = (original.destination, original.source);
                }
                Err(NoBinding::None) if !chain.is_empty() => break,
                Err(none) => return Err(none),
            }
        }
        Ok(chain)
    }

    fn newest_before(
        &self,
        seen: &Seen<'_>,
        ids: Option<&Vec<BindingId>>,
        exchange: &Exchange<'_>,
    ) -> Result<BindingId, NoBinding> {
        let first_ns = |id: BindingId| seen.bindings[id].first_ns;
        // Clocks of one node differ by nothing but the sampling of their epoch.
        let slack_ns = |id: BindingId| {
            let is_own_node = seen.bindings[id].row.node == exchange.row.node;
            if is_own_node { SAME_NODE_SLACK_NS } else { self.skew_ns }
        };
        let start_ns = exchange.row.start_ns;
        let mut before: Vec<BindingId> = ids
            .into_iter()
            .flatten()
            .copied()
            .filter(|&id| first_ns(id) <= start_ns + slack_ns(id))
            .collect();
        before.sort_by_key(|&id| (first_ns(id), id));
        let Some(&newest) = before.last() else { return Err(NoBinding::None) };
        let differs = |a: BindingId, b: BindingId| {
            (seen.bindings[a].original, seen.bindings[a].reply)
                != (seen.bindings[b].original, seen.bindings[b].reply)
        };
        // A binding that began within the slack around a later request of its connection may be
        // the next connection's; then the one before it is as good. The first request of a
        // connection follows its binding at once.
        let may_be_next =
            exchange.row.ordinal != 0 && first_ns(newest) > start_ns - slack_ns(newest);
        let rival = before.iter().rev().skip(1).any(|&other| {
            differs(other, newest)
                && (may_be_next || first_ns(newest) - first_ns(other) <= 2 * slack_ns(newest))
        });
        if rival { Err(NoBinding::PortReuse) } else { Ok(newest) }
    }
}
