//! What is called by whom, for how long: services, and a call tree a kind of request.

mod layers;
mod peak;
mod shop;
pub mod traces;

use std::ops::Range;

use crate::chance::{Spread, hash, unit};
use crate::dials::{Dials, Ingress, Kind, Protocol, Threads};
use crate::observation::ServiceId;

#[derive(Clone, Debug)]
pub struct Shape {
    pub services: Vec<Service>,
    pub operations: Vec<Operation>,
    pub plans: Vec<Plan>,
    pub arrivals: Arrivals,
    pub nodes: usize,
    pub active_timeout_ns: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub name: String,
    pub replicas: usize,
    /// Port of the pods, and of the Service's own address.
    pub port: u16,
    pub service_port: u16,
    /// `Bound`, `Loop` or `Free`.
    pub threads: Threads,
    /// How its callers reach it: `Http1`, `Http2` or `Close`.
    pub protocol: Protocol,
    pub is_traced: bool,
    /// Whether its spans name their socket's peer.
    pub names_peers: bool,
    /// Whether its spans carry the request id: the first one behind a proxy does.
    pub tells_request_id: bool,
    /// Whether it makes client spans for its calls.
    pub traces_calls: bool,
    pub is_proxy: bool,
}

impl Service {
    fn named(name: impl Into<String>, replicas: usize) -> Self {
        Self {
            name: name.into(),
            replicas,
            port: 8080,
            service_port: 80,
            threads: Threads::Bound,
            protocol: Protocol::Http1,
            is_traced: true,
            names_peers: true,
            tells_request_id: false,
            traces_calls: true,
            is_proxy: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub method: &'static str,
    pub route: String,
}

/// One kind of request: a tree of visits. Node 0 is where the outside client's request goes.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub nodes: Vec<Node>,
    pub calls: Vec<Call>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub service: ServiceId,
    pub operation: u32,
    /// From the last call's end, or the request's start, to the answer.
    pub tail: Spread,
    pub calls: Range<u32>,
    /// One way over the network, where the recording tells.
    pub network_ns: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub node: u32,
    /// It begins after the end of that call of the same server, or after the request's start.
    pub after: Option<u16>,
    pub gap: Spread,
    pub probability: f64,
    /// Whether the answer waits for it.
    pub awaited: bool,
}

#[derive(Clone, Debug)]
pub enum Arrivals {
    /// Poisson, this many a second, plans drawn evenly.
    Drawn { rate: f64 },
    /// Offset from the first, and plan.
    Recorded(Vec<(i64, u32)>),
}

/// A tree as one writes it down.
struct Tree {
    service: ServiceId,
    operation: u32,
    tail: Spread,
    network_ns: Option<i64>,
    calls: Vec<Branch>,
}

struct Branch {
    after: Option<u16>,
    gap: Spread,
    probability: f64,
    awaited: bool,
    callee: Tree,
}

impl Plan {
    fn of(tree: Tree) -> Self {
        let mut plan = Self::default();
        plan.place(tree);
        plan
    }

    fn place(&mut self, tree: Tree) -> u32 {
        let id = self.nodes.len() as u32;
        let first = self.calls.len() as u32;
        self.nodes.push(Node {
            service: tree.service,
            operation: tree.operation,
            tail: tree.tail,
            calls: first..first + tree.calls.len() as u32,
            network_ns: tree.network_ns,
        });
        // A node's calls lie together; their nodes follow as the branches are walked.
        for branch in &tree.calls {
            let Branch { after, gap, probability, awaited, .. } = *branch;
            self.calls.push(Call { node: 0, after, gap, probability, awaited });
        }
        for (index, branch) in tree.calls.into_iter().enumerate() {
            let node = self.place(branch.callee);
            self.calls[first as usize + index].node = node;
        }
        id
    }
}

impl Shape {
    /// # Errors
    /// When the folder of traces can't be read.
    pub fn of(dials: &Dials) -> Result<Self, traces::TraceError> {
        let mut shape = match (&dials.traces, dials.shape) {
            (Some(folder), _) => traces::read(folder, dials)?,
            (None, Kind::Shop) => shop::shape(dials),
            (None, Kind::Layers) => layers::shape(dials),
            (None, Kind::Peak) => return Ok(peak::shape(dials)),
        };
        shape.turn(dials);
        if dials.ingress != Ingress::None {
            shape.put_behind_ingress();
        }
        Ok(shape)
    }

    /// Applies the dials that say how services are built.
    fn turn(&mut self, dials: &Dials) {
        const BUILD: u64 = 0xb11d;
        for (index, service) in self.services.iter_mut().enumerate() {
            let draw = |what: u64| unit(hash(dials.seed, &[BUILD, index as u64, what]));
            let third = |what: u64| (draw(what) * 3.0) as usize;
            service.threads = match dials.threads {
                Threads::Mixed => [Threads::Bound, Threads::Loop, Threads::Free][third(0)],
                // A service that is an event loop by nature stays one.
                Threads::Bound => service.threads,
                threads => threads,
            };
            service.protocol = match dials.protocol {
                Protocol::Mixed => [Protocol::Http1, Protocol::Http2, Protocol::Close][third(1)],
                protocol => protocol,
            };
            service.is_traced &= draw(2) < dials.traced;
            service.names_peers &= draw(3) < dials.span_peers;
        }
    }

    /// Puts a proxy before every plan's first server.
    fn put_behind_ingress(&mut self) {
        let ingress = self.services.len() as ServiceId;
        self.services.push(Service {
            threads: Threads::Loop,
            is_traced: false,
            is_proxy: true,
            ..Service::named("ingress", 1)
        });
        for plan in &mut self.plans {
            plan.put_behind(ingress);
            let entry = plan.nodes[1].service;
            self.services[usize::from(entry)].tells_request_id = true;
        }
    }
}

impl Plan {
    fn put_behind(&mut self, proxy: ServiceId) {
        for call in &mut self.calls {
            call.node += 1;
        }
        let call = self.calls.len() as u32;
        let node = Node {
            service: proxy,
            operation: self.nodes[0].operation,
            tail: Spread::Exponential { min: 20_000, mean: 30_000 },
            calls: call..call + 1,
            network_ns: None,
        };
        self.nodes.insert(0, node);
        let gap = Spread::Exponential { min: 40_000, mean: 40_000 };
        self.calls.push(Call { node: 1, after: None, gap, probability: 1.0, awaited: true });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every call's node is another one, called once; nodes and calls fit together.
    fn check(shape: &Shape) {
        for plan in &shape.plans {
            let mut called = vec![0; plan.nodes.len()];
            for call in &plan.calls {
                called[call.node as usize] += 1;
            }
            assert_eq!(called[0], 0);
            assert!(called[1..].iter().all(|&times| times == 1), "{called:?}");
            for node in &plan.nodes {
                assert!(usize::from(node.service) < shape.services.len());
                assert!((node.operation as usize) < shape.operations.len());
                for (index, call) in node.calls.clone().enumerate() {
                    let after = plan.calls[call as usize].after;
                    assert!(after.is_none_or(|after| usize::from(after) < index));
                }
            }
        }
    }

    #[test]
    fn every_shape_is_made_of_whole_trees() {
        for shape in [Kind::Shop, Kind::Layers, Kind::Peak] {
            check(&Shape::of(&Dials { shape, ..Dials::default() }).unwrap());
        }
        let bare = Dials { ingress: Ingress::None, ..Dials::default() };
        check(&Shape::of(&bare).unwrap());
    }

    #[test]
    fn an_ingress_stands_before_every_plan() {
        let shape = Shape::of(&Dials::default()).unwrap();
        let is_proxy = |plan: &Plan| shape.services[usize::from(plan.nodes[0].service)].is_proxy;
        assert!(shape.plans.iter().all(is_proxy));
    }

    #[test]
    fn the_peak_is_as_large_as_it_says() {
        let shape = Shape::of(&Dials { shape: Kind::Peak, ..Dials::default() }).unwrap();
        assert_eq!(shape.nodes, 250);
        assert_eq!(shape.services.len(), 900);
        let pods: usize = shape.services.iter().map(|s| s.replicas).sum();
        assert_eq!(pods, 6_000);
    }
}
