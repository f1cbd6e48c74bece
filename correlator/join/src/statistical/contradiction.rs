//! Choices that contradict what the service does, and what that says of the choices around them.
//!
//! A call that outlives its request, in a service that waits for its calls, is most likely another
//! request's. So is a call that a request of its operation hardly ever makes after the calls before
//! it, and one is missing where a request ends that hardly ever does so there. Somewhere before, two
//! requests that were ready at the same time were taken for each other, and the walk has long
//! forgotten the alternative. It is not known where. So whatever the request is said to have done may
//! be wrong, and from each call that could have been swapped with one of its own, so may what the
//! other request is said to have done.

use std::collections::BTreeSet;

use super::Choice;
use super::counts::{CellId, Cells};
use super::pattern::Patterns;
use super::timeline::{TOLERANCE, Timelines};

/// Calls to a destination that outlive their request this often are how the service works.
const USUAL: f64 = 0.02;

/// So many calls weigh as much as the belief that a service waits for its calls.
const BELIEF: f64 = 50.0;

/// What is left of the sureness of a choice that may be one of two that were taken for each other, and
/// of one that belongs to a request that does something unusual: most of these are right.
const SWAPPED: f64 = 0.5;
const UNUSUAL: f64 = 0.9;

/// A step taken this much more seldom than the commonest after the same calls is not one of many that
/// are taken alike.
const SELDOM: f64 = 0.1;

/// Takes the sureness from choices that may be wrong because of a contradiction.
pub(super) fn doubt(timelines: &Timelines, choices: &mut [Choice]) {
    let made = Made::new(timelines, choices);
    let mut doubted = BTreeSet::new();
    for request in made.unusually_late(timelines) {
        made.around(timelines, request, &mut doubted);
    }
    // Who was taken for such a request does most often something unusual as well.
    let unusual = made.unusual_steps(timelines);
    let unusual = unusual.iter().flat_map(|request| &made.of_request[*request as usize]);
    unusual.for_each(|call| choices[*call as usize].weaken(UNUSUAL));
    for call in doubted {
        choices[call as usize].weaken(SWAPPED);
    }
}

/// Calls to one destination this far apart in their order are not taken for each other.
const APART_MAX: usize = 64;

/// Calls by the request that most likely made them.
struct Made {
    by: Vec<Option<u32>>,
    /// By call: since when its request waited for no answer.
    ready: Vec<i64>,
    /// By request, in the order of the walk.
    of_request: Vec<Vec<u32>>,
    /// By place and destination, in the order of the walk; then where in it a call is.
    alike: Vec<Vec<u32>>,
    position: Vec<(usize, usize)>,
}

impl Made {
    fn new(timelines: &Timelines, choices: &[Choice]) -> Self {
        let mut made = Self {
            by: choices.iter().map(Choice::forced).collect(),
            ready: vec![0; choices.len()],
            of_request: vec![Vec::new(); timelines.requests.len()],
            alike: vec![Vec::new(); timelines.places.len() * timelines.destinations],
            position: vec![(0, 0); choices.len()],
        };
        let mut last_end: Vec<i64> = timelines.requests.iter().map(|r| r.start).collect();
        for (place, call) in timelines.calls_by_place() {
            let span = timelines.calls[call];
            let kind = place * timelines.destinations + span.kind as usize;
            made.position[call] = (kind, made.alike[kind].len());
            made.alike[kind].push(call as u32);
            if let Some(request) = made.by[call].map(|r| r as usize) {
                made.of_request[request].push(call as u32);
                made.ready[call] = last_end[request].min(span.start);
                last_end[request] = last_end[request].max(span.end);
            }
        }
        made
    }

    /// Requests that calls outlive where that is not how the service works.
    fn unusually_late(&self, timelines: &Timelines) -> impl Iterator<Item = u32> {
        let kind = |call: usize, request: u32| {
            let operation = timelines.requests[request as usize].kind as usize;
            operation * timelines.destinations + timelines.calls[call].kind as usize
        };
        let mut kinds = vec![(0.0, BELIEF); timelines.operations * timelines.destinations];
        let mut late = Vec::new();
        for call in timelines.calls_in_order() {
            let Some(request) = self.by[call] else { continue };
            let of_kind = &mut kinds[kind(call, request)];
            of_kind.1 += 1.0;
            if timelines.is_late(request, call as u32) {
                of_kind.0 += 1.0;
                late.push((request, kind(call, request)));
            }
        }
        late.retain(|(_, kind)| kinds[*kind].0 < USUAL * kinds[*kind].1);
        late.into_iter().map(|(request, _)| request)
    }

    /// Requests that do what requests of their operation hardly ever do after the same calls.
    fn unusual_steps(&self, timelines: &Timelines) -> Vec<u32> {
        let mut patterns = Patterns::new(timelines.operations, timelines.destinations);
        let layout = Cells { destinations: timelines.destinations };
        let requests = 0..timelines.requests.len() as u32;
        let steps: Vec<Vec<CellId>> =
            requests.map(|request| self.steps(timelines, &mut patterns, layout, request)).collect();
        // By kind of step, and by what the request had done before: all, and the commonest.
        let mut kinds = vec![0.0; layout.id(patterns.all.len() as u32, false, 0)];
        steps.iter().flatten().for_each(|step| kinds[*step] += 1.0);
        let mut before = vec![(BELIEF, 0.0f64); patterns.all.len()];
        for (kind, count) in kinds.iter().enumerate() {
            let before = &mut before[layout.pattern(kind) as usize];
            *before = (before.0 + count, before.1.max(*count));
        }
        let is_unusual = |step: &CellId| {
            let (all, commonest) = before[layout.pattern(*step) as usize];
            kinds[*step] < USUAL * all && kinds[*step] < SELDOM * commonest
        };
        let unusual = (0u32..).zip(&steps).filter(|(_, steps)| steps.iter().any(is_unusual));
        unusual.map(|(request, _)| request).collect()
    }

    /// What a request is said to have done.
    fn steps(
        &self,
        timelines: &Timelines,
        patterns: &mut Patterns,
        layout: Cells,
        request: u32,
    ) -> Vec<CellId> {
        let span = timelines.requests[request as usize];
        let mut pattern = patterns.empty(span.kind);
        let mut last_end = span.start;
        let calls = &self.of_request[request as usize];
        let mut steps = Vec::with_capacity(calls.len() + 1);
        for &call in calls {
            let called = timelines.calls[call as usize];
            let in_flight = last_end > called.start + TOLERANCE;
            steps.push(layout.id(pattern, in_flight, called.kind as usize));
            pattern = patterns.after(pattern, called.kind);
            last_end = last_end.max(called.end);
        }
        let in_flight = last_end > span.end + TOLERANCE;
        steps.push(layout.id(pattern, in_flight, layout.end()));
        steps
    }

    /// The calls of a request, and from where they could have been swapped with another's on, those
    /// of the other.
    fn around(&self, timelines: &Timelines, request: u32, doubted: &mut BTreeSet<u32>) {
        for &own in &self.of_request[request as usize] {
            doubted.insert(own);
            let (kind, at) = self.position[own as usize];
            let alike = &self.alike[kind];
            let near = at.saturating_sub(APART_MAX)..(at + APART_MAX + 1).min(alike.len());
            for &other in &alike[near] {
                let Some(by) = self.by[other as usize].filter(|by| *by != request) else {
                    continue;
                };
                if self.could_be_swapped(timelines, own, other) {
                    let calls = self.of_request[by as usize].iter().copied();
                    doubted.extend(calls.skip_while(|c| *c != other));
                }
            }
        }
    }

    /// Whether the requests of both waited for nothing when the other one's call was made.
    fn could_be_swapped(&self, timelines: &Timelines, one: u32, other: u32) -> bool {
        let was_ready = |a: u32, b: u32| {
            self.ready[a as usize] <= timelines.calls[b as usize].start + TOLERANCE
        };
        was_ready(one, other) && was_ready(other, one)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Call, Request, Workload};
    use super::*;

    /// Three requests: two at the same time, and one long after. The calls with their requests.
    fn check(calls: &[(i64, i64, u32)], doubted: &[bool]) {
        let request = |start, end| Request { start, end, operation: 0, place: 0, key: 0 };
        let call = |&(start, end, _): &(i64, i64, u32)| Call {
            start,
            end,
            destination: 0,
            place: 0,
            key: 0,
            served_as: None,
            caused_by: None,
        };
        let workload = Workload {
            requests: vec![request(0, 1000), request(20, 1200), request(5000, 6000)],
            calls: calls.iter().map(call).collect(),
            resolution: 1,
        };
        let by = |(_, _, by): &(i64, i64, u32)| Choice { candidates: vec![(*by, 1.0)], none: 0.0 };
        let mut choices: Vec<Choice> = calls.iter().map(by).collect();
        doubt(&Timelines::new(&workload), &mut choices);
        let weaker: Vec<bool> = choices.iter().map(|c| c.none > 0.0).collect();
        assert_eq!(weaker, doubted);
    }

    #[test]
    fn calls_that_end_in_time_are_no_contradiction() {
        let calls = [(100, 200, 0), (105, 205, 1), (300, 900, 0), (5100, 5200, 2)];
        check(&calls, &[false; 4]);
    }

    #[test]
    fn a_call_that_outlives_its_request_puts_both_that_may_be_swapped_in_doubt() {
        let calls = [(100, 200, 0), (105, 205, 1), (210, 400, 1), (300, 1100, 0), (5100, 5200, 2)];
        check(&calls, &[true, true, true, true, false]);
    }

    #[test]
    fn what_the_other_did_before_they_could_be_swapped_stays() {
        let calls = [(5, 250, 0), (25, 40, 1), (300, 600, 1), (310, 1100, 0), (5100, 5200, 2)];
        check(&calls, &[true, false, true, true, false]);
    }

    #[test]
    fn a_request_that_does_what_others_hardly_ever_do_is_in_doubt() {
        let mut workload = Workload { resolution: 1, ..Workload::default() };
        let mut choices = Vec::new();
        for i in 0..100 {
            let start = i64::from(i) * 5000;
            let request = Request { start, end: start + 1000, operation: 0, place: 0, key: 0 };
            workload.requests.push(request);
            // Each calls one and then the other, but for one that does so the other way round.
            for (at, destination) in [(100, u32::from(i == 7)), (500, u32::from(i != 7))] {
                workload.calls.push(Call {
                    start: start + at,
                    end: start + at + 200,
                    destination,
                    place: 0,
                    key: 0,
                    served_as: None,
                    caused_by: None,
                });
                choices.push(Choice { candidates: vec![(i, 1.0)], none: 0.0 });
            }
        }
        doubt(&Timelines::new(&workload), &mut choices);
        let weaker: Vec<usize> = (0..200).filter(|call| choices[*call].none > 0.0).collect();
        assert_eq!(weaker, [14, 15]);
    }

    #[test]
    fn where_many_calls_outlive_their_requests_that_is_how_the_service_works() {
        let calls: Vec<_> = (0..4).map(|i| (100 + i, 1500, 0)).collect();
        check(&calls, &[false; 4]);
    }
}
