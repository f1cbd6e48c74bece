//! The cause of a call by the parents of its callee's span.

use crate::columns::{Kind, Span};
use crate::sight::Sight;
use crate::slab::{ExchangeId, RowId, SpanId};

/// A call chain inside one pod is a handful of internal spans; a longer one is a loop.
const ANCESTORS_MAX: usize = 64;

/// The server exchange whose span is the nearest server ancestor, in the same place, of the span
/// of `callee`, the server end of a call made there. Both spans name their connections.
pub(super) fn cause_of_call(
    sight: &Sight<'_>,
    place: u32,
    callee: ExchangeId,
) -> Option<ExchangeId> {
    let (cause, is_by_time) = ancestor(sight, place, callee)?;
    (!is_by_time).then_some(cause)
}

/// The same where times alone may have said whose a span is.
pub(super) fn likely_cause_of_call(
    sight: &Sight<'_>,
    place: u32,
    callee: ExchangeId,
) -> Option<ExchangeId> {
    ancestor(sight, place, callee).map(|(cause, _)| cause)
}

fn ancestor(sight: &Sight<'_>, place: u32, callee: ExchangeId) -> Option<(ExchangeId, bool)> {
    let span = sight.span_of(callee).one()?;
    let (_, callee_by_time) = sight.turn_of(span)?;
    let (cause, by_time) = sight.turn_of(serving(sight, place, span)?)?;
    Some((sight.last_word(cause), by_time || callee_by_time))
}

/// The nearest server span above a span, if it is of this place and all between are.
pub(super) fn serving(sight: &Sight<'_>, place: u32, mut span: SpanId) -> Option<SpanId> {
    for _ in 0..ANCESTORS_MAX {
        span = parent(sight, span)?;
        let row = sight.slabs.span(span);
        if sight.view().place_of_span(row) != Some(place) {
            return None;
        }
        if row.kind == Kind::Server {
            return Some(span);
        }
    }
    None
}

/// Whether the parent of the callee's span is one of several spans under one id.
pub(super) fn has_twin_parents(sight: &Sight<'_>, callee: ExchangeId) -> bool {
    let span = sight.span_of(callee).one();
    let Some(wanted) = span.and_then(|s| sight.slabs.span(s).parent) else { return false };
    let trace = span.map_or(0, |s| sight.slabs.span(s).trace);
    let mut rows = Vec::new();
    for window in sight.earliest()..sight.window + 2 {
        if let Some(slab) = sight.slabs.slab(window) {
            slab.with_span_id(trace, wanted, &mut rows);
        }
    }
    rows.len() > 1
}

/// A span ends before its parent, or a little after it where it was left behind.
fn parent(sight: &Sight<'_>, span: SpanId) -> Option<SpanId> {
    let row: &Span = sight.slabs.span(span);
    let wanted = row.parent?;
    let mut found = None;
    let mut rows = Vec::new();
    for window in span.window.saturating_sub(1)..sight.window + 2 {
        let Some(slab) = sight.slabs.slab(window) else { continue };
        rows.clear();
        slab.with_span_id(row.trace, wanted, &mut rows);
        for &row in rows.iter().filter(|&&r| slab.spans[r as usize].end_ns < sight.rows.end) {
            // Two different spans under one id: neither can be told from the other.
            if found.replace(RowId { window, row }).is_some() {
                return None;
            }
        }
    }
    found
}
