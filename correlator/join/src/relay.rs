//! Inside one pod: which incoming request caused which outgoing call.
//!
//! In order: span parent, the proxy's log, thread, containment. A later one never overrules an
//! earlier one. A call that more than one request may have caused stays undecided.

use std::collections::{BTreeMap, BTreeSet};

use crate::Settings;
use crate::link::{Links, Parent};
use crate::observation::{ExchangeId, Place, Role, Seen};
use crate::reason::Reason;

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

pub(crate) fn decide(seen: &Seen<'_>, links: &Links, _settings: &Settings) -> Relays {
    let mut relays = Relays::default();
    for (index, place) in seen.places.iter().enumerate() {
        let threads = Threads::new(seen, place);
        for &call in &place.clients {
            let cause = cause(seen, links, &threads, index, call);
            if let Cause::Parent(parent) = cause {
                relays.calls.entry(parent.server).or_default().push(call);
            }
            relays.causes.insert(call, cause);
        }
    }
    relays
}

fn cause(
    seen: &Seen<'_>,
    links: &Links,
    threads: &Threads<'_>,
    place: usize,
    call: ExchangeId,
) -> Cause {
    if let Some(server) =
        links.server_of[call].and_then(|s| links.spans.cause_of_call(seen, place, s))
    {
        let begins_inside = seen.exchanges[server].row.start_ns
            <= seen.exchanges[call].row.start_ns + SPAN_TOLERANCE_NS;
        return if begins_inside {
            Cause::Parent(Parent { server, by: Reason::OkExactId })
        } else {
            Cause::Undecided { candidates: vec![server], why: Reason::ConflictIdVsTuple }
        };
    }
    if links.proxies.proxies.contains(&place) {
        return match (links.proxies.parents.get(&call), links.proxies.undecided.get(&call)) {
            (Some(parent), _) => Cause::Parent(*parent),
            (None, Some(candidates)) if !candidates.is_empty() => {
                Cause::Undecided { candidates: candidates.clone(), why: Reason::AmbigTimeOnly }
            }
            // A proxy makes no calls of its own accord.
            _ => Cause::Orphan(Reason::FailOrphan),
        };
    }
    threads.cause(call, links.server_of[call])
}

/// What the threads of one pod tell.
struct Threads<'a> {
    seen: &'a Seen<'a>,
    place: &'a Place,
    /// Processes in which every request was read and answered by one thread, and no thread served
    /// two requests at once, over enough requests to mean something.
    bound: BTreeSet<i64>,
}

impl<'a> Threads<'a> {
    fn new(seen: &'a Seen<'a>, place: &'a Place) -> Self {
        let mut requests: BTreeMap<i64, usize> = BTreeMap::new();
        let mut free: BTreeSet<i64> = BTreeSet::new();
        let mut busy_until: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        for &s in &place.servers {
            let server = &seen.exchanges[s];
            let row = server.row;
            *requests.entry(row.process).or_default() += 1;
            let other_thread_answered = row.response_thread.is_some_and(|t| t != row.thread);
            let busy = busy_until.entry((row.process, row.thread)).or_insert(i64::MIN);
            let overlaps = row.start_ns < *busy;
            *busy = (*busy).max(row.end_ns);
            if other_thread_answered || overlaps {
                free.insert(row.process);
            }
        }
        let bound = requests
            .into_iter()
            .filter(|(process, count)| !free.contains(process) && *count >= BOUND_EXCHANGES_MIN)
            .map(|(process, _)| process)
            .collect();
        Self { seen, place, bound }
    }

    fn cause(&self, call: ExchangeId, callee: Option<ExchangeId>) -> Cause {
        let containing: Vec<ExchangeId> = self
            .place
            .servers
            .iter()
            .copied()
            .filter(|&s| Some(s) != callee && self.contains(s, call))
            .collect();
        let row = self.seen.exchanges[call].row;
        let same_thread: Vec<ExchangeId> = containing
            .iter()
            .copied()
            .filter(|&s| {
                let server = self.seen.exchanges[s].row;
                (server.process, server.thread) == (row.process, row.thread)
            })
            .collect();
        let is_bound = self.bound.contains(&row.process);
        match (&containing[..], &same_thread[..]) {
            ([], _) => Cause::Root,
            // The thread was serving one request and nothing else; so were its fellows.
            (_, [server]) if is_bound => {
                Cause::Parent(Parent { server: *server, by: Reason::OkThread })
            }
            // Too few requests to know the process by, but also no other request to confuse.
            ([server], [_]) => Cause::Parent(Parent { server: *server, by: Reason::OkContainment }),
            _ => Cause::Undecided { candidates: containing, why: Reason::AmbigTimeOnly },
        }
    }

    /// A call that a request waits for begins in it and has its answer before the request does.
    fn contains(&self, server: ExchangeId, call: ExchangeId) -> bool {
        debug_assert_eq!(self.seen.exchanges[server].role, Role::Server);
        let (server, client) = (&self.seen.exchanges[server], &self.seen.exchanges[call]);
        let answered_ns = client.row.first_response_ns.unwrap_or(client.row.start_ns);
        server.row.start_ns <= client.row.start_ns && answered_ns <= server.upper_ns()
    }
}
