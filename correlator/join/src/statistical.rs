//! Which request caused which call, from times alone, with how sure that is.
//!
//! Enter through [`assign`]. The method is multi-hypothesis tracking (Reid 1979): the events of a
//! pod are walked in order, a hypothesis is a set of open requests with the calls each has made, a
//! call extends every hypothesis by each request that is open, or by none, and the likeliest are
//! kept. What the steps of requests look like is learned from the walk itself, each step weighted
//! with its posterior, and the walk repeated (expectation and maximisation). It starts from requests
//! that were alone in their pod, and from gaps that are commoner than chance.
//!
//! It never reads an id of a trace, decides nothing for the caller, who compares the posterior with
//! thresholds of its own, and gives the same answer for any order of its input.

mod chain;
mod chance;
mod counts;
mod gap;
mod idle;
mod lattice;
mod model;
mod pattern;
mod start;
mod timeline;
mod walk;
mod walked;

use chance::Beliefs;
use model::Model;
use pattern::Patterns;
use timeline::Timelines;

/// A request that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub start: i64,
    pub end: i64,
    pub operation: u32,
    /// Pod (or process) that served it. Calls belong to requests of the same place.
    pub place: u32,
    /// Orders requests that are equal in all else.
    pub key: u64,
}

/// A request that went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub start: i64,
    pub end: i64,
    /// Called service and operation.
    pub destination: u32,
    pub place: u32,
    /// Orders calls that are equal in all else.
    pub key: u64,
    /// The request of this workload that is the call's other end, which cannot be its cause.
    pub served_as: Option<u32>,
    /// The cause where it is known: it is taken, and teaches what the others may look like.
    pub caused_by: Option<u32>,
}

/// All replicas of one service: they run the same code, so what one teaches holds for the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    pub requests: Vec<Request>,
    pub calls: Vec<Call>,
    /// Smallest difference of two stamps that means anything, in the unit of the stamps.
    pub resolution: i64,
}

/// What may be dialled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Hypotheses kept at a time.
    pub hypotheses: usize,
    /// Walks at most. Fewer are made when the last one changed next to nothing.
    pub rounds: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self { hypotheses: 24, rounds: 6 }
    }
}

/// The requests that may have caused a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Index of the request with its posterior, the likeliest first. With `none` they sum to one.
    pub candidates: Vec<(u32, f64)>,
    /// Posterior of having been caused by none of the requests.
    pub none: f64,
}

impl Choice {
    /// The likeliest request, however unlikely.
    pub fn forced(&self) -> Option<u32> {
        self.candidates.first().map(|(request, _)| *request)
    }

    /// The likeliest request if it is as sure as asked: its own posterior, and its lead.
    pub fn sure(&self, p_min: f64, margin_min: f64) -> Option<(u32, f64)> {
        let (request, p) = *self.candidates.first()?;
        let second = self.candidates.get(1).map_or(0.0, |(_, p)| *p).max(self.none);
        (p >= p_min && p - second >= margin_min).then_some((request, p))
    }
}

/// The first walk follows a model that is no more than a guess: all its likelihoods are taken to
/// this power, which keeps more of the alternatives (annealing).
const FIRST_HEAT: f64 = 0.5;

/// Steps of requests that overlap are less independent than the model takes them to be: their
/// likelihoods are worth less than their product.
const LATER_HEAT: f64 = 0.8;

/// A round that moves less than this share of the calls is the last.
const MOVED_MIN: f64 = 5e-4;

/// Walks that go on moving more than this share of the calls have not found what the service does.
const UNSETTLED: f64 = 0.01;

/// What was learned and decided of one workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assignment {
    /// One for each call, in the order of the calls.
    pub choices: Vec<Choice>,
    /// Whether the last walks agreed. If not, the posteriors belong to a model that is not the
    /// service's, and mean nothing.
    pub is_settled: bool,
}

impl Assignment {
    /// The cause of a call where it is as sure as asked.
    pub fn sure(&self, call: usize, p_min: f64, margin_min: f64) -> Option<(u32, f64)> {
        self.choices[call].sure(p_min, margin_min).filter(|_| self.is_settled)
    }
}

/// Learns what the service does and assigns its calls.
pub fn assign(workload: &Workload, effort: Effort) -> Assignment {
    let timelines = Timelines::new(workload);
    let mut patterns = Patterns::new(timelines.operations, timelines.destinations);
    let beliefs = Beliefs::new(&timelines);
    let rates = timelines.destination_rates();
    let mut counts = start::isolated(&timelines, &mut patterns);
    let mut assignment = Assignment {
        choices: vec![Choice::default(); workload.calls.len()],
        is_settled: workload.calls.is_empty(),
    };
    for round in 0..effort.rounds {
        let heat = if round == 0 { FIRST_HEAT } else { LATER_HEAT };
        let model = Model::learn(&counts, &patterns, &beliefs, &rates, heat);
        let walked = walk::walk(&timelines, &model, &mut patterns, effort.hypotheses);
        let before = std::mem::replace(&mut assignment.choices, walked.choices);
        counts = walked.counts;
        let moved: f64 =
            timelines.calls_in_order().map(|c| moved(&assignment.choices[c], &before[c])).sum();
        let moved = moved / before.len().max(1) as f64;
        assignment.is_settled = moved <= UNSETTLED;
        if moved <= MOVED_MIN {
            break;
        }
    }
    assignment
}

/// How much of a call's posterior lies elsewhere than before.
fn moved(now: &Choice, before: &Choice) -> f64 {
    // The likeliest comes first in both, so that this sum has one order too.
    let kept: f64 = now
        .candidates
        .iter()
        .map(|(request, p)| {
            let before = before.candidates.iter().find(|(r, _)| r == request);
            before.map_or(0.0, |(_, q)| p.min(*q))
        })
        .sum();
    (1.0 - kept - now.none.min(before.none)).max(0.0)
}

#[cfg(test)]
mod tests;
