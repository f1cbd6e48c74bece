//! The requests and calls of one place that one window has to look at.
//!
//! Those that end in the window, and older calls of requests that end in it: a request that lasted
//! long has calls, and they have servers with calls of their own, in the windows before.

use crate::columns::Exchange;
use crate::sight::Sight;
use crate::slab::{ExchangeId, RowId};

/// One place as a scene of relaying. Both lists are by start.
#[derive(Debug, Default)]
pub(super) struct Scene {
    pub(super) place: u32,
    pub(super) servers: Vec<ExchangeId>,
    pub(super) clients: Vec<ExchangeId>,
}

/// A proxy writes its line, and a span's exchange ends, within this of the request's end.
const AROUND_NS: i64 = 2_000_000_000;

/// From when on each place's calls may belong to a path of the window.
pub(super) fn reach_back(sight: &Sight<'_>) -> Vec<i64> {
    let near_ns = sight.time.start - AROUND_NS;
    let mut from_ns = vec![near_ns; sight.slabs.places() as usize];
    let mut open: Vec<u32> = Vec::new();
    for place in 0..sight.slabs.places() {
        let earliest_ns = first_start(sight, place);
        if earliest_ns < near_ns {
            from_ns[place as usize] = earliest_ns;
            open.push(place);
        }
    }
    while let Some(place) = open.pop() {
        let from = from_ns[place as usize];
        for (window, call) in older_calls(sight, place, from) {
            let Some(server) = sight.server_of(RowId { window, row: call }) else { continue };
            let server = sight.exchange(server);
            let reached = &mut from_ns[server.place as usize];
            if server.start_ns < *reached {
                *reached = server.start_ns;
                open.push(server.place);
            }
        }
    }
    from_ns
}

/// Start of the oldest request of a place that ends in the window or later.
fn first_start(sight: &Sight<'_>, place: u32) -> i64 {
    let mut first_ns = i64::MAX;
    for window in sight.window..=sight.last {
        let Some(slab) = sight.slabs.slab(window) else { continue };
        let exchanges = slab.servers(place).iter().map(|&row| &slab.exchanges[row as usize]);
        let mut visible = exchanges.filter(|e| sight.was_open(e));
        first_ns = first_ns.min(visible.next().map_or(i64::MAX, |e| e.start_ns));
    }
    first_ns.max(sight.known_from(place))
}

/// Calls of a place that began at `from_ns` or later and ended before the window.
pub(crate) fn older_calls<'a>(
    sight: &'a Sight<'_>,
    place: u32,
    from_ns: i64,
) -> impl Iterator<Item = (u32, u32)> + 'a {
    (sight.first_of(place)..sight.window).flat_map(move |window| {
        let slab = sight.slabs.slab(window);
        let calls = slab.map_or(&[][..], |slab| slab.clients(place));
        let begun = |row: &u32| slab.is_some_and(|s| s.exchanges[*row as usize].start_ns < from_ns);
        let from = calls.partition_point(begun);
        calls[from..].iter().map(move |&row| (window, row))
    })
}

/// A place with the calls that began at `from_ns` or later, and the requests they may belong to.
pub(super) fn scene(sight: &Sight<'_>, place: u32, from_ns: i64) -> Option<Scene> {
    let mut scene = Scene { place, ..Scene::default() };
    let older = older_calls(sight, place, from_ns).map(|(window, row)| RowId { window, row });
    scene.clients.extend(older);
    for window in sight.window..sight.window + 2 {
        let Some(slab) = sight.slabs.slab(window) else { continue };
        let visible = sight.view().visible(window);
        let calls = slab.clients(place).iter().filter(|&&row| (row as usize) < visible);
        scene.clients.extend(calls.map(|&row| RowId { window, row }));
    }
    if scene.clients.is_empty() && scene_is_quiet(sight, place) {
        return None;
    }
    for window in sight.first_of(place)..=sight.last {
        let Some(slab) = sight.slabs.slab(window) else { continue };
        let may_matter =
            |e: &Exchange| sight.was_open(e) && (e.end_ns >= from_ns || !e.has_response());
        // What was answered in a window that is over by then is not looked at again.
        let is_over = i64::from(window + 1) * sight.settings.window_ns <= from_ns;
        let rows = if is_over { slab.unanswered(place) } else { slab.servers(place) };
        let rows = rows.iter().filter(|&&row| may_matter(&slab.exchanges[row as usize]));
        scene.servers.extend(rows.map(|&row| RowId { window, row }));
    }
    scene.clients.retain(|&id| sight.is_last_word(id));
    scene.servers.retain(|&id| sight.stands_for_exchange(id));
    scene.clients.sort_by_key(|&id| (sight.exchange(id).start_ns, id));
    scene.servers.sort_by_key(|&id| (sight.exchange(id).start_ns, id));
    Some(scene)
}

/// Whether a place has neither calls nor requests in the window.
fn scene_is_quiet(sight: &Sight<'_>, place: u32) -> bool {
    sight.slabs.slab(sight.window).is_none_or(|slab| slab.servers(place).is_empty())
}
