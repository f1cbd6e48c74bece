//! Span ids: which server span tells of which server exchange, and whose child a call is.

use std::collections::BTreeMap;

use crate::address::End;
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
        links
    }

    /// The server exchange whose span is the nearest server ancestor, in the same pod, of the span
    /// of `callee`, the server end of a call made in `place`.
    pub(crate) fn cause_of_call(
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
