//! What the threads of one pod tell of its calls.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::End;
use crate::columns::Exchange;
use crate::interval::Intervals;
use crate::link::Parent;
use crate::link::claim::Claim;
use crate::names::Name;
use crate::ownership::Owner;
use crate::reason::Reason;
use crate::relay::Cause;
use crate::relay::company::Company;
use crate::relay::decided::Doubt;
use crate::relay::elsewhere::Elsewhere;
use crate::relay::place::Scene;
use crate::relay::workload::{self, Habits, Ways};
use crate::sight::Sight;
use crate::skew::Jump;
use crate::slab::ExchangeId;

/// The greatest probability of a request without a trace, beside one that was seen, at which
/// containment decides: two in a million calls, a fifth of what exact links may be wrong in.
const UNSEEN_BESIDE_MAX: f64 = 2e-6;

/// So many calls show whether threads make them for the requests that they serve themselves.
const OWN_CALLS_MIN: usize = 16;

/// One in so many calls may lack its request and the others still show that: more than losses take
/// that leave a trace of everything (`coverage.rs`).
const STRAY_CALLS_PART: usize = 16;

pub(super) struct Threads<'a> {
    sight: &'a Sight<'a>,
    scene: &'a Scene,
    elsewhere: &'a Elsewhere<'a>,
    /// Its requests, by index into `scene.servers`.
    open: Intervals,
    /// What it also calls while it serves no request: on a timer, say.
    called_unasked: BTreeSet<End>,
    habits: BTreeMap<u32, Habits>,
    /// How probable it is that, beside a request that was seen, another one was served of which no
    /// trace is left.
    unseen_beside: Option<f64>,
    /// Of processes that were asked about: whether their threads call for themselves.
    call_for_themselves: BTreeMap<u32, bool>,
}

impl<'a> Threads<'a> {
    /// `is_explained` tells of a call whether some request that was not seen may have made it.
    pub(super) fn new(
        sight: &'a Sight<'a>,
        scene: &'a Scene,
        elsewhere: &'a Elsewhere<'a>,
        is_explained: impl Fn(&Exchange) -> bool,
    ) -> Self {
        let exchanges = scene.servers.iter().map(|&s| sight.exchange(s));
        let open = Intervals::new(exchanges.map(|e| (e.start_ns, e.upper_ns())));
        let calls = scene.clients.iter().map(|&c| sight.exchange(c));
        let unasked = calls.filter(|c| open.around(c.start_ns, c.start_ns).is_empty());
        let unasked = unasked.filter(|c| !is_explained(c));
        let called_unasked = unasked.map(|c| c.remote()).collect();
        let habits = workload::habits(sight, scene.place);
        Self {
            sight,
            scene,
            elsewhere,
            open,
            called_unasked,
            habits,
            unseen_beside: None,
            call_for_themselves: BTreeMap::new(),
        }
    }

    /// Requests that were being served.
    pub(super) fn open_at(&self, at_ns: i64) -> usize {
        self.open.around(at_ns, at_ns).len()
    }

    pub(super) fn cause(
        &mut self,
        call: ExchangeId,
        callee: Option<ExchangeId>,
        doubt: Doubt,
    ) -> Cause {
        let is_bearable = doubt.is_of_loss() && self.is_rarely_deceived(call);
        let doubt = doubt.why();
        let client = self.sight.exchange(call);
        let answered_ns = client.first_response_ns().unwrap_or(client.start_ns);
        let servers = |from_ns: i64, to_ns: i64| -> Vec<ExchangeId> {
            let found = self.open.around(from_ns, to_ns).into_iter();
            found.map(|i| self.scene.servers[i]).filter(|&s| Some(s) != callee).collect()
        };
        let open = servers(client.start_ns, client.start_ns);
        // A call that a request waits for begins in it and has its answer before the request does.
        let awaiting = servers(client.start_ns, answered_ns);
        let is_bound = self.is_bound(client.process, open.len(), doubt.is_some());
        let same_thread: Vec<ExchangeId> = if is_bound {
            // A thread that has begun another request has done with the one it never answered.
            let newest = self.newest_on(client.process, client.thread, client.start_ns);
            newest.into_iter().filter(|newest| awaiting.contains(newest)).collect()
        } else {
            let on_it = |&s: &ExchangeId| {
                let server = self.sight.exchange(s);
                (server.process, server.thread) == (client.process, client.thread)
            };
            awaiting.iter().copied().filter(on_it).collect()
        };
        match (&open[..], &same_thread[..], doubt) {
            ([], _, None) => Cause::Root,
            ([], _, Some(why)) => Cause::Orphan(why),
            // The thread was serving one request and nothing else; so were its fellows. One that was
            // never answered was served for as long as it was seen, and nobody knows how long since.
            (_, [server], _) if is_bound && self.was_served(*server, client.start_ns) => {
                Cause::Parent(Parent { server: *server, by: Reason::OkThread })
            }
            // Too few requests to know the process by, but also no other request to confuse: not
            // even one that ended since, and may have left the call behind; and no call that the
            // process makes of its own accord.
            ([server], [_], _)
                if (doubt.is_none() || is_bearable)
                    && self.was_served(*server, client.start_ns)
                    && !self.called_unasked.contains(&client.remote()) =>
            {
                Cause::Parent(Parent { server: *server, by: Reason::OkContainment })
            }
            // A thread that calls only for what it serves itself, and served nothing that was seen.
            (_, [], Some(why)) if is_bound && self.calls_for_itself(client) => Cause::Orphan(why),
            _ => {
                let possible = if awaiting.is_empty() { open } else { awaiting };
                let serving = |s: &ExchangeId| !is_bound || self.is_serving(*s, client.start_ns);
                let candidates: Vec<ExchangeId> =
                    possible.iter().copied().filter(serving).collect();
                match (candidates.is_empty(), doubt) {
                    (true, Some(why)) => Cause::Orphan(why),
                    (true, None) => {
                        Cause::Undecided { candidates: possible, why: Reason::AmbigTimeOnly }
                    }
                    (false, _) => {
                        let why = doubt.unwrap_or(Reason::AmbigTimeOnly);
                        Cause::Undecided { candidates, why }
                    }
                }
            }
        }
    }

    /// Whether the thread of a request has begun no other one since.
    fn is_serving(&self, server: ExchangeId, at_ns: i64) -> bool {
        let row = self.sight.exchange(server);
        self.newest_on(row.process, row.thread, at_ns) == Some(server)
    }

    /// Whether a request that was never answered was over at a moment: its thread, which serves one
    /// at a time, had begun another one, by whichever clock each of these was stamped.
    pub(super) fn is_surely_over(&self, server: ExchangeId, at_ns: i64, jump: Jump) -> bool {
        let row = self.sight.exchange(server);
        let is_bound = || self.habits.get(&row.process).is_some_and(Habits::is_bound);
        if row.has_response() || !is_bound() {
            return false;
        }
        let apart_ns = jump.by_ns.saturating_add(jump.within_ns);
        let newest = self.newest_on(row.process, row.thread, at_ns.saturating_sub(apart_ns));
        newest.is_some_and(|newest| {
            self.sight.exchange(newest).start_ns > row.start_ns.saturating_add(apart_ns)
        })
    }

    /// Whether a process serves each request on one thread that does nothing else meanwhile, by its
    /// own requests or, where they are few and not one alone was `open`, by those of its like. A
    /// process of one thread is known to serve one request at a time only as far as all of its
    /// requests are known, or its like do so on several.
    fn is_bound(&mut self, process: u32, open: usize, is_doubted: bool) -> bool {
        let Some(habits) = self.habits.get(&process).filter(|h| !h.is_free) else { return false };
        let (is_shown, has_several) = (habits.is_bound(), habits.threads.len() > 1);
        let is_asked = open > 1 || is_doubted;
        (is_shown || is_asked && self.ways().is_bound)
            && (!is_doubted || has_several || self.ways().is_bound_on_several)
    }

    fn ways(&self) -> Ways {
        self.elsewhere.workloads.ways(self.scene.place)
    }

    /// Whether a request that nobody saw is so improbable beside one that was that a loss of events
    /// leaves no doubt.
    fn is_rarely_deceived(&mut self, call: ExchangeId) -> bool {
        let client = self.sight.exchange(call);
        let coverage = self.sight.coverage;
        if coverage.nearly_whole(Some(client.node), client.start_ns, client.end_ns).is_err() {
            return false;
        }
        let unseen = self.unseen_beside.unwrap_or_else(|| self.find_unseen_beside(client.node));
        self.unseen_beside = Some(unseen);
        unseen <= UNSEEN_BESIDE_MAX
            && !self.elsewhere.unseen.is_told(self.scene.place, client.start_ns)
    }

    /// A request leaves no trace where both of its ends were lost, or its only one, and no span tells
    /// of it.
    fn find_unseen_beside(&self, node: Name) -> f64 {
        let coverage = self.sight.coverage;
        let lost_by_caller =
            |&s: &ExchangeId| self.caller_node(s).map_or(1.0, |node| coverage.share_lost(node));
        let callers = self.scene.servers.iter().map(lost_by_caller).fold(0.0, f64::max);
        let lost = coverage.share_lost(node) * callers;
        let own = Company::new(self.sight, self.scene.servers.iter().copied());
        let unseen = lost * own.rate() * own.untold();
        // Its like run the same code, and a few pods say more than one.
        if unseen > UNSEEN_BESIDE_MAX && own.beside == 0 {
            let alike = self.elsewhere.workloads.company(self.scene.place);
            return unseen.min(lost * alike.rate() * alike.untold());
        }
        unseen
    }

    /// The node that a request came from, where an agent may have seen it.
    fn caller_node(&self, server: ExchangeId) -> Option<Name> {
        let sight = self.sight;
        match sight.client_of(server) {
            Claim::One(client) => Some(sight.exchange(client).node),
            Claim::Several => None,
            Claim::Nobody => {
                let server = sight.exchange(server);
                match sight.owners.holder(server.remote_ip, server.start_ns) {
                    Owner::Pod(pod) => pod.node,
                    _ => None,
                }
            }
        }
    }

    /// The last request that a thread began at a moment or before.
    fn newest_on(&self, process: u32, thread: u32, at_ns: i64) -> Option<ExchangeId> {
        let servers = &self.scene.servers;
        let begun = servers.partition_point(|&s| self.sight.exchange(s).start_ns <= at_ns);
        let is_on_it = |s: &ExchangeId| {
            let server = self.sight.exchange(*s);
            (server.process, server.thread) == (process, thread)
        };
        servers[..begun].iter().rev().copied().find(is_on_it)
    }

    /// Whether the thread of a call is one that serves requests, in a process whose threads make
    /// calls for no others: what such a thread calls while it serves nothing that was seen belongs
    /// to a request that was not seen, and to none of those that other threads serve meanwhile.
    fn calls_for_itself(&mut self, client: &Exchange) -> bool {
        let process = client.process;
        let habits = self.habits.get(&process);
        if !habits.is_some_and(|h| h.threads.contains(&client.thread)) {
            return false;
        }
        if let Some(&known) = self.call_for_themselves.get(&process) {
            return known;
        }
        let found = self.have_own_calls(process);
        self.call_for_themselves.insert(process, found);
        found
    }

    fn have_own_calls(&self, process: u32) -> bool {
        let calls = self.scene.clients.iter().map(|&c| self.sight.exchange(c));
        let (mut own, mut stray) = (0, 0);
        for call in calls.filter(|c| c.process == process) {
            let newest = self.newest_on(process, call.thread, call.start_ns);
            let is_own = newest.is_some_and(|s| self.sight.exchange(s).upper_ns() >= call.start_ns);
            if is_own { own += 1 } else { stray += 1 }
        }
        own + stray >= OWN_CALLS_MIN && stray * STRAY_CALLS_PART <= own + stray
    }

    fn was_served(&self, server: ExchangeId, at_ns: i64) -> bool {
        let server = self.sight.exchange(server);
        server.has_response() || at_ns <= server.end_ns
    }
}
