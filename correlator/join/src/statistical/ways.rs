//! The ways in which hypotheses can explain a call.

use super::chain::{NO_NODE, NodeId};
use super::field::Fit;
use super::group::{Group, Next};
use super::lattice::{Edge, StepOf, Went};
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
    pub(super) fn ways_of(&mut self, group: &Group, from: usize, call: u32, best: &mut f64) {
        let Self { field, model, timelines, ways, pod, breadth, expected, .. } = self;
        let nodes = group.nodes(from);
        let (weight, rank, order) = (group.weights[from], group.ranks[from], &model.orders[0]);
        let alone = model.alone(timelines.calls[call as usize].kind);
        let standing = field.standing(nodes, order);
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
            let (in_line, class) = standing.order(fit.waits, order);
            let log = fit.log + in_line;
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
        let order_max = standing.order_max(order);
        for &(slot, index) in &field.sure {
            let fit = field.get(index);
            // Those that follow are no likelier: they are in this order.
            if rank + fit.acts() + order_max < *best - breadth.lag {
                break;
            }
            consider(slot, index, fit, best);
        }
    }

    /// The hypotheses go on in the ways that were kept.
    pub(super) fn take_ways(&mut self, mut group: Group, call: u32) {
        let ways = std::mem::take(&mut self.ways);
        self.afresh.clear();
        self.has_joined = false;
        let is_certain = ways.len() == 1 && group.len() == 1;
        let mut next = Vec::with_capacity(ways.len());
        let mut went = Went {
            of: StepOf::Call(call),
            edges: Vec::with_capacity(ways.len()),
            taken: Vec::new(),
            expected: std::mem::take(&mut self.expected),
        };
        for (to, way) in ways.iter().enumerate() {
            let taken = way
                .by
                .map(|(slot, fit)| self.record(&mut went.taken, fit, self.pod.open[slot as usize]));
            let Way { from, log, forward, class, .. } = *way;
            went.edges.push(Edge { from, to: to as u32, log, forward, taken, class });
            let change = way.by.map(|(slot, fit)| (slot, self.after(slot, fit, call)));
            next.push(Next { from, weight: forward, change });
        }
        if is_certain {
            self.walked.take(self.timelines, &went, &[1.0]);
            let change = next.iter().filter_map(|next| next.change);
            change.for_each(|(slot, node)| self.pod.agreed[slot as usize] = node);
        } else {
            group.advance(&next, &self.pod.agreed);
            if self.has_joined {
                let became = group.unite();
                went.edges.iter_mut().zip(became).for_each(|(edge, to)| edge.to = to);
            }
            group.lattice.went(went);
            self.pod.put(group, self.walked, self.timelines);
        }
        self.ways = ways;
    }

    /// The node after a call. Nodes of one request that wait for nothing but this call, and have made
    /// the same calls, have next to the same future: they are followed by one.
    fn after(&mut self, slot: u32, fit: u32, call: u32) -> NodeId {
        let (node, after) = (self.field.get(fit).node, self.field.get(fit).after);
        if after != NO_NODE {
            return after;
        }
        let span = self.timelines.calls[call as usize];
        let pattern = self.patterns.after(self.chains.node(node).pattern, span.kind);
        let is_afresh = !self.chains.in_flight(node, span.start);
        let known = self.afresh.iter().find(|known| (known.0, known.1) == (slot, pattern));
        let after = match known.filter(|_| is_afresh) {
            Some(&(.., known)) => {
                self.has_joined = true;
                known
            }
            None => self.chains.call(node, call, span, pattern),
        };
        if is_afresh {
            self.afresh.push((slot, pattern, after));
        }
        self.field.set_after(fit, after);
        after
    }
}
