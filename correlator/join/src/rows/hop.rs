//! One leg becomes one hop row, and what is missing from it is noted.

mod contradiction;
mod destination;
mod service;
mod subrequest;
mod unlisted;

use crate::SECOND;
use crate::address::Tuple;
use crate::columns::{Attempt, EndCause, Ended, Exchange};
use crate::confidence;
use crate::link::nat;
use crate::names::Name;
use crate::ownership::Owner;
use crate::path::{Entry, Leg, Root, Tree};
use crate::reason::{Reason, Reasons};
use crate::rows::Scope;
use crate::rows::row::{Evidence, EvidenceSet, Failure, HopRow, Kind, Nat, Party};
use crate::slab::ExchangeId;
use crate::verdict::Findings;

/// How requests got from what the client addressed to the socket that answered.
#[derive(Default)]
struct Route {
    /// The client's end and what it addressed.
    original: Option<Tuple>,
    /// The server's end and whom it answered, as the server's socket saw it.
    reply: Option<Tuple>,
    node: Option<Name>,
    /// A conntrack entry was recorded; otherwise the translation follows from both ends.
    recorded: bool,
    /// Why more than one conntrack entry may be the one.
    doubt: Option<Reason>,
    /// When the translation was first seen: the connection's beginning.
    opened_ns: Option<i64>,
    /// What `original` says of the client is not the client.
    is_client_hidden: bool,
}

/// Writes the hops of one path.
pub(crate) struct Writer<'a> {
    scope: Scope<'a>,
    tree: &'a Tree<'a>,
    /// How the request reached the first server, where the path begins with an arrival.
    entry: &'a Entry,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(scope: Scope<'a>, tree: &'a Tree<'a>, entry: &'a Entry) -> Self {
        Self { scope, tree, entry }
    }

    pub(crate) fn hop(&self, position: usize, path_id: u128, findings: &mut Findings) -> HopRow {
        let leg = &self.tree.legs[position];
        let mut hop = HopRow {
            path_id,
            position: i32::try_from(position).unwrap_or(i32::MAX),
            parent: leg.parent.and_then(|p| i32::try_from(p).ok()),
            kind: Kind::App,
            attempt: leg.logged.map_or(1, |a| i32::try_from(a.index + 1).unwrap_or(i32::MAX)),
            source: Party::default(),
            requested: None,
            service: None,
            service_namespace: None,
            destination: Party::default(),
            nat: Nat::Unknown,
            nat_node: None,
            translation: None,
            start_ns: 0,
            end_ns: 0,
            network_ns: None,
            server_ns: None,
            bytes: None,
            status: None,
            method: None,
            route: None,
            failure: None,
            evidence: EvidenceSet::default(),
            confidence: 1.0,
            reasons: Reasons::default(),
        };
        if let Some(by) = leg.by {
            hop.reasons.insert(by);
            hop.confidence = hop.confidence.min(self.relay_confidence(leg, by));
            hop.evidence.insert(self.relay_evidence(leg, by));
        }
        self.times(leg, &mut hop);
        let route = self.route(leg, &mut hop, findings);
        self.source(leg, &route, &mut hop, findings);
        let service = self.service(leg, &route);
        self.destination(leg, &route, service.is_some(), &mut hop, findings);
        self.name_service(leg, &route, service, &mut hop);
        self.translation(&route, &mut hop);
        self.outcome(leg, &mut hop);
        self.contradictions(leg, &mut hop, findings);
        self.labels(leg, &mut hop);
        hop.kind = self.kind(leg, &hop);
        findings.confidences.push(hop.confidence);
        hop
    }

    /// What statistics say is worth what was proven; else it is the class of evidence that counts.
    fn relay_confidence(&self, leg: &Leg, by: Reason) -> f64 {
        match leg.client {
            Some(call) if by == Reason::OkStatistical => {
                self.scope.relays.statistics.confidence(call)
            }
            _ => confidence::of(by),
        }
    }

    fn exchange(&self, id: ExchangeId) -> &'a Exchange {
        self.scope.sight.exchange(id)
    }

    fn times(&self, leg: &Leg, hop: &mut HopRow) {
        let client = leg.client.map(|c| self.exchange(c));
        let server = leg.server.map(|s| self.exchange(s));
        let parent_start = || {
            let parent = leg.parent.and_then(|p| self.tree.legs[p as usize].server);
            parent.map_or(0, |s| self.exchange(s).start_ns)
        };
        (hop.start_ns, hop.end_ns) = match client.or(server) {
            Some(e) => (e.start_ns, e.end_ns),
            None => (parent_start(), parent_start()),
        };
        hop.bytes = client.or(server).map(|e| (e.bytes_request, e.bytes_response));
        let duration = |e: &Exchange| e.end_ns - e.start_ns;
        hop.server_ns = server.filter(|s| s.has_response()).map(duration);
        if let (Some(client), Some(server_ns)) = (client, hop.server_ns) {
            // The server's turn can look longer than the client's by the stamp of its last write.
            hop.network_ns = Some((duration(client) - server_ns).max(0));
        }
    }

    /// The tuples at both ends and what translated one to the other.
    fn route(&self, leg: &Leg, hop: &mut HopRow, findings: &mut Findings) -> Route {
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

    fn source(&self, leg: &Leg, route: &Route, hop: &mut HopRow, findings: &mut Findings) {
        // An attempt that only the log knows has the proxy as its source all the same.
        let parent = leg.parent.and_then(|p| self.tree.legs[p as usize].server);
        match leg.client.or(parent.filter(|_| leg.server.is_none())) {
            Some(id) => {
                let row = self.exchange(id);
                hop.source.node = Some(row.node);
                if self.is_on_host_network(row) {
                    hop.reasons.insert(Reason::HostNetwork);
                }
                if !self.scope.set_pod(&mut hop.source, row.pod) {
                    match row.pod {
                        Some(uid) => {
                            let segment = format!("name of pod {}", self.scope.text(uid));
                            findings.miss(segment, Reason::MissingLate);
                        }
                        None => findings.miss("caller's pod".into(), Reason::AmbigSharedHostIp),
                    }
                }
                match self.scope.attributed_by(row) {
                    Some("netns") => hop.evidence.insert(Evidence::SourceByNetns),
                    Some("cgroup") => hop.evidence.insert(Evidence::SourceByCgroup),
                    _ => {}
                }
            }
            None if route.original.is_none() || route.is_client_hidden => {
                hop.reasons.insert(Reason::SnatHiddenClient);
                if let Some(why) = route.doubt {
                    hop.reasons.insert(why);
                }
            }
            None => {}
        }
        if let Some(original) = route.original {
            if !route.is_client_hidden {
                hop.source.end = Some((original.source.ip, original.source.port));
            }
            hop.requested = Some((original.destination.ip, original.destination.port));
        }
    }

    fn translation(&self, route: &Route, hop: &mut HopRow) {
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

    fn outcome(&self, leg: &Leg, hop: &mut HopRow) {
        let span = leg.server.and_then(|s| self.scope.span_of(s));
        let attempt = leg.logged.map(|a| &self.scope.sight.slabs.attempts(a.log)[a.index]);
        let own_log = leg.server.and_then(|s| self.scope.line_of(s)).map(|(log, _)| log);
        let is_root = leg.parent.is_none();
        let balancers = leg.server.filter(|_| is_root).and_then(|s| self.scope.balancer_line_of(s));
        if balancers.is_some() {
            hop.reasons.insert(Reason::OkUpstreamUnique);
            hop.confidence = hop.confidence.min(confidence::of(Reason::OkUpstreamUnique));
        }
        let own_log = own_log.or(balancers);
        hop.status = own_log
            .and_then(|l| l.status)
            .or(attempt.and_then(|a| a.status))
            .or(span.and_then(|s| s.status).map(i32::from));
        hop.method = own_log.and_then(|l| l.method).or(span.and_then(|s| s.method));
        hop.route = own_log.and_then(|l| l.route).or(span.and_then(|s| s.route));
        if own_log.is_some() || attempt.is_some() {
            hop.evidence.insert(Evidence::AccessLog);
        }
        if span.is_some() {
            hop.evidence.insert(Evidence::ServerSpan);
        }
        let observed = leg.client.or(leg.server).map(|id| self.exchange(id));
        hop.failure = match observed {
            Some(e) if !e.has_response() => Some(self.end_cause(e)),
            None if attempt.is_some_and(Attempt::was_refused) => {
                let timed_out = hop.status == Some(504);
                Some(if timed_out { Failure::Timeout } else { Failure::Refused })
            }
            _ => hop.status.filter(|s| *s >= 500).map(|_| Failure::Status5xx),
        };
    }

    /// Why a connection ended without an answer.
    fn end_cause(&self, exchange: &Exchange) -> Failure {
        match self.scope.sight.end_cause(exchange) {
            Some(EndCause::Reset) => Failure::Reset,
            Some(EndCause::Refused) => Failure::Refused,
            Some(EndCause::Timeout) => Failure::Timeout,
            _ => Failure::NoResponse,
        }
    }

    fn labels(&self, leg: &Leg, hop: &mut HopRow) {
        let mut ends = leg.client.iter().chain(&leg.server).map(|&id| self.exchange(id));
        if ends.any(|e| e.ended == Ended::Open) {
            hop.reasons.insert(Reason::StreamOpen);
        }
        if self.is_multiplexed(leg) {
            hop.reasons.insert(Reason::AmbigH2Multiplex);
        }
        self.label_tries(leg, hop);
        self.label_beside(leg, hop);
    }

    fn label_tries(&self, leg: &Leg, hop: &mut HopRow) {
        let Some(a) = leg.logged else { return };
        let attempts = self.scope.sight.slabs.attempts(a.log);
        let group = attempts[a.index].group;
        if group > 0 {
            hop.reasons.insert(Reason::InternalRedirect);
        }
        if attempts.iter().filter(|other| other.group == group).count() > 1 {
            hop.reasons.insert(Reason::RetryAttempts);
        }
        hop.attempt = i32::try_from(a.index + 1).unwrap_or(i32::MAX);
    }

    fn kind(&self, leg: &Leg, hop: &HopRow) -> Kind {
        let parent = leg.parent.and_then(|p| self.tree.legs[p as usize].server);
        let is_proxy =
            |id: ExchangeId| self.scope.relays.proxy_places.contains(&self.exchange(id).place);
        let ip = |end: Option<(_, u16)>| end.map(|(ip, _)| ip);
        if leg.parent.is_none() && matches!(self.tree.root, Root::Arrival(_)) {
            Kind::Edge
        } else if parent.is_some_and(is_proxy) {
            Kind::Ingress
        } else if hop.service.is_some() && ip(hop.requested) != ip(hop.destination.end) {
            Kind::Service
        } else if hop.service.is_some() {
            Kind::Endpoint
        } else {
            Kind::App
        }
    }

    /// Several requests on its connection may be the other end of a call, and no byte of it is known.
    fn is_multiplexed(&self, leg: &Leg) -> bool {
        leg.client.is_some_and(|client| {
            self.exchange(client).seq_req < 0 && self.scope.sight.contested(client).is_some()
        })
    }

    fn is_on_host_network(&self, exchange: &Exchange) -> bool {
        let pod = exchange.pod.and_then(|uid| self.scope.sight.owners.pod(uid));
        pod.is_some_and(|pod| pod.is_on_host_network)
    }

    /// What says that a call belongs to its parent.
    fn relay_evidence(&self, leg: &Leg, by: Reason) -> Evidence {
        let parent = leg.parent.and_then(|p| self.tree.legs[p as usize].server);
        match by {
            // A parent without a span is known by the request id in its line.
            Reason::OkExactId if parent.is_some_and(|p| self.scope.span_of(p).is_none()) => {
                Evidence::AccessLog
            }
            Reason::OkExactId => Evidence::SpanParent,
            Reason::OkUpstreamUnique => Evidence::AccessLog,
            Reason::OkThread => Evidence::Thread,
            Reason::OkStatistical => Evidence::Statistical,
            _ => Evidence::Containment,
        }
    }

    fn began_ns(&self, leg: &Leg) -> i64 {
        let observed = leg.client.or(leg.server);
        let parent = leg.parent.and_then(|p| self.tree.legs[p as usize].server);
        observed.or(parent).map_or(self.tree.end_ns, |id| self.exchange(id).start_ns)
    }
}
