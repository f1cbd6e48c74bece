//! Which requests may have made a call of which only the server's end was seen.
//!
//! Such a call is proof that some request made more than what was seen. Each request that was being
//! served then is suspected, but for those that something acquits: ids that name another one; client
//! spans that are as many as the calls seen; or other requests of the pod, none of which ever called
//! what this one would have called with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::columns::Kind;
use crate::link::half::Call;
use crate::link::proxy::Told;
use crate::names::Name;
use crate::relay::place::Scene;
use crate::relay::{Relays, by_span};
use crate::sight::Sight;
use crate::slab::{ExchangeId, RowId, SpanId};

/// A request is acquitted when another one is so many times as likely.
const ODDS: u64 = 1_000;

/// Such calls by the place that made them, by their start.
#[derive(Debug, Default)]
pub(crate) struct HalfCalls(BTreeMap<u32, Vec<Call>>);

impl HalfCalls {
    pub(super) fn new(sight: &Sight<'_>) -> Self {
        let mut of_place: BTreeMap<u32, Vec<Call>> = BTreeMap::new();
        for call in sight.half_calls() {
            of_place.entry(call.place).or_default().push(call);
        }
        for calls in of_place.values_mut() {
            calls.sort_unstable_by_key(|call| (call.from_ns, call.server));
        }
        Self(of_place)
    }

    pub(crate) fn of(&self, place: u32) -> &[Call] {
        self.0.get(&place).map_or(&[], Vec::as_slice)
    }
}

/// Services that a request called, each as often as it did, sorted.
type Called = Vec<(Name, Name)>;

/// One place that made such calls.
#[derive(Debug)]
pub(super) struct Place {
    place: u32,
    servers: Vec<ExchangeId>,
    /// Those that ids do not decide, each with the requests that were being served.
    calls: Vec<(Call, Vec<ExchangeId>)>,
    /// Requests that ids name.
    named: Vec<ExchangeId>,
}

impl Place {
    /// `calls` are those that the scene's place made; none where there are none.
    pub(super) fn new(
        sight: &Sight<'_>,
        calls: &[Call],
        scene: &Scene,
        told: Option<&Told>,
    ) -> Option<Self> {
        if calls.is_empty() {
            return None;
        }
        // What a proxy tried is in its line.
        let labelled = told.map(Told::labelled).unwrap_or_default();
        let open: Vec<ExchangeId> =
            scene.servers.iter().copied().filter(|server| !labelled.contains(server)).collect();
        let (mut undecided, mut named) = (Vec::new(), Vec::new());
        for call in calls {
            if let Some(cause) = by_span::cause_of_call(sight, scene.place, call.server) {
                named.push(cause);
                continue;
            }
            let during = open.iter().copied().filter(|&server| {
                server != call.server && call.may_be_during(sight.exchange(server))
            });
            undecided.push((*call, during.collect()));
        }
        let servers = scene.servers.clone();
        Some(Self { place: scene.place, servers, calls: undecided, named })
    }
}

/// The requests that may have made half seen calls, as far as nothing acquits them.
pub(super) fn left(all: &[Place], sight: &Sight<'_>, relays: &Relays) -> BTreeSet<ExchangeId> {
    let mut left: BTreeSet<ExchangeId> =
        all.iter().flat_map(|place| place.named.iter().copied()).collect();
    let places = all.iter().filter(|p| p.calls.iter().any(|(_, s)| !s.is_empty()));
    let places: BTreeMap<u32, &Place> = places.map(|place| (place.place, place)).collect();
    if places.is_empty() {
        return left;
    }
    let spans = client_spans(sight, &places);
    for (place, suspects) in places {
        let traced = spans.get(&place);
        let has_all_calls = |&server: &ExchangeId| {
            let span = sight.span_of(server).one();
            let of_span = |counts: &BTreeMap<SpanId, usize>| {
                span.map(|span| counts.get(&span).copied().unwrap_or(0))
            };
            traced.and_then(of_span) == Some(relays.calls_of(server).len())
        };
        let mut seen: BTreeMap<Called, u64> = BTreeMap::new();
        for &server in &suspects.servers {
            *seen.entry(called(sight, relays, server)).or_default() += 1;
        }
        for (call, during) in &suspects.calls {
            let open: Vec<ExchangeId> =
                during.iter().copied().filter(|s| !has_all_calls(s)).collect();
            left.extend(likely(sight, relays, &seen, call, &open));
        }
    }
    left
}

/// The suspects of a call for which others that do all that is seen of them, and the call, are not
/// rare beside those that do only what is seen.
fn likely(
    sight: &Sight<'_>,
    relays: &Relays,
    seen: &BTreeMap<Called, u64>,
    call: &Call,
    suspects: &[ExchangeId],
) -> Vec<ExchangeId> {
    let server = sight.exchange(call.server);
    let service = match sight.owners.services_of_endpoint(server.local(), server.start_ns)[..] {
        [service] => service,
        _ => return suspects.to_vec(),
    };
    let odds = |&suspect: &ExchangeId| -> (u64, u64) {
        let without = called(sight, relays, suspect);
        let mut with = without.clone();
        with.insert(with.partition_point(|s| *s <= service), service);
        let count = |called: &Called| seen.get(called).copied().unwrap_or(0);
        (count(&with), count(&without).max(1))
    };
    let all: Vec<(u64, u64)> = suspects.iter().map(odds).collect();
    // Of two fractions, by cross multiplication.
    let Some(&best) = all.iter().max_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1))) else {
        return Vec::new();
    };
    let is_likely = |odds: &(u64, u64)| odds.0 * best.1 * ODDS >= best.0 * odds.1;
    let likely = suspects.iter().zip(&all).filter(|(_, odds)| is_likely(odds));
    likely.map(|(suspect, _)| *suspect).collect()
}

fn called(sight: &Sight<'_>, relays: &Relays, server: ExchangeId) -> Called {
    let calls = relays.calls_of(server).iter().map(|made| sight.exchange(made.call));
    let services = calls.filter_map(|call| {
        let addressed = sight.owners.service(call.remote(), call.start_ns);
        let addressed = addressed.map(|service| (service.namespace, service.name));
        let of_pod = || sight.owners.services_of_endpoint(call.remote(), call.start_ns);
        addressed.or_else(|| of_pod().first().copied())
    });
    let mut called: Called = services.collect();
    called.sort_unstable();
    called
}

/// How many client spans each server span of the places has below it.
fn client_spans(
    sight: &Sight<'_>,
    places: &BTreeMap<u32, &Place>,
) -> BTreeMap<u32, BTreeMap<SpanId, usize>> {
    let mut counts: BTreeMap<u32, BTreeMap<SpanId, usize>> = BTreeMap::new();
    for (window, _) in sight.windows() {
        let Some(slab) = sight.slabs.slab(window) else { continue };
        for (row, span) in (0..).zip(&slab.spans) {
            if span.kind != Kind::Client || span.end_ns >= sight.rows.end {
                continue;
            }
            let place = sight.view().place_of_span(span).filter(|place| places.contains_key(place));
            let Some(place) = place else { continue };
            let of_place = counts.entry(place).or_default();
            if let Some(server) = by_span::serving(sight, place, RowId { window, row }) {
                *of_place.entry(server).or_default() += 1;
            }
        }
    }
    counts
}
