//! What a walk found: the choices, and the counts that the next model is learned from.

use super::Choice;
use super::counts::Counts;
use super::lattice::{StepOf, Taken};
use super::timeline::Timelines;

/// What a walk found.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) choices: Vec<Choice>,
    pub(super) counts: Counts,
}

impl Walked {
    /// Takes note of one step with its posterior.
    pub(super) fn take(
        &mut self,
        timelines: &Timelines,
        of: StepOf,
        taken: Option<&Taken>,
        p: f64,
    ) {
        let call = match of {
            StepOf::Call(call) => Some(call),
            StepOf::End => None,
        };
        let Some(taken) = taken else {
            if let Some(call) = call {
                self.choices[call as usize].none += p;
            }
            return;
        };
        if p <= 0.0 {
            return;
        }
        self.counts.step(taken.cell, taken.gaps, p);
        self.counts.turn(taken.cell, taken.turn, p);
        let Some(call) = call else { return };
        let operation = timelines.requests[taken.request as usize].kind;
        let destination = timelines.calls[call as usize].kind;
        let late = timelines.is_late(taken.request, call);
        self.counts.lateness(operation, destination, late, p);
        let candidates = &mut self.choices[call as usize].candidates;
        match candidates.iter_mut().find(|(request, _)| *request == taken.request) {
            Some((_, sum)) => *sum += p,
            None => candidates.push((taken.request, p)),
        }
    }

    pub(super) fn finish(&mut self, timelines: &Timelines) {
        for call in timelines.calls_in_order() {
            let choice = &mut self.choices[call];
            self.counts.belongs_to_none(timelines.calls[call].kind, choice.none);
            choice.candidates.sort_by(|a, b| {
                let order = |request: u32| timelines.order[request as usize];
                b.1.total_cmp(&a.1).then(order(a.0).cmp(&order(b.0)))
            });
        }
    }
}
