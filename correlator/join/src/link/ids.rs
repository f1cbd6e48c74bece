//! Span ids: which server span tells of which server exchange, and whose child a call is.
//!
//! A span that names its socket's peer is of one connection and, by its times, of one turn there.
//! Many SDKs name none; such a span is of a request only where no other assignment of a pod's spans
//! to its requests is possible, and then decides only what nothing stronger does.

use std::collections::BTreeMap;

use crate::columns::{Protocol, Span};
use crate::interval::Intervals;
use crate::link::View;
use crate::link::claim::Claims;
use crate::matching;
use crate::slab::{ExchangeId, RowId, Turn};

/// Wall clock stamps of an SDK against boot clock stamps of the kernel on one node: the clock
/// epoch is a sample, and a span may begin just before the call that returned the bytes does.
const SAME_NODE_TOLERANCE_NS: i64 = 2_000_000;

/// A span and its exchange overlap, but for this much.
const OVERLAP_NS: i64 = 200_000;

/// A span and its exchange end within this of each other, where both were seen to end.
const ENDS_APART_NS: i64 = 2_000_000_000;

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
            } else if let Some(exchange) = turn_of(view, place, span) {
                links.take(row, exchange);
            }
        }
        for (place, spans) in nameless {
            links.match_by_time(view, place, &spans);
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
        let candidates: Vec<Vec<usize>> = spans.iter().map(around).collect();
        let decided = matching::forced(&candidates, &vec![1; free.len()]);
        for (&span, slot) in spans.iter().zip(decided) {
            if let Some(slot) = slot {
                self.take(span, free[slot]);
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

/// The turn, on the connection that the span names by its peer, in which the span began and ended.
fn turn_of(view: &View<'_>, place: u32, span: &Span) -> Option<ExchangeId> {
    let peer = span.peer()?;
    let mut turns: Vec<(i64, ExchangeId)> = Vec::new();
    let window_ns = view.settings.window_ns;
    let start_ns = i64::from(view.window) * window_ns;
    let mut is_shared = false;
    for window in view.window.saturating_sub(1)..view.window + 2 {
        let is_near = match window.cmp(&view.window) {
            std::cmp::Ordering::Less => span.start_ns < start_ns + ENDS_APART_NS,
            std::cmp::Ordering::Equal => true,
            std::cmp::Ordering::Greater => span.end_ns >= start_ns + window_ns - ENDS_APART_NS,
        };
        let Some(slab) = view.slabs.slab(window).filter(|_| is_near) else { continue };
        let visible = view.visible(window);
        let is_its = |turn: &&Turn| {
            let row = turn.row as usize;
            row < visible && slab.exchanges[row].remote() == peer
        };
        // Those begun while the span went on, and the last one before: no other can be its turn.
        let all = slab.turns(place, peer);
        let ended_ns = span.end_ns - SAME_NODE_TOLERANCE_NS;
        let last_ns = span.end_ns.max(span.start_ns + SAME_NODE_TOLERANCE_NS);
        let begun = all.partition_point(|t| t.start_ns <= last_ns);
        for turn in all[..begun].iter().rev().filter(is_its) {
            turns.push((turn.start_ns, RowId { window, row: turn.row }));
            is_shared |= slab.exchanges[turn.row as usize].protocol == Protocol::Http2;
            let last_ns = if is_shared { span.start_ns - SAME_NODE_TOLERANCE_NS } else { ended_ns };
            if turn.start_ns < last_ns {
                break;
            }
        }
    }
    turns.sort_unstable();
    if is_shared {
        return stream_of(view, span, &turns);
    }
    let within = |tolerance_ns: i64| -> (Option<ExchangeId>, usize) {
        // Turns follow each other: those begun before the span, but not followed by one before
        // the span's end.
        let begun = turns.partition_point(|t| t.0 <= span.start_ns + tolerance_ns);
        let followed = turns.partition_point(|t| t.0 < span.end_ns - tolerance_ns);
        let held = turns.get(followed.saturating_sub(1)..begun).unwrap_or_default();
        // A span that began after the turn's end, or ended before its begin, is of a turn that was
        // not seen: the stamps of one node differ by less than turns do.
        let is_open = |id: &ExchangeId| {
            let turn = view.slabs.exchange(*id);
            span.start_ns <= turn.upper_ns().saturating_add(tolerance_ns.min(OVERLAP_NS))
                && turn.start_ns <= span.end_ns + OVERLAP_NS
        };
        let mut open = held.iter().map(|&(_, id)| id).filter(is_open);
        (open.next(), 1 + open.count())
    };
    match within(SAME_NODE_TOLERANCE_NS) {
        (Some(one), 1) => Some(one),
        (None, _) => None,
        _ => match within(0) {
            (Some(one), 1) => Some(one),
            _ => None,
        },
    }
}

/// The only one of the turns, of a connection where they need not follow each other, that begins and
/// ends with the span.
fn stream_of(view: &View<'_>, span: &Span, turns: &[(i64, ExchangeId)]) -> Option<ExchangeId> {
    let goes_with = |id: &ExchangeId| {
        let turn = view.slabs.exchange(*id);
        let is_near = |a: i64, b: i64| a.abs_diff(b) <= SAME_NODE_TOLERANCE_NS as u64;
        is_near(turn.start_ns, span.start_ns) && is_near(turn.end_ns, span.end_ns)
    };
    let mut going = turns.iter().map(|&(_, id)| id).filter(goes_with);
    let first = going.next()?;
    going.next().is_none().then_some(first)
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
