//! One leg becomes one hop row, and what is missing from it is noted.

mod contradiction;
mod destination;
mod outcome;
mod route;
mod service;
mod subrequest;
mod unlisted;

use route::Route;

use crate::columns::{Ended, Exchange};
use crate::confidence;
use crate::path::{Entry, Leg, Root, Tree};
use crate::reason::{Reason, Reasons};
use crate::rows::Scope;
use crate::rows::row::{Evidence, EvidenceSet, HopRow, Kind, Nat, Party};
use crate::slab::ExchangeId;
use crate::verdict::Findings;

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
        let nth = leg.logged.map_or(leg.nth.unwrap_or(0) as usize, |a| a.index);
        let mut hop = HopRow {
            path_id,
            position: i32::try_from(position).unwrap_or(i32::MAX),
            parent: leg.parent.and_then(|p| i32::try_from(p).ok()),
            kind: Kind::App,
            attempt: i32::try_from(nth + 1).unwrap_or(i32::MAX),
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
