//! What the threads of one pod tell of its calls.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::End;
use crate::interval::Intervals;
use crate::link::Parent;
use crate::reason::Reason;
use crate::relay::Cause;
use crate::relay::place::Scene;
use crate::sight::Sight;
use crate::slab::{ExchangeId, RowId};

/// So many requests without a contradiction show that a process serves each on one thread.
const BOUND_EXCHANGES_MIN: usize = 8;

pub(super) struct Threads<'a> {
    sight: &'a Sight<'a>,
    scene: &'a Scene,
    /// Its requests, by index into `scene.servers`.
    open: Intervals,
    /// What it also calls while it serves no request: on a timer, say.
    called_unasked: BTreeSet<End>,
    habits: BTreeMap<u32, Habits>,
}

/// How one process works.
#[derive(Debug, Default)]
struct Habits {
    requests: usize,
    threads: BTreeSet<u32>,
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
    pub(super) fn new(sight: &'a Sight<'a>, scene: &'a Scene) -> Self {
        let exchanges = scene.servers.iter().map(|&s| sight.exchange(s));
        let open = Intervals::new(exchanges.map(|e| (e.start_ns, e.upper_ns())));
        let calls = scene.clients.iter().map(|&c| sight.exchange(c));
        let unasked = calls.filter(|c| open.around(c.start_ns, c.start_ns).is_empty());
        let called_unasked = unasked.map(|c| c.remote()).collect();
        Self { sight, scene, open, called_unasked, habits: habits(sight, scene.place) }
    }

    /// Requests that were being served.
    pub(super) fn open_at(&self, at_ns: i64) -> usize {
        self.open.around(at_ns, at_ns).len()
    }

    pub(super) fn cause(
        &self,
        call: ExchangeId,
        callee: Option<ExchangeId>,
        doubt: Option<Reason>,
    ) -> Cause {
        let client = self.sight.exchange(call);
        let answered_ns = client.first_response_ns().unwrap_or(client.start_ns);
        let servers = |from_ns: i64, to_ns: i64| -> Vec<ExchangeId> {
            let found = self.open.around(from_ns, to_ns).into_iter();
            found.map(|i| self.scene.servers[i]).filter(|&s| Some(s) != callee).collect()
        };
        let open = servers(client.start_ns, client.start_ns);
        // A call that a request waits for begins in it and has its answer before the request does.
        let awaiting = servers(client.start_ns, answered_ns);
        let mut same_thread: Vec<ExchangeId> = awaiting
            .iter()
            .copied()
            .filter(|&s| {
                let server = self.sight.exchange(s);
                (server.process, server.thread) == (client.process, client.thread)
            })
            .collect();
        let habits = self.habits.get(&client.process);
        let is_bound = habits.is_some_and(Habits::is_bound);
        // A process of one thread is known to serve one request at a time only as far as all of
        // its requests are known.
        let is_bound = is_bound && (doubt.is_none() || habits.is_some_and(|h| h.threads.len() > 1));
        if is_bound {
            // A thread that has begun another request has done with the one it never answered.
            let started_ns = |s: ExchangeId| self.sight.exchange(s).start_ns;
            let newest_ns = same_thread.iter().map(|&s| started_ns(s)).max();
            same_thread.retain(|&s| {
                self.sight.exchange(s).has_response() || Some(started_ns(s)) == newest_ns
            });
        }
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
            ([server], [_], None)
                if self.was_served(*server, client.start_ns)
                    && !self.called_unasked.contains(&client.remote()) =>
            {
                Cause::Parent(Parent { server: *server, by: Reason::OkContainment })
            }
            _ => Cause::Undecided {
                candidates: if awaiting.is_empty() { open } else { awaiting },
                why: doubt.unwrap_or(Reason::AmbigTimeOnly),
            },
        }
    }

    fn was_served(&self, server: ExchangeId, at_ns: i64) -> bool {
        let server = self.sight.exchange(server);
        server.has_response() || at_ns <= server.end_ns
    }
}

/// What the windows in sight show of the processes of a place.
fn habits(sight: &Sight<'_>, place: u32) -> BTreeMap<u32, Habits> {
    let mut habits: BTreeMap<u32, Habits> = BTreeMap::new();
    let mut busy_until: BTreeMap<(u32, u32), i64> = BTreeMap::new();
    for window in sight.first_of(place)..sight.window + 2 {
        let Some(slab) = sight.slabs.slab(window) else { continue };
        let visible = sight.view().visible(window);
        let is_seen = |row: &&u32| {
            (**row as usize) < visible && sight.is_last_word(RowId { window, row: **row })
        };
        for &row in slab.servers(place).iter().filter(is_seen) {
            let row = &slab.exchanges[row as usize];
            let busy = busy_until.entry((row.process, row.thread)).or_insert(i64::MIN);
            let overlaps = row.start_ns < *busy;
            *busy = (*busy).max(row.end_ns);
            let of_process = habits.entry(row.process).or_default();
            of_process.requests += 1;
            of_process.threads.insert(row.thread);
            of_process.is_free |=
                overlaps || row.response_thread().is_some_and(|t| t != row.thread);
        }
        for &row in slab.clients(place).iter().filter(is_seen) {
            let row = &slab.exchanges[row as usize];
            habits.entry(row.process).or_default().is_free |=
                row.response_thread().is_some_and(|t| t != row.thread);
        }
    }
    habits
}
