//! The seed's peak: 250 nodes, 6,000 pods, 900 services, 120,000 requests a second.
//!
//! A load balancer outside keeps connections to the NodePorts of 25 ingress Services. A request goes
//! through one of them to a service of the first row, whose server span carries the request id; four
//! in ten of those call one of the second row, which is not traced. By requests: 1 exchange at the
//! ingress, 1 log line, 2 exchanges and a span of the first row, 0.8 exchanges of the second, and
//! what connections add: about 6 raw rows.

use super::{Arrivals, Branch, Operation, Plan, Service, Shape, Tree};
use crate::chance::Spread;
use crate::dials::{Dials, SECOND};

const NODES: usize = 250;
const PODS: usize = 6_000;
const INGRESSES: usize = 25;
const INGRESS_PODS: usize = 10;
const FIRST_ROW: usize = 438;
const SECOND_ROW: usize = 437;
const RATE: f64 = 120_000.0;
const CALLS_ON: f64 = 0.4;

pub(super) fn shape(dials: &Dials) -> Shape {
    let behind = FIRST_ROW + SECOND_ROW;
    let pods = PODS - INGRESSES * INGRESS_PODS;
    let replicas = |index: usize| pods / behind + usize::from(index < pods % behind);
    let mut services: Vec<Service> = (0..behind)
        .map(|index| {
            let is_first = index < FIRST_ROW;
            Service {
                is_traced: is_first,
                tells_request_id: is_first,
                traces_calls: false,
                ..Service::named(format!("service-{index:03}"), replicas(index))
            }
        })
        .collect();
    services.extend((0..INGRESSES).map(|index| Service {
        threads: crate::dials::Threads::Loop,
        is_traced: false,
        is_proxy: true,
        ..Service::named(format!("ingress-{index:02}"), INGRESS_PODS)
    }));
    let operations = (0..behind)
        .map(|index| Operation { method: "GET", route: format!("/{index:03}/items/{{}}") })
        .collect();
    let plans = (0..FIRST_ROW)
        .map(|index| {
            let mut plan = Plan::of(first_row(index));
            plan.put_behind((behind + index % INGRESSES) as u16);
            plan
        })
        .collect();
    Shape {
        services,
        operations,
        plans,
        arrivals: Arrivals::Drawn { rate: dials.rate.unwrap_or(RATE) },
        nodes: NODES,
        active_timeout_ns: dials.active_timeout.unwrap_or(30 * SECOND),
    }
}

fn first_row(index: usize) -> Tree {
    let callee = FIRST_ROW + index % SECOND_ROW;
    let second = Tree {
        service: callee as u16,
        operation: callee as u32,
        tail: Spread::LogNormal { min: 200_000, median: 1_200_000, sigma: 0.5 },
        network_ns: None,
        calls: Vec::new(),
    };
    let gap = Spread::Exponential { min: 100_000, mean: 400_000 };
    Tree {
        service: index as u16,
        operation: index as u32,
        tail: Spread::LogNormal { min: 300_000, median: 1_500_000, sigma: 0.5 },
        network_ns: None,
        calls: vec![Branch {
            after: None,
            gap,
            probability: CALLS_ON,
            awaited: true,
            callee: second,
        }],
    }
}
