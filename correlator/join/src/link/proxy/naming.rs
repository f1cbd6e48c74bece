//! Calls that a line names: by the request id that the callee saw too, or by the proxy's own end of
//! the connection.
//!
//! A line lists the tries of its request. A call that carries the id and is not listed is the
//! request's too (an authorisation, a copy, a hedged try), unless it may be of another request: a
//! service that passes the id on calls back through the proxy with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::columns::AccessLog;
use crate::id::Id;
use crate::link::half;
use crate::link::proxy::Lines;
use crate::link::proxy::line::EVENT_LOOP_NS;
use crate::link::proxy::scene::Scene;
use crate::lists::Lists;
use crate::reason::Reason;
use crate::slab::ExchangeId;

/// Calls by index into the scene's `clients`, lines by index into its `logs`.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// By call: the line that names it among its tries, and by what. Empty where no line names any.
    listed: Vec<Option<(usize, Reason)>>,
    /// Lines with the calls that they list.
    calls: Vec<(usize, usize)>,
    /// The line that carries the id of a call and does not list it.
    pub(super) unlisted: BTreeMap<usize, usize>,
    /// Calls of which only the server's end was seen, with the only line that carries their id, and
    /// lists them.
    halves: BTreeMap<ExchangeId, usize>,
    /// Calls with an id that no line has, where most calls have one that some line has.
    foreign: BTreeSet<usize>,
}

impl Named {
    pub(super) fn new(scene: &Scene<'_>, lines: &Lines) -> Self {
        let logs = 0..scene.logs.len();
        let id = |log: usize| Some((scene.line(log).request_id?, log));
        let of_id = Lookup::new(logs.clone().filter_map(id));
        let end = |log: usize| Some((scene.line(log).upstream_local?, log));
        let of_end = Lookup::new(logs.filter_map(end));
        let mut named = Self::default();
        if of_id.is_empty() && of_end.is_empty() {
            return named;
        }
        named.listed = vec![None; scene.clients.len()];
        for call in 0..scene.clients.len() {
            let client = scene.client(call);
            let callee = scene.sight.server_of(scene.clients[call]);
            let id = callee.and_then(|server| scene.callees_id(server, lines));
            let by_id = id.map(|id| of_id.of(&id)).unwrap_or_default();
            if id.is_some() && by_id.is_empty() {
                named.foreign.insert(call);
            }
            let on_socket = of_end.of(&client.local()).iter().map(|&(_, log)| log);
            let mut during = on_socket.filter(|&log| scene.is_during(log, call));
            let of_socket = (during.next(), during.next());
            let is_listed = |log: usize| scene.lists(log, client.remote());
            match (by_id, of_socket) {
                (&[(_, log)], _) if is_listed(log) => named.list(call, log, Reason::OkExactId),
                (&[(_, log)], (None, _)) => {
                    named.unlisted.insert(call, log);
                }
                ([], (Some(log), None)) if is_listed(log) => {
                    named.list(call, log, Reason::OkUpstreamUnique);
                }
                _ => {}
            }
        }
        named.calls.sort_unstable();
        let is_by_id = |of: &&Option<(usize, Reason)>| {
            of.is_some_and(|(_, reason)| reason == Reason::OkExactId)
        };
        if named.listed.iter().filter(is_by_id).count() * 2 <= scene.clients.len() {
            named.foreign.clear();
        }
        named
    }

    /// The line that names a call of which only the server's end was seen.
    pub(super) fn line_of_half(&self, server: ExchangeId) -> Option<usize> {
        self.halves.get(&server).copied()
    }

    /// Whether a call belongs to a request whose line is not there, so to none that has one.
    pub(super) fn is_foreign(&self, call: usize) -> bool {
        self.foreign.contains(&call)
    }

    fn list(&mut self, call: usize, log: usize, by: Reason) {
        self.listed[call] = Some((log, by));
        self.calls.push((log, call));
    }

    /// The line that names a call among its tries, and by what.
    pub(super) fn line_of(&self, call: usize) -> Option<(usize, Reason)> {
        self.listed.get(call).copied().flatten()
    }

    /// Calls that a line names among its tries.
    pub(super) fn calls_of(&self, log: usize) -> impl Iterator<Item = usize> + '_ {
        let from = self.calls.partition_point(|&(l, _)| l < log);
        let calls = self.calls[from..].iter().take_while(move |&&(l, _)| l == log);
        calls.map(|&(_, call)| call)
    }
}

/// Lines by what they carry.
struct Lookup<K>(Vec<(K, usize)>);

impl<K: Ord> Lookup<K> {
    fn new(lines: impl Iterator<Item = (K, usize)>) -> Self {
        let mut lines: Vec<(K, usize)> = lines.collect();
        lines.sort_unstable();
        Self(lines)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&self, key: &K) -> &[(K, usize)] {
        let from = self.0.partition_point(|(k, _)| k < key);
        let count = self.0[from..].iter().take_while(|(k, _)| k == key).count();
        &self.0[from..from + count]
    }

    /// Lines that carry the same, where there are several.
    fn shared(&self) -> impl Iterator<Item = &[(K, usize)]> {
        self.0.chunk_by(|a, b| a.0 == b.0).filter(|lines| lines.len() > 1)
    }
}

impl Scene<'_> {
    /// The request id that came with a call, by the span of its callee or by the callee's own line.
    fn callees_id(&self, server: ExchangeId, lines: &Lines) -> Option<Id> {
        let span = self.sight.span_of(server).one();
        let of_span = span.and_then(|span| self.sight.slabs.span(span).request_id);
        of_span.or_else(|| {
            let exchange = self.sight.exchange(server);
            let line = lines.of_turn(self.sight, exchange)?;
            self.sight.slabs.log(line).request_id
        })
    }

    /// Finds the lines that carry the ids of calls of which only the server's end was seen.
    pub(super) fn name_halves(&mut self, lines: &Lines) {
        let id = |log: usize| Some((self.line(log).request_id?, log));
        let of_id = Lookup::new((0..self.logs.len()).filter_map(id));
        let line = |half: &half::Call| {
            let id = self.callees_id(half.server, lines)?;
            match of_id.of(&id) {
                &[(_, log)] if self.lists_half(log, half) => Some((half.server, log)),
                _ => None,
            }
        };
        self.named.halves = self.half.iter().filter_map(line).collect();
    }

    /// Adds the requests of some lines, where a line names calls, fits one request alone that was
    /// open during them, and no other line does so for that request.
    pub(super) fn add_by_name(
        &self,
        lines: impl IntoIterator<Item = usize>,
        found: &mut [Option<usize>],
    ) {
        let mut lines_of = vec![0_u32; self.servers.len()];
        for &server in found.iter().flatten() {
            lines_of[server] += 1;
        }
        let mut added = Vec::new();
        for log in lines {
            if self.named.calls_of(log).next().is_none() {
                continue;
            }
            let mut fitting = self.fitting[log].to_vec();
            fitting.retain(|&server| self.is_around_named(log, server));
            for &server in &fitting {
                lines_of[server] += 1;
            }
            if let [server] = fitting[..] {
                added.push((log, server));
            }
        }
        for (log, server) in added {
            found[log] = Some(server).filter(|&server| lines_of[server] == 1);
        }
    }

    /// Strikes requests that were not open during all the calls that a line names: its own was, and
    /// is not among those that were seen where none is left.
    pub(super) fn fit_around_named(&mut self) {
        if self.named.calls.is_empty() {
            return;
        }
        let mut around = Lists::default();
        for (log, fitting) in self.fitting.iter().enumerate() {
            let is_around = |&server: &usize| self.is_around_named(log, server);
            around.push(fitting.iter().copied().filter(is_around));
        }
        self.fitting = around;
        self.lines_of = self.fitting.inverse(self.servers.len());
    }

    /// Whether a request was open during all the calls that a line names.
    pub(super) fn is_around_named(&self, log: usize, server: usize) -> bool {
        let mut calls = self.named.calls_of(log);
        calls.all(|call| self.is_around(server, call, &self.reach_ns(call)))
    }

    /// Whether a call lies in the time that a line tells of.
    fn is_during(&self, log: usize, call: usize) -> bool {
        let (line, client) = (self.line(log), self.client(call));
        let (from_ns, to_ns) = reach(line);
        from_ns <= client.start_ns && client.start_ns <= to_ns
    }

    /// Gives calls that a line does not list to its request, where no other request can have made
    /// them: each request that was open then has a line of its own, with another id.
    pub(super) fn give_unlisted(&mut self) {
        let mut log_of: Vec<Option<usize>> = vec![None; self.servers.len()];
        for (log, server) in self.server_of_log.iter().enumerate() {
            if let Some(server) = server {
                log_of[*server] = Some(log);
            }
        }
        for (&call, &log) in &self.named.unlisted {
            let Some(server) = self.server_of_log[log] else { continue };
            let client = self.client(call);
            let mut open = self.open.around(client.start_ns, client.start_ns);
            open.retain(|&s| self.server(s).process == client.process);
            let is_its = open.contains(&server);
            let others_are_told = open.iter().all(|&s| s == server || log_of[s].is_some());
            if is_its && others_are_told && !self.may_be_of_unseen(call) {
                self.parent[call] = Some(server);
            }
        }
    }

    /// Ids that lines of several requests carry, none of them inside another: one request that
    /// comes back through the proxy keeps its id by design.
    pub(super) fn shared_ids(&self) -> BTreeSet<Id> {
        let id = |log: usize| Some((self.line(log).request_id?, log));
        let of_id = Lookup::new((0..self.logs.len()).filter_map(id));
        let is_inside = |inner: usize, outer: usize| {
            let (inner, outer) = (reach(self.line(inner)), reach(self.line(outer)));
            outer.0 <= inner.0 && inner.1 <= outer.1
        };
        let are_nested = |a: usize, b: usize| {
            let servers = self.server_of_log[a].zip(self.server_of_log[b]);
            servers.map_or(is_inside(a, b) || is_inside(b, a), |(a, b)| {
                let (a, b) = (self.server(a), self.server(b));
                let holds = |outer: &crate::columns::Exchange, inner: &crate::columns::Exchange| {
                    outer.start_ns <= inner.start_ns && inner.end_ns <= outer.end_ns
                };
                holds(a, b) || holds(b, a)
            })
        };
        let is_shared = |logs: &&[(Id, usize)]| {
            let others = |i: usize| logs[..i].iter();
            (0..logs.len()).any(|i| others(i).any(|b| !are_nested(logs[i].1, b.1)))
        };
        of_id.shared().filter(is_shared).map(|logs| logs[0].0).collect()
    }
}

/// When the request of a line can have been served.
fn reach(line: &AccessLog) -> (i64, i64) {
    let lasted_ns = line.duration_ns.unwrap_or(0).max(0) + line.duration_error_ns;
    (line.end_lo_ns - lasted_ns - EVENT_LOOP_NS, line.end_hi_ns + EVENT_LOOP_NS)
}
