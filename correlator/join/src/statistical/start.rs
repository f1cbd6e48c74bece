//! What is certain before any call is assigned: requests that were alone in their pod own the
//! calls made meanwhile.

use super::chain::Chains;
use super::counts::Counts;
use super::pattern::Patterns;
use super::timeline::{Event, Timelines};

/// Counts from requests that met no other request.
pub(super) fn isolated(timelines: &Timelines, patterns: &mut Patterns) -> Counts {
    let mut counts = Counts::new(patterns);
    let mut chains = Chains::default();
    for place in &timelines.places {
        let mut open = 0usize;
        let mut since = 0;
        for (at, event) in place.iter().enumerate() {
            match event {
                Event::Opens(_) => {
                    open += 1;
                    if open == 1 {
                        since = at;
                    }
                }
                Event::Calls(_) => {}
                Event::Closes(request) => {
                    open -= 1;
                    let was_alone = place[since] == Event::Opens(*request)
                        && place[since + 1..at].iter().all(|e| matches!(e, Event::Calls(_)));
                    if open == 0 && was_alone {
                        let calls = &place[since + 1..at];
                        count_alone(timelines, patterns, &mut chains, &mut counts, *request, calls);
                    }
                }
            }
        }
    }
    counts
}

fn count_alone(
    timelines: &Timelines,
    patterns: &mut Patterns,
    chains: &mut Chains,
    counts: &mut Counts,
    request: u32,
    calls: &[Event],
) {
    chains.clear();
    let span = timelines.requests[request as usize];
    let mut node = chains.open(span, patterns.empty(span.kind));
    for event in calls {
        let Event::Calls(call) = *event else { continue };
        let is_other = timelines.caused_by[call as usize].is_some_and(|known| known != request);
        if is_other || timelines.served_as[call as usize] == Some(request) {
            continue;
        }
        let called = timelines.calls[call as usize];
        let pattern = chains.node(node).pattern;
        let in_flight = chains.in_flight(node, called.start);
        let cell = counts.layout.id(pattern, in_flight, called.kind as usize);
        counts.step(cell, chains.gaps(node, called.start), 1.0);
        counts.lateness(span.kind, called.kind, timelines.is_late(request, call), 1.0);
        node = chains.call(node, call, called, patterns.after(pattern, called.kind));
    }
    let in_flight = chains.in_flight(node, span.end);
    let cell = counts.layout.id(chains.node(node).pattern, in_flight, counts.layout.end());
    counts.step(cell, chains.gaps(node, span.end), 1.0);
}
