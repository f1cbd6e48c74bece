//! Who owned an address at a time: cluster objects as intervals, never as "now".

mod index;
mod service;

use tables::cluster;

use crate::Settings;
use crate::address::{Address, End, Range};
use crate::names::{Name, Names};
use index::Index;

/// A pod as one life of one uid.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) uid: Name,
    pub(crate) name: Name,
    pub(crate) namespace: Name,
    pub(crate) workload: Option<Name>,
    pub(crate) node: Option<Name>,
    /// Shares the address of its node.
    pub(crate) is_on_host_network: bool,
    ips: Vec<Address>,
    from_ns: i64,
    /// Deleted, or its phase says that the address is free.
    pub(crate) to_ns: i64,
}

/// The answer to "whose address is this".
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner<'a> {
    Pod(&'a Pod),
    /// More than one pod may have owned it at that time.
    Several,
    Node(Name),
    Service,
    /// In the pod range of this node, and no pod that is known: its bridge, or a pod whose object
    /// was not seen.
    PodRange(Name),
    /// No object of the cluster has this address.
    Outside,
}

#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: Name,
    pub(crate) namespace: Name,
    addresses: Vec<Address>,
    /// Those of a load balancer in whose place nodes answer.
    short_circuited: Vec<Address>,
    is_headless: bool,
    is_external_name: bool,
    ports: Vec<cluster::ServicePort>,
    created_ns: i64,
    from_ns: i64,
    to_ns: i64,
}

impl Pod {
    pub(crate) fn addresses(&self) -> &[Address] {
        &self.ips
    }
}

impl Service {
    /// Whether a slice is the Service's.
    fn has(&self, slice: &Slice) -> bool {
        (slice.namespace, slice.service) == (self.namespace, self.name)
    }

    /// Whether this was the Service's version at a moment.
    fn holds(&self, at_ns: i64) -> bool {
        self.from_ns <= at_ns && at_ns < self.to_ns
    }
}

#[derive(Debug)]
struct Slice {
    namespace: Name,
    service: Name,
    endpoints: Vec<(Address, bool)>,
    ports: Vec<i32>,
    from_ns: i64,
    to_ns: i64,
}

#[derive(Debug)]
struct Node {
    name: Name,
    addresses: Vec<Address>,
    pod_ranges: Vec<Range>,
}

#[derive(Debug)]
pub(crate) struct Ownership {
    pods: Vec<Pod>,
    by_uid: Index<Name>,
    pods_by_ip: Index<Address>,
    services: Vec<Service>,
    by_address: Index<(Address, i32)>,
    by_node_port: Index<i32>,
    /// Versions of Services that give out their endpoints' own addresses.
    headless: Vec<usize>,
    slices: Vec<Slice>,
    slices_by_ip: Index<Address>,
    nodes: Vec<Node>,
    nodes_by_ip: Index<Address>,
    propagation_ns: i64,
}

/// One version of one object with the interval in which it was the newest.
struct Version<'a, B> {
    row: &'a tables::ClusterObject,
    body: B,
    from_ns: i64,
    to_ns: i64,
}

impl Ownership {
    /// `objects` sorted by kind, uid and event time. A body that can't be read is left out: the
    /// collector writes them, and an object that is missing leaves its addresses unowned.
    pub(crate) fn new(
        objects: &[&tables::ClusterObject],
        names: &mut Names,
        settings: &Settings,
    ) -> Self {
        let pods = pods(names, &versions(objects, "pod", |b: &cluster::Pod| b.created_at_ns));
        let services = versions(objects, "service", |b: &cluster::Service| b.created_at_ns);
        let slices =
            versions(objects, "endpointslice", |b: &cluster::EndpointSlice| b.created_at_ns);
        let nodes = versions(objects, "node", |b: &cluster::Node| b.created_at_ns);
        let services: Vec<Service> = with_creation(services).map(|v| service(names, v)).collect();
        let slices: Vec<Slice> = slices.into_iter().filter_map(|v| slice(names, v)).collect();
        let nodes: Vec<Node> = nodes
            .into_iter()
            .map(|v| Node {
                name: names.name(&v.row.name),
                addresses: parse_all(&v.body.addresses),
                pod_ranges: v.body.pod_cidrs.iter().filter_map(|c| Range::parse(c)).collect(),
            })
            .collect();
        let is_headless = |&i: &usize| services[i].is_headless;
        let ports = |s: &Service| s.ports.iter().filter(|p| is_tcp(p)).cloned().collect::<Vec<_>>();
        Self {
            by_uid: Index::new(&pods, |p| vec![p.uid]),
            pods_by_ip: Index::new(&pods, |p| p.ips.clone()),
            pods,
            by_address: Index::new(&services, |s| {
                let ports = ports(s);
                let with_ports = |ip: &Address| ports.iter().map(|p| (*ip, p.port)).collect();
                s.addresses.iter().flat_map(|ip| -> Vec<_> { with_ports(ip) }).collect()
            }),
            by_node_port: Index::new(&services, |s| {
                ports(s).iter().filter_map(|p| p.node_port).collect()
            }),
            headless: (0..services.len()).filter(is_headless).collect(),
            services,
            slices_by_ip: Index::new(&slices, |s| {
                s.endpoints.iter().filter(|(_, usable)| *usable).map(|(ip, _)| *ip).collect()
            }),
            slices,
            nodes_by_ip: Index::new(&nodes, |n| n.addresses.clone()),
            nodes,
            propagation_ns: settings.propagation_ns,
        }
    }

    /// The uids of all pods, one for each version.
    pub(crate) fn pods(&self) -> impl Iterator<Item = Name> {
        self.pods.iter().map(|pod| pod.uid)
    }

    pub(crate) fn pod(&self, uid: Name) -> Option<&Pod> {
        self.by_uid.of(uid).last().map(|&i| &self.pods[i])
    }

    pub(crate) fn owner(&self, end: End, at_ns: i64) -> Owner<'_> {
        if self.service(end, at_ns).is_some() {
            return Owner::Service;
        }
        self.holder(end.ip, at_ns)
    }

    /// Whose interface has the address. Never a Service: nothing is sent *from* one, though the
    /// port of a masquerade may well be one that some Service has on all nodes.
    pub(crate) fn holder(&self, ip: Address, at_ns: i64) -> Owner<'_> {
        let mut pods = self.pods_at(ip, at_ns);
        match (pods.next(), pods.next()) {
            (Some(pod), None) => Owner::Pod(pod),
            (None, _) => match self.node_of(ip) {
                Some(node) => Owner::Node(node),
                None => self.pod_range_of(ip).map_or(Owner::Outside, Owner::PodRange),
            },
            _ => Owner::Several,
        }
    }

    /// The Service that a client addressed: by one of its addresses, or by a node port of a node.
    pub(crate) fn service(&self, end: End, at_ns: i64) -> Option<&Service> {
        let port = i32::from(end.port);
        let newest = |found: &[usize]| {
            found
                .iter()
                .map(|&i| &self.services[i])
                .filter(|s| {
                    s.from_ns <= at_ns.saturating_add(self.propagation_ns) && at_ns < s.to_ns
                })
                // An address has one owner at a time: a later creation shows that the earlier
                // Service is gone, also where its deletion was not seen. What began only after
                // the moment comes last.
                .max_by_key(|s| (s.from_ns <= at_ns, s.created_ns, s.from_ns))
        };
        newest(self.by_address.of((end.ip, port)))
            .or_else(|| self.node_of(end.ip).and_then(|_| newest(self.by_node_port.of(port))))
    }

    /// Services that had this address and port as an endpoint, ready or still serving, in the order
    /// of the uids of their slices.
    pub(crate) fn services_of_endpoint(&self, end: End, at_ns: i64) -> Vec<(Name, Name)> {
        let slices = self.slices_with(end).filter(|slice| self.is_near(slice, at_ns));
        let mut found: Vec<(Name, Name)> = Vec::new();
        for service in slices.map(|s| (s.namespace, s.service)) {
            if !found.contains(&service) {
                found.push(service);
            }
        }
        found
    }

    /// Whether a Service had this address and port as one.
    pub(crate) fn is_endpoint(&self, service: &Service, end: End, at_ns: i64) -> bool {
        let mut slices = self.slices_with(end).filter(|slice| service.has(slice));
        slices.any(|slice| self.is_near(slice, at_ns))
    }

    /// Versions of slices that name an address and port.
    fn slices_with(&self, end: End) -> impl Iterator<Item = &Slice> {
        let slices = self.slices_by_ip.of(end.ip).iter().map(|&i| &self.slices[i]);
        slices.filter(move |s| s.ports.is_empty() || s.ports.contains(&i32::from(end.port)))
    }

    fn is_near(&self, slice: &Slice, at_ns: i64) -> bool {
        slice.from_ns.saturating_sub(self.propagation_ns) <= at_ns
            && at_ns < slice.to_ns.saturating_add(self.propagation_ns)
    }

    pub(crate) fn node_of(&self, ip: Address) -> Option<Name> {
        self.nodes_by_ip.of(ip).first().map(|&i| self.nodes[i].name)
    }

    fn pod_range_of(&self, ip: Address) -> Option<Name> {
        let node = self.nodes.iter().find(|n| n.pod_ranges.iter().any(|r| r.contains(ip)));
        node.map(|n| n.name)
    }

    /// Pods that may have owned the address. Near a change of owner the strict intervals are no
    /// proof, for API time lags behind the network: each counts with that slack.
    fn pods_at(&self, ip: Address, at_ns: i64) -> impl Iterator<Item = &Pod> {
        let slack_ns = self.propagation_ns;
        let pods = self.pods_by_ip.of(ip).iter().map(|&i| &self.pods[i]);
        pods.filter(move |p| {
            p.from_ns.saturating_sub(slack_ns) <= at_ns && at_ns < p.to_ns.saturating_add(slack_ns)
        })
    }
}

/// Versions of one kind, each object's first one reaching back to its creation.
fn versions<'a, B: serde::de::DeserializeOwned>(
    objects: &[&'a tables::ClusterObject],
    kind: &str,
    created: impl Fn(&B) -> Option<i64>,
) -> Vec<Version<'a, B>> {
    let of_kind: Vec<_> = objects.iter().filter(|o| o.kind == kind).collect();
    let mut found = Vec::new();
    for (i, row) in of_kind.iter().enumerate() {
        let Ok(body) = serde_json::from_str::<B>(&row.body) else { continue };
        let is_first = i == 0 || of_kind[i - 1].uid != row.uid;
        let next = of_kind.get(i + 1).filter(|next| next.uid == row.uid);
        let from_ns = match created(&body) {
            Some(created_ns) if is_first => created_ns.min(row.event_ns),
            _ => row.event_ns,
        };
        let to_ns = match next {
            Some(next) => next.event_ns,
            None if row.change == "deleted" => row.event_ns,
            None => i64::MAX,
        };
        found.push(Version { row, body, from_ns, to_ns });
    }
    found
}

/// All versions of one uid make one life: its addresses are owned from creation to its end.
fn pods(names: &mut Names, versions: &[Version<'_, cluster::Pod>]) -> Vec<Pod> {
    let mut pods: Vec<Pod> = Vec::new();
    for v in versions {
        let ended =
            v.row.change == "deleted" || matches!(v.body.phase.as_str(), "Succeeded" | "Failed");
        let uid = names.name(&v.row.uid);
        let is_same = pods.last().is_some_and(|p| p.uid == uid);
        if !is_same {
            pods.push(Pod {
                uid,
                name: names.name(&v.row.name),
                namespace: names.name(&v.row.namespace),
                workload: v.body.owner_name.as_deref().map(|owner| names.name(owner)),
                node: None,
                is_on_host_network: v.body.host_network,
                ips: Vec::new(),
                from_ns: v.from_ns,
                to_ns: i64::MAX,
            });
        }
        let Some(pod) = pods.last_mut() else { continue };
        pod.node = v.body.node_name.as_deref().map(|node| names.name(node)).or(pod.node);
        if !v.body.host_network {
            for ip in parse_all(&v.body.ips) {
                if !pod.ips.contains(&ip) {
                    pod.ips.push(ip);
                }
            }
        }
        if ended {
            pod.to_ns = pod.to_ns.min(v.row.event_ns);
        }
    }
    pods
}

/// Each version with the moment at which the first known one of its object began.
fn with_creation<B>(versions: Vec<Version<'_, B>>) -> impl Iterator<Item = (Version<'_, B>, i64)> {
    let mut first: Option<(&str, i64)> = None;
    versions.into_iter().map(move |v| {
        let created_ns = match first {
            Some((uid, created_ns)) if uid == v.row.uid => created_ns,
            _ => v.from_ns,
        };
        first = Some((&v.row.uid, created_ns));
        (v, created_ns)
    })
}

/// An agent sees TCP only; other protocols have port numbers of their own.
fn is_tcp(port: &cluster::ServicePort) -> bool {
    matches!(port.protocol.as_str(), "TCP" | "")
}

fn service(names: &mut Names, (v, created_ns): (Version<'_, cluster::Service>, i64)) -> Service {
    let body = &v.body;
    let all = body.cluster_ips.iter().chain(&body.external_ips).chain(&body.load_balancer_ips);
    let is_vip = |ip: &&String| !body.load_balancer_proxies.contains(ip);
    let vips = body.load_balancer_ips.iter().filter(is_vip);
    Service {
        short_circuited: vips.filter_map(|a| Address::parse(a)).collect(),
        is_headless: body.headless,
        is_external_name: body.service_type == "ExternalName",
        name: names.name(&v.row.name),
        namespace: names.name(&v.row.namespace),
        addresses: all.filter_map(|a| Address::parse(a)).collect(),
        ports: v.body.ports,
        created_ns,
        from_ns: v.from_ns,
        to_ns: v.to_ns,
    }
}

fn slice(names: &mut Names, v: Version<'_, cluster::EndpointSlice>) -> Option<Slice> {
    Some(Slice {
        namespace: names.name(&v.row.namespace),
        service: names.name(&v.body.service_name?),
        endpoints: v
            .body
            .endpoints
            .iter()
            .filter_map(|e| Some((Address::parse(&e.ip)?, e.ready || e.serving)))
            .collect(),
        ports: v.body.ports,
        from_ns: v.from_ns,
        to_ns: v.to_ns,
    })
}

fn parse_all(addresses: &[String]) -> Vec<Address> {
    addresses.iter().filter_map(|a| Address::parse(a)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_an_endpoint_come_in_an_order_that_no_name_seen_before_changes() {
        let slice = |service: &str| tables::ClusterObject {
            kind: "endpointslice".into(),
            uid: format!("uid-{service}"),
            body: serde_json::to_string(&cluster::EndpointSlice {
                service_name: Some(service.into()),
                endpoints: vec![cluster::Endpoint {
                    ip: "10.0.0.1".into(),
                    ready: true,
                    ..Default::default()
                }],
                ..Default::default()
            })
            .unwrap(),
            ..Default::default()
        };
        let objects = [slice("cart"), slice("shop")];
        let end = End { ip: Address::parse("10.0.0.1").unwrap(), port: 80 };
        for seen_before in [["cart", "shop"], ["shop", "cart"]] {
            let mut names = Names::default();
            for text in seen_before {
                names.name(text);
            }
            let of_objects: Vec<&tables::ClusterObject> = objects.iter().collect();
            let owners = Ownership::new(&of_objects, &mut names, &Settings::default());
            let found = owners.services_of_endpoint(end, 0);
            let found: Vec<&str> = found.iter().map(|&(_, name)| names.text(name)).collect();
            assert_eq!(found, ["cart", "shop"]);
        }
    }
}
