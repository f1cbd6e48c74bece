//! Inside one pod: which incoming request caused which outgoing call.
//!
//! In order: span parent, the proxy's log, thread, containment, statistics. A later one never
//! overrules an earlier one. A call that more than one request may have caused stays undecided.

mod by_span;
mod half;
pub(crate) mod place;
mod statistics;
mod thread;

use std::collections::{BTreeMap, BTreeSet};

use crate::interval::Intervals;
use crate::link::proxy::{Lines, ProxyLinks, Told};
use crate::link::{Parent, balancer};
use crate::parallel;
use crate::reason::Reason;
use crate::relay::half::HalfCalls;
use crate::relay::place::Scene;
use crate::relay::statistics::Statistics;
use crate::relay::thread::Threads;
use crate::row_map::RowMap;
use crate::sight::Sight;
use crate::slab::{ExchangeId, LogId};

/// What is known of the cause of a client exchange.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cause {
    Parent(Parent),
    /// No request was being served in the pod: the call began there.
    Root,
    /// These requests may have caused it, and none is proven. Never empty.
    Undecided {
        candidates: Vec<ExchangeId>,
        why: Reason,
    },
    /// The call has a cause that was not seen.
    Orphan(Reason),
}

/// A call of a request, and what says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Made {
    server: ExchangeId,
    start_ns: i64,
    pub(crate) call: ExchangeId,
    pub(crate) by: Reason,
}

/// What was decided of the calls that may be part of one window's paths.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    /// Calls of one server together, by start.
    made: Vec<Made>,
    /// First of each server's, and how many.
    made_for: RowMap<(u32, u32)>,
    parents: RowMap<Parent>,
    /// Causes of the other calls.
    pub(crate) others: BTreeMap<ExchangeId, Cause>,
    pub(crate) proxies: ProxyLinks,
    pub(crate) proxy_places: BTreeSet<u32>,
    /// Arrivals with the line that a balancer outside the cluster wrote of each.
    pub(crate) balancers: BTreeMap<ExchangeId, LogId>,
    /// Places that send spans of less than half of their requests.
    pub(crate) sampled: BTreeSet<u32>,
    pub(crate) statistics: Statistics,
    /// Calls of which only the server's end was seen.
    pub(crate) half_calls: HalfCalls,
    /// Requests that may have made one of these.
    pub(crate) may_lack_calls: BTreeSet<ExchangeId>,
}

/// A span's stamps come from the SDK, an exchange's from the kernel; both lie on one node's clock.
const SPAN_TOLERANCE_NS: i64 = 2_000_000;

impl Relays {
    pub(crate) fn decide(sight: &Sight<'_>) -> Self {
        let lines = Lines::new(sight);
        let unseen = Unseen::new(sight);
        let mut relays = Self {
            parents: sight.row_map(),
            made_for: sight.row_map(),
            proxies: ProxyLinks::new(sight),
            half_calls: HalfCalls::new(sight),
            ..Self::default()
        };
        let from_ns = place::reach_back(sight);
        let decided = parallel::map(sight.settings.threads, 0..from_ns.len(), |place| {
            let scene = place::scene(sight, place as u32, from_ns[place])?;
            Some(Decided::new(sight, &scene, &lines, unseen.of(scene.place), &relays.half_calls))
        });
        let mut suspected = Vec::new();
        for mut of_place in decided.into_iter().flatten() {
            suspected.extend(of_place.suspected.take());
            relays.take(of_place);
        }
        relays.balancers = balancer::lines_of_arrivals(sight);
        relays.sampled = sight.sampled_places();
        let by_places = relays.made.len();
        statistics::decide(sight, &mut relays, &unseen);
        if relays.made.len() > by_places {
            relays.made.sort_unstable();
        }
        let mut first = 0;
        for of_server in relays.made.chunk_by(|a, b| a.server == b.server) {
            let count = of_server.len() as u32;
            relays.made_for.insert(of_server[0].server, (first, count));
            first += count;
        }
        relays.may_lack_calls = half::left(&suspected, sight, &relays);
        relays
    }

    /// Adds what was decided of one more place.
    fn take(&mut self, of_place: Decided) {
        for made in &of_place.made {
            self.parents.insert(made.call, Parent { server: made.server, by: made.by });
        }
        self.made.extend(of_place.made);
        self.others.extend(of_place.others);
        if let Some(place) = of_place.proxy {
            self.proxy_places.insert(place);
        }
        if let Some(told) = of_place.told {
            self.proxies.take(told);
        }
    }

    fn give(&mut self, sight: &Sight<'_>, call: ExchangeId, parent: Parent) {
        let start_ns = sight.exchange(call).start_ns;
        let Parent { server, by } = parent;
        self.made.push(Made { server, start_ns, call, by });
        self.parents.insert(call, parent);
    }

    /// Another reason why a call is undecided.
    fn doubt_more(&mut self, call: ExchangeId, reason: Reason) {
        if let Some(Cause::Undecided { why, .. }) = self.others.get_mut(&call) {
            *why = reason;
        }
    }

    /// The calls made for one request, by start.
    pub(crate) fn calls_of(&self, server: ExchangeId) -> &[Made] {
        match self.made_for.get(server) {
            Some((first, count)) => &self.made[first as usize..(first + count) as usize],
            None => &[],
        }
    }

    pub(crate) fn parent_of(&self, call: ExchangeId) -> Option<Parent> {
        self.parents.get(call)
    }

    /// Calls that have a cause.
    pub(crate) fn caused(&self) -> impl Iterator<Item = ExchangeId> + '_ {
        self.made.iter().map(|made| made.call)
    }
}

/// What was decided of one place.
#[derive(Debug, Default)]
struct Decided {
    /// By server, then start.
    made: Vec<Made>,
    /// Causes of the other calls.
    others: Vec<(ExchangeId, Cause)>,
    /// The place, where it is one that passes requests on to others.
    proxy: Option<u32>,
    /// What its lines tell, where it writes any.
    told: Option<Told>,
    /// Who may have made the calls there that were half seen.
    suspected: Option<half::Place>,
}

impl Decided {
    fn new(
        sight: &Sight<'_>,
        scene: &Scene,
        lines: &Lines,
        unseen: Option<&Intervals>,
        half: &HalfCalls,
    ) -> Self {
        let Scene { place, servers, clients } = scene;
        let proxy = Some(*place).filter(|&place| lines.is_proxy(place));
        let half = half.of(*place);
        let tell = || Told::new(sight, servers, clients, lines, half, *place);
        let told = lines.of(*place).map(|_| tell());
        let suspected = half::Place::new(sight, half, scene, told.as_ref());
        let mut decided = Self { proxy, told, suspected, ..Self::default() };
        let mut context = Context::new(sight, scene, unseen);
        for (index, &call) in clients.iter().enumerate() {
            let cause = match (context.cause_by_span(call), &decided.told) {
                (Some(cause), _) => cause,
                (None, Some(told)) if decided.proxy.is_some() => {
                    cause_in_proxy(told, context.doubt(call).why(), index)
                }
                (None, _) => context.cause_by_thread(call),
            };
            match context.doubt_more_than_time(call, cause) {
                Cause::Parent(Parent { server, by }) => {
                    let start_ns = sight.exchange(call).start_ns;
                    decided.made.push(Made { server, start_ns, call, by });
                }
                cause => decided.others.push((call, cause)),
            }
        }
        decided.made.sort_unstable();
        decided
    }
}

/// What a proxy's lines say of the cause of one of its calls.
fn cause_in_proxy(told: &Told, doubt: Option<Reason>, call: usize) -> Cause {
    match (told.parents[call], doubt) {
        (Some(parent), Some(why)) if parent.by == Reason::OkContainment => {
            return Cause::Undecided { candidates: vec![parent.server], why };
        }
        (Some(parent), _) => return Cause::Parent(parent),
        (None, _) => {}
    }
    match told.undecided.get(&call) {
        Some(candidates) if !candidates.is_empty() => {
            let why = doubt.unwrap_or(Reason::AmbigTimeOnly);
            Cause::Undecided { candidates: candidates.clone(), why }
        }
        // A proxy makes no calls of its own accord.
        _ => Cause::Orphan(doubt.unwrap_or(Reason::FailOrphan)),
    }
}

/// Requests of which only the client's end was seen, by the place that they came to.
struct Unseen(BTreeMap<u32, Intervals>);

impl Unseen {
    fn new(sight: &Sight<'_>) -> Self {
        let mut of_place: BTreeMap<u32, Vec<(i64, i64)>> = BTreeMap::new();
        for request in sight.unseen_requests() {
            of_place.entry(request.place).or_default().push((request.from_ns, request.to_ns));
        }
        let intervals = |mut times: Vec<(i64, i64)>| {
            times.sort_unstable();
            Intervals::new(times.into_iter())
        };
        Self(of_place.into_iter().map(|(place, times)| (place, intervals(times))).collect())
    }

    fn of(&self, place: u32) -> Option<&Intervals> {
        self.0.get(&place)
    }
}

/// What decides beside the links.
struct Context<'a> {
    sight: &'a Sight<'a>,
    scene: &'a Scene,
    unseen: Option<&'a Intervals>,
    /// Made when the first call asks.
    threads: Option<Threads<'a>>,
}

impl<'a> Context<'a> {
    fn new(sight: &'a Sight<'a>, scene: &'a Scene, unseen: Option<&'a Intervals>) -> Self {
        Self { sight, scene, unseen, threads: None }
    }

    fn cause_by_span(&mut self, call: ExchangeId) -> Option<Cause> {
        let sight = self.sight;
        let callee = sight.server_of(call)?;
        let server = by_span::cause_of_call(sight, self.scene.place, callee)?;
        if server == callee {
            return None;
        }
        let begins_inside =
            sight.exchange(server).start_ns <= sight.exchange(call).start_ns + SPAN_TOLERANCE_NS;
        Some(if begins_inside {
            Cause::Parent(Parent { server, by: Reason::OkExactId })
        } else {
            self.against_ids(call, server)
        })
    }

    /// The request that ids name came after the call: it may be theirs or one that was being served.
    fn against_ids(&mut self, call: ExchangeId, named: ExchangeId) -> Cause {
        let mut candidates = match self.cause_without_ids(call) {
            Cause::Parent(parent) => vec![parent.server],
            Cause::Undecided { candidates, .. } => candidates,
            Cause::Root | Cause::Orphan(_) => Vec::new(),
        };
        if !candidates.contains(&named) {
            candidates.push(named);
        }
        Cause::Undecided { candidates, why: Reason::ConflictIdVsTuple }
    }

    /// By thread and containment, and by spans whose requests times alone tell.
    fn cause_by_thread(&mut self, call: ExchangeId) -> Cause {
        let (sight, place) = (self.sight, self.scene.place);
        let cause = self.cause_without_ids(call);
        let callee = sight.server_of(call);
        let likely = callee.and_then(|s| by_span::likely_cause_of_call(sight, place, s));
        match (&cause, likely) {
            (Cause::Undecided { candidates, .. }, Some(server)) if candidates.contains(&server) => {
                Cause::Parent(Parent { server, by: Reason::OkContainment })
            }
            _ => cause,
        }
    }

    fn cause_without_ids(&mut self, call: ExchangeId) -> Cause {
        let (doubt, callee) = (self.doubt(call), self.sight.server_of(call));
        self.threads().cause(call, callee, doubt)
    }

    fn threads(&mut self) -> &mut Threads<'a> {
        self.threads.get_or_insert_with(|| Threads::new(self.sight, self.scene))
    }

    /// What times decided is in doubt where the node's clock was set, and what they left undecided
    /// may have a better reason.
    fn doubt_more_than_time(&self, call: ExchangeId, cause: Cause) -> Cause {
        let sight = self.sight;
        let is_exact = matches!(&cause, Cause::Parent(p) if p.by == Reason::OkExactId);
        if is_exact {
            return cause;
        }
        if let Some(by_ns) = self.clock_was_set(call, &cause) {
            let client = sight.exchange(call);
            let (from_ns, to_ns) = (client.start_ns - by_ns, client.upper_ns().max(client.end_ns));
            let may_be = |id: &ExchangeId| {
                let server = sight.exchange(*id);
                server.start_ns <= to_ns.saturating_add(by_ns) && from_ns <= server.upper_ns()
            };
            let candidates: Vec<ExchangeId> =
                self.scene.servers.iter().copied().filter(may_be).collect();
            return match candidates[..] {
                [] => Cause::Orphan(Reason::FailClockStep),
                _ => Cause::Undecided { candidates, why: Reason::AmbigSkewUnknown },
            };
        }
        match cause {
            Cause::Undecided { candidates, why: Reason::AmbigTimeOnly }
                if sight
                    .server_of(call)
                    .is_some_and(|callee| by_span::has_twin_parents(sight, callee)) =>
            {
                Cause::Undecided { candidates, why: Reason::AmbigDupTraceId }
            }
            cause => cause,
        }
    }

    /// By how much the clock was set while the call, or a request that may have caused it, went on.
    fn clock_was_set(&self, call: ExchangeId, cause: &Cause) -> Option<i64> {
        let sight = self.sight;
        let client = sight.exchange(call);
        let requests = match cause {
            Cause::Parent(parent) => std::slice::from_ref(&parent.server),
            Cause::Undecided { candidates, .. } => &candidates[..],
            Cause::Root | Cause::Orphan(_) => &[],
        };
        let requests = requests.iter().map(|&id| sight.exchange(id));
        let from_ns = requests.map(|r| r.start_ns).fold(client.start_ns, i64::min);
        sight.steps.doubt(client.node, from_ns, client.end_ns)
    }

    /// Why more requests may have been served at the call's begin than were seen.
    fn doubt(&self, call: ExchangeId) -> Doubt {
        let row = self.sight.exchange(call);
        let lost = self.sight.coverage.whole(Some(row.node), row.start_ns, row.end_ns).err();
        let is_too_old = row.start_ns < self.sight.known_from(self.scene.place);
        let at_ns = row.start_ns;
        let has_unseen = self.unseen.is_some_and(|u| !u.around(at_ns, at_ns).is_empty());
        let known = is_too_old
            .then_some(Reason::MissingBeyondGuard)
            .or(has_unseen.then_some(Reason::MissingLate));
        Doubt { lost, known }
    }
}

/// Why a request that was not seen may have been served.
#[derive(Clone, Copy)]
struct Doubt {
    /// Events were lost, or nobody watched.
    lost: Option<Reason>,
    /// One is known of, or was not read.
    known: Option<Reason>,
}

impl Doubt {
    fn why(self) -> Option<Reason> {
        self.lost.or(self.known)
    }

    /// Whether nothing but a loss of events speaks for such a request.
    fn is_of_loss(self) -> bool {
        self.lost == Some(Reason::MissingLostEvents) && self.known.is_none()
    }
}
