//! The walk's record between two moments of certainty, and the way back through it.
//!
//! Each step leads from the hypotheses before to those after it. Forward weights are known when an
//! edge is recorded; the backward pass gives each edge its posterior, so that what happens later
//! counts for what was undecided before.

use super::counts::{CellId, Gaps, Turn};
use super::timeline::Timelines;
use super::walked::Walked;

/// A step of a request under some hypothesis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) request: u32,
    pub(super) cell: CellId,
    pub(super) gaps: Gaps,
    pub(super) turn: Turn,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) from: u32,
    pub(super) to: u32,
    /// Logarithm of this step's likelihood.
    pub(super) log: f64,
    /// The same with everything before it.
    pub(super) forward: f64,
    /// None where a call belongs to nobody.
    pub(super) taken: Option<Taken>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepOf {
    Call(u32),
    End,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Lattice {
    edges: Vec<Edge>,
    /// What each step is of, and where its edges begin.
    steps: Vec<(StepOf, usize)>,
}

impl Lattice {
    pub(super) fn begin(&mut self, of: StepOf) {
        self.steps.push((of, self.edges.len()));
    }

    pub(super) fn push(&mut self, edge: Edge) {
        self.edges.push(edge);
    }

    /// Gives every edge its posterior and forgets it. The last step must lead to one hypothesis.
    pub(super) fn settle(&mut self, walked: &mut Walked, timelines: &Timelines) {
        let mut backward = vec![1.0f64];
        let mut end = self.edges.len();
        let mut posterior = Vec::new();
        for &(of, begin) in self.steps.iter().rev() {
            let edges = &self.edges[begin..end];
            end = begin;
            posterior.clear();
            if edges.len() == 1 {
                posterior.push(1.0);
                backward.clear();
                backward.push(1.0);
            } else {
                backward = back(edges, &backward, &mut posterior);
            }
            for (edge, &p) in edges.iter().zip(&posterior) {
                walked.take(timelines, of, edge.taken.as_ref(), p);
            }
        }
        self.edges.clear();
        self.steps.clear();
    }
}

/// One step back: posteriors of the edges, and the backward weights before them.
fn back(edges: &[Edge], after: &[f64], posterior: &mut Vec<f64>) -> Vec<f64> {
    let highest = |of: fn(&Edge) -> f64| edges.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
    let (log_max, forward_max) = (highest(|e| e.log), highest(|e| e.forward));
    let width = edges.iter().map(|e| e.from).max().map_or(0, |f| f as usize + 1);
    let mut before = vec![0.0; width];
    for edge in edges {
        // A hypothesis that was dropped later leads nowhere.
        let later = after.get(edge.to as usize).copied().unwrap_or(0.0);
        before[edge.from as usize] += (edge.log - log_max).exp() * later;
        posterior.push((edge.forward - forward_max).exp() * later);
    }
    scale(&mut before, |weights| weights.iter().copied().fold(0.0, f64::max));
    scale(posterior, |weights| weights.iter().sum());
    before
}

fn scale(weights: &mut [f64], by: fn(&[f64]) -> f64) {
    let by = by(weights);
    if by > 0.0 {
        weights.iter_mut().for_each(|w| *w /= by);
    }
}
