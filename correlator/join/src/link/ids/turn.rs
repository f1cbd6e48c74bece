//! The turn of a connection that a span is of.
//!
//! A span names the socket of its peer, and by its times one of the requests that came on it. The
//! SDK's stamps and the kernel's differ by less than turns do, but where the exchange of a turn was
//! lost, its span still lies near the turns beside it.

use crate::columns::{Ended, Protocol, Span};
use crate::link::View;
use crate::link::ids::SAME_NODE_TOLERANCE_NS;
use crate::slab::{ExchangeId, RowId, Turn};

/// A span and its exchange overlap, but for this much.
pub(crate) const OVERLAP_NS: i64 = 200_000;

/// A span and its exchange end within this of each other, where both were seen to end.
const ENDS_APART_NS: i64 = 2_000_000_000;

/// The turn, on the connection that the span names by its peer, in which the span began and ended.
pub(super) fn turn_of(view: &View<'_>, place: u32, span: &Span) -> Option<ExchangeId> {
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
    let found = match within(SAME_NODE_TOLERANCE_NS) {
        (Some(one), 1) => Some(one),
        (None, _) => None,
        _ => match within(0) {
            (Some(one), 1) => Some(one),
            _ => None,
        },
    };
    found.filter(|&turn| is_of_no_lost_turn(view, place, span, turn))
}

/// Whether a span and an exchange were stamped by one clock, for all that is known.
pub(crate) fn is_of_one_clock(view: &View<'_>, span: &Span, id: ExchangeId) -> bool {
    let turn = view.slabs.exchange(id);
    let (from_ns, to_ns) = (span.start_ns.min(turn.start_ns), span.end_ns.max(turn.end_ns));
    view.node_clocks.set_by(turn.node, from_ns, to_ns).is_none()
}

/// Whether a span is not one of the turn before or after, the exchange of which was lost: most of it
/// lies in the turn, or the one that it leans to was seen, or never was.
fn is_of_no_lost_turn(view: &View<'_>, place: u32, span: &Span, id: ExchangeId) -> bool {
    let turn = view.slabs.exchange(id);
    let end_ns = turn.upper_ns();
    let shared_ns = end_ns.min(span.end_ns).saturating_sub(turn.start_ns.max(span.start_ns));
    if shared_ns.saturating_mul(2) >= span.end_ns.saturating_sub(span.start_ns) {
        return true;
    }
    let before_ns = turn.start_ns.saturating_sub(span.start_ns);
    let leans_back = before_ns > span.end_ns.saturating_sub(end_ns);
    match turn.ordinal {
        // The agent came to the connection later, and did not count.
        ..0 => false,
        0 if leans_back => true,
        _ if !leans_back && turn.ended == Ended::Closed => true,
        ordinal => {
            let next_to = if leans_back { ordinal - 1 } else { ordinal + 1 };
            let mut windows = id.window.saturating_sub(1)..id.window + 2;
            windows.any(|window| {
                let Some(slab) = view.slabs.slab(window) else { return false };
                let mut turns = slab.turns(place, turn.remote()).iter();
                turns.any(|other| {
                    let other = &slab.exchanges[other.row as usize];
                    other.ordinal == next_to && other.socket_cookie == turn.socket_cookie
                })
            })
        }
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
