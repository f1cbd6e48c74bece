//! Which request caused which call, from times alone, with how sure that is.
//!
//! Enter through [`assign`]. The method is multi-hypothesis tracking (Reid 1979): the events of a
//! pod are walked in order, a hypothesis says which open request made which call, and the likeliest
//! are kept, in groups of requests that depend on each other (clusters, in Reid's words), which are
//! made and parted as the walk goes on. What the
//! steps of requests look like, and who goes first, is learned from the walk itself, each step
//! weighted with its posterior, and the walk repeated (expectation and maximisation). It starts from
//! requests that were alone in their pod, from gaps that are commoner than chance, and from more
//! than one belief about order, of which the one goes on that explains a sample best.
//!
//! It never reads an id of a trace, decides nothing for the caller, who compares the posterior with
//! thresholds of its own, and gives the same answer for any order of its input.

mod chain;
mod chance;
mod common;
mod contradiction;
mod counts;
mod doubt;
mod field;
mod gap;
mod group;
mod lattice;
mod learn;
mod line;
mod model;
mod order;
mod parting;
mod pattern;
mod pod;
mod start;
mod timeline;
mod wait;
mod walk;
mod walked;
mod ways;

use learn::{Learner, NARROW};
use timeline::Timelines;
use walk::Breadth;

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
    /// Hypotheses kept about requests that depend on each other.
    pub hypotheses: usize,
    /// Walks through a sample that teach, at most. Fewer are made when the last one taught next to
    /// nothing.
    pub rounds: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self { hypotheses: 150, rounds: 10 }
    }
}

/// The requests that may have caused a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Index of the request with its posterior, the likeliest first. With `none` they sum to one.
    pub candidates: Vec<(u32, f64)>,
    /// Posterior of having been caused by none of the requests, or by one that there was no room to
    /// follow.
    pub none: f64,
}

impl Choice {
    fn add(&mut self, request: u32, p: f64) {
        match self.candidates.iter_mut().find(|(known, _)| *known == request) {
            Some((_, sum)) => *sum += p,
            None => self.candidates.push((request, p)),
        }
    }

    /// So much is left of what is believed; the rest goes to none.
    fn weaken(&mut self, left: f64) {
        for (_, p) in &mut self.candidates {
            self.none += (1.0 - left) * *p;
            *p *= left;
        }
    }

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

/// Where choices are less sure than this on the whole, what the few sure ones rest on was learned
/// from guesses.
const SURENESS_MIN: f64 = 0.9;

/// What was learned and decided of one workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assignment {
    /// One for each call, in the order of the calls.
    pub choices: Vec<Choice>,
    /// Whether few calls were left open. If not, the posteriors belong to a model that is not the
    /// service's, and mean nothing.
    pub is_settled: bool,
}

impl Assignment {
    /// The cause of a call where it is as sure as asked.
    pub fn sure(&self, call: usize, p_min: f64, margin_min: f64) -> Option<(u32, f64)> {
        self.choices[call].sure(p_min, margin_min).filter(|_| self.is_settled)
    }
}

/// The walk that decides drops a hypothesis so much less likely than the best (as a logarithm), and
/// asks no group whose requests are so much less likely to act.
const LAG: f64 = 8.0;
const REACH: f64 = 6.0;

/// Learns what the service does and assigns its calls.
pub fn assign(workload: &Workload, effort: Effort) -> Assignment {
    let timelines = Timelines::new(workload);
    let mut learner = Learner::new(&timelines);
    let mut learned = learner.begin();
    learner.improve(&mut learned, effort.rounds);
    let all = timelines.all();
    let walked = learner.walk(&learned, NARROW, &all);
    learned.learn(walked);
    let wide =
        Breadth { hypotheses: effort.hypotheses.max(1), lag: LAG, reach: REACH, doubts: true };
    let mut choices = learner.walk(&learned, wide, &all).choices;
    contradiction::doubt(&timelines, &mut choices);
    let is_settled = workload.calls.is_empty() || sureness(&timelines, &choices) >= SURENESS_MIN;
    Assignment { choices, is_settled }
}

/// Mean posterior of the likeliest requests.
fn sureness(timelines: &Timelines, choices: &[Choice]) -> f64 {
    let best = timelines.calls_in_order().filter_map(|call| choices[call].candidates.first());
    let (sum, calls) = best.fold((0.0, 0.0), |(sum, calls), (_, p)| (sum + p, calls + 1.0));
    sum / f64::max(calls, 1.0)
}

#[cfg(test)]
mod tests;
