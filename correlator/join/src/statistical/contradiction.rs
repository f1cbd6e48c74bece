//! Choices that contradict what the service does, and what that says of the choices around them.
//!
//! A call that outlives its request, in a service that waits for its calls, is most likely another
//! request's: somewhere before, two requests that were ready at the same time were taken for each
//! other, and the walk has long forgotten the alternative. It is not known where. So whatever the
//! request is said to have done may be wrong, and from each call that could have been swapped with
//! one of its own, so may what the other request is said to have done.

use std::collections::BTreeSet;

use super::Choice;
use super::timeline::{TOLERANCE, Timelines};

/// Calls to a destination that outlive their request this often are how the service works.
const USUAL: f64 = 0.02;

/// So many calls weigh as much as the belief that a service waits for its calls.
const BELIEF: f64 = 50.0;

/// Takes the sureness from choices that may be wrong because of a contradiction.
pub(super) fn doubt(timelines: &Timelines, choices: &mut [Choice]) {
    let made = Made::new(timelines, choices);
    let mut doubted = BTreeSet::new();
    for call in made.unusually_late(timelines) {
        made.around(timelines, call, &mut doubted);
    }
    for call in doubted {
        choices[call as usize].halve();
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

    /// Calls that outlive their request where that is not how the service works.
    fn unusually_late(&self, timelines: &Timelines) -> Vec<u32> {
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
                late.push((call as u32, kind(call, request)));
            }
        }
        late.retain(|(_, kind)| kinds[*kind].0 < USUAL * kinds[*kind].1);
        late.into_iter().map(|(call, _)| call).collect()
    }

    /// The calls of the request that is said to have made this one, and from where they could have
    /// been swapped with another's on, those of the other.
    fn around(&self, timelines: &Timelines, call: u32, doubted: &mut BTreeSet<u32>) {
        let Some(request) = self.by[call as usize] else { return };
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
        let halved: Vec<bool> = choices.iter().map(|c| c.none > 0.0).collect();
        assert_eq!(halved, doubted);
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
    fn where_many_calls_outlive_their_requests_that_is_how_the_service_works() {
        let calls: Vec<_> = (0..4).map(|i| (100 + i, 1500, 0)).collect();
        check(&calls, &[false; 4]);
    }
}
