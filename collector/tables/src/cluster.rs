//! Bodies of `raw_cluster_object`: the fields of Kubernetes objects that own addresses.
//!
//! Written as JSON by the collector and read by the correlator; unknown fields are ignored.
//! Nil semantics of the API are resolved by the writer (ready nil = true, serving nil = ready,
//! terminating nil = false).

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    pub node_name: Option<String>,
    pub host_network: bool,
    /// `status.podIPs`; the last non-empty value when a deletion carries none.
    pub ips: Vec<String>,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// Name of the controlling owner, such as the workload's ReplicaSet, and its kind.
    pub owner_kind: Option<String>,
    pub owner_name: Option<String>,
    pub created_at_ns: Option<i64>,
    pub started_at_ns: Option<i64>,
    pub deletion_at_ns: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServicePort {
    pub name: Option<String>,
    pub protocol: String,
    pub port: i32,
    pub node_port: Option<i32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
    pub service_type: String,
    /// Empty for headless services.
    pub cluster_ips: Vec<String>,
    pub external_ips: Vec<String>,
    pub load_balancer_ips: Vec<String>,
    /// Those of `load_balancer_ips` whose `ipMode` is `Proxy`: pods reach the balancer itself.
    pub load_balancer_proxies: Vec<String>,
    /// DNS name that an `ExternalName` Service stands for.
    pub external_name: Option<String>,
    /// `clusterIP: None`: clients are given the endpoints' own addresses.
    pub headless: bool,
    pub ports: Vec<ServicePort>,
    pub created_at_ns: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// `addresses[0]`: the only one kube-proxy uses.
    pub ip: String,
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    pub node_name: Option<String>,
    pub pod_uid: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointSlice {
    /// Label `kubernetes.io/service-name`.
    pub service_name: Option<String>,
    pub endpoints: Vec<Endpoint>,
    pub ports: Vec<i32>,
    pub created_at_ns: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    pub addresses: Vec<String>,
    pub pod_cidrs: Vec<String>,
    pub created_at_ns: Option<i64>,
}
