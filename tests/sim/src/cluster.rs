//! Nodes, Services and pods: who has which address, and who stands behind which Service now.

pub mod objects;

use crate::address::{Address, End};
use crate::chance::{hash, wide};
use crate::dials::Dials;
use crate::observation::{NodeId, PodId, ServiceId};
use crate::shape::Shape;

pub const NAMESPACE: &str = "sim";
const FIRST_NODE_PORT: u16 = 30_080;
/// Pods of one node: its range has 253 addresses besides the node's own.
pub const PODS_PER_NODE_MAX: usize = 250;

#[derive(Clone, Debug)]
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub services: Vec<Service>,
    /// Every pod that ever was.
    pub pods: Vec<Pod>,
    seed: u64,
    /// Version that the next change of an object gets.
    version: u64,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub name: String,
    pub uid: String,
    pub ip: Address,
    pub pods: usize,
}

#[derive(Clone, Debug)]
pub struct Service {
    pub name: String,
    pub uid: String,
    pub slice_uid: String,
    pub address: End,
    /// Services that outside clients address have one.
    pub node_port: Option<u16>,
    pub port: u16,
    /// Pods that new connections may be sent to.
    pub endpoints: Vec<PodId>,
    pub pods_made: usize,
}

#[derive(Clone, Debug)]
pub struct Pod {
    pub name: String,
    pub uid: String,
    pub service: ServiceId,
    pub node: NodeId,
    pub ip: Address,
    pub netns_cookie: i64,
    pub cgroup_id: i64,
    pub created_ns: i64,
}

/// A shape that does not fit the cluster that was asked for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("place {pods} pods on {nodes} nodes: a node holds {PODS_PER_NODE_MAX}")]
pub struct NoRoom {
    pods: usize,
    nodes: usize,
}

impl Cluster {
    /// # Errors
    /// When the nodes can't hold the pods.
    pub fn new(shape: &Shape, dials: &Dials, created_ns: i64) -> Result<Self, NoRoom> {
        let pods: usize = shape.services.iter().map(|s| s.replicas).sum();
        if pods > shape.nodes * PODS_PER_NODE_MAX {
            return Err(NoRoom { pods, nodes: shape.nodes });
        }
        let uid = |kind: u64, index: usize| uuid(wide(dials.seed, &[0x01d, kind, index as u64]));
        let nodes = (0..shape.nodes)
            .map(|index| Node {
                name: format!("node-{}", index + 1),
                uid: uid(0, index),
                ip: Address::v4(10, 89, 0, index as u8 + 1),
                pods: 0,
            })
            .collect();
        let entries: std::collections::BTreeSet<ServiceId> =
            shape.plans.iter().map(|plan| plan.nodes[0].service).collect();
        let services = shape.services.iter().enumerate().map(|(index, service)| Service {
            name: service.name.clone(),
            uid: uid(1, index),
            slice_uid: uid(2, index),
            address: End::new(
                Address::v4(10, 96, (index / 250) as u8 + 1, (index % 250) as u8 + 1),
                service.service_port,
            ),
            node_port: entries.contains(&(index as u16)).then(|| FIRST_NODE_PORT + index as u16),
            port: service.port,
            endpoints: Vec::new(),
            pods_made: 0,
        });
        let mut cluster = Self {
            nodes,
            services: services.collect(),
            pods: Vec::new(),
            seed: dials.seed,
            version: 1_000,
        };
        for (service, built) in shape.services.iter().enumerate() {
            for replica in 0..built.replicas {
                let node = cluster.emptiest(service * 7 + replica);
                let ip = cluster.free_address(node);
                let pod = cluster.add_pod(service as u16, node, ip, created_ns);
                cluster.services[service].endpoints.push(pod);
            }
        }
        Ok(cluster)
    }

    /// The node with the fewest pods; among several the next one after `from`.
    fn emptiest(&self, from: usize) -> NodeId {
        let count = self.nodes.len();
        let order = (0..count).map(|i| (from + i) % count);
        order.min_by_key(|&node| self.nodes[node].pods).unwrap_or(0) as NodeId
    }

    fn free_address(&self, node: NodeId) -> Address {
        let taken = self.nodes[usize::from(node)].pods;
        Address::v4(10, 244, node as u8 + 1, taken as u8 + 2)
    }

    /// A pod of a Service, not yet among its endpoints.
    pub fn add_pod(
        &mut self,
        service: ServiceId,
        node: NodeId,
        ip: Address,
        created_ns: i64,
    ) -> PodId {
        let id = self.pods.len();
        let owner = &mut self.services[usize::from(service)];
        let name = format!("{}-{}", owner.name, owner.pods_made);
        owner.pods_made += 1;
        self.nodes[usize::from(node)].pods += 1;
        self.pods.push(Pod {
            name,
            uid: uuid(wide(self.seed, &[0x01d, 3, id as u64])),
            service,
            node,
            ip,
            netns_cookie: 10_000 + id as i64,
            cgroup_id: 100_000 + 37 * id as i64,
            created_ns,
        });
        id as PodId
    }

    pub fn pod(&self, id: PodId) -> &Pod {
        &self.pods[id as usize]
    }

    pub fn service(&self, id: ServiceId) -> &Service {
        &self.services[usize::from(id)]
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[usize::from(id)]
    }

    /// The end that a pod's server listens on.
    pub fn listener(&self, pod: PodId) -> End {
        let pod = self.pod(pod);
        End::new(pod.ip, self.service(pod.service).port)
    }

    /// Namespace of the node itself, whose conntrack translates.
    pub fn node_netns(node: NodeId) -> i64 {
        1_000 + i64::from(node)
    }

    /// Token of an outside client.
    pub fn outside(&self, client: usize) -> Address {
        Address::outside(hash(self.seed, &[0xe87, client as u64]))
    }

    pub fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }
}

/// A random UUID's text.
pub fn uuid(bits: u128) -> String {
    let hex = format!("{bits:032x}");
    let variant = ['8', '9', 'a', 'b'][(bits >> 60 & 3) as usize];
    let [a, b, c, d, e] = [&hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..]];
    format!("{a}-{b}-4{c}-{variant}{d}-{e}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dials::Kind;

    #[test]
    fn addresses_are_each_ones_own_and_pods_are_spread() {
        let dials = Dials { shape: Kind::Peak, ..Dials::default() };
        let shape = Shape::of(&dials).unwrap();
        let cluster = Cluster::new(&shape, &dials, 0).unwrap();
        let mut addresses: Vec<_> = cluster.pods.iter().map(|pod| pod.ip).collect();
        addresses.extend(cluster.services.iter().map(|service| service.address.ip));
        addresses.extend(cluster.nodes.iter().map(|node| node.ip));
        let count = addresses.len();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), count);
        assert!(cluster.nodes.iter().all(|node| node.pods == 24));
    }

    #[test]
    fn more_pods_than_nodes_hold_are_refused() {
        let dials = Dials { nodes: Some(1), replicas: Some(200), ..Dials::default() };
        let shape = Shape::of(&dials).unwrap();
        assert!(Cluster::new(&shape, &dials, 0).is_err());
    }

    #[test]
    fn uids_have_the_shape_of_random_uuids() {
        let text = uuid(u128::MAX);
        assert_eq!(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
