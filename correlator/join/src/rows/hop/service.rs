//! The Service of a leg: the one that the client addressed, or the only one that has the endpoint.

use crate::address::End;
use crate::ownership::Service;
use crate::path::Leg;
use crate::reason::Reason;
use crate::rows::hop::{Route, Writer};
use crate::rows::row::HopRow;

impl<'a> Writer<'a> {
    /// The Service that the client addressed.
    pub(super) fn service(&self, leg: &Leg, route: &Route) -> Option<&'a Service> {
        let at_ns = self.began_ns(leg);
        route.original.and_then(|o| self.scope.sight.owners.service(o.destination, at_ns))
    }

    pub(super) fn name_service(
        &self,
        leg: &Leg,
        route: &Route,
        service: Option<&Service>,
        hop: &mut HopRow,
    ) {
        let owners = self.scope.sight.owners;
        // kube-proxy chose when the connection began; an endpoint that left since keeps it.
        let began_ns = self.began_ns(leg);
        let at_ns = route.opened_ns.map_or(began_ns, |opened_ns| opened_ns.min(began_ns));
        let end = hop.destination.end.map(|(ip, port)| End { ip, port });
        let behind = || end.map(|e| owners.services_of_endpoint(e, at_ns)).unwrap_or_default();
        match service {
            Some(service) => {
                set(hop, service);
                let translated = end.filter(|_| route.recorded);
                if let Some(end) = translated.filter(|&e| !owners.is_endpoint(service, e, at_ns)) {
                    hop.reasons.insert(Reason::NatTargetNotInEndpointslice);
                    if owners.was_endpoint(service, end, at_ns) {
                        hop.reasons.insert(Reason::StaleConntrackDnat);
                    }
                }
                let asked = hop.requested.filter(|_| leg.client.is_some());
                if asked.is_some_and(|(ip, _)| service.is_short_circuited(ip)) {
                    hop.reasons.insert(Reason::LbShortCircuit);
                }
                if hop.source.pod_uid.is_some() && hop.source.pod_uid == hop.destination.pod_uid {
                    hop.reasons.insert(Reason::Hairpin);
                }
            }
            // Called by its own address, or from behind a masquerade: the Service is known where
            // only one has this endpoint.
            None => match behind()[..] {
                [(namespace, name)] => {
                    hop.service = Some(name);
                    hop.service_namespace = Some(namespace);
                }
                _ => self.name_external(leg, hop),
            },
        }
        let is_direct = service.is_none() && leg.client.is_some();
        if end.is_some_and(|end| is_direct && owners.is_headless_endpoint(end, at_ns)) {
            hop.reasons.insert(Reason::Headless);
        }
    }

    /// An address outside the cluster that the proxy knew by a Service's name.
    fn name_external(&self, leg: &Leg, hop: &mut HopRow) {
        let sight = self.scope.sight;
        let upstream = leg.logged.and_then(|a| sight.slabs.log(a.log).upstream);
        let Some(upstream) = upstream.map(|name| self.scope.text(name)) else { return };
        let at_ns = self.began_ns(leg);
        let service = sight.owners.service_of_upstream(&sight.slabs.names, upstream, at_ns);
        if let Some(service) = service.filter(|s| s.is_external_name()) {
            set(hop, service);
            hop.reasons.insert(Reason::ExternalName);
        }
    }
}

fn set(hop: &mut HopRow, service: &Service) {
    hop.service = Some(service.name);
    hop.service_namespace = Some(service.namespace);
}
