//! Inside one pod: which incoming request caused which outgoing call.
//!
//! In order: span parent, the proxy's log, thread, containment. A later one never overrules an
//! earlier one. A call that more than one request may have caused stays undecided.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::coverage::Coverage;
use crate::interval::Intervals;
use crate::link::{Links, Parent};
use crate::observation::{ExchangeId, Place, Role, Seen};
use crate::ownership::{Owner, Ownership};
use crate::reason::Reason;
use crate::window::ReadRange;

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

/// Causes by client exchange, and the calls of each server exchange by start.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    pub(crate) causes: BTreeMap<ExchangeId, Cause>,
    pub(crate) calls: BTreeMap<ExchangeId, Vec<ExchangeId>>,
}

/// A span's stamps come from the SDK, an exchange's from the kernel; both lie on one node's clock.
const SPAN_TOLERANCE_NS: i64 = 2_000_000;

/// So many requests without a contradiction show that a process serves each on one thread.
const BOUND_EXCHANGES_MIN: usize = 8;

/// What decides beside the links: who owned addresses, who watched, and what was read.
struct Context<'a> {
    seen: &'a Seen<'a>,
    links: &'a Links,
    coverage: &'a Coverage,
    rows: &'a Range<i64>,
}

pub(crate) fn decide(
    seen: &Seen<'_>,
    owners: &Ownership,
    coverage: &Coverage,
    links: &Links,
    range: &ReadRange,
    skew_ns: i64,
) -> Relays {
    let context = Context { seen, links, coverage, rows: &range.rows };
    let mut relays = Relays::default();
    let unseen = unseen_requests(seen, owners, links, skew_ns);
    for (index, place) in seen.places.iter().enumerate() {
        let threads = Threads::new(seen, place);
        for &call in &place.clients {
            let cause = context.cause(&threads, &unseen[index], index, call);
            if let Cause::Parent(parent) = cause {
                relays.calls.entry(parent.server).or_default().push(call);
            }
            relays.causes.insert(call, cause);
        }
    }
    relays
}

/// Requests that came to a place for all we know, but only their client's end was seen. Each may be
/// the cause of a call there.
fn unseen_requests(
    seen: &Seen<'_>,
    owners: &Ownership,
    links: &Links,
    skew_ns: i64,
) -> Vec<Intervals> {
    let mut of_place: Vec<Vec<(i64, i64)>> = vec![Vec::new(); seen.places.len()];
    for (id, client) in seen.exchanges.iter().enumerate() {
        if client.role != Role::Client || links.server_of[id].is_some() {
            continue;
        }
        let translated = links.nat.of_client(seen, client).ok();
        let end = translated.map_or(client.remote, |b| seen.bindings[b].reply.source);
        if let Owner::Pod(pod) = owners.owner(end, client.row.start_ns)
            && let Some(place) = seen.place_of_pod(&pod.uid)
        {
            let until_ns = client.upper_ns().saturating_add(skew_ns);
            of_place[place].push((client.row.start_ns - skew_ns, until_ns));
        }
    }
    of_place.into_iter().map(|intervals| Intervals::new(intervals.into_iter())).collect()
}

impl Context<'_> {
    fn cause(
        &self,
        threads: &Threads<'_>,
        unseen: &Intervals,
        place: usize,
        call: ExchangeId,
    ) -> Cause {
        let (seen, links) = (self.seen, self.links);
        let callee = links.server_of[call];
        let by_span = callee.and_then(|s| links.spans.cause_of_call(seen, place, s));
        if let Some(server) = by_span.filter(|&s| Some(s) != callee) {
            let begins_inside = seen.exchanges[server].row.start_ns
                <= seen.exchanges[call].row.start_ns + SPAN_TOLERANCE_NS;
            return if begins_inside {
                Cause::Parent(Parent { server, by: Reason::OkExactId })
            } else {
                Cause::Undecided { candidates: vec![server], why: Reason::ConflictIdVsTuple }
            };
        }
        let doubt = self.doubt(unseen, call);
        if links.proxies.proxies.contains(&place) {
            return self.cause_in_proxy(doubt, call);
        }
        let cause = threads.cause(call, callee, doubt);
        let likely = callee.and_then(|s| links.spans.likely_cause_of_call(seen, place, s));
        match (&cause, likely) {
            (Cause::Undecided { candidates, .. }, Some(server)) if candidates.contains(&server) => {
                Cause::Parent(Parent { server, by: Reason::OkContainment })
            }
            _ => cause,
        }
    }

    /// Why more requests may have been served at the call's begin than were seen.
    fn doubt(&self, unseen: &Intervals, call: ExchangeId) -> Option<Reason> {
        let row = self.seen.exchanges[call].row;
        let lost = self.coverage.whole(&row.node, row.start_ns, row.end_ns).err();
        let is_too_old = row.start_ns < self.rows.start;
        let has_unseen = !unseen.around(row.start_ns, row.start_ns).is_empty();
        lost.or(is_too_old.then_some(Reason::MissingBeyondGuard))
            .or(has_unseen.then_some(Reason::MissingLate))
    }

    fn cause_in_proxy(&self, doubt: Option<Reason>, call: ExchangeId) -> Cause {
        let proxies = &self.links.proxies;
        match (proxies.parents.get(&call), doubt) {
            (Some(parent), Some(why)) if parent.by == Reason::OkContainment => {
                return Cause::Undecided { candidates: vec![parent.server], why };
            }
            (Some(parent), _) => return Cause::Parent(*parent),
            (None, _) => {}
        }
        match proxies.undecided.get(&call) {
            Some(candidates) if !candidates.is_empty() => {
                let why = doubt.unwrap_or(Reason::AmbigTimeOnly);
                Cause::Undecided { candidates: candidates.clone(), why }
            }
            // A proxy makes no calls of its own accord.
            _ => Cause::Orphan(doubt.unwrap_or(Reason::FailOrphan)),
        }
    }
}

/// What the threads of one pod tell.
struct Threads<'a> {
    seen: &'a Seen<'a>,
    place: &'a Place,
    /// Its requests, by index into `place.servers`.
    open: Intervals,
    habits: BTreeMap<i64, Habits>,
}

/// How one process works.
#[derive(Debug, Default)]
struct Habits {
    requests: usize,
    threads: BTreeSet<i64>,
    /// A request or a call was answered on another thread than it began on, or a thread served two
    /// requests at once.
    is_free: bool,
}

impl Habits {
    /// Every request is served by one thread that does nothing else meanwhile, as far as enough
    /// requests show.
    fn is_bound(&self) -> bool {
        !self.is_free && self.requests >= BOUND_EXCHANGES_MIN
    }
}

impl<'a> Threads<'a> {
    fn new(seen: &'a Seen<'a>, place: &'a Place) -> Self {
        let mut habits: BTreeMap<i64, Habits> = BTreeMap::new();
        let mut busy_until: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        let elsewhere =
            |row: &tables::Exchange| row.response_thread.is_some_and(|t| t != row.thread);
        for &s in &place.servers {
            let row = seen.exchanges[s].row;
            let busy = busy_until.entry((row.process, row.thread)).or_insert(i64::MIN);
            let overlaps = row.start_ns < *busy;
            *busy = (*busy).max(row.end_ns);
            let of_process = habits.entry(row.process).or_default();
            of_process.requests += 1;
            of_process.threads.insert(row.thread);
            of_process.is_free |= overlaps || elsewhere(row);
        }
        for &c in &place.clients {
            let row = seen.exchanges[c].row;
            habits.entry(row.process).or_default().is_free |= elsewhere(row);
        }
        let open = Intervals::new(
            place
                .servers
                .iter()
                .map(|&s| &seen.exchanges[s])
                .map(|e| (e.row.start_ns, e.upper_ns())),
        );
        Self { seen, place, open, habits }
    }

    fn cause(&self, call: ExchangeId, callee: Option<ExchangeId>, doubt: Option<Reason>) -> Cause {
        let client = &self.seen.exchanges[call];
        let row = client.row;
        let answered_ns = row.first_response_ns.unwrap_or(row.start_ns);
        let servers = |from_ns: i64, to_ns: i64| -> Vec<ExchangeId> {
            let found = self.open.around(from_ns, to_ns).into_iter();
            found.map(|i| self.place.servers[i]).filter(|&s| Some(s) != callee).collect()
        };
        let open = servers(row.start_ns, row.start_ns);
        // A call that a request waits for begins in it and has its answer before the request does.
        let awaiting = servers(row.start_ns, answered_ns);
        let same_thread: Vec<ExchangeId> = awaiting
            .iter()
            .copied()
            .filter(|&s| {
                let server = self.seen.exchanges[s].row;
                (server.process, server.thread) == (row.process, row.thread)
            })
            .collect();
        let habits = self.habits.get(&row.process);
        let is_bound = habits.is_some_and(Habits::is_bound);
        // A process of one thread is known to serve one request at a time only as far as all of
        // its requests are known.
        let is_bound = is_bound && (doubt.is_none() || habits.is_some_and(|h| h.threads.len() > 1));
        match (&open[..], &same_thread[..], doubt) {
            ([], _, None) => Cause::Root,
            ([], _, Some(why)) => Cause::Orphan(why),
            // The thread was serving one request and nothing else; so were its fellows.
            (_, [server], _) if is_bound => {
                Cause::Parent(Parent { server: *server, by: Reason::OkThread })
            }
            // Too few requests to know the process by, but also no other request to confuse: not
            // even one that ended since, and may have left the call behind.
            ([server], [_], None) => {
                Cause::Parent(Parent { server: *server, by: Reason::OkContainment })
            }
            _ => Cause::Undecided {
                candidates: if awaiting.is_empty() { open } else { awaiting },
                why: doubt.unwrap_or(Reason::AmbigTimeOnly),
            },
        }
    }
}
