//! The cluster's objects as the Kubernetes watch tells them: snapshots and changes.

use serde::Serialize;
use tables::cluster;

use super::{Cluster, NAMESPACE};
use crate::observation::{ClusterObject, NodeId, PodId, ServiceId};

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Snapshot,
    Added,
    Modified,
    Deleted,
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Added => "added",
            Self::Modified => "modified",
            Self::Deleted => "deleted",
        }
    }
}

impl Cluster {
    /// Every object that is there, `gone` pods left out.
    pub fn snapshot(&mut self, gone: &[PodId]) -> Vec<ClusterObject> {
        let mut objects = Vec::new();
        for node in 0..self.nodes.len() {
            objects.push(self.node_object(node as NodeId));
        }
        for service in 0..self.services.len() {
            objects.push(self.service_object(service as ServiceId));
            objects.push(self.slice_object(service as ServiceId, Change::Snapshot));
        }
        for pod in 0..self.pods.len() as PodId {
            if !gone.contains(&pod) {
                objects.push(self.pod_object(pod, Change::Snapshot));
            }
        }
        objects
    }

    fn node_object(&mut self, id: NodeId) -> ClusterObject {
        let node = self.node(id);
        let body = cluster::Node {
            addresses: vec![node.ip.to_string()],
            pod_cidrs: vec![format!("10.244.{}.0/24", id + 1)],
            created_at_ns: self.pods.first().map(|pod| pod.created_ns),
        };
        let (uid, name) = (node.uid.clone(), node.name.clone());
        self.object("node", uid, "", name, Change::Snapshot, &body)
    }

    fn service_object(&mut self, id: ServiceId) -> ClusterObject {
        let service = self.service(id);
        let kind = if service.node_port.is_some() { "NodePort" } else { "ClusterIP" };
        let body = cluster::Service {
            service_type: kind.to_owned(),
            cluster_ips: vec![service.address.ip.to_string()],
            ports: vec![cluster::ServicePort {
                name: None,
                protocol: "TCP".to_owned(),
                port: i32::from(service.address.port),
                node_port: service.node_port.map(i32::from),
            }],
            created_at_ns: self.pods.first().map(|pod| pod.created_ns),
            ..cluster::Service::default()
        };
        let (uid, name) = (service.uid.clone(), service.name.clone());
        self.object("service", uid, NAMESPACE, name, Change::Snapshot, &body)
    }

    pub fn slice_object(&mut self, id: ServiceId, change: Change) -> ClusterObject {
        let service = self.service(id);
        let endpoints = service.endpoints.iter().map(|&id| {
            let pod = self.pod(id);
            cluster::Endpoint {
                ip: pod.ip.to_string(),
                ready: true,
                serving: true,
                terminating: false,
                node_name: Some(self.node(pod.node).name.clone()),
                pod_uid: Some(pod.uid.clone()),
            }
        });
        let body = cluster::EndpointSlice {
            service_name: Some(service.name.clone()),
            endpoints: endpoints.collect(),
            ports: vec![i32::from(service.port)],
            created_at_ns: self.pods.first().map(|pod| pod.created_ns),
        };
        let (uid, name) = (service.slice_uid.clone(), format!("{}-slice", service.name));
        self.object("endpointslice", uid, NAMESPACE, name, change, &body)
    }

    pub fn pod_object(&mut self, id: PodId, change: Change) -> ClusterObject {
        let pod = self.pod(id);
        let body = cluster::Pod {
            node_name: Some(self.node(pod.node).name.clone()),
            ips: vec![pod.ip.to_string()],
            phase: "Running".to_owned(),
            owner_kind: Some("StatefulSet".to_owned()),
            owner_name: Some(self.service(pod.service).name.clone()),
            created_at_ns: Some(pod.created_ns),
            started_at_ns: Some(pod.created_ns),
            ..cluster::Pod::default()
        };
        let (uid, name) = (pod.uid.clone(), pod.name.clone());
        self.object("pod", uid, NAMESPACE, name, change, &body)
    }

    fn object(
        &mut self,
        kind: &'static str,
        uid: String,
        namespace: &'static str,
        name: String,
        change: Change,
        body: &impl Serialize,
    ) -> ClusterObject {
        ClusterObject {
            kind,
            uid,
            namespace,
            name,
            resource_version: self.next_version().to_string(),
            change: change.word(),
            // A body of strings and integers always has a JSON text.
            body: serde_json::to_string(body).unwrap_or_default(),
        }
    }
}
