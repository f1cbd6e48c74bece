//! Requests of a proxy that were not seen: what tells of them, and what is sure all the same.

use std::collections::BTreeSet;

use crate::link::proxy::line::EVENT_LOOP_NS;
use crate::link::proxy::scene::Scene;

impl Scene<'_> {
    /// Whether at most one of a call and its request is lost where the call was made, but for very
    /// few of them. Then a request whose line lists the call has made it: if not, its own call would
    /// be missing, and the request of this one as well.
    pub(super) fn leaves_traces(&self, call: usize) -> bool {
        let call = self.client(call);
        let coverage = self.sight.coverage;
        coverage.nearly_whole(Some(call.node), call.start_ns, call.end_ns).is_ok()
    }

    /// Whether a line that fits no request tells of an attempt that this call may be.
    pub(super) fn may_be_of_unseen(&self, call: usize) -> bool {
        let row = self.client(call);
        let lines = self.of_unseen.get(&row.remote());
        lines.into_iter().flatten().any(|&log| {
            let line = self.line(log);
            let lasted_ns = line.duration_ns.unwrap_or(0).max(0) + line.duration_error_ns;
            line.end_lo_ns - lasted_ns - EVENT_LOOP_NS <= row.start_ns
                && row.start_ns <= line.end_hi_ns + EVENT_LOOP_NS
        })
    }

    /// By request: whether its line accounts for all its calls, or one that may be its own.
    pub(super) fn told(&self) -> Vec<bool> {
        let calls_of = self.calls_of_servers();
        let mut told: Vec<bool> = (0..self.servers.len())
            .map(|server| {
                let mut lines = self.open_lines(server);
                lines.any(|log| self.accounts_for(log, server, &calls_of[server]))
            })
            .collect();
        for (log, server) in self.server_of_log.iter().enumerate() {
            if let Some(server) = *server {
                told[server] = self.accounts_for(log, server, &calls_of[server]);
            }
        }
        told
    }

    /// Requests that may have made a call whose request is not known. One that has made all that its
    /// line tells of has not, where the call is told of elsewhere.
    pub(super) fn suspects(&self, call: usize, told: &[bool]) -> Vec<usize> {
        let mut suspects = self.containing(call);
        let line = self.named.line_of(call).map(|(log, _)| log);
        let is_elsewhere =
            line.is_some() || self.named.is_foreign(call) || self.may_be_of_unseen(call);
        if is_elsewhere && self.leaves_traces(call) {
            suspects.retain(|&s| !told[s] || line.is_some_and(|l| self.lines_of[s].contains(&l)));
        }
        suspects
    }

    /// Takes back what nothing but time and size give to a request: a line that names none of its
    /// calls and accounts for none either. Where much is lost, it may be the line of a request that
    /// was, while the line of this one was lost as well.
    pub(super) fn withdraw_unproven_lines(&mut self) {
        let calls_of = self.calls_of_servers();
        for log in 0..self.logs.len() {
            let Some(server) = self.server_of_log[log] else { continue };
            let calls = &calls_of[server];
            let is_named = || self.named.calls_of(log).any(|call| calls.contains(&call));
            let is_proven =
                || is_named() || !calls.is_empty() && self.accounts_for(log, server, calls);
            let request = self.server(server);
            let coverage = self.sight.coverage;
            let is_torn = coverage
                .nearly_whole(Some(request.node), request.start_ns, request.end_ns)
                .is_err();
            if is_torn && !is_proven() {
                self.server_of_log[log] = None;
            }
        }
    }

    /// Lines that fit only requests that have lines of their own tell of ones that were not seen.
    pub(super) fn add_left_lines(&mut self) {
        let has_line: BTreeSet<usize> = self.server_of_log.iter().flatten().copied().collect();
        for log in 0..self.logs.len() {
            let is_left = self.server_of_log[log].is_none() && !self.fitting[log].is_empty();
            if is_left && self.fitting[log].iter().all(|server| has_line.contains(server)) {
                for end in self.attempts(log).iter().filter_map(|a| a.server) {
                    self.of_unseen.entry(end).or_default().push(log);
                }
            }
        }
    }
}
