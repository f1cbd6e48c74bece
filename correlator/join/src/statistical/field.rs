//! The open requests at one event: how well each could take the step that is looked at.

use super::chain::{Chains, NO_NODE, NodeId};
use super::counts::{CellId, Cells, Gaps};
use super::line::{Line, Standing, Waits};
use super::model::Model;
use super::order::{ORDER_SPAN, Order};
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
    /// Where in the record of the event its step is, once some hypothesis takes it.
    pub(super) record: u32,
}

pub(super) const NO_RECORD: u32 = u32::MAX;

/// What a step is asked of.
pub(super) struct Asked<'a> {
    pub(super) chains: &'a Chains,
    pub(super) model: &'a Model<'a>,
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
    besides: Line,
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

    /// Index of the fit of a node, if it was fitted at this event.
    pub(super) fn known(&self, node: NodeId) -> Option<u32> {
        let known = self.by_node[node as usize];
        self.fits.get(known as usize).filter(|f| f.node == node).map(|_| known)
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

    pub(super) fn set_record(&mut self, fit: u32, record: u32) {
        self.fits[fit as usize].record = record;
    }

    /// Fits a node that was not yet. `log` is what else is known of the step, none where it is not the request's;
    /// `goes_on` is whether the request will.
    pub(super) fn fit(
        &mut self,
        asked: &Asked,
        node: NodeId,
        log: Option<f64>,
        goes_on: bool,
    ) -> u32 {
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
        self.fits.push(Fit {
            node,
            cell,
            gaps,
            log,
            idle,
            waits,
            after: NO_NODE,
            record: NO_RECORD,
        });
        self.by_node[node as usize] = (self.fits.len() - 1) as u32;
        self.by_node[node as usize]
    }

    /// Orders those in no group by how likely they are to act, and forgets those that are so far
    /// behind the first that no place in the line makes up for it.
    pub(super) fn sort(&mut self, lag: f64) {
        let fits = &self.fits;
        let acts = |fit: u32| fits[fit as usize].acts();
        let best = self.sure.iter().fold(f64::NEG_INFINITY, |best, (_, f)| best.max(acts(*f)));
        let least = best - lag - ORDER_SPAN;
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

    /// Looks at the hypotheses of a group, besides whose requests all others wait. So many steps
    /// follow `at_once`, at the same stamp: nobody knows which of them came first.
    pub(super) fn look_at(&mut self, group: Option<usize>, at_once: usize) {
        let others = self.line.iter().filter(|(_, of)| of.is_none() || *of != group);
        self.besides.begin(others.map(|(waits, _)| *waits), at_once);
    }

    /// Who is waiting under a hypothesis of the group that is looked at, with these nodes.
    pub(super) fn standing(&mut self, nodes: &[NodeId], order: &Order) -> Standing {
        let Self { besides, fits, by_node, .. } = self;
        let waits = |node: &NodeId| fits[by_node[*node as usize] as usize].waits;
        besides.standing(nodes.iter().filter_map(waits), order)
    }

    /// How much likelier a step of somebody else is for the place in the line under a hypothesis of
    /// the group that is looked at.
    pub(super) fn factor(&mut self, nodes: &[NodeId], of: Waits, order: &Order) -> f64 {
        let Self { besides, fits, by_node, .. } = self;
        let waits = |node: &NodeId| fits[by_node[*node as usize] as usize].waits;
        besides.factor(nodes.iter().filter_map(waits), of, order)
    }
}

impl Fit {
    /// Logarithm of how likely it is to act, among all that may.
    pub(super) fn acts(&self) -> f64 {
        self.log - self.idle
    }
}
