//! One leg becomes one hop row, and what is missing from it is noted.

mod destination;

use std::collections::BTreeSet;

use tables::Hop;

use crate::SECOND;
use crate::address::{End, Tuple};
use crate::columns::{self, EndCause, Exchange};
use crate::confidence;
use crate::link::nat;
use crate::names::Name;
use crate::ownership::{Owner, Pod, Service};
use crate::path::{Entry, Leg, Root, Tree, entry};
use crate::reason::Reason;
use crate::rows::Scope;
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
    /// More than one conntrack entry may be the one.
    reused: bool,
    /// What `original` says of the client is not the client.
    is_client_hidden: bool,
}

/// Writes the hops of one path.
pub(crate) struct Writer<'a> {
    scope: &'a Scope<'a>,
    tree: &'a Tree,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(scope: &'a Scope<'a>, tree: &'a Tree) -> Self {
        Self { scope, tree }
    }

    pub(crate) fn hop(&self, position: usize, findings: &mut Findings) -> Hop {
        let leg = &self.tree.legs[position];
        let head = self.scope.head();
        let mut hop = Hop {
            hour: head.hour,
            win: head.win,
            stage: head.stage,
            finality: head.finality,
            position: i32::try_from(position).unwrap_or(i32::MAX),
            parent: leg.parent.and_then(|p| i32::try_from(p).ok()),
            attempt: leg.logged.map_or(1, |a| i32::try_from(a.index + 1).unwrap_or(i32::MAX)),
            nat: "unknown".into(),
            ..Hop::default()
        };
        let mut reasons: BTreeSet<Reason> = BTreeSet::new();
        let mut confidence = 1.0_f64;
        if let Some(by) = leg.by {
            reasons.insert(by);
            confidence = confidence.min(confidence::of(by));
            hop.evidence.push(relay_evidence(by).into());
        }
        self.times(leg, &mut hop);
        let route = self.route(leg, &mut hop, &mut reasons, &mut confidence, findings);
        self.source(leg, &route, &mut hop, &mut reasons, findings);
        let service = self.service(leg, &route);
        self.destination(leg, &route, service.is_some(), &mut hop, &mut reasons, findings);
        self.name_service(leg, &route, service, &mut hop, &mut reasons);
        self.translation(&route, &mut hop);
        self.outcome(leg, &mut hop);
        self.labels(leg, &mut hop, &mut reasons);
        hop.kind = self.kind(leg, &hop).into();
        hop.confidence = confidence;
        findings.confidences.push(confidence);
        hop.reasons = reasons.iter().map(|r| r.code().to_owned()).collect();
        hop
    }

    fn exchange(&self, id: ExchangeId) -> &'a Exchange {
        self.scope.sight.exchange(id)
    }

    fn times(&self, leg: &Leg, hop: &mut Hop) {
        let client = leg.client.map(|c| self.exchange(c));
        let server = leg.server.map(|s| self.exchange(s));
        let parent_start = || {
            let parent = leg.parent.and_then(|p| self.tree.legs[p].server);
            parent.map_or(0, |s| self.exchange(s).start_ns)
        };
        let (start_ns, end_ns) = match client.or(server) {
            Some(e) => (e.start_ns, e.end_ns),
            None => (parent_start(), parent_start()),
        };
        hop.start_ns = start_ns;
        hop.start_time = tables::micros_of_ns(start_ns);
        hop.end_ns = end_ns;
        let seen_by = client.or(server);
        hop.bytes_request = seen_by.map(|r| r.bytes_request);
        hop.bytes_response = seen_by.map(|r| r.bytes_response);
        let duration = |e: &Exchange| e.end_ns - e.start_ns;
        hop.server_ns = server.filter(|s| s.has_response()).map(duration);
        if let (Some(client), Some(server_ns)) = (client, hop.server_ns) {
            // The server's turn can look longer than the client's by the stamp of its last write.
            hop.network_ns = Some((duration(client) - server_ns).max(0));
        }
    }

    /// The tuples at both ends and what translated one to the other.
    fn route(
        &self,
        leg: &Leg,
        hop: &mut Hop,
        reasons: &mut BTreeSet<Reason>,
        confidence: &mut f64,
        findings: &mut Findings,
    ) -> Route {
        let nat = self.scope.sight.nat;
        if leg.client.is_some() {
            hop.evidence.push("client_exchange".into());
        }
        if leg.server.is_some() {
            hop.evidence.push("server_exchange".into());
        }
        let route = match (leg.client, leg.server) {
            (Some(c), Some(s)) => {
                let (client, server) = (self.exchange(c), self.exchange(s));
                hop.evidence.push("tcp_seq".into());
                reasons.insert(Reason::OkTupleSeq);
                *confidence = confidence.min(confidence::of(Reason::OkTupleSeq));
                let binding = nat.between(client, server);
                Route {
                    original: Some(Tuple { source: client.local(), destination: client.remote() }),
                    reply: Some(Tuple { source: server.local(), destination: server.remote() }),
                    node: binding.map(|b| nat.get(b).node),
                    recorded: binding.is_some(),
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
                    reused: found == Err(nat::NoBinding::PortReuse),
                    ..Route::default()
                }
            }
            (None, Some(s)) => self.arrival(s, findings),
            (None, None) => {
                tell(hop, "access_log");
                Route::default()
            }
        };
        if route.recorded {
            hop.evidence.push("nat_binding".into());
            reasons.insert(Reason::OkNatChain);
            if leg.client.is_none() || leg.server.is_none() {
                *confidence = confidence.min(confidence::of(Reason::OkNatChain));
            }
        }
        route
    }

    /// The entry of a path: back through the translations to the client that no agent saw.
    fn arrival(&self, server: ExchangeId, findings: &mut Findings) -> Route {
        let exchange = self.exchange(server);
        let reply = Tuple { source: exchange.local(), destination: exchange.remote() };
        let direct = Tuple { source: exchange.remote(), destination: exchange.local() };
        let client = "client".to_owned();
        let at_ns = exchange.start_ns;
        // A node or its bridge sends for others: behind it stands whoever was masqueraded there.
        let hidden_behind = |ip| match self.scope.sight.owners.holder(ip, at_ns) {
            Owner::Node(node) | Owner::PodRange(node) => {
                let why = self.scope.whole(node, at_ns - SECOND, exchange.end_ns);
                Some(why.err().unwrap_or(Reason::SnatHiddenClient))
            }
            _ => None,
        };
        match entry(self.scope.sight, server) {
            Entry::Translated(chain) => {
                let first = chain.first().map(|&id| self.scope.sight.nat.get(id));
                let original = first.map(|b| b.original);
                let why = original.and_then(|o| hidden_behind(o.source.ip));
                if let Some(why) = why {
                    findings.miss(client, why);
                }
                Route {
                    original,
                    reply: Some(reply),
                    node: first.map(|b| b.node),
                    recorded: true,
                    is_client_hidden: why.is_some(),
                    ..Route::default()
                }
            }
            Entry::Direct => match hidden_behind(exchange.remote_ip) {
                Some(why) => {
                    findings.miss(client, why);
                    Route { reply: Some(reply), ..Route::default() }
                }
                None => Route { original: Some(direct), reply: Some(reply), ..Route::default() },
            },
            Entry::PortReused => {
                findings.miss(client, Reason::AmbigNatPortReuse);
                Route { reply: Some(reply), ..Route::default() }
            }
        }
    }

    fn source(
        &self,
        leg: &Leg,
        route: &Route,
        hop: &mut Hop,
        reasons: &mut BTreeSet<Reason>,
        findings: &mut Findings,
    ) {
        // An attempt that only the log knows has the proxy as its source all the same.
        let parent = leg.parent.and_then(|p| self.tree.legs[p].server);
        match leg.client.or(parent.filter(|_| leg.server.is_none())) {
            Some(id) => {
                let row = self.exchange(id);
                hop.source_node = Some(self.scope.text(row.node).to_owned());
                let uid = self.scope.sight.slabs.names.text_of(row.pod);
                let pod = uid.and_then(|uid| self.scope.sight.owners.pod(uid));
                match (uid, pod) {
                    (_, Some(pod)) => set_source(hop, pod),
                    (Some(uid), None) => {
                        hop.source_pod_uid = Some(uid.to_owned());
                        findings.miss(format!("name of pod {uid}"), Reason::MissingLate);
                    }
                    (None, None) => {
                        findings.miss("caller's pod".into(), Reason::AmbigSharedHostIp);
                    }
                }
                let by = self.scope.sight.slabs.names.text_of(row.attributed_by);
                hop.evidence.extend(by.map(|by| format!("source_by_{by}")));
            }
            None if route.original.is_none() || route.is_client_hidden => {
                reasons.insert(Reason::SnatHiddenClient);
            }
            None => {}
        }
        if let Some(original) = route.original {
            if !route.is_client_hidden {
                hop.source_ip = Some(original.source.ip.to_string());
                hop.source_port = Some(original.source.port.into());
            }
            hop.requested_ip = Some(original.destination.ip.to_string());
            hop.requested_port = Some(original.destination.port.into());
        }
    }

    fn service(&self, leg: &Leg, route: &Route) -> Option<&'a Service> {
        let at_ns = self.began_ns(leg);
        route.original.and_then(|o| self.scope.sight.owners.service(o.destination, at_ns))
    }

    fn name_service(
        &self,
        leg: &Leg,
        route: &Route,
        service: Option<&Service>,
        hop: &mut Hop,
        reasons: &mut BTreeSet<Reason>,
    ) {
        let at_ns = self.began_ns(leg);
        let end = hop.destination_ip.as_deref().zip(hop.destination_port);
        let end = end.and_then(|(ip, port)| End::parse(ip, port));
        let behind = end.map(|e| self.scope.sight.owners.services_of_endpoint(e, at_ns));
        let behind = behind.unwrap_or_default();
        match (service, &behind[..]) {
            (Some(service), _) => {
                hop.service = Some(service.name.clone());
                hop.service_namespace = Some(service.namespace.clone());
                let is_endpoint = behind.contains(&(&service.namespace, &service.name));
                if end.is_some() && route.recorded && !is_endpoint {
                    reasons.insert(Reason::NatTargetNotInEndpointslice);
                }
            }
            // Called by its own address: the Service is known where only one has this endpoint.
            (None, [(namespace, name)]) if route.original.is_some() || leg.logged.is_some() => {
                hop.service = Some((*name).to_owned());
                hop.service_namespace = Some((*namespace).to_owned());
            }
            (None, _) => {}
        }
        let is_same_pod =
            hop.source_pod_uid.is_some() && hop.source_pod_uid == hop.destination_pod_uid;
        if is_same_pod && service.is_some() {
            reasons.insert(Reason::Hairpin);
        }
    }

    fn translation(&self, route: &Route, hop: &mut Hop) {
        let (Some(original), Some(reply)) = (route.original, route.reply) else { return };
        let dnat = original.destination != reply.source;
        let snat = original.source != reply.destination;
        hop.nat = match (dnat, snat) {
            (false, false) => "none",
            (true, false) => "dnat",
            (false, true) => "snat",
            (true, true) => "dnat+snat",
        }
        .into();
        // An inner translation alone would name the node as the client.
        if (dnat || snat) && !route.is_client_hidden {
            hop.nat_node = self.scope.name(route.node);
            hop.nat_original = Some(original.to_string());
            hop.nat_reply = Some(reply.to_string());
        }
    }

    fn outcome(&self, leg: &Leg, hop: &mut Hop) {
        let span = leg.server.and_then(|s| self.scope.span_of(s));
        let attempt = leg.logged.map(|a| &self.scope.sight.slabs.attempts(a.log)[a.index]);
        let own_log = leg.server.and_then(|s| self.scope.line_of(s)).map(|(log, _)| log);
        hop.status = own_log
            .and_then(|l| l.status)
            .or(attempt.and_then(|a| a.status))
            .or(span.and_then(|s| s.status).map(i32::from));
        let method = own_log.and_then(|l| l.method).or(span.and_then(|s| s.method));
        let route = own_log.and_then(|l| l.route).or(span.and_then(|s| s.route));
        (hop.method, hop.route) = (self.scope.name(method), self.scope.name(route));
        if own_log.is_some() || attempt.is_some() {
            tell(hop, "access_log");
        }
        if span.is_some() {
            hop.evidence.push("server_span".into());
        }
        let observed = leg.client.or(leg.server).map(|id| self.exchange(id));
        hop.failure_cause = match observed {
            Some(e) if !e.has_response() => Some(self.end_cause(e)),
            None if attempt.is_some_and(columns::Attempt::was_refused) => {
                let timed_out = hop.status == Some(504);
                Some(if timed_out { "timeout" } else { "refused" }.into())
            }
            _ => hop.status.filter(|s| *s >= 500).map(|_| "status_5xx".into()),
        };
    }

    /// Why a connection ended without an answer.
    fn end_cause(&self, exchange: &Exchange) -> String {
        match self.scope.sight.end_cause(exchange) {
            Some(EndCause::Reset) => "reset",
            Some(EndCause::Refused) => "refused",
            Some(EndCause::Timeout) => "timeout",
            _ => "no_response",
        }
        .into()
    }

    fn labels(&self, leg: &Leg, hop: &mut Hop, reasons: &mut BTreeSet<Reason>) {
        let Some(a) = leg.logged else { return };
        let attempts = self.scope.sight.slabs.attempts(a.log);
        if attempts[a.index].group > 0 {
            reasons.insert(Reason::InternalRedirect);
        }
        let group = attempts[a.index].group;
        if attempts.iter().filter(|other| other.group == group).count() > 1 {
            reasons.insert(Reason::RetryAttempts);
        }
        hop.attempt = i32::try_from(a.index + 1).unwrap_or(i32::MAX);
    }

    fn kind(&self, leg: &Leg, hop: &Hop) -> &'static str {
        let parent = leg.parent.and_then(|p| self.tree.legs[p].server);
        let is_proxy =
            |id: ExchangeId| self.scope.relays.proxy_places.contains(&self.exchange(id).place);
        if leg.parent.is_none() && matches!(self.tree.root, Root::Arrival(_)) {
            "edge"
        } else if parent.is_some_and(is_proxy) {
            "ingress"
        } else if hop.service.is_some() && hop.requested_ip != hop.destination_ip {
            "service"
        } else if hop.service.is_some() {
            "endpoint"
        } else {
            "app"
        }
    }

    fn began_ns(&self, leg: &Leg) -> i64 {
        let observed = leg.client.or(leg.server);
        let parent = leg.parent.and_then(|p| self.tree.legs[p].server);
        observed.or(parent).map_or(self.tree.end_ns, |id| self.exchange(id).start_ns)
    }
}

/// A piece of evidence counts once, also where it says two things.
fn tell(hop: &mut Hop, evidence: &str) {
    if !hop.evidence.iter().any(|known| known == evidence) {
        hop.evidence.push(evidence.to_owned());
    }
}

fn relay_evidence(by: Reason) -> &'static str {
    match by {
        Reason::OkExactId => "span_parent",
        Reason::OkUpstreamUnique => "access_log",
        Reason::OkThread => "thread",
        _ => "containment",
    }
}

fn set_source(hop: &mut Hop, pod: &Pod) {
    hop.source_pod_uid = Some(pod.uid.clone());
    hop.source_pod = Some(pod.name.clone());
    hop.source_namespace = Some(pod.namespace.clone());
    hop.source_workload.clone_from(&pod.workload);
}
