//! Inside one pod: which incoming request caused which outgoing call.
//!
//! In order: span parent, the proxy's log, thread, containment, statistics. A later one never
//! overrules an earlier one. A call that more than one request may have caused stays undecided.

mod by_span;
mod company;
mod decided;
mod elsewhere;
mod half;
pub(crate) mod place;
mod set_clock;
mod statistics;
mod thread;
mod unseen;
mod unseen_cause;
mod workload;

use std::collections::{BTreeMap, BTreeSet};

use crate::link::proxy::{Lines, ProxyLinks};
use crate::link::{Parent, balancer};
use crate::parallel;
use crate::reason::Reason;
use crate::relay::decided::Decided;
use crate::relay::elsewhere::Elsewhere;
use crate::relay::half::HalfCalls;
use crate::relay::statistics::Statistics;
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

impl Relays {
    pub(crate) fn decide(sight: &Sight<'_>) -> Self {
        let lines = Lines::new(sight);
        let elsewhere = Elsewhere::new(sight);
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
            Some(Decided::new(sight, &scene, &lines, &elsewhere, &relays.half_calls))
        });
        let mut suspected = Vec::new();
        for mut of_place in decided.into_iter().flatten() {
            suspected.extend(of_place.suspected.take());
            relays.take(of_place);
        }
        unseen_cause::strike_others(sight, &elsewhere, &mut relays.others);
        relays.balancers = balancer::lines_of_arrivals(sight);
        relays.sampled = sight.sampled_places();
        let by_places = relays.made.len();
        statistics::decide(sight, &mut relays, &elsewhere);
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
