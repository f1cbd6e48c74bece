//! The record of what a group of hypotheses went through, and the way back through it.
//!
//! Each step leads from the hypotheses before to those after it. Forward weights are known when an
//! edge is recorded; the backward pass gives each edge its posterior, so that what happens later
//! counts for what was undecided before. Where two groups became one, the way back parts again;
//! where one was parted, it goes on once all parts are through.

use std::cell::RefCell;
use std::rc::Rc;

use super::counts::{CellId, Gaps};
use super::order::LAGS;
use super::timeline::Timelines;
use super::walked::Walked;

/// A step of a request under some hypotheses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) request: u32,
    pub(super) cell: CellId,
    pub(super) gaps: Gaps,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) from: u32,
    pub(super) to: u32,
    /// Logarithm of this step's likelihood.
    pub(super) log: f64,
    /// The same with everything before it.
    pub(super) forward: f64,
    /// Which of the steps that are taken; none where a call belongs to nobody.
    pub(super) taken: Option<u32>,
    /// Which class of the line went on, where more than one request could.
    pub(super) class: Option<u8>,
}

/// How the hypotheses of a group went on at one event.
#[derive(Debug)]
pub(super) struct Went {
    pub(super) of: StepOf,
    pub(super) edges: Vec<Edge>,
    /// The steps that requests take under some of the hypotheses.
    pub(super) taken: Vec<Taken>,
    /// By hypothesis before: how likely each class of the line was to go on.
    pub(super) expected: Vec<[f32; LAGS]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepOf {
    Call(u32),
    End,
    /// Somebody else went on, which is likelier under some hypotheses than under others.
    Other,
}

#[derive(Debug)]
enum Step {
    /// The group began, with one hypothesis.
    Began,
    /// The group is part of an earlier one, each of whose hypotheses held one of this part's.
    Parted(Rc<RefCell<Before>>, Vec<u32>),
    Went(Went),
    /// Two groups with these weights became one, with these pairs of their hypotheses.
    Merged {
        left: Vec<f64>,
        right: Vec<f64>,
        pairs: Vec<(u32, u32)>,
    },
}

#[derive(Debug)]
pub(super) struct Lattice {
    steps: Vec<Step>,
}

/// What the parts of a group went through together.
#[derive(Debug)]
struct Before {
    steps: Vec<Step>,
    /// By hypothesis: what the parts that are through say of it.
    backward: Vec<f64>,
    /// Parts that are not through yet.
    awaited: usize,
}

/// What a part says of a hypothesis is never nothing: what the other parts say may exclude the rest.
const BACKWARD_MIN: f64 = 1e-9;

impl Before {
    /// A part is through. The last one lets the way back go on.
    fn deliver(&mut self, ways: &[u32], of_part: &[f64]) -> Option<(Vec<Step>, Vec<f64>)> {
        for (backward, way) in self.backward.iter_mut().zip(ways) {
            let later = of_part.get(*way as usize).copied().unwrap_or(0.0);
            *backward *= later.max(BACKWARD_MIN);
        }
        scale(&mut self.backward, |weights| weights.iter().copied().fold(0.0, f64::max));
        self.awaited -= 1;
        let steps = (self.awaited == 0).then(|| std::mem::take(&mut self.steps));
        steps.map(|steps| (steps, std::mem::take(&mut self.backward)))
    }
}

impl Lattice {
    pub(super) fn new() -> Self {
        Self { steps: vec![Step::Began] }
    }

    pub(super) fn went(&mut self, went: Went) {
        self.steps.push(Step::Went(went));
    }

    /// Takes over the record of another group, whose hypotheses were paired with those of this one.
    pub(super) fn merge(
        &mut self,
        other: Self,
        left: &[f64],
        right: &[f64],
        pairs: Vec<(u32, u32)>,
    ) {
        self.steps.extend(other.steps);
        let (left, right) = (shares(left), shares(right));
        self.steps.push(Step::Merged { left, right, pairs });
    }

    /// One record for each part of a group: `ways` is, by part, which of its hypotheses each one of
    /// the group holds.
    pub(super) fn part(self, ways: Vec<Vec<u32>>) -> Vec<Self> {
        let hypotheses = ways.first().map_or(0, Vec::len);
        let before =
            Before { steps: self.steps, backward: vec![1.0; hypotheses], awaited: ways.len() };
        let before = Rc::new(RefCell::new(before));
        let parted = |ways| Self { steps: vec![Step::Parted(Rc::clone(&before), ways)] };
        ways.into_iter().map(parted).collect()
    }

    /// Gives every edge its posterior, where the hypotheses at the end have these weights.
    pub(super) fn settle(self, hypotheses: usize, walked: &mut Walked, timelines: &Timelines) {
        let mut through = vec![(self.steps, vec![1.0f64; hypotheses])];
        while let Some((steps, backward)) = through.pop() {
            settle(steps, backward, &mut through, walked, timelines);
        }
    }
}

/// The way back through some steps; what it leads on to goes to `through`.
fn settle(
    steps: Vec<Step>,
    mut backward: Vec<f64>,
    through: &mut Vec<(Vec<Step>, Vec<f64>)>,
    walked: &mut Walked,
    timelines: &Timelines,
) {
    // Ways back that wait until the other half of a merged group is through.
    let mut aside = Vec::new();
    let mut posterior = Vec::new();
    for step in steps.into_iter().rev() {
        match step {
            Step::Began => backward = aside.pop().unwrap_or_default(),
            Step::Parted(before, ways) => {
                through.extend(before.borrow_mut().deliver(&ways, &backward));
                backward = aside.pop().unwrap_or_default();
            }
            Step::Merged { left, right, pairs } => {
                let (of_left, of_right) = part(&left, &right, &pairs, &backward);
                aside.push(of_left);
                backward = of_right;
            }
            Step::Went(went) => {
                posterior.clear();
                backward = back(&went.edges, &backward, &mut posterior);
                walked.take(timelines, &went, &posterior);
            }
        }
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

/// The way back parts: what each half is worth in view of the other.
fn part(left: &[f64], right: &[f64], pairs: &[(u32, u32)], after: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (mut of_left, mut of_right) = (vec![0.0; left.len()], vec![0.0; right.len()]);
    for (&(i, j), &later) in pairs.iter().zip(after) {
        of_left[i as usize] += right[j as usize] * later;
        of_right[j as usize] += left[i as usize] * later;
    }
    (of_left, of_right)
}

fn shares(logs: &[f64]) -> Vec<f64> {
    let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logs.iter().map(|log| (log - highest).exp()).collect()
}

fn scale(weights: &mut [f64], by: fn(&[f64]) -> f64) {
    let by = by(weights);
    if by > 0.0 {
        weights.iter_mut().for_each(|w| *w /= by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_goes_on_once_all_parts_are_through() {
        let whole = Lattice { steps: vec![Step::Began] };
        // The group's hypotheses hold the first or the second of each part's.
        let mut parts = whole.part(vec![vec![0, 0, 1, 1], vec![0, 1, 0, 1]]).into_iter();
        let mut deliver = |of_part: &[f64]| match parts.next().map(|p| p.steps).as_deref() {
            Some([Step::Parted(before, ways)]) => before.borrow_mut().deliver(ways, of_part),
            other => panic!("{other:?}"),
        };
        assert!(deliver(&[1.0, 0.5]).is_none());
        let (steps, backward) = deliver(&[0.2, 1.0]).expect("the last part is through");
        assert!(matches!(steps[..], [Step::Began]));
        assert_eq!(backward, [0.2, 1.0, 0.1, 0.5]);
    }
}
