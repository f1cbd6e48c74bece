//! Calls that a line names: by the request id that the callee saw too, or by the proxy's own end of
//! the connection.
//!
//! A line lists the tries of its request. A call that carries the id and is not listed is the
//! request's too (an authorisation, a copy, a hedged try), unless it may be of another request: a
//! service that passes the id on calls back through the proxy with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::columns::AccessLog;
use crate::id::Id;
use crate::link::proxy::Lines;
use crate::link::proxy::line::EVENT_LOOP_NS;
use crate::link::proxy::scene::Scene;
use crate::reason::Reason;

/// Calls by index into the scene's `clients`, lines by index into its `logs`.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// The line that names a call among its tries, and by what.
    pub(super) listed: BTreeMap<usize, (usize, Reason)>,
    pub(super) calls_of: BTreeMap<usize, Vec<usize>>,
    /// The line that carries the id of a call and does not list it.
    pub(super) unlisted: BTreeMap<usize, usize>,
}

impl Named {
    pub(super) fn new(scene: &Scene<'_>, lines: &Lines) -> Self {
        let mut of_id: BTreeMap<Id, Vec<usize>> = BTreeMap::new();
        let mut of_end: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for log in 0..scene.logs.len() {
            if let Some(request_id) = scene.line(log).request_id {
                of_id.entry(request_id).or_default().push(log);
            }
            if let Some(end) = scene.line(log).upstream_local {
                of_end.entry(end).or_default().push(log);
            }
        }
        let mut named = Self::default();
        if of_id.is_empty() && of_end.is_empty() {
            return named;
        }
        for call in 0..scene.clients.len() {
            let client = scene.client(call);
            let by_id = scene.callees_id(call, lines).and_then(|id| of_id.get(&id));
            let of_socket = of_end.get(&client.local()).into_iter().flatten().copied();
            let of_socket: Vec<usize> = of_socket.filter(|&l| scene.is_during(l, call)).collect();
            let is_listed = |log: &usize| scene.lists(*log, client.remote());
            match (by_id.map(Vec::as_slice), &of_socket[..]) {
                (Some([log]), _) if is_listed(log) => named.list(call, *log, Reason::OkExactId),
                (Some([log]), []) => {
                    named.unlisted.insert(call, *log);
                }
                (None, [log]) if is_listed(log) => {
                    named.list(call, *log, Reason::OkUpstreamUnique);
                }
                _ => {}
            }
        }
        named
    }

    fn list(&mut self, call: usize, log: usize, by: Reason) {
        self.listed.insert(call, (log, by));
        self.calls_of.entry(log).or_default().push(call);
    }
}

impl Scene<'_> {
    /// The request id that came with a call, by the span of its callee or by the callee's own line.
    fn callees_id(&self, call: usize, lines: &Lines) -> Option<Id> {
        let server = self.sight.server_of(self.clients[call])?;
        let span = self.sight.span_of(server).one();
        let of_span = span.and_then(|span| self.sight.slabs.span(span).request_id);
        of_span.or_else(|| {
            let exchange = self.sight.exchange(server);
            let line = lines.of_turn(self.sight, exchange)?;
            self.sight.slabs.log(line).request_id
        })
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
        let mut of_id: BTreeMap<Id, Vec<usize>> = BTreeMap::new();
        for log in 0..self.logs.len() {
            if let Some(id) = self.line(log).request_id {
                of_id.entry(id).or_default().push(log);
            }
        }
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
        let shared = of_id.into_iter().filter(|(_, logs)| {
            logs.iter().enumerate().any(|(i, &a)| logs[..i].iter().any(|&b| !are_nested(a, b)))
        });
        shared.map(|(id, _)| id).collect()
    }
}

/// When the request of a line can have been served.
fn reach(line: &AccessLog) -> (i64, i64) {
    let lasted_ns = line.duration_ns.unwrap_or(0).max(0) + line.duration_error_ns;
    (line.end_lo_ns - lasted_ns - EVENT_LOOP_NS, line.end_hi_ns + EVENT_LOOP_NS)
}
