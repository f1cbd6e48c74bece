//! The open requests at one event: how well each could take the step that is looked at.

use super::chain::{Chains, NO_NODE, NodeId};
use super::counts::{CellId, Cells, Gaps};
use super::group::Group;
use super::model::Model;
use super::order::{LAGS, ORDER_SPAN, Order, lag_class};
use super::pattern::Patterns;

/// How one request with its calls so far could take the step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    pub(super) node: NodeId,
    pub(super) cell: CellId,
    pub(super) gaps: Gaps,
    pub(super) log: f64,
    /// If it waits for no answer: logarithm of how likely it is to do nothing for so long.
    pub(super) idle: f64,
    /// If it waits for no answer and may go on.
    pub(super) waits: Option<Waits>,
    /// The node after the step, once some hypothesis takes it.
    pub(super) after: NodeId,
}

/// Since when a request waits for no answer, and how often such a wait ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    since: i64,
    hazard: f64,
}

/// What a step is asked of.
pub(super) struct Asked<'a> {
    pub(super) chains: &'a Chains,
    pub(super) model: &'a Model,
    pub(super) patterns: &'a Patterns,
    /// A destination, or the number of destinations for the request's end.
    pub(super) outcome: usize,
}

/// Fits of the nodes of all hypotheses, each computed once.
#[derive(Debug, Default)]
pub(super) struct Field {
    at: i64,
    fits: Vec<Fit>,
    /// Index in `fits` by node, valid where the fit is of that node.
    by_node: Vec<u32>,
    /// Slot and fit of the requests that are in no group, the likeliest to act first.
    pub(super) sure: Vec<(u32, u32)>,
    /// Who is waiting, with the group; of a group's hypotheses the likeliest counts.
    line: Vec<(Waits, Option<usize>)>,
}

impl Field {
    /// At an event; `nodes` is how many there are.
    pub(super) fn begin(&mut self, nodes: usize, at: i64) {
        self.at = at;
        self.fits.clear();
        self.by_node.resize(self.by_node.len().max(nodes), 0);
        self.sure.clear();
        self.line.clear();
    }

    pub(super) fn get(&self, fit: u32) -> &Fit {
        &self.fits[fit as usize]
    }

    /// Index of the fit of a node that was fitted at this event.
    pub(super) fn index(&self, node: NodeId) -> u32 {
        self.by_node[node as usize]
    }

    pub(super) fn of(&self, node: NodeId) -> &Fit {
        self.get(self.index(node))
    }

    pub(super) fn set_after(&mut self, fit: u32, after: NodeId) {
        self.fits[fit as usize].after = after;
    }

    /// Fits a node. `log` is what else is known of the step, none where it is not the request's;
    /// `goes_on` is whether the request will.
    pub(super) fn fit(
        &mut self,
        asked: &Asked,
        node: NodeId,
        log: Option<f64>,
        goes_on: bool,
    ) -> u32 {
        let known = self.by_node[node as usize];
        if self.fits.get(known as usize).is_some_and(|f| f.node == node) {
            return known;
        }
        let Asked { chains, model, patterns, outcome } = *asked;
        let layout = Cells { destinations: patterns.destinations };
        let in_flight = chains.in_flight(node, self.at);
        let pattern = chains.node(node).pattern;
        let cell = layout.id(pattern, in_flight, outcome);
        let gaps = chains.gaps(node, self.at);
        let last = chains.node(node).last.map(|(_, destination)| destination);
        let score = |log| log + model.score(patterns, cell, last, &gaps);
        let log = log.map_or(f64::NEG_INFINITY, score);
        let (idle, waits) = if in_flight {
            (0.0, None)
        } else {
            let (idle, hazard) = model.wait(patterns, pattern, last, &gaps);
            (idle, goes_on.then(|| Waits { since: chains.ready(node), hazard }))
        };
        self.fits.push(Fit { node, cell, gaps, log, idle, waits, after: NO_NODE });
        self.by_node[node as usize] = (self.fits.len() - 1) as u32;
        self.by_node[node as usize]
    }

    /// Orders those in no group by how likely they are to act, and forgets those that are so far
    /// behind the first that no place in the line makes up for it.
    pub(super) fn sort(&mut self, heat: f64, lag: f64) {
        let fits = &self.fits;
        let acts = |fit: u32| fits[fit as usize].acts(heat);
        let best = self.sure.iter().fold(f64::NEG_INFINITY, |best, (_, f)| best.max(acts(*f)));
        let least = best - lag - heat * ORDER_SPAN;
        self.sure.retain(|(_, fit)| acts(*fit) >= least);
        self.sure.sort_unstable_by(|a, b| acts(b.1).total_cmp(&acts(a.1)).then(a.0.cmp(&b.0)));
    }

    /// Those in no group stand in the line.
    pub(super) fn line_up(&mut self) {
        let fits = &self.fits;
        self.line.extend(
            self.sure.iter().filter_map(|(_, fit)| Some((fits[*fit as usize].waits?, None))),
        );
    }

    /// So do those of a group under one of its hypotheses.
    pub(super) fn line_up_group(&mut self, group: usize, nodes: &[NodeId]) {
        for node in nodes {
            let waits = self.of(*node).waits;
            self.line.extend(waits.map(|w| (w, Some(group))));
        }
    }

    /// Logarithm of how likely the hypotheses of a group are in view of who still waits.
    pub(super) fn ranks(&self, group: &Group) -> Vec<f64> {
        (0..group.len())
            .map(|h| {
                let idle: f64 = group.nodes(h).iter().map(|n| self.of(*n).idle).sum();
                group.weights[h] + idle
            })
            .collect()
    }

    /// Who is waiting under a hypothesis of a group: those with these nodes, and all others. So many
    /// steps follow `at_once`, at the same stamp: nobody knows which of them came first.
    pub(super) fn standing(
        &self,
        group: Option<usize>,
        nodes: &[NodeId],
        order: &Order,
        at_once: usize,
    ) -> Standing {
        let own = nodes.iter().filter_map(|n| self.of(*n).waits);
        let others = self.line.iter().filter(|(_, of)| of.is_none() || *of != group);
        let waits = own.chain(others.map(|(w, _)| *w));
        let first = turn(waits.clone().map(|w| w.since), at_once);
        let Some(first) = first else { return Standing::ALONE };
        let mut hazards = [0.0; LAGS];
        for Waits { since, hazard } in waits {
            hazards[lag_class(since - first)] += hazard;
        }
        let all: f64 = hazards.iter().sum();
        let weighed: [f64; LAGS] = std::array::from_fn(|c| hazards[c] * order.factors[c]);
        let sum: f64 = weighed.iter().sum();
        let expected = weighed.map(|w| (w / sum) as f32);
        Standing { expected, first: Some(first), shift: (all / sum).ln() }
    }
}

impl Fit {
    /// Logarithm of how likely it is to act, among all that may.
    pub(super) fn acts(&self, heat: f64) -> f64 {
        heat * self.log - self.idle
    }
}

/// Who is waiting under one hypothesis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) expected: [f32; LAGS],
    /// Whose turn it is: who waits no longer than since then is behind. None where it is anybody's.
    first: Option<i64>,
    shift: f64,
}

impl Standing {
    const ALONE: Self = Self { expected: [0.0; LAGS], first: None, shift: 0.0 };

    /// Logarithm of how much likelier a step is for its place in the line, and which that is.
    pub(super) fn order(&self, fit: &Fit, order: &Order) -> (f64, Option<u8>) {
        match (fit.waits, self.first) {
            (Some(Waits { since, .. }), Some(first)) => {
                let class = lag_class(since - first);
                (order.logs[class] + self.shift, Some(class as u8))
            }
            _ => (0.0, None),
        }
    }

    /// No place in the line is worth more.
    pub(super) fn order_max(&self, order: &Order) -> f64 {
        order.logs.iter().fold(f64::NEG_INFINITY, |max, log| max.max(log + self.shift)).max(0.0)
    }
}

/// Since when those wait whose turn it is, if others wait besides.
fn turn(since: impl Iterator<Item = i64> + Clone, at_once: usize) -> Option<i64> {
    since.clone().nth(at_once + 1)?;
    if at_once == 0 {
        return since.min();
    }
    let mut since: Vec<i64> = since.collect();
    Some(*since.select_nth_unstable(at_once).1)
}
