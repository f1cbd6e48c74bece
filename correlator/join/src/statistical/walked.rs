//! What a walk found: the choices, and the counts that the next model is learned from.

use super::Choice;
use super::counts::Counts;
use super::lattice::{StepOf, Taken, Went};
use super::timeline::Timelines;

/// Seldom is an event of more requests than this under the hypotheses that are followed.
const FEW: usize = 16;

/// What a walk found.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) choices: Vec<Choice>,
    pub(super) counts: Counts,
    /// Logarithm of how likely all that was seen is, by the model.
    pub(super) evidence: f64,
    /// Call, request if it is known, and how likely the hypotheses were that said so and for which
    /// there was no room.
    pub(super) doubts: Vec<(u32, Option<u32>, f64)>,
    /// By request: how likely the hypotheses were that said otherwise of it.
    pub(super) doubted: Vec<f64>,
}

impl Walked {
    /// Takes note of the steps of one event, by the posteriors of the ways to them.
    pub(super) fn take(&mut self, timelines: &Timelines, went: &Went, posterior: &[f64]) {
        let mut taken = [0.0; FEW];
        let mut many = vec![0.0; went.taken.len().saturating_sub(FEW)];
        let of_end = usize::from(went.of == StepOf::End);
        for (edge, &p) in went.edges.iter().zip(posterior) {
            let Some(at) = edge.taken.map(|at| at as usize) else {
                self.belongs_to_none(went.of, p);
                continue;
            };
            if at < FEW {
                taken[at] += p;
            } else {
                many[at - FEW] += p;
            }
            if let Some(class) = edge.class.filter(|_| p > 0.0) {
                let expected = &went.expected[edge.from as usize];
                self.counts.turns[of_end].add(class.into(), expected, p);
            }
        }
        for (step, &p) in went.taken.iter().zip(taken.iter().chain(&many)) {
            self.step(timelines, went.of, step, p);
        }
    }

    /// A call that is certain to belong to nobody seen, or to one of whom nothing else is known.
    pub(super) fn belongs_to_none(&mut self, of: StepOf, p: f64) {
        if let StepOf::Call(call) = of {
            self.choices[call as usize].none += p;
        }
    }

    fn step(&mut self, timelines: &Timelines, of: StepOf, taken: &Taken, p: f64) {
        if p <= 0.0 {
            return;
        }
        self.counts.step(taken.cell, taken.gaps, p);
        let StepOf::Call(call) = of else { return };
        let operation = timelines.requests[taken.request as usize].kind;
        let destination = timelines.calls[call as usize].kind;
        let late = timelines.is_late(taken.request, call);
        self.counts.lateness(operation, destination, late, p);
        self.choices[call as usize].add(taken.request, p);
    }

    fn add_doubts(&mut self, timelines: &Timelines) {
        let mut by_call: Vec<Vec<(Option<u32>, f64)>> = vec![Vec::new(); timelines.calls.len()];
        for &(call, request, share) in &self.doubts {
            by_call[call as usize].push((request, share));
        }
        for (choice, doubts) in self.choices.iter_mut().zip(by_call) {
            let doubt: f64 = doubts.iter().map(|(_, share)| share).sum();
            let kept = 1.0 / (1.0 + doubt);
            choice.none *= kept;
            choice.candidates.iter_mut().for_each(|(_, p)| *p *= kept);
            for (request, share) in doubts {
                match request {
                    Some(request) => choice.add(request, share * kept),
                    None => choice.none += share * kept,
                }
            }
        }
    }

    pub(super) fn finish(&mut self, timelines: &Timelines) {
        // Doubts say nothing of what the service does.
        for call in timelines.calls_in_order() {
            let none = self.choices[call].none;
            self.counts.belongs_to_none(timelines.calls[call].kind, none);
        }
        self.add_doubts(timelines);
        for choice in &mut self.choices {
            choice.candidates.sort_by(|a, b| {
                let order = |request: u32| timelines.order[request as usize];
                b.1.total_cmp(&a.1).then(order(a.0).cmp(&order(b.0)))
            });
        }
    }
}
