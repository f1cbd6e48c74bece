//! The ways in which hypotheses can explain a call.

use super::chain::{NO_NODE, NodeId};
use super::field::Fit;
use super::group::{Group, Next};
use super::lattice::{Edge, StepOf, Taken, Turn};
use super::walk::Walker;

/// One way in which one hypothesis can go on.
#[derive(Clone, Copy)]
pub(super) struct Way {
    pub(super) forward: f64,
    /// What decides whether it is kept: also how likely it is that the others still do nothing.
    /// That becomes part of the likelihood anyway once they go on; known early, it saves the beam.
    pub(super) rank: f64,
    pub(super) log: f64,
    pub(super) from: u32,
    /// Which open request, and its fit; none where the call belongs to nobody.
    pub(super) by: Option<(u32, u32)>,
    /// Its class in the line, where there is one.
    pub(super) class: Option<u8>,
}

impl Walker<'_> {
    /// All ways in which a hypothesis can explain a call that are worth keeping so far. `best` is the
    /// highest rank yet.
    pub(super) fn ways_of(
        &mut self,
        group: &Group,
        from: usize,
        rank: f64,
        call: u32,
        alone: f64,
        best: &mut f64,
    ) {
        let Self { field, model, timelines, ways, pod, breadth, expected, .. } = self;
        let nodes = group.nodes(from);
        let (weight, order, heat) = (group.weights[from], &model.orders[0], model.heat);
        let standing = field.standing(None, nodes, order, timelines.at_once[call as usize]);
        expected.push(standing.expected);
        let from = from as u32;
        let known = timelines.caused_by[call as usize];
        if known.is_none() {
            *best = best.max(rank + alone);
            let (forward, rank) = (weight + alone, rank + alone);
            ways.push(Way { forward, rank, log: alone, from, by: None, class: None });
        }
        let served_as = timelines.served_as[call as usize];
        let mut consider = |slot: u32, index: u32, fit: &Fit, best: &mut f64| {
            let (in_line, class) = standing.order(fit, order);
            let log = heat * (fit.log + in_line);
            let rank = rank - fit.idle + log;
            let request = pod.open[slot as usize];
            let may = known.map_or(served_as != Some(request), |known| known == request);
            if !may || rank < *best - breadth.lag {
                return;
            }
            *best = best.max(rank);
            let (forward, by) = (weight + log, Some((slot, index)));
            ways.push(Way { forward, rank, log, from, by, class });
        };
        for (&slot, &node) in group.slots.iter().zip(nodes) {
            let index = field.index(node);
            consider(slot, index, field.get(index), best);
        }
        let order_max = heat * standing.order_max(order);
        for &(slot, index) in &field.sure {
            let fit = field.get(index);
            // Those that follow are no likelier: they are in this order.
            if rank + fit.acts(heat) + order_max < *best - breadth.lag {
                break;
            }
            consider(slot, index, fit, best);
        }
    }

    /// The hypotheses go on in the ways that were kept.
    pub(super) fn take_ways(&mut self, mut group: Group, call: u32) {
        let ways = std::mem::take(&mut self.ways);
        let is_certain = ways.len() == 1 && group.len() == 1;
        let mut next = Vec::with_capacity(ways.len());
        let mut edges = Vec::with_capacity(ways.len());
        for (to, way) in ways.iter().enumerate() {
            let change = way.by.map(|(slot, fit)| (slot, self.after(fit, call)));
            let taken = way.by.map(|(slot, fit)| {
                let fit = self.field.get(fit);
                let expected = self.expected[way.from as usize];
                let turn = way.class.map(|class| Turn { class: class.into(), expected });
                let request = self.pod.open[slot as usize];
                Taken { request, cell: fit.cell, gaps: fit.gaps, turn }
            });
            let Way { from, log, forward, .. } = *way;
            if is_certain {
                self.walked.take(self.timelines, StepOf::Call(call), taken.as_ref(), 1.0);
                change.into_iter().for_each(|(s, node)| self.pod.agreed[s as usize] = node);
            } else {
                edges.push(Edge { from, to: to as u32, log, forward, taken });
                next.push(Next { from, weight: forward, change });
            }
        }
        if !is_certain {
            group.lattice.went(StepOf::Call(call), edges);
            group.advance(&next, &self.pod.agreed);
            self.pod.put(group, self.walked, self.timelines);
        }
        self.ways = ways;
    }

    fn after(&mut self, fit: u32, call: u32) -> NodeId {
        let (node, after) = (self.field.get(fit).node, self.field.get(fit).after);
        if after != NO_NODE {
            return after;
        }
        let span = self.timelines.calls[call as usize];
        let pattern = self.patterns.after(self.chains.node(node).pattern, span.kind);
        let after = self.chains.call(node, call, span, pattern);
        self.field.set_after(fit, after);
        after
    }
}
