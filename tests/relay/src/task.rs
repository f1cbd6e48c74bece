//! What the relay is asked, and the truth it must not see.
//!
//! A call between services is the caller's client span, or the callee's own span where the caller
//! has none. Its cause is the nearest span above it with which a request entered the caller.

use std::collections::BTreeMap;

use join::statistical::{Call, Request, Workload};

use crate::spans::Span;

/// The relay of one service: the question, and beside it the truth.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) service: String,
    pub(crate) workload: Workload,
    /// Index of the request that caused each call.
    pub(crate) truth: Vec<Option<u32>>,
    /// Trace of each call, by number.
    pub(crate) trace: Vec<u32>,
    pub(crate) operations: usize,
}

/// Divides the gaps between the starts of traces by `by` and keeps all that happens inside them.
pub(crate) fn compress(spans: &mut [Span], by: i64) {
    let mut starts: BTreeMap<&str, i64> = BTreeMap::new();
    for span in spans.iter() {
        let start = starts.entry(&span.trace).or_insert(span.start);
        *start = span.start.min(*start);
    }
    let first = starts.values().min().copied().unwrap_or(0);
    // Moved by whole milliseconds, so that stamps keep their resolution.
    let moves: BTreeMap<String, i64> = starts
        .into_iter()
        .map(|(trace, start)| {
            let gap = start - first;
            (trace.to_owned(), (gap - gap / by.max(1)) / 1000 * 1000)
        })
        .collect();
    for span in spans {
        let moved = moves[&span.trace];
        span.start -= moved;
        span.end -= moved;
    }
}

impl Task {
    /// The same beside so many copies of it whose causes are told: what is learned is what the truth
    /// teaches, so that what is then got wrong is what times do not tell this model.
    pub(crate) fn told(&self, copies: u32) -> Workload {
        let Workload { requests, calls, .. } = &self.workload;
        let places = requests.iter().map(|r| r.place).chain(calls.iter().map(|c| c.place));
        let places = places.max().map_or(0, |p| p + 1);
        let mut told = self.workload.clone();
        for copy in 1..=copies {
            let first = requests.len() as u32 * copy;
            let place = |place: u32| place + places * copy;
            told.requests.extend(requests.iter().map(|r| Request { place: place(r.place), ..*r }));
            told.calls.extend(calls.iter().zip(&self.truth).map(|(c, truth)| Call {
                place: place(c.place),
                caused_by: truth.map(|request| first + request),
                ..*c
            }));
        }
        told
    }
}

/// One task for each service that makes calls, and the number of traces.
pub(crate) fn tasks(spans: &[Span]) -> (Vec<Task>, usize) {
    let tree = Tree::new(spans);
    let mut services: BTreeMap<&str, Builder> = BTreeMap::new();
    let mut request_of = vec![None; spans.len()];
    for (i, span) in spans.iter().enumerate().filter(|(i, _)| tree.is_entry(*i)) {
        request_of[i] = Some(services.entry(&span.service).or_default().request(span, mixed(i)));
    }
    for (callee, span) in spans.iter().enumerate() {
        let is_client = span.kind == "client";
        let caller = match tree.parent[callee] {
            // A client span stands for the call; what it called has the other end of it.
            Some(parent) if spans[parent].service != span.service => {
                if spans[parent].kind == "client" { continue } else { parent }
            }
            _ if is_client => callee,
            _ => continue,
        };
        let destination = match tree.called_by(callee) {
            Some(i) if is_client => (spans[i].service.as_str(), spans[i].operation.as_str()),
            _ => (if is_client { "" } else { span.service.as_str() }, span.operation.as_str()),
        };
        let truth = tree.entry_above(caller).and_then(|entry| request_of[entry]);
        let builder = services.entry(&spans[caller].service).or_default();
        builder.call(
            span,
            mixed(callee),
            &spans[caller].pod,
            destination,
            truth,
            tree.trace[callee],
        );
    }
    let tasks = services
        .into_iter()
        .filter(|(_, b)| !b.workload.calls.is_empty())
        .map(|(service, b)| b.build(service))
        .collect();
    (tasks, tree.traces)
}

/// A key that tells nothing of where in the file a span was.
fn mixed(index: usize) -> u64 {
    (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7
}

/// Spans by their place in the trace.
struct Tree<'a> {
    spans: &'a [Span],
    parent: Vec<Option<usize>>,
    children: Vec<Vec<usize>>,
    trace: Vec<u32>,
    traces: usize,
}

impl<'a> Tree<'a> {
    fn new(spans: &'a [Span]) -> Self {
        let mut by_id: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut traces: BTreeMap<&str, u32> = BTreeMap::new();
        for (i, span) in spans.iter().enumerate() {
            by_id.entry((&span.trace, &span.id)).or_insert(i);
            let next = traces.len() as u32;
            traces.entry(&span.trace).or_insert(next);
        }
        let parent: Vec<Option<usize>> = spans
            .iter()
            .enumerate()
            .map(|(i, s)| by_id.get(&(&s.trace, &s.parent)).copied().filter(|p| *p != i))
            .collect();
        let mut children = vec![Vec::new(); spans.len()];
        for (i, parent) in parent.iter().enumerate() {
            parent.iter().for_each(|p| children[*p].push(i));
        }
        let trace = spans.iter().map(|s| traces[s.trace.as_str()]).collect();
        Self { spans, parent, children, trace, traces: traces.len() }
    }

    /// A request came in with this span.
    fn is_entry(&self, i: usize) -> bool {
        let span = &self.spans[i];
        let inside = self.parent[i].is_some_and(|p| self.spans[p].service == span.service);
        span.kind == "server" || span.kind != "client" && !inside
    }

    fn entry_above(&self, from: usize) -> Option<usize> {
        let mut at = from;
        // No trace is deeper than its number of spans; a circle of parents would be.
        for _ in 0..self.spans.len() {
            if self.is_entry(at) {
                return Some(at);
            }
            let above = self.parent[at]?;
            if self.spans[above].service != self.spans[from].service {
                return None;
            }
            at = above;
        }
        None
    }

    fn called_by(&self, client: usize) -> Option<usize> {
        let service = &self.spans[client].service;
        self.children[client].iter().copied().find(|c| self.spans[*c].service != *service)
    }
}

#[derive(Debug, Default)]
struct Builder {
    workload: Workload,
    truth: Vec<Option<u32>>,
    trace: Vec<u32>,
    operations: BTreeMap<String, u32>,
    destinations: BTreeMap<(String, String), u32>,
    places: BTreeMap<String, u32>,
}

impl Builder {
    fn request(&mut self, span: &Span, key: u64) -> u32 {
        let operation = number(&mut self.operations, span.operation.clone());
        let place = number(&mut self.places, span.pod.clone());
        let Span { start, end, .. } = *span;
        self.workload.requests.push(Request { start, end, operation, place, key });
        (self.workload.requests.len() - 1) as u32
    }

    fn call(
        &mut self,
        span: &Span,
        key: u64,
        pod: &str,
        (service, operation): (&str, &str),
        truth: Option<u32>,
        trace: u32,
    ) {
        let destination =
            number(&mut self.destinations, (service.to_owned(), operation.to_owned()));
        let place = number(&mut self.places, pod.to_owned());
        let Span { start, end, .. } = *span;
        self.workload.calls.push(Call {
            start,
            end,
            destination,
            place,
            key,
            served_as: None,
            caused_by: None,
        });
        self.truth.push(truth);
        self.trace.push(trace);
    }

    fn build(mut self, service: &str) -> Task {
        self.workload.resolution = resolution(&self.workload);
        Task {
            service: service.to_owned(),
            workload: self.workload,
            truth: self.truth,
            trace: self.trace,
            operations: self.operations.len(),
        }
    }
}

fn number<K: Ord>(known: &mut BTreeMap<K, u32>, key: K) -> u32 {
    let next = known.len() as u32;
    *known.entry(key).or_insert(next)
}

/// The coarser of the two sources: a millisecond where all its starts are whole milliseconds.
fn resolution(workload: &Workload) -> i64 {
    let requests = workload.requests.iter().all(|r| r.start % 1000 == 0);
    let calls = workload.calls.iter().all(|c| c.start % 1000 == 0);
    if requests || calls { 1000 } else { 1 }
}
