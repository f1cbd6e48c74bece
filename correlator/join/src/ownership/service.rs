//! What Services are beside addresses: headless, external, short-circuited, named by an ingress.

use crate::address::{Address, End};
use crate::names::Names;
use crate::ownership::{Ownership, Service};

impl Service {
    /// Stands for a name outside the cluster.
    pub(crate) fn is_external_name(&self) -> bool {
        self.is_external_name
    }

    /// Whether nodes answer at this address in the place of a load balancer.
    pub(crate) fn is_short_circuited(&self, ip: Address) -> bool {
        self.short_circuited.contains(&ip)
    }
}

impl Ownership {
    /// Whether the address and port were an endpoint of the Service at any time before.
    pub(crate) fn was_endpoint(&self, service: &Service, end: End, before_ns: i64) -> bool {
        self.slices_with(end).any(|slice| slice.from_ns < before_ns && service.has(slice))
    }

    /// Whether a Service that gives out its endpoints' own addresses had this one.
    pub(crate) fn is_headless_endpoint(&self, end: End, at_ns: i64) -> bool {
        let headless = self.headless.iter().map(|&i| &self.services[i]).filter(|s| s.holds(at_ns));
        let names: Vec<_> = headless.map(|s| (s.namespace, s.name)).collect();
        let of_endpoint = || self.services_of_endpoint(end, at_ns);
        !names.is_empty() && of_endpoint().iter().any(|name| names.contains(name))
    }

    /// The Service that an ingress means by `namespace-service-port`, where no other reading of the
    /// dashes names one.
    pub(crate) fn service_of_upstream(
        &self,
        names: &Names,
        upstream: &str,
        at_ns: i64,
    ) -> Option<&Service> {
        let (names_alone, _port) = upstream.rsplit_once('-')?;
        let is_meant = |s: &&Service| {
            let (namespace, name) = (names.text(s.namespace), names.text(s.name));
            let rest = names_alone.strip_prefix(namespace).and_then(|r| r.strip_prefix('-'));
            rest == Some(name) && s.holds(at_ns)
        };
        let mut meant = self.services.iter().filter(is_meant);
        let first = meant.next()?;
        meant.next().is_none().then_some(first)
    }
}
