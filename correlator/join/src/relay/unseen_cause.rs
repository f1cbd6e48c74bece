//! Calls of requests that ids name and nobody saw: what was seen on other connections made none of
//! them.
//!
//! Ids name the request of a call by the span of its callee or, where that sends none, by the span
//! that the caller wrote of the call. The request's own span says which connection it came on.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::End;
use crate::columns::{Exchange, Kind, Span};
use crate::link::ids;
use crate::reason::Reason;
use crate::relay::elsewhere::Elsewhere;
use crate::relay::{Cause, by_span, company};
use crate::sight::Sight;
use crate::slab::{ExchangeId, RowId, SpanId};

/// Within how much of its call's begin and end a client's span begins and ends: an SDK that waits
/// for nothing else, and one of many that call the same server at once.
const BESIDE_NS: [i64; 2] = [ids::SAME_NODE_TOLERANCE_NS, ids::OVERLAP_NS];

/// Where no more requests are without a span, one that was never answered has none for that alone.
const UNTRACED_MAX: f64 = 1.0 / 16.0;

/// Strikes the requests that did not make the undecided calls among `causes`.
pub(super) fn strike_others(
    sight: &Sight<'_>,
    elsewhere: &Elsewhere<'_>,
    causes: &mut BTreeMap<ExchangeId, Cause>,
) {
    let mut peers: BTreeMap<u32, BTreeSet<End>> = BTreeMap::new();
    for (&call, cause) in causes {
        let Cause::Undecided { candidates, why } = cause else { continue };
        let Some(named) = Named::of(sight, call) else { continue };
        // A span may name another peer than its socket has, as a proxy before it told. So it has to
        // be one that requests of the place came from.
        let place = sight.exchange(call).place;
        let remote = |server: ExchangeId| sight.exchange(server).remote();
        let of_place = || company::servers(sight, place).map(remote).collect();
        if !peers.entry(place).or_insert_with(of_place).contains(&named.peer) {
            continue;
        }
        let is_sure = |server: ExchangeId| named.is_exact || leaves_spans(sight, elsewhere, server);
        candidates.retain(|&server| remote(server) == named.peer || !is_sure(server));
        if candidates.is_empty() {
            let is_known = *why != Reason::AmbigTimeOnly;
            *cause = Cause::Orphan(if is_known { *why } else { Reason::FailOrphan });
        }
    }
}

/// The request of a call that was not seen.
struct Named {
    /// Whom its span names at the other end of its connection.
    peer: End,
    /// Whether the callee's span says whose the call is. Else times say which span is the call's.
    is_exact: bool,
}

impl Named {
    fn of(sight: &Sight<'_>, call: ExchangeId) -> Option<Self> {
        let of_callee = sight.server_of(call).and_then(|callee| sight.span_of(callee).one());
        let of_callee = of_callee.filter(|&span| is_sure(sight, span));
        let (span, is_exact) = match of_callee {
            Some(span) => (span, true),
            None => (own_span(sight, call)?, false),
        };
        let server = by_span::serving(sight, sight.exchange(call).place, span)?;
        let peer = sight.slabs.span(server).peer()?;
        sight.is_unseen(server).then_some(Self { peer, is_exact })
    }
}

/// Whether a request has spans: then the span of a call that it made would be there beside the one
/// that names another request.
fn leaves_spans(sight: &Sight<'_>, elsewhere: &Elsewhere<'_>, server: ExchangeId) -> bool {
    let is_traced = sight.span_of(server).one().is_some_and(|span| is_sure(sight, span));
    let place = sight.exchange(server).place;
    is_traced || elsewhere.workloads.company(place).untold() <= UNTRACED_MAX
}

/// Whether a span tells of an exchange by the connection that it names.
fn is_sure(sight: &Sight<'_>, span: SpanId) -> bool {
    sight.turn_of(span).is_some_and(|(_, is_by_time)| !is_by_time)
}

/// The span that the caller wrote of a call: the only one there that names the server and begins and
/// ends with the call, and with no other one.
fn own_span(sight: &Sight<'_>, call: ExchangeId) -> Option<SpanId> {
    let client = sight.exchange(call);
    BESIDE_NS.into_iter().find_map(|beside_ns| {
        let mut spans = spans_beside(sight, client, beside_ns);
        let span = spans.next().filter(|_| spans.next().is_none())?;
        let row = sight.slabs.span(span);
        let is_only = calls_beside(sight, client.place, row, beside_ns) == 1;
        (is_only && ids::is_of_one_clock(&sight.view(), row, call)).then_some(span)
    })
}

fn is_beside(span: &Span, client: &Exchange, beside_ns: i64) -> bool {
    let is_near = |a: i64, b: i64| a.abs_diff(b) <= beside_ns.unsigned_abs();
    span.peer() == Some(client.remote())
        && is_near(span.start_ns, client.start_ns)
        && is_near(span.end_ns, client.end_ns)
}

fn spans_beside<'a>(
    sight: &'a Sight<'_>,
    client: &'a Exchange,
    beside_ns: i64,
) -> impl Iterator<Item = SpanId> + 'a {
    let ended = client.end_ns - beside_ns..=client.end_ns + beside_ns;
    let windows = windows_of(sight, *ended.start(), *ended.end());
    windows.flat_map(move |window| {
        let spans = sight.slabs.slab(window).map_or(&[][..], |slab| &slab.spans);
        let from = spans.partition_point(|span| span.end_ns < *ended.start());
        let is_its = move |span: &Span| {
            span.kind == Kind::Client
                && span.end_ns < sight.rows.end
                && is_beside(span, client, beside_ns)
                && sight.view().place_of_span(span) == Some(client.place)
        };
        let until_ns = *ended.end();
        let near = spans[from..].iter().take_while(move |span| span.end_ns <= until_ns);
        let rows = (from as u32..).zip(near).filter(move |(_, span)| is_its(span));
        rows.map(move |(row, _)| RowId { window, row })
    })
}

/// How many calls of a place a span may be of.
fn calls_beside(sight: &Sight<'_>, place: u32, span: &Span, beside_ns: i64) -> usize {
    let in_window = |window: u32| {
        let Some(slab) = sight.slabs.slab(window) else { return 0 };
        let (calls, visible) = (slab.clients(place), sight.view().visible(window));
        let start_ns = |row: u32| slab.exchanges[row as usize].start_ns;
        let from = calls.partition_point(|&row| start_ns(row) < span.start_ns - beside_ns);
        let begun = calls[from..].iter().copied();
        let begun = begun.take_while(|&row| start_ns(row) <= span.start_ns + beside_ns);
        let near = begun.filter(|&row| {
            (row as usize) < visible
                && is_beside(span, &slab.exchanges[row as usize], beside_ns)
                && sight.is_last_word(RowId { window, row })
        });
        near.count()
    };
    windows_of(sight, span.end_ns - beside_ns, span.end_ns + beside_ns).map(in_window).sum()
}

/// Windows in sight in which something ended.
fn windows_of(sight: &Sight<'_>, from_ns: i64, to_ns: i64) -> impl Iterator<Item = u32> + use<> {
    let window = |ns: i64| u32::try_from(ns.div_euclid(sight.settings.window_ns)).unwrap_or(0);
    window(from_ns).max(sight.earliest())..=window(to_ns).min(sight.window + 1)
}
