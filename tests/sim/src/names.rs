//! Every name that rows repeat, written out once.

use std::borrow::Cow;

use crate::chance::wide;
use crate::cluster::{Cluster, NAMESPACE, uuid};
use crate::observation::{NodeId, PodId, Sender, ServiceId};
use crate::shape::{Operation, Shape};

/// Id of the agents' capability manifest, and the kernel that they run on.
pub const MANIFEST: &str = "5130ada7a0000001";
pub const KERNEL: &str = "6.18.0";

#[derive(Clone, Debug, Default)]
pub struct Names {
    pods: Vec<Pod>,
    nodes: Vec<String>,
    services: Vec<String>,
    upstreams: Vec<String>,
    operations: Vec<Operation>,
    /// The kernels' boots, by node, and the collectors' own life.
    boots: Vec<String>,
    life: String,
}

#[derive(Clone, Debug)]
pub struct Pod {
    pub uid: String,
    pub name: String,
    pub ip: String,
    pub service: ServiceId,
    pub node: NodeId,
    pub netns_cookie: i64,
    pub cgroup_id: i64,
}

impl Names {
    pub fn of(cluster: &Cluster, shape: &Shape, seed: u64) -> Self {
        let upstream =
            |s: &crate::cluster::Service| format!("{NAMESPACE}-{}-{}", s.name, s.address.port);
        let boot = |node: usize| uuid(wide(seed, &[0xb007, node as u64]));
        let mut names = Self {
            pods: Vec::new(),
            nodes: cluster.nodes.iter().map(|node| node.name.clone()).collect(),
            services: cluster.services.iter().map(|service| service.name.clone()).collect(),
            upstreams: cluster.services.iter().map(upstream).collect(),
            operations: shape.operations.clone(),
            boots: (0..cluster.nodes.len()).map(boot).collect(),
            life: format!("{:032x}", wide(seed, &[0x11fe])),
        };
        names.follow(cluster);
        names
    }

    /// Learns of pods that have come since.
    pub fn follow(&mut self, cluster: &Cluster) {
        for pod in &cluster.pods[self.pods.len()..] {
            self.pods.push(Pod {
                uid: pod.uid.clone(),
                name: pod.name.clone(),
                ip: pod.ip.to_string(),
                service: pod.service,
                node: pod.node,
                netns_cookie: pod.netns_cookie,
                cgroup_id: pod.cgroup_id,
            });
        }
    }

    pub fn pod(&self, id: PodId) -> &Pod {
        &self.pods[id as usize]
    }

    pub fn node(&self, id: NodeId) -> &str {
        &self.nodes[usize::from(id)]
    }

    pub fn service(&self, id: ServiceId) -> &str {
        &self.services[usize::from(id)]
    }

    pub fn upstream(&self, id: ServiceId) -> &str {
        &self.upstreams[usize::from(id)]
    }

    pub fn operation(&self, id: u32) -> &Operation {
        &self.operations[id as usize]
    }

    /// Column `node`: a node's name for agents, the sender's address for others.
    pub fn sender(&self, sender: Sender) -> &str {
        match sender {
            Sender::Agent(node, _) => self.node(node),
            Sender::Kubernetes => "cluster",
            Sender::Otlp(pod) | Sender::Syslog(pod) => &self.pod(pod).ip,
        }
    }

    /// Column `boot_id`: the agent's life, or the collector's.
    pub fn life(&self, sender: Sender) -> Cow<'_, str> {
        match sender {
            Sender::Agent(node, life) => {
                let boot = &self.boots[usize::from(node)];
                Cow::Owned(format!("{boot}-{:x}", 0x5_0000 + u32::from(life)))
            }
            _ => Cow::Borrowed(&self.life),
        }
    }
}

pub fn source(sender: Sender) -> &'static str {
    match sender {
        Sender::Agent(..) => "agent",
        Sender::Kubernetes => "kubernetes",
        Sender::Otlp(_) => "otlp",
        Sender::Syslog(_) => "syslog",
    }
}

pub fn manifest(sender: Sender) -> &'static str {
    if matches!(sender, Sender::Agent(..)) { MANIFEST } else { "" }
}

pub fn collector(index: u8) -> &'static str {
    ["collector-0", "collector-1", "collector-2"][usize::from(index)]
}
