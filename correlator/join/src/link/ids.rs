//! Span ids: which server span tells of which server exchange, and whose child a call is.
//!
//! A span that names its socket's peer is of one connection and, by its times, of one turn there.
//! Many SDKs name none; such a span is of a request only where no other assignment of a pod's spans
//! to its requests is possible, and then decides only what nothing stronger does.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::End;
use crate::interval::Intervals;
use crate::matching;
use crate::observation::{ExchangeId, Seen, address};
use crate::ownership::{Owner, Ownership};

/// Index of a span in [`Seen::spans`].
pub(crate) type SpanId = usize;

/// Wall clock stamps of an SDK against boot clock stamps of the kernel on one node: the clock
/// epoch is a sample, and a span may begin just before the call that returned the bytes does.
const SAME_NODE_TOLERANCE_NS: i64 = 2_000_000;

/// A call chain inside one pod is a handful of internal spans; a longer one is a loop.
const ANCESTORS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct SpanLinks {
    /// Server exchange -> its server span, and back.
    pub(crate) span_of: BTreeMap<ExchangeId, SpanId>,
    exchange_of: BTreeMap<SpanId, ExchangeId>,
    /// Spans whose exchange follows from times alone.
    by_time: BTreeSet<SpanId>,
    by_id: BTreeMap<(String, String), Option<SpanId>>,
    place_of: Vec<Option<usize>>,
}

impl SpanLinks {
    pub(crate) fn new(seen: &Seen<'_>, owners: &Ownership) -> Self {
        let mut links = Self {
            place_of: seen.spans.iter().map(|s| place(seen, owners, s)).collect(),
            ..Self::default()
        };
        for (id, span) in seen.spans.iter().enumerate() {
            // Two different spans under one id: neither can be told from the other.
            links
                .by_id
                .entry((span.trace_id.clone(), span.span_id.clone()))
                .and_modify(|known| *known = None)
                .or_insert(Some(id));
        }
        // Requests of one peer to one place, by start.
        let mut turns_of: BTreeMap<(usize, End), Vec<ExchangeId>> = BTreeMap::new();
        for (place, requests) in seen.places.iter().enumerate() {
            for &s in &requests.servers {
                turns_of.entry((place, seen.exchanges[s].remote)).or_default().push(s);
            }
        }
        let mut spans_for: BTreeMap<ExchangeId, Vec<SpanId>> = BTreeMap::new();
        for (id, span) in seen.spans.iter().enumerate() {
            let Some(place) = links.place_of[id].filter(|_| span.kind == "server") else {
                continue;
            };
            if let Some(exchange) = exchange_of_server_span(seen, &turns_of, place, span) {
                spans_for.entry(exchange).or_default().push(id);
            }
        }
        for (exchange, spans) in spans_for {
            if let [span] = spans[..] {
                links.span_of.insert(exchange, span);
                links.exchange_of.insert(span, exchange);
            }
        }
        for place in 0..seen.places.len() {
            links.match_by_time(seen, place);
        }
        links
    }

    /// Gives spans without a peer to the requests of their pod that have none yet.
    fn match_by_time(&mut self, seen: &Seen<'_>, place: usize) {
        let nameless: Vec<SpanId> = (0..seen.spans.len())
            .filter(|&id| self.place_of[id] == Some(place) && seen.spans[id].kind == "server")
            .filter(|&id| seen.spans[id].peer_ip.is_none() || seen.spans[id].peer_port.is_none())
            .collect();
        let free: Vec<ExchangeId> = seen.places[place]
            .servers
            .iter()
            .copied()
            .filter(|s| !self.span_of.contains_key(s))
            .collect();
        let exchanges = free.iter().map(|&s| &seen.exchanges[s]);
        let open = Intervals::new(exchanges.map(|e| (e.row.start_ns, e.upper_ns())));
        let around = |id: &SpanId| {
            let span = seen.spans[*id];
            let from_ns = span.start_ns.saturating_add(SAME_NODE_TOLERANCE_NS);
            open.around(from_ns, span.end_ns.saturating_sub(SAME_NODE_TOLERANCE_NS))
        };
        let candidates: Vec<Vec<usize>> = nameless.iter().map(around).collect();
        let decided = matching::forced(&candidates, &vec![1; free.len()]);
        for (span, slot) in nameless.into_iter().zip(decided) {
            let Some(exchange) = slot.map(|slot| free[slot]) else { continue };
            self.span_of.insert(exchange, span);
            self.exchange_of.insert(span, exchange);
            self.by_time.insert(span);
        }
    }

    /// The server exchange whose span is the nearest server ancestor, in the same pod, of the span
    /// of `callee`, the server end of a call made in `place`. Both spans name their connections.
    pub(crate) fn cause_of_call(
        &self,
        seen: &Seen<'_>,
        place: usize,
        callee: ExchangeId,
    ) -> Option<ExchangeId> {
        let cause = self.likely_cause_of_call(seen, place, callee)?;
        let is_by_time = |s| self.span_of.get(&s).is_none_or(|span| self.by_time.contains(span));
        (!is_by_time(callee) && !is_by_time(cause)).then_some(cause)
    }

    /// The same where times alone may have said whose a span is.
    pub(crate) fn likely_cause_of_call(
        &self,
        seen: &Seen<'_>,
        place: usize,
        callee: ExchangeId,
    ) -> Option<ExchangeId> {
        let mut span = *self.span_of.get(&callee)?;
        for _ in 0..ANCESTORS_MAX {
            span = self.parent(seen, span)?;
            if self.place_of[span] != Some(place) {
                return None;
            }
            if seen.spans[span].kind == "server" {
                return self.exchange_of.get(&span).copied();
            }
        }
        None
    }

    fn parent(&self, seen: &Seen<'_>, span: SpanId) -> Option<SpanId> {
        let s = seen.spans[span];
        let parent = s.parent_span_id.clone()?;
        *self.by_id.get(&(s.trace_id.clone(), parent))?
    }
}

/// The pod that a span says it is from, else the owner of the address that sent it.
fn place(seen: &Seen<'_>, owners: &Ownership, span: &tables::Span) -> Option<usize> {
    if let Some(uid) = span.pod_uid.as_deref() {
        return seen.place_of_pod(uid);
    }
    let ip = address(span.sender_ip.as_deref())?;
    match owners.holder(ip, span.end_ns) {
        Owner::Pod(pod) => seen.place_of_pod(&pod.uid),
        _ => None,
    }
}

/// The turn, on the connection that the span names by its peer, in which the span began and ended.
fn exchange_of_server_span(
    seen: &Seen<'_>,
    turns_of: &BTreeMap<(usize, End), Vec<ExchangeId>>,
    place: usize,
    span: &tables::Span,
) -> Option<ExchangeId> {
    let peer = End::parse(span.peer_ip.as_deref()?, span.peer_port?)?;
    let turns = turns_of.get(&(place, peer))?;
    let start_ns = |turn: ExchangeId| seen.exchanges[turn].row.start_ns;
    let within = |tolerance_ns: i64| -> Vec<ExchangeId> {
        // Turns follow each other: those begun before the span, but not followed by one before
        // the span's end.
        let begun = turns.partition_point(|&t| start_ns(t) <= span.start_ns + tolerance_ns);
        let followed = turns.partition_point(|&t| start_ns(t) < span.end_ns - tolerance_ns);
        let held = turns.get(followed.saturating_sub(1)..begun).unwrap_or_default();
        // A span that began after the turn's end is of a turn that was not seen.
        let is_open = |t: &ExchangeId| {
            span.start_ns <= seen.exchanges[*t].upper_ns().saturating_add(tolerance_ns)
        };
        held.iter().copied().filter(is_open).collect()
    };
    match within(SAME_NODE_TOLERANCE_NS)[..] {
        [one] => Some(one),
        [] => None,
        _ => match within(0)[..] {
            [one] => Some(one),
            _ => None,
        },
    }
}
