//! How a request got from one end of a leg to the other: tuples, and what translated them.

use crate::SECOND;
use crate::address::Tuple;
use crate::confidence;
use crate::link::nat;
use crate::names::Name;
use crate::ownership::Owner;
use crate::path::{Entry, Leg};
use crate::reason::Reason;
use crate::rows::hop::Writer;
use crate::rows::row::{Evidence, HopRow, Nat};
use crate::slab::ExchangeId;
use crate::verdict::Findings;

/// How requests got from what the client addressed to the socket that answered.
#[derive(Default)]
pub(super) struct Route {
    /// The client's end and what it addressed.
    pub(super) original: Option<Tuple>,
    /// The server's end and whom it answered, as the server's socket saw it.
    pub(super) reply: Option<Tuple>,
    pub(super) node: Option<Name>,
    /// A conntrack entry was recorded; otherwise the translation follows from both ends.
    pub(super) recorded: bool,
    /// Why more than one conntrack entry may be the one.
    pub(super) doubt: Option<Reason>,
    /// When the translation was first seen: the connection's beginning.
    pub(super) opened_ns: Option<i64>,
    /// What `original` says of the client is not the client.
    pub(super) is_client_hidden: bool,
}

impl Writer<'_> {
    /// The tuples at both ends and what translated one to the other.
    pub(super) fn route(&self, leg: &Leg, hop: &mut HopRow, findings: &mut Findings) -> Route {
        let nat = self.scope.sight.nat;
        if leg.client.is_some() {
            hop.evidence.insert(Evidence::ClientExchange);
        }
        if leg.server.is_some() {
            hop.evidence.insert(Evidence::ServerExchange);
        }
        let route = match (leg.client, leg.server) {
            (Some(c), Some(s)) => {
                let (client, server) = (self.exchange(c), self.exchange(s));
                let probable = self.scope.sight.probability(c);
                let (evidence, by) = match client.seq_req {
                    _ if probable.is_some() => (Evidence::Statistical, Reason::OkStatistical),
                    // The bytes of its streams share segments.
                    ..0 => (Evidence::Stream, Reason::OkTupleOrdinal),
                    _ => (Evidence::TcpSeq, Reason::OkTupleSeq),
                };
                hop.evidence.insert(evidence);
                hop.reasons.insert(by);
                let confidence = probable.unwrap_or_else(|| confidence::of(by));
                hop.confidence = hop.confidence.min(confidence);
                let binding = nat.between(client, server);
                Route {
                    original: Some(Tuple { source: client.local(), destination: client.remote() }),
                    reply: Some(Tuple { source: server.local(), destination: server.remote() }),
                    node: binding.map(|b| nat.get(b).node),
                    recorded: binding.is_some(),
                    opened_ns: binding.map(|b| nat.get(b).first_ns),
                    ..Route::default()
                }
            }
            (Some(c), None) => {
                let client = self.exchange(c);
                let found = nat.of_client(client);
                let binding = found.ok();
                Route {
                    original: Some(Tuple { source: client.local(), destination: client.remote() }),
                    reply: binding.map(|b| nat.get(b).reply),
                    node: binding.map(|b| nat.get(b).node),
                    recorded: binding.is_some(),
                    opened_ns: binding.map(|b| nat.get(b).first_ns),
                    doubt: found.err().and_then(nat::NoBinding::doubt),
                    ..Route::default()
                }
            }
            (None, Some(s)) => self.arrival(s, findings),
            (None, None) => {
                hop.evidence.insert(Evidence::AccessLog);
                Route::default()
            }
        };
        if route.recorded {
            hop.evidence.insert(Evidence::NatBinding);
            hop.reasons.insert(Reason::OkNatChain);
            if leg.client.is_none() || leg.server.is_none() {
                hop.confidence = hop.confidence.min(confidence::of(Reason::OkNatChain));
            }
        }
        route
    }

    /// The entry of a path: back through the translations to the client that no agent saw.
    fn arrival(&self, server: ExchangeId, findings: &mut Findings) -> Route {
        let exchange = self.exchange(server);
        let reply = Tuple { source: exchange.local(), destination: exchange.remote() };
        let direct = Tuple { source: exchange.remote(), destination: exchange.local() };
        let at_ns = exchange.start_ns;
        // A node or its bridge sends for others: behind it stands whoever was masqueraded there.
        let hidden_behind = |ip| match self.scope.sight.owners.holder(ip, at_ns) {
            Owner::Node(node) | Owner::PodRange(node) => {
                let why = self.scope.whole(Some(node), at_ns - SECOND, exchange.end_ns);
                Some(why.err().unwrap_or(Reason::SnatHiddenClient))
            }
            _ => None,
        };
        match self.entry {
            Entry::Translated(chain) => {
                let first = chain.first().map(|&id| self.scope.sight.nat.get(id));
                let original = first.map(|b| b.original);
                let why = original.and_then(|o| hidden_behind(o.source.ip));
                if let Some(why) = why {
                    findings.miss("client".into(), why);
                }
                Route {
                    original,
                    reply: Some(reply),
                    node: first.map(|b| b.node),
                    recorded: true,
                    opened_ns: first.map(|b| b.first_ns),
                    is_client_hidden: why.is_some(),
                    ..Route::default()
                }
            }
            Entry::Direct => match hidden_behind(exchange.remote_ip) {
                Some(why) => {
                    findings.miss("client".into(), why);
                    Route { reply: Some(reply), ..Route::default() }
                }
                None => Route { original: Some(direct), reply: Some(reply), ..Route::default() },
            },
            &Entry::Undecided(why) => {
                findings.miss("client".into(), why);
                Route { reply: Some(reply), doubt: Some(why), ..Route::default() }
            }
        }
    }

    pub(super) fn translation(&self, route: &Route, hop: &mut HopRow) {
        let (Some(original), Some(reply)) = (route.original, route.reply) else { return };
        let is_destination = original.destination != reply.source;
        let is_source = original.source != reply.destination;
        hop.nat = match (is_destination, is_source) {
            (false, false) => Nat::None,
            (true, false) => Nat::Destination,
            (false, true) => Nat::Source,
            (true, true) => Nat::Both,
        };
        // An inner translation alone would name the node as the client.
        if hop.nat != Nat::None && !route.is_client_hidden {
            hop.nat_node = route.node;
            hop.translation = Some((original, reply));
        }
    }
}
