//! The requests and calls of one pod in the order in which they are looked at.
//!
//! Times are counted in units of the source's resolution. A request opens one unit early and
//! closes one unit late: two stamps of one moment may differ by that much.

use super::Workload;

/// One unit of resolution.
pub(super) const TOLERANCE: i64 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: i64,
    pub(super) end: i64,
    /// Operation of a request, destination of a call.
    pub(super) kind: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Opens(u32),
    Calls(u32),
    Closes(u32),
}

/// Requests and calls in units of the resolution, by their index in the workload.
#[derive(Debug)]
pub(super) struct Timelines {
    pub(super) requests: Vec<Span>,
    pub(super) calls: Vec<Span>,
    /// The request that a call is the other end of, where a pod calls itself.
    pub(super) served_as: Vec<Option<u32>>,
    /// The request that a call is known to belong to.
    pub(super) caused_by: Vec<Option<u32>>,
    /// Orders requests by what was seen of them.
    pub(super) order: Vec<(i64, i64, u32, u64)>,
    /// How many calls of its place start after a call, but at the same stamp.
    pub(super) at_once: Vec<usize>,
    /// Events of each place, in order.
    pub(super) places: Vec<Vec<Event>>,
    pub(super) operations: usize,
    pub(super) destinations: usize,
    /// From the first start to the last end.
    pub(super) length: i64,
}

impl Timelines {
    pub(super) fn new(workload: &Workload) -> Self {
        let unit = workload.resolution.max(1);
        let first = workload
            .requests
            .iter()
            .map(|r| r.start)
            .chain(workload.calls.iter().map(|c| c.start))
            .min()
            .unwrap_or(0);
        let span = |start: i64, end: i64, kind| {
            let start = (start - first).div_euclid(unit);
            Span { start, end: start.max((end - first).div_euclid(unit)), kind }
        };
        let requests: Vec<Span> =
            workload.requests.iter().map(|r| span(r.start, r.end, r.operation)).collect();
        let calls: Vec<Span> =
            workload.calls.iter().map(|c| span(c.start, c.end, c.destination)).collect();
        let kinds = |spans: &[Span]| spans.iter().map(|s| s.kind as usize + 1).max().unwrap_or(0);
        let places = places(workload, &requests, &calls);
        let length = requests.iter().chain(&calls).map(|s| s.end).max().unwrap_or(0) + 1;
        Self {
            at_once: at_once(&places, &calls),
            places,
            order: requests
                .iter()
                .zip(&workload.requests)
                .map(|(s, r)| (s.start, s.end, s.kind, r.key))
                .collect(),
            operations: kinds(&requests),
            destinations: kinds(&calls),
            served_as: workload.calls.iter().map(|c| c.served_as).collect(),
            caused_by: workload.calls.iter().map(|c| c.caused_by).collect(),
            requests,
            calls,
            length,
        }
    }

    pub(super) fn is_late(&self, request: u32, call: u32) -> bool {
        self.calls[call as usize].end > self.requests[request as usize].end + TOLERANCE
    }

    /// Calls in the order of the walk, in which sums do not depend on the order of the input.
    pub(super) fn calls_in_order(&self) -> impl Iterator<Item = usize> {
        self.calls_by_place().map(|(_, call)| call)
    }

    /// The same with their places.
    pub(super) fn calls_by_place(&self) -> impl Iterator<Item = (usize, usize)> {
        let places = self.places.iter().enumerate();
        let events = places.flat_map(|(place, events)| events.iter().map(move |e| (place, e)));
        events.filter_map(|(place, event)| match event {
            Event::Calls(call) => Some((place, *call as usize)),
            _ => None,
        })
    }

    /// Events of each place, all of them.
    pub(super) fn all(&self) -> Vec<usize> {
        self.places.iter().map(Vec::len).collect()
    }

    /// Events of each place that make a sample of about so many requests.
    pub(super) fn sample(&self, requests: usize) -> Vec<usize> {
        let all = self.requests.len();
        if all <= requests {
            return self.all();
        }
        self.places.iter().map(|events| events.len() * requests / all).collect()
    }

    /// How many of these events of each place are calls or ends of requests.
    pub(super) fn steps(&self, events: &[usize]) -> usize {
        let places = self.places.iter().zip(events);
        let steps = places.flat_map(|(place, events)| &place[..*events]);
        steps.filter(|event| !matches!(event, Event::Opens(_))).count()
    }

    /// How often each destination is called, per unit of time.
    pub(super) fn destination_rates(&self) -> Vec<f64> {
        let mut rates = vec![0.0; self.destinations];
        for call in &self.calls {
            rates[call.kind as usize] += 1.0 / self.length as f64;
        }
        rates
    }
}

fn at_once(places: &[Vec<Event>], calls: &[Span]) -> Vec<usize> {
    let mut at_once = vec![0; calls.len()];
    for place in places {
        let (mut stamp, mut later) = (i64::MAX, 0);
        for event in place.iter().rev() {
            let Event::Calls(call) = *event else { continue };
            let start = calls[call as usize].start;
            later = if start == stamp { later + 1 } else { 0 };
            stamp = start;
            at_once[call as usize] = later;
        }
    }
    at_once
}

/// Time, opening before calling before closing, other time, kind, the caller's key.
type Key = (i64, u8, i64, u32, u64);

fn places(workload: &Workload, requests: &[Span], calls: &[Span]) -> Vec<Vec<Event>> {
    let count = workload
        .requests
        .iter()
        .map(|r| r.place)
        .chain(workload.calls.iter().map(|c| c.place))
        .max()
        .map_or(0, |p| p as usize + 1);
    // Ordered by what was seen, then by the caller's key, never by position in the input.
    let mut places: Vec<Vec<(Key, Event)>> = vec![Vec::new(); count];
    for (i, (request, span)) in workload.requests.iter().zip(requests).enumerate() {
        let (place, i) = (request.place as usize, i as u32);
        let rest = |other: i64| (other, span.kind, request.key);
        let (opens, closes) = (rest(span.end), rest(span.start));
        places[place]
            .push(((span.start - TOLERANCE, 0, opens.0, opens.1, opens.2), Event::Opens(i)));
        places[place]
            .push(((span.end + TOLERANCE, 2, closes.0, closes.1, closes.2), Event::Closes(i)));
    }
    for (i, (call, span)) in workload.calls.iter().zip(calls).enumerate() {
        places[call.place as usize]
            .push(((span.start, 1, span.end, span.kind, call.key), Event::Calls(i as u32)));
    }
    places
        .into_iter()
        .map(|mut events| {
            events.sort_unstable_by_key(|(key, _)| *key);
            events.into_iter().map(|(_, event)| event).collect()
        })
        .collect()
}
