//! Pods that end, and pods of other Services that get their addresses at once.

use super::{Simulation, What};
use crate::cluster::objects::Change;
use crate::dials::SECOND;
use crate::network::{Client, ConnectionId, Network};
use crate::observation::PodId;

/// What is under way at a pod gets this long before the pod is gone.
const GRACE_NS: i64 = 2 * SECOND;
/// A new pod is ready after this.
const READY_NS: i64 = SECOND;

impl Simulation {
    pub(super) fn schedule_churn(&mut self) {
        if self.dials.churn <= 0.0 {
            return;
        }
        let mean_ns = 60.0 * SECOND as f64 / self.dials.churn;
        let gap_ns = (-(1.0 - self.chance.unit()).ln() * mean_ns) as i64;
        let at_ns = self.now_ns.max(self.start_ns) + gap_ns;
        if at_ns < self.end_ns {
            self.at(at_ns, What::Churn);
        }
    }

    /// A pod leaves its Service: new connections go elsewhere, open ones end after their request.
    pub(super) fn churn(&mut self) {
        self.schedule_churn();
        let services = &self.cluster.services;
        let spare: Vec<PodId> = services
            .iter()
            .filter(|service| service.endpoints.len() > 1 && service.node_port.is_none())
            .flat_map(|service| service.endpoints.iter().copied())
            .collect();
        if spare.is_empty() {
            return;
        }
        let pod = spare[self.chance.below(spare.len())];
        let service = self.cluster.pod(pod).service;
        self.cluster.services[usize::from(service)].endpoints.retain(|&other| other != pod);
        let slice = self.cluster.slice_object(service, Change::Modified);
        self.tell_objects([slice]);
        for id in connections_of(&self.network, pod) {
            let connection = self.network.connections.get(id);
            if connection.server == pod {
                self.close_when_unused(id);
            }
        }
        self.at(self.now_ns + GRACE_NS, What::Replace(pod));
    }

    /// The pod is gone, unless something is still under way; its address is another one's now.
    pub(super) fn replace(&mut self, pod: PodId) {
        let left = connections_of(&self.network, pod);
        if left.iter().any(|&id| self.network.connections.get(id).in_flight > 0) {
            return self.at(self.now_ns + SECOND / 2, What::Replace(pod));
        }
        for id in left {
            self.close_when_unused(id);
        }
        let gone = self.cluster.pod_object(pod, Change::Deleted);
        let (service, node, ip) = {
            let pod = self.cluster.pod(pod);
            (pod.service, pod.node, pod.ip)
        };
        // The next Service that is no entry: its pod takes the address.
        let count = self.cluster.services.len();
        let next = (1..=count)
            .map(|step| (usize::from(service) + step) % count)
            .find(|&other| self.cluster.services[other].node_port.is_none());
        let next = next.unwrap_or(usize::from(service));
        let born_ns = self.now_ns + READY_NS / 2;
        let new = self.cluster.add_pod(next as u16, node, ip, born_ns);
        self.hire(new);
        self.cluster.services[next].endpoints.push(new);
        let added = self.cluster.pod_object(new, Change::Added);
        let slice = self.cluster.slice_object(next as u16, Change::Modified);
        self.tell_objects([gone, added, slice]);
    }
}

/// Connections that a pod is one end of.
fn connections_of(network: &Network, pod: PodId) -> Vec<ConnectionId> {
    let is_end = |&id: &ConnectionId| {
        let connection = network.connections.get(id);
        connection.server == pod || connection.client == Client::Pod(pod)
    };
    network.connections.ids().filter(is_end).collect()
}
