//! Layers of services: each calls some of the next layer, one after the other or all at once.

use super::{Arrivals, Branch, Operation, Plan, Service, Shape, Tree};
use crate::chance::{Chance, Spread, hash};
use crate::dials::{Dials, SECOND};

const PLANS: usize = 4;

pub(super) fn shape(dials: &Dials) -> Shape {
    let layers = dials.depth;
    let count = dials.services.unwrap_or(layers * dials.fan_out * 2).max(layers);
    let services = (0..count)
        .map(|index| Service::named(format!("service-{index}"), dials.replicas.unwrap_or(3)))
        .collect();
    let mut chance = Chance::new(hash(dials.seed, &[0x1a1e]));
    let mut builder = Builder { dials, count, chance: &mut chance, operations: Vec::new() };
    let plans = (0..PLANS).map(|_| Plan::of(builder.tree(0))).collect();
    let operations = builder.operations;
    Shape {
        services,
        operations,
        plans,
        arrivals: Arrivals::Drawn { rate: dials.rate.unwrap_or(50.0) },
        nodes: dials.nodes.unwrap_or(4),
        active_timeout_ns: dials.active_timeout.unwrap_or(60 * SECOND),
    }
}

struct Builder<'a> {
    dials: &'a Dials,
    count: usize,
    chance: &'a mut Chance,
    operations: Vec<Operation>,
}

impl Builder<'_> {
    fn tree(&mut self, layer: usize) -> Tree {
        // Services of a layer are those whose index leaves its number, so that layers are even.
        let in_layer = self.count.saturating_sub(layer).div_ceil(self.dials.depth).max(1);
        let service = layer + self.chance.below(in_layer) * self.dials.depth;
        let operation = self.operations.len() as u32;
        self.operations
            .push(Operation { method: "GET", route: format!("/{service}/{operation}/{{}}") });
        let at_once = self.chance.happens(0.4);
        let width = if layer + 1 == self.dials.depth { 0 } else { self.dials.fan_out };
        let calls = (0..width)
            .map(|index| {
                let after = index.checked_sub(1).filter(|_| !at_once).map(|i| i as u16);
                let mean = self.chance.between(50_000, 400_000);
                let gap = Spread::Exponential { min: 40_000, mean };
                let probability = if self.chance.happens(0.25) { 0.7 } else { 1.0 };
                let awaited = !self.chance.happens(self.dials.detached);
                Branch { after, gap, probability, awaited, callee: self.tree(layer + 1) }
            })
            .collect();
        let median = self.chance.between(100_000, 2_000_000);
        let tail = Spread::LogNormal { min: 50_000, median, sigma: 0.6 };
        let service = service.min(self.count - 1) as u16;
        Tree { service, operation, tail, network_ns: None, calls }
    }
}
