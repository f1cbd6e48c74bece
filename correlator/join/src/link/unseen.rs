//! Requests that came to a place for all we know, but of which only the client's end was seen. Each
//! may be the cause of a call there.

use std::collections::BTreeMap;

use crate::address::End;
use crate::columns::Role;
use crate::comparison::{Apart, Stamp};
use crate::link::statistical::Likely;
use crate::link::tuple::Pairs;
use crate::link::{View, ids};
use crate::ownership::Owner;
use crate::skew::Offset;
use crate::slab::RowId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unseen {
    pub(crate) place: u32,
    pub(crate) from_ns: i64,
    pub(crate) to_ns: i64,
}

/// One of which nobody knows well enough when that was by its server's clock.
#[derive(Clone, Copy, Debug)]
struct Spread {
    /// In the list of all.
    at: usize,
    lasted_ns: i64,
}

/// What the clients of one window asked, and no server is known to have received.
pub(super) fn unseen(view: &View<'_>, pairs: &Pairs, likely: &Likely) -> Vec<Unseen> {
    let Some(slab) = view.slabs.slab(view.window) else { return Vec::new() };
    let ends = slab.exchanges.iter().zip(&pairs.server_of);
    let ends = ends.zip((0..).map(|row| RowId { window: view.window, row }));
    let alone = ends.filter(|((e, server), id)| {
        e.role == Role::Client && server.is_none() && likely.server_of(*id).is_none()
    });
    let mut found = Vec::new();
    let mut spread: BTreeMap<(u32, End), Vec<Spread>> = BTreeMap::new();
    for ((client, _), _) in alone {
        let translated = view.nat.of_client(client).ok().map(|binding| view.nat.get(binding).reply);
        let (server, peer) =
            translated.map_or((client.remote(), client.local()), |t| (t.source, t.destination));
        let Owner::Pod(pod) = view.owners.owner(server, client.start_ns) else { continue };
        let Some(place) = view.slabs.place_of_pod(pod.uid) else { continue };
        let from = Stamp { node: client.node, ns: client.start_ns };
        let to = Stamp { node: pod.node.unwrap_or(client.node), ns: client.start_ns };
        let apart = view.nat.clocks.apart(from, to);
        if !matches!(apart, Apart::Proven(_)) && from.node != to.node {
            let lasted_ns = client.upper_ns().saturating_sub(client.start_ns);
            spread.entry((place, peer)).or_default().push(Spread { at: found.len(), lasted_ns });
        }
        // Of clocks that nobody can compare it is enough to know that they are wrong.
        let anywhere = Offset { offset_ns: 0, bound_ns: view.settings.guard_ns };
        let apart = apart.offset().unwrap_or(anywhere);
        let on_its_clock = |ns: i64| ns.saturating_add(apart.offset_ns);
        found.push(Unseen {
            place,
            from_ns: on_its_clock(client.start_ns) - apart.bound_ns,
            to_ns: on_its_clock(client.upper_ns()).saturating_add(apart.bound_ns),
        });
    }
    place_by_spans(view, &spread, &mut found);
    found
}

/// Narrows when requests were served to what their own spans say. A span that names the connection
/// and tells of no exchange that was seen there is of the one request of it that was not seen.
fn place_by_spans(
    view: &View<'_>,
    spread: &BTreeMap<(u32, End), Vec<Spread>>,
    found: &mut [Unseen],
) {
    if spread.is_empty() {
        return;
    }
    let mut told: BTreeMap<usize, (u32, Unseen)> = BTreeMap::new();
    for window in view.window.saturating_sub(1)..view.window + 2 {
        let Some(slab) = view.slabs.slab(window) else { continue };
        let of_window = View { window, ..*view };
        for span in slab.server_spans().iter().map(|&row| &slab.spans[row as usize]) {
            if span.end_ns >= view.until_ns {
                break;
            }
            let Some((peer, place)) = span.peer().zip(view.place_of_span(span)) else { continue };
            let Some([request]) = spread.get(&(place, peer)).map(Vec::as_slice) else { continue };
            let Unseen { from_ns, to_ns, .. } = found[request.at];
            let is_near = from_ns <= span.end_ns && span.start_ns <= to_ns;
            if !is_near || ids::has_turn(&of_window, place, span) {
                continue;
            }
            // It was served around its span, for no longer than its client waited.
            let around_ns = request.lasted_ns.saturating_add(ids::OVERLAP_NS);
            let served = Unseen {
                place,
                from_ns: from_ns.max(span.end_ns.saturating_sub(around_ns)),
                to_ns: to_ns.min(span.start_ns.saturating_add(around_ns)),
            };
            told.entry(request.at).or_insert((0, served)).0 += 1;
        }
    }
    for (at, (spans, served)) in told {
        if spans == 1 && served.from_ns <= served.to_ns {
            found[at] = served;
        }
    }
}
