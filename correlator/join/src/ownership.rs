//! Who owned an address at a time: cluster objects as intervals, never as "now".

use std::collections::BTreeMap;

use tables::cluster;

use crate::Settings;
use crate::address::{Address, End};

/// A pod as one life of one uid.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) workload: Option<String>,
    pub(crate) node: Option<String>,
    ips: Vec<Address>,
    from_ns: i64,
    /// Deleted, or its phase says that the address is free.
    to_ns: i64,
}

/// The answer to "whose address is this".
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner<'a> {
    Pod(&'a Pod),
    /// More than one pod may have owned it at that time.
    Several,
    Node(&'a str),
    Service,
    /// No object of the cluster has this address.
    Outside,
}

#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) namespace: String,
    addresses: Vec<Address>,
    ports: Vec<cluster::ServicePort>,
    from_ns: i64,
    to_ns: i64,
}

#[derive(Debug)]
struct Slice {
    namespace: String,
    service: String,
    endpoints: Vec<(Address, bool)>,
    ports: Vec<i32>,
    from_ns: i64,
    to_ns: i64,
}

#[derive(Debug)]
struct Node {
    name: String,
    addresses: Vec<Address>,
}

#[derive(Debug)]
pub(crate) struct Ownership {
    pods: Vec<Pod>,
    by_uid: BTreeMap<String, usize>,
    services: Vec<Service>,
    slices: Vec<Slice>,
    nodes: Vec<Node>,
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
    pub(crate) fn new(objects: &[&tables::ClusterObject], settings: &Settings) -> Self {
        let pods = pods(&versions(objects, "pod", |b: &cluster::Pod| b.created_at_ns));
        let services = versions(objects, "service", |b: &cluster::Service| b.created_at_ns);
        let slices =
            versions(objects, "endpointslice", |b: &cluster::EndpointSlice| b.created_at_ns);
        let nodes = versions(objects, "node", |b: &cluster::Node| b.created_at_ns);
        Self {
            by_uid: pods.iter().enumerate().map(|(i, p)| (p.uid.clone(), i)).collect(),
            pods,
            services: services.into_iter().map(service).collect(),
            slices: slices.into_iter().filter_map(slice).collect(),
            nodes: nodes
                .into_iter()
                .map(|v| Node { name: v.row.name.clone(), addresses: parse_all(&v.body.addresses) })
                .collect(),
            propagation_ns: settings.propagation_ns,
        }
    }

    pub(crate) fn pod(&self, uid: &str) -> Option<&Pod> {
        self.by_uid.get(uid).map(|&i| &self.pods[i])
    }

    pub(crate) fn owner(&self, end: End, at_ns: i64) -> Owner<'_> {
        if self.service(end, at_ns).is_some() {
            return Owner::Service;
        }
        match self.pods_at(end.ip, at_ns)[..] {
            [pod] => Owner::Pod(pod),
            [] => match self.node_of(end.ip) {
                Some(node) => Owner::Node(node),
                None => Owner::Outside,
            },
            _ => Owner::Several,
        }
    }

    /// The Service that a client addressed: by one of its addresses, or by a node port of a node.
    pub(crate) fn service(&self, end: End, at_ns: i64) -> Option<&Service> {
        let alive = |s: &&Service| s.from_ns <= at_ns + self.propagation_ns && at_ns < s.to_ns;
        let port = i32::from(end.port);
        let by_address = self
            .services
            .iter()
            .filter(alive)
            .find(|s| s.addresses.contains(&end.ip) && s.ports.iter().any(|p| p.port == port));
        let is_node = self.node_of(end.ip).is_some();
        by_address.or_else(|| {
            self.services
                .iter()
                .filter(alive)
                .find(|s| is_node && s.ports.iter().any(|p| p.node_port == Some(port)))
        })
    }

    /// Services that had this address and port as an endpoint, ready or still serving.
    pub(crate) fn services_of_endpoint(&self, end: End, at_ns: i64) -> Vec<(&str, &str)> {
        let mut found: Vec<(&str, &str)> = self
            .slices
            .iter()
            .filter(|s| {
                s.from_ns - self.propagation_ns <= at_ns
                    && at_ns < s.to_ns.saturating_add(self.propagation_ns)
            })
            .filter(|s| s.ports.is_empty() || s.ports.contains(&i32::from(end.port)))
            .filter(|s| s.endpoints.iter().any(|(ip, usable)| *usable && *ip == end.ip))
            .map(|s| (s.namespace.as_str(), s.service.as_str()))
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    pub(crate) fn node_of(&self, ip: Address) -> Option<&str> {
        self.nodes.iter().find(|n| n.addresses.contains(&ip)).map(|n| n.name.as_str())
    }

    /// Pods that owned the address, strictly by time when that decides, else with the slack that
    /// the API server needs to hear of it.
    fn pods_at(&self, ip: Address, at_ns: i64) -> Vec<&Pod> {
        let within = |slack_ns: i64| -> Vec<&Pod> {
            self.pods
                .iter()
                .filter(|p| p.ips.contains(&ip))
                .filter(|p| {
                    p.from_ns - slack_ns <= at_ns && at_ns < p.to_ns.saturating_add(slack_ns)
                })
                .collect()
        };
        // Near a change of owner the strict intervals are no proof: API time lags behind the
        // network. So the wide answer counts, and only an empty one is none.
        within(self.propagation_ns)
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
fn pods(versions: &[Version<'_, cluster::Pod>]) -> Vec<Pod> {
    let mut pods: Vec<Pod> = Vec::new();
    for v in versions {
        let ended =
            v.row.change == "deleted" || matches!(v.body.phase.as_str(), "Succeeded" | "Failed");
        let is_same = pods.last().is_some_and(|p| p.uid == v.row.uid);
        if !is_same {
            pods.push(Pod {
                uid: v.row.uid.clone(),
                name: v.row.name.clone(),
                namespace: v.row.namespace.clone(),
                workload: v.body.owner_name.clone(),
                node: None,
                ips: Vec::new(),
                from_ns: v.from_ns,
                to_ns: i64::MAX,
            });
        }
        let Some(pod) = pods.last_mut() else { continue };
        pod.node = v.body.node_name.clone().or_else(|| pod.node.take());
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

fn service(v: Version<'_, cluster::Service>) -> Service {
    let all =
        v.body.cluster_ips.iter().chain(&v.body.external_ips).chain(&v.body.load_balancer_ips);
    Service {
        name: v.row.name.clone(),
        namespace: v.row.namespace.clone(),
        addresses: all.filter_map(|a| Address::parse(a)).collect(),
        ports: v.body.ports,
        from_ns: v.from_ns,
        to_ns: v.to_ns,
    }
}

fn slice(v: Version<'_, cluster::EndpointSlice>) -> Option<Slice> {
    Some(Slice {
        namespace: v.row.namespace.clone(),
        service: v.body.service_name?,
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
