//! One proxy: its requests, calls and lines, and what is decided of them so far.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::address::End;
use crate::columns::{AccessLog, Attempt, Exchange};
use crate::interval::Intervals;
use crate::link::half;
use crate::link::proxy::ends::Ends;
use crate::link::proxy::measured::Slack;
use crate::link::proxy::naming::Named;
use crate::lists::Lists;
use crate::matching;
use crate::sight::Sight;
use crate::slab::{ExchangeId, LogId};

/// A proxy passes the last bytes on before it reads the end of the upstream's stream.
const TRAILING_READ_NS: i64 = 1_000_000;

/// Rounds of mutual narrowing; each can only decide more.
const ROUNDS_MAX: usize = 4;

pub(super) struct Scene<'a> {
    pub(super) sight: &'a Sight<'a>,
    /// By start.
    pub(super) servers: &'a [ExchangeId],
    pub(super) clients: &'a [ExchangeId],
    /// Their rows, which are looked at again and again and lie far apart in their slabs.
    requests: Vec<Exchange>,
    calls: Vec<Exchange>,
    pub(super) logs: Vec<LogId>,
    /// Lines are in the order in which the requests end.
    pub(super) is_in_order: bool,
    pub(super) open: Intervals,
    /// Indexes into `servers`, ascending by their end, of the requests that a line fits.
    pub(super) fitting: Lists,
    /// The same with the slack of a proxy that nothing is known of; empty where that is its slack.
    pub(super) wide: Lists,
    /// By line: whether the requests that it fits are those that were left (`left.rs`).
    pub(super) is_widened: Vec<bool>,
    /// Calls with lines that list them by that slack only.
    pub(super) held_up: BTreeSet<(usize, usize)>,
    /// Indexes into `logs`, by index into `servers`: the same the other way round.
    pub(super) lines_of: Lists,
    /// Lines that fit no request: each tells of one that was not seen.
    pub(super) of_unseen: BTreeMap<End, Vec<usize>>,
    /// Place of each server in the order of ends.
    pub(super) rank: Vec<usize>,
    /// Indexes into `servers`, by index into `clients`.
    pub(super) parent: Vec<Option<usize>>,
    /// Indexes into `servers`, by index into `logs`.
    pub(super) server_of_log: Vec<Option<usize>>,
    pub(super) named: Named,
    pub(super) slack: Slack,
    /// Calls of which only the server's end was seen.
    pub(super) half: Vec<half::Call>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        sight: &'a Sight<'a>,
        servers: &'a [ExchangeId],
        clients: &'a [ExchangeId],
        logs: Vec<LogId>,
    ) -> Self {
        let line = |log: &LogId| sight.slabs.log(*log);
        let way = |log: &LogId| (line(log).collector, line(log).emitter_ip);
        let is_one_way = logs.iter().all(|log| way(log) == way(&logs[0])) && !logs.is_empty();
        let rows = |ids: &[ExchangeId]| ids.iter().map(|&id| *sight.exchange(id)).collect();
        let (requests, calls): (Vec<Exchange>, Vec<Exchange>) = (rows(servers), rows(clients));
        let is_one_thread = requests.iter().all(|e| e.thread == requests[0].thread);
        let ends = Ends::new(requests.iter());
        let mut rank = vec![0; servers.len()];
        for (position, server) in ends.in_order().enumerate() {
            rank[server] = position;
        }
        let mut scene = Self {
            sight,
            servers,
            clients,
            is_in_order: is_one_thread && is_one_way && !servers.is_empty(),
            open: Intervals::new(requests.iter().map(|e| (e.start_ns, e.upper_in_proxy_ns()))),
            requests,
            calls,
            fitting: Lists::default(),
            wide: Lists::default(),
            is_widened: vec![false; logs.len()],
            held_up: BTreeSet::new(),
            lines_of: Lists::default(),
            of_unseen: BTreeMap::new(),
            rank,
            parent: vec![None; clients.len()],
            server_of_log: vec![None; logs.len()],
            named: Named::default(),
            slack: Slack::UNKNOWN,
            half: Vec::new(),
            logs,
        };
        scene.fitting = (0..scene.logs.len()).map(|log| scene.fitting_to(log, &ends)).collect();
        scene.slack = Slack::learned(&scene);
        if scene.slack != Slack::UNKNOWN {
            let near = scene.still_fitting();
            scene.wide = std::mem::replace(&mut scene.fitting, near);
        }
        scene.lines_of = scene.fitting.inverse(servers.len());
        for log in 0..scene.logs.len() {
            scene.find_unseen(log, &ends);
        }
        scene
    }

    /// Decides calls and lines in turn until nothing more follows.
    pub(super) fn narrow(&mut self) {
        let mut by_name = vec![None; self.logs.len()];
        self.add_by_name(0..self.logs.len(), &mut by_name);
        self.server_of_log.clone_from(&by_name);
        let widened = self.widen_lines();
        self.add_by_name(widened, &mut by_name);
        self.server_of_log.clone_from(&by_name);
        for _ in 0..ROUNDS_MAX {
            let parents = self.decide_parents();
            let known_parents = std::mem::replace(&mut self.parent, parents);
            let mut lines = self.decide_logs();
            for (found, named) in lines.iter_mut().zip(&by_name) {
                *found = named.or(*found);
            }
            let known_lines = std::mem::replace(&mut self.server_of_log, lines);
            if known_parents == self.parent && known_lines == self.server_of_log {
                let widened = self.widen_lines();
                let has_more = !widened.is_empty() | self.widen_tries();
                if !has_more {
                    break;
                }
                self.add_by_name(widened, &mut by_name);
            }
        }
    }

    /// Requests during which the call was made and answered, in the same process.
    pub(super) fn containing(&self, call: usize) -> Vec<usize> {
        let reach_ns = self.reach_ns(call);
        let mut found = self.open.around(*reach_ns.start(), *reach_ns.end());
        found.retain(|&server| self.is_around(server, call, &reach_ns));
        found
    }

    /// The time in which the request that made a call was open.
    pub(super) fn reach_ns(&self, call: usize) -> RangeInclusive<i64> {
        let client = self.client(call);
        let first_response_ns = client.first_response_ns().unwrap_or(client.start_ns);
        let end_ns = if client.has_response() { client.end_ns } else { client.start_ns };
        client.start_ns..=first_response_ns.max(end_ns - TRAILING_READ_NS)
    }

    pub(super) fn is_around(
        &self,
        server: usize,
        call: usize,
        reach_ns: &RangeInclusive<i64>,
    ) -> bool {
        let server = self.server(server);
        server.start_ns <= *reach_ns.start()
            && *reach_ns.end() <= server.upper_in_proxy_ns()
            && server.process == self.client(call).process
    }

    /// Index of the first call that did not begin before a moment.
    pub(super) fn clients_begun_before(&self, at_ns: i64) -> usize {
        self.calls.partition_point(|call| call.start_ns < at_ns)
    }

    /// Lines that fit a request and are no other's.
    pub(super) fn open_lines(&self, server: usize) -> impl Iterator<Item = usize> + '_ {
        let lines = self.lines_of[server].iter().copied();
        lines.filter(|&l| self.server_of_log[l].is_none())
    }

    /// Calls by the request that they were given to.
    pub(super) fn calls_of_servers(&self) -> Lists {
        let parents: Lists = self.parent.iter().copied().collect();
        parents.inverse(self.servers.len())
    }

    fn decide_logs(&self) -> Vec<Option<usize>> {
        let mut is_taken = vec![false; self.servers.len()];
        self.server_of_log.iter().flatten().for_each(|&server| is_taken[server] = true);
        let calls_of = self.calls_of_servers();
        let mut candidates = Lists::default();
        for (log, server) in self.server_of_log.iter().enumerate() {
            if let Some(known) = *server {
                candidates.push([known]);
                continue;
            }
            let possible = |s: &usize| !is_taken[*s] && self.calls_agree(log, *s, &calls_of[*s]);
            candidates.push(self.fitting[log].iter().copied().filter(possible));
        }
        if self.is_in_order {
            self.aligned(&candidates)
        } else {
            matching::forced(&candidates, &vec![1; self.servers.len()])
        }
    }

    /// Alignment of lines and requests in the order of their ends.
    fn aligned(&self, candidates: &Lists) -> Vec<Option<usize>> {
        let mut server_at = vec![0; self.servers.len()];
        for (server, &rank) in self.rank.iter().enumerate() {
            server_at[rank] = server;
        }
        // Candidates are in the order of ends.
        let rank = |server: &usize| self.rank[*server];
        let ranks: Lists = candidates.iter().map(|servers| servers.iter().map(rank)).collect();
        let found = matching::aligned(&ranks);
        found.into_iter().map(|at| at.map(|rank| server_at[rank])).collect()
    }

    pub(super) fn line(&self, log: usize) -> &'a AccessLog {
        self.sight.slabs.log(self.logs[log])
    }

    pub(super) fn attempts(&self, log: usize) -> &'a [Attempt] {
        self.sight.slabs.attempts(self.logs[log])
    }

    pub(super) fn server(&self, index: usize) -> &Exchange {
        &self.requests[index]
    }

    pub(super) fn client(&self, index: usize) -> &Exchange {
        &self.calls[index]
    }
}
