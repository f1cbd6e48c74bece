//! Span ids: which server span tells of which server exchange, and whose child a call is.
//!
//! A span that names its socket's peer is of one connection and, by its times, of one turn there.
//! Many SDKs name none; such a span is of a request only where no other assignment of a pod's spans
//! to its requests is possible, and then decides only what nothing stronger does.

mod turn;

pub(crate) use turn::{OVERLAP_NS, is_of_one_clock};

use std::collections::BTreeMap;

use crate::columns::Span;
use crate::interval::Intervals;
use crate::link::View;
use crate::link::claim::Claims;
use crate::lists::Lists;
use crate::matching;
use crate::slab::{ExchangeId, RowId};

/// Wall clock stamps of an SDK against boot clock stamps of the kernel on one node: the clock
/// epoch is a sample, and a span may begin just before the call that returned the bytes does.
pub(crate) const SAME_NODE_TOLERANCE_NS: i64 = 2_000_000;

/// A request that some span tells of, and when it was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) place: u32,
    pub(crate) from_ns: i64,
    pub(crate) to_ns: i64,
}

/// The server spans of one window and the exchanges they tell of.
#[derive(Debug, Default)]
pub(crate) struct SpanLinks {
    /// Spans by exchange.
    pub(crate) claims: Claims,
    /// Exchanges by row of the span.
    turns: Vec<Option<ExchangeId>>,
    /// How many server spans each place sent.
    pub(crate) of_place: BTreeMap<u32, usize>,
    /// Rows of spans whose exchange follows from times alone, ascending.
    by_time: Vec<u32>,
    /// What was served as spans tell of which no exchange is known.
    pub(crate) alone: Vec<Served>,
}

impl Served {
    fn new(place: u32, span: &Span) -> Self {
        let (from_ns, to_ns) = (span.start_ns, span.end_ns);
        Self {
            place,
            from_ns: from_ns.saturating_sub(OVERLAP_NS),
            to_ns: to_ns.saturating_add(OVERLAP_NS),
        }
    }
}

impl SpanLinks {
    /// Links the spans of `view.window`, of whose exchanges `exchanges` are looked at.
    pub(crate) fn new(view: &View<'_>, exchanges: usize) -> Self {
        let mut links = Self { claims: Claims::new(view.window, exchanges), ..Self::default() };
        let Some(slab) = view.slabs.slab(view.window) else { return links };
        links.turns = vec![None; slab.spans.len()];
        let mut nameless: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for &row in slab.server_spans() {
            let span = &slab.spans[row as usize];
            if span.end_ns >= view.until_ns {
                break;
            }
            let Some(place) = view.place_of_span(span) else { continue };
            *links.of_place.entry(place).or_default() += 1;
            if span.peer().is_none() {
                nameless.entry(place).or_default().push(row);
            } else if let Some(exchange) = turn::turn_of(view, place, span)
                && is_of_one_clock(view, span, exchange)
            {
                links.take(row, exchange);
            } else {
                links.alone.push(Served::new(place, span));
            }
        }
        for (place, spans) in nameless {
            links.match_by_time(view, place, &spans);
            let is_alone = |row: &&u32| links.turns[**row as usize].is_none();
            let alone = spans.iter().filter(is_alone).map(|&row| &slab.spans[row as usize]);
            let alone: Vec<Served> = alone.map(|span| Served::new(place, span)).collect();
            links.alone.extend(alone);
        }
        links
    }

    fn take(&mut self, span: u32, exchange: ExchangeId) {
        self.claims.claim(exchange, span);
        self.turns[span as usize] = Some(exchange);
    }

    /// Gives spans without a peer to the requests of their pod that have none yet.
    fn match_by_time(&mut self, view: &View<'_>, place: u32, spans: &[u32]) {
        let Some(slab) = view.slabs.slab(view.window) else { return };
        let start_ns = spans.iter().map(|&s| slab.spans[s as usize].start_ns).min();
        let mut free: Vec<ExchangeId> = Vec::new();
        for window in view.window.saturating_sub(1)..view.window + 2 {
            let Some(slab) = view.slabs.slab(window) else { continue };
            let visible = view.visible(window);
            let rows = slab.servers(place).iter().filter(|&&row| (row as usize) < visible);
            let ids = rows.map(|&row| RowId { window, row });
            free.extend(ids.filter(|&id| {
                let end_ns = slab.exchanges[id.row as usize].end_ns;
                self.claims.of(id).one().is_none() && start_ns.is_some_and(|start| end_ns >= start)
            }));
        }
        free.sort_by_key(|&id| (view.slabs.exchange(id).start_ns, id));
        let exchanges = free.iter().map(|&s| view.slabs.exchange(s));
        let open = Intervals::new(exchanges.map(|e| (e.start_ns, e.upper_ns())));
        let around = |row: &u32| {
            let span = &slab.spans[*row as usize];
            let from_ns = span.start_ns.saturating_add(SAME_NODE_TOLERANCE_NS);
            open.around(from_ns, span.end_ns.saturating_sub(SAME_NODE_TOLERANCE_NS))
        };
        let candidates: Lists = spans.iter().map(around).collect();
        let decided = matching::forced(&candidates, &vec![1; free.len()]);
        for (&span, slot) in spans.iter().zip(decided) {
            let Some(exchange) = slot.map(|slot: usize| free[slot]) else { continue };
            if is_of_one_clock(view, &slab.spans[span as usize], exchange) {
                self.take(span, exchange);
                self.by_time.push(span);
            }
        }
        self.by_time.sort_unstable();
    }

    pub(crate) fn turn(&self, span: u32) -> Option<ExchangeId> {
        self.turns.get(span as usize).copied().flatten()
    }

    pub(crate) fn is_by_time(&self, span: u32) -> bool {
        self.by_time.binary_search(&span).is_ok()
    }
}

/// Whether a span that names its connection tells of a request there that was seen.
pub(super) fn has_turn(view: &View<'_>, place: u32, span: &Span) -> bool {
    turn::turn_of(view, place, span).is_some()
}

impl View<'_> {
    /// The pod that a span says it is from, else the owner of the address that sent it.
    pub(crate) fn place_of_span(&self, span: &Span) -> Option<u32> {
        match span.pod {
            Some(pod) => self.slabs.place_of_pod(pod),
            None => self.place_of_address(span.sender()?, span.end_ns),
        }
    }
}
