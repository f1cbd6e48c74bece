//! Kubernetes objects to the fields of theirs that own addresses. Everything else stays behind.

use k8s_openapi::api::core::v1::{LoadBalancerIngress, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use tables::cluster;

use crate::admit;

/// Label that names the Service of a slice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Pod,
    Service,
    EndpointSlice,
    Node,
}

/// One version of one object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object {
    pub(super) kind: Kind,
    pub(super) uid: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) resource_version: String,
    pub(super) body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    Pod(cluster::Pod),
    Service(cluster::Service),
    EndpointSlice(cluster::EndpointSlice),
    Node(cluster::Node),
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Pod, Self::Service, Self::EndpointSlice, Self::Node];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Service => "service",
            Self::EndpointSlice => "endpointslice",
            Self::Node => "node",
        }
    }
}

impl Body {
    pub(super) fn to_json(&self) -> String {
        let json = match self {
            Self::Pod(pod) => serde_json::to_string(pod),
            Self::Service(service) => serde_json::to_string(service),
            Self::EndpointSlice(slice) => serde_json::to_string(slice),
            Self::Node(node) => serde_json::to_string(node),
        };
        // Structs of strings, numbers and lists of them always have a JSON form.
        json.unwrap_or_default()
    }
}

impl From<Pod> for Object {
    fn from(pod: Pod) -> Self {
        let spec = pod.spec.unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        let owners = pod.metadata.owner_references.clone().unwrap_or_default();
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
        let mut ips: Vec<String> =
            status.pod_ips.unwrap_or_default().into_iter().map(|pod_ip| pod_ip.ip).collect();
        if ips.is_empty() {
            ips.extend(status.pod_ip);
        }
        let body = cluster::Pod {
            node_name: spec.node_name,
            host_network: spec.host_network.unwrap_or(false),
            ips,
            phase: status.phase.unwrap_or_else(|| "Unknown".to_owned()),
            owner_kind: owner.as_ref().map(|owner| owner.kind.clone()),
            owner_name: owner.map(|owner| owner.name),
            created_at_ns: ns(pod.metadata.creation_timestamp.as_ref()),
            started_at_ns: ns(status.start_time.as_ref()),
            deletion_at_ns: ns(pod.metadata.deletion_timestamp.as_ref()),
        };
        object(Kind::Pod, pod.metadata, Body::Pod(body))
    }
}

impl From<Service> for Object {
    fn from(service: Service) -> Self {
        let spec = service.spec.unwrap_or_default();
        let balancer = service.status.and_then(|status| status.load_balancer).unwrap_or_default();
        let cluster_ips = match (spec.cluster_ips, spec.cluster_ip) {
            (Some(ips), _) => ips,
            (None, ip) => ip.into_iter().collect(),
        };
        let ports = spec.ports.unwrap_or_default().into_iter().map(|port| cluster::ServicePort {
            name: port.name,
            protocol: port.protocol.unwrap_or_else(|| "TCP".to_owned()),
            port: port.port,
            node_port: port.node_port,
        });
        let ingress = balancer.ingress.unwrap_or_default();
        let is_proxy = |ingress: &&LoadBalancerIngress| ingress.ip_mode.as_deref() == Some("Proxy");
        let proxies = ingress.iter().filter(is_proxy).filter_map(|ingress| ingress.ip.clone());
        let body = cluster::Service {
            service_type: spec.type_.unwrap_or_else(|| "ClusterIP".to_owned()),
            headless: cluster_ips.iter().any(|ip| ip == "None"),
            cluster_ips: cluster_ips.into_iter().filter(|ip| ip != "None").collect(),
            external_name: spec.external_name.filter(|name| admit::is_name(name)),
            load_balancer_proxies: proxies.collect(),
            external_ips: spec.external_ips.unwrap_or_default(),
            load_balancer_ips: ingress.into_iter().filter_map(|ingress| ingress.ip).collect(),
            ports: ports.collect(),
            created_at_ns: ns(service.metadata.creation_timestamp.as_ref()),
        };
        object(Kind::Service, service.metadata, Body::Service(body))
    }
}

impl From<EndpointSlice> for Object {
    fn from(slice: EndpointSlice) -> Self {
        let labels = slice.metadata.labels.clone().unwrap_or_default();
        let endpoints = slice.endpoints.unwrap_or_default().into_iter().filter_map(|endpoint| {
            let conditions = endpoint.conditions.unwrap_or_default();
            let ready = conditions.ready.unwrap_or(true);
            let pod = endpoint.target_ref.filter(|target| target.kind.as_deref() == Some("Pod"));
            Some(cluster::Endpoint {
                ip: endpoint.addresses.into_iter().next()?,
                ready,
                serving: conditions.serving.unwrap_or(ready),
                terminating: conditions.terminating.unwrap_or(false),
                node_name: endpoint.node_name,
                pod_uid: pod.and_then(|pod| pod.uid),
            })
        });
        let ports = slice.ports.unwrap_or_default();
        let body = cluster::EndpointSlice {
            service_name: labels.get(SERVICE_NAME).cloned(),
            endpoints: endpoints.collect(),
            ports: ports.into_iter().filter_map(|port| port.port).collect(),
            created_at_ns: ns(slice.metadata.creation_timestamp.as_ref()),
        };
        object(Kind::EndpointSlice, slice.metadata, Body::EndpointSlice(body))
    }
}

impl From<Node> for Object {
    fn from(node: Node) -> Self {
        let spec = node.spec.unwrap_or_default();
        let addresses = node.status.and_then(|status| status.addresses).unwrap_or_default();
        let pod_cidrs = match (spec.pod_cidrs, spec.pod_cidr) {
            (Some(cidrs), _) => cidrs,
            (None, cidr) => cidr.into_iter().collect(),
        };
        // The other kinds of addresses are host names.
        let ips = addresses.into_iter().filter(|address| address.type_.ends_with("IP"));
        let body = cluster::Node {
            addresses: ips.map(|address| address.address).collect(),
            pod_cidrs,
            created_at_ns: ns(node.metadata.creation_timestamp.as_ref()),
        };
        object(Kind::Node, node.metadata, Body::Node(body))
    }
}

fn object(kind: Kind, metadata: ObjectMeta, body: Body) -> Object {
    Object {
        kind,
        uid: metadata.uid.unwrap_or_default(),
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name.unwrap_or_default(),
        resource_version: metadata.resource_version.unwrap_or_default(),
        body,
    }
}

fn ns(time: Option<&Time>) -> Option<i64> {
    i64::try_from(time?.0.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body<K: serde::de::DeserializeOwned + Into<Object>>(json: serde_json::Value) -> Object {
        serde_json::from_value::<K>(json).unwrap().into()
    }

    #[test]
    fn absent_conditions_of_endpoints_mean_ready_and_serving() {
        let object = body::<EndpointSlice>(serde_json::json!({
            "metadata": {"name": "cart-x", "labels": {"kubernetes.io/service-name": "cart"}},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.244.1.3", "10.244.1.4"]},
                {"addresses": ["10.244.1.5"], "conditions": {"ready": false, "terminating": true},
                 "targetRef": {"kind": "Pod", "uid": "u"}},
            ],
            "ports": [{"port": 8080}],
        }));
        let Body::EndpointSlice(slice) = object.body else { panic!("{object:?}") };
        assert_eq!((slice.service_name.as_deref(), &slice.ports[..]), (Some("cart"), &[8080][..]));
        let [first, second] = &slice.endpoints[..] else { panic!("{slice:?}") };
        assert_eq!(
            (first.ip.as_str(), first.ready, first.serving, first.terminating),
            ("10.244.1.3", true, true, false)
        );
        assert_eq!((second.ready, second.serving, second.terminating), (false, false, true));
        assert_eq!(second.pod_uid.as_deref(), Some("u"));
    }

    #[test]
    fn a_pod_keeps_what_owns_its_addresses_and_nothing_else() {
        let object = body::<Pod>(serde_json::json!({
            "metadata": {"name": "cart-0", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                "annotations": {"secret": "canary"}, "creationTimestamp": "2026-11-21T12:00:00Z",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "cart",
                    "uid": "o", "controller": true}]},
            "spec": {"nodeName": "node-1", "containers": [{"name": "c",
                "env": [{"name": "K", "value": "canary"}]}]},
            "status": {"phase": "Running", "podIP": "10.244.1.3",
                "podIPs": [{"ip": "10.244.1.3"}, {"ip": "fd00::3"}]},
        }));
        assert_eq!((object.uid.as_str(), object.resource_version.as_str()), ("u", "7"));
        let json = object.body.to_json();
        assert!(!json.contains("canary"), "{json}");
        let Body::Pod(pod) = object.body else { panic!() };
        assert_eq!(pod.ips, ["10.244.1.3", "fd00::3"]);
        assert_eq!(pod.owner_kind.as_deref(), Some("StatefulSet"));
        assert_eq!(pod.created_at_ns, Some(1_795_262_400_000_000_000));
    }

    #[test]
    fn a_headless_service_has_no_addresses() {
        let object = body::<Service>(serde_json::json!({
            "metadata": {"name": "s"},
            "spec": {"clusterIP": "None", "clusterIPs": ["None"],
                "ports": [{"port": 80, "nodePort": 30080}]},
        }));
        let Body::Service(service) = object.body else { panic!() };
        assert!(service.cluster_ips.is_empty() && service.headless);
        assert_eq!(
            (service.ports[0].protocol.as_str(), service.ports[0].node_port),
            ("TCP", Some(30080))
        );
    }
}
