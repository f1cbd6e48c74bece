//! Which pods are looked at together, and how far back: what the stage may cost.

use std::collections::{BTreeMap, BTreeSet};

use crate::relay::Relays;
use crate::sight::Sight;
use crate::slab::ExchangeId;
use crate::window::{window_index, window_start};

/// Calls that are looked at together. A call costs up to 0.07 ms in both walks, and a tenth of this
/// many traced ones are enough to learn from.
const CALLS_MAX: usize = 6_000;

/// Calls that are looked at for one window, over all workloads: two seconds of one core.
const CALLS_OF_WINDOW_MAX: usize = 30_000;

/// Pods of one workload.
#[derive(Debug)]
pub(super) struct Part {
    /// In an order that does not depend on arrival.
    pub(super) places: Vec<u32>,
    pub(super) asked: Vec<ExchangeId>,
    /// Calls that began before are not looked at.
    pub(super) from_ns: i64,
    calls: usize,
}

/// Whose code a pod runs. Ordered by texts: numbers of names depend on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Code<'a> {
    Workload {
        namespace: &'a str,
        name: &'a str,
    },
    /// A pod without an owner, or a namespace on a node.
    Own {
        name: &'a str,
        namespace: i64,
    },
}

/// The parts that can be looked at, and the calls of those that are too many.
pub(super) fn parts(
    sight: &Sight<'_>,
    relays: &Relays,
    asked: &[ExchangeId],
) -> (Vec<Part>, Vec<ExchangeId>) {
    let mut asked_of: BTreeMap<u32, Vec<ExchangeId>> = BTreeMap::new();
    for &call in asked {
        asked_of.entry(sight.exchange(call).place).or_default().push(call);
    }
    let mut parts = Vec::new();
    for places in workloads(sight, relays, &asked_of) {
        parts.extend(split(sight, &places, &asked_of));
    }
    // Small ones first, so that one large workload does not leave many without an answer. Equals
    // stay in the order of their names.
    parts.sort_by_key(|part: &Part| part.calls);
    let mut budget = CALLS_OF_WINDOW_MAX;
    let (mut taken, mut dense) = (Vec::new(), Vec::new());
    for part in parts {
        match budget.checked_sub(part.calls).filter(|_| part.calls <= CALLS_MAX) {
            Some(left) => {
                budget = left;
                taken.push(part);
            }
            None => dense.extend(part.asked),
        }
    }
    (taken, dense)
}

/// The places of each workload in which a call is asked about.
fn workloads(
    sight: &Sight<'_>,
    relays: &Relays,
    asked: &BTreeMap<u32, Vec<ExchangeId>>,
) -> Vec<Vec<u32>> {
    let mut places: Vec<(Code<'_>, (&str, i64), u32)> = (0..sight.slabs.places())
        .filter(|place| !relays.proxy_places.contains(place))
        .filter_map(|place| name(sight, place).map(|(code, own)| (code, own, place)))
        .collect();
    places.sort_unstable();
    let of_code = places.chunk_by(|a, b| a.0 == b.0);
    let of_code = of_code.filter(|places| places.iter().any(|p| asked.contains_key(&p.2)));
    of_code.map(|places| places.iter().map(|p| p.2).collect()).collect()
}

/// Whose code runs in a place, and the place's own name, as any of its exchanges tells.
fn name<'a>(sight: &Sight<'a>, place: u32) -> Option<(Code<'a>, (&'a str, i64))> {
    let exchange = (sight.first..sight.window + 2).find_map(|window| {
        let slab = sight.slabs.slab(window)?;
        let row = slab.clients(place).first().or(slab.servers(place).first())?;
        Some(&slab.exchanges[*row as usize])
    })?;
    let names = &sight.slabs.names;
    let own = match exchange.pod {
        Some(uid) => (names.text(uid), 0),
        None => (names.text(exchange.node), exchange.netns_cookie),
    };
    let pod = exchange.pod.and_then(|uid| sight.owners.pod(uid));
    let code = match pod.and_then(|pod| Some((pod.namespace, pod.workload?))) {
        Some((namespace, name)) => {
            Code::Workload { namespace: names.text(namespace), name: names.text(name) }
        }
        None => Code::Own { name: own.0, namespace: own.1 },
    };
    Some((code, own))
}

/// As many places together as there may be calls, and for them as many windows.
fn split(sight: &Sight<'_>, places: &[u32], asked: &BTreeMap<u32, Vec<ExchangeId>>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let starts = places.iter().filter_map(|p| asked.get(p)).flatten();
    let first_ns = starts.map(|&call| sight.exchange(call).start_ns).min();
    let oldest = window_of(sight, first_ns.unwrap_or(i64::MAX)).min(sight.window.saturating_sub(1));
    let oldest = oldest.max(sight.first);
    for &place in places {
        let calls = (oldest..sight.window + 2).map(|w| calls(sight, w, place)).sum::<usize>();
        match parts.last_mut() {
            Some(part) if part.calls + calls <= CALLS_MAX => {
                part.places.push(place);
                part.calls += calls;
            }
            _ => {
                let from_ns = i64::from(oldest) * sight.settings.window_ns;
                parts.push(Part { places: vec![place], asked: Vec::new(), from_ns, calls });
            }
        }
    }
    for part in &mut parts {
        let of_part: BTreeSet<u32> = part.places.iter().copied().collect();
        part.asked =
            asked.iter().filter(|a| of_part.contains(a.0)).flat_map(|a| a.1).copied().collect();
        for window in (sight.first..oldest).rev() {
            let more: usize = part.places.iter().map(|&place| calls(sight, window, place)).sum();
            if part.calls + more > CALLS_MAX {
                break;
            }
            part.calls += more;
            part.from_ns = i64::from(window) * sight.settings.window_ns;
        }
    }
    parts.retain(|part| !part.asked.is_empty());
    parts
}

fn window_of(sight: &Sight<'_>, at_ns: i64) -> u32 {
    let start_ns = window_start(at_ns.min(sight.rows.end), sight.settings);
    u32::try_from(window_index(start_ns, sight.settings).max(0)).unwrap_or(u32::MAX)
}

fn calls(sight: &Sight<'_>, window: u32, place: u32) -> usize {
    sight.slabs.slab(window).map_or(0, |slab| {
        let visible = sight.view().visible(window);
        slab.clients(place).iter().filter(|&&row| (row as usize) < visible).count()
    })
}
