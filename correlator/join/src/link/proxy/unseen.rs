//! Requests of a proxy that were not seen: what tells of them, and what is sure all the same.

use std::collections::BTreeSet;

use crate::coverage;
use crate::link::proxy::line::EVENT_LOOP_NS;
use crate::link::proxy::scene::Scene;

/// A call in so many may be of a request that was lost with its line. Where there were fewer
/// requests, nobody knows whether they make calls beside those that their lines list.
const BESIDE_PART: usize = 64;

impl Scene<'_> {
    /// Whether at most one of a call and its request is lost where the call was made, but for very
    /// few of them. Then a request whose line lists the call has made it: if not, its own call would
    /// be missing, and the request of this one as well.
    pub(super) fn leaves_traces(&self, call: usize) -> bool {
        let call = self.client(call);
        let coverage = self.sight.coverage;
        coverage.nearly_whole(Some(call.node), call.start_ns, call.end_ns).is_ok()
    }

    /// Lines that fit no request and tell of a try that this call may be.
    pub(super) fn unseen_lines(&self, call: usize) -> impl Iterator<Item = usize> + '_ {
        let row = self.client(call);
        let lines = self.of_unseen.get(&row.remote());
        lines.into_iter().flatten().copied().filter(move |&log| {
            let line = self.line(log);
            let lasted_ns = line.duration_ns.unwrap_or(0).max(0) + line.duration_error_ns;
            line.end_lo_ns - lasted_ns - EVENT_LOOP_NS <= row.start_ns
                && row.start_ns <= line.end_hi_ns + EVENT_LOOP_NS
                && self.lists_call(log, call)
        })
    }

    pub(super) fn may_be_of_unseen(&self, call: usize) -> bool {
        self.unseen_lines(call).next().is_some()
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
    /// line tells of has not, where the call is told of elsewhere, if only by the line of a request
    /// that would else lack one.
    pub(super) fn suspects(&self, call: usize, told: &[bool], lists_all: bool) -> Vec<usize> {
        let mut suspects = self.containing(call);
        let line = self.named.line_of(call).map(|(log, _)| log);
        let lacks_it =
            |&s: &usize| !told[s] && self.lines_of[s].iter().any(|&l| self.lists_call(l, call));
        let is_elsewhere = lists_all
            || line.is_some()
            || self.named.is_foreign(call)
            || self.may_be_of_unseen(call)
            || suspects.iter().any(lacks_it);
        if is_elsewhere && self.leaves_traces(call) {
            suspects.retain(|&s| !told[s] || line.is_some_and(|l| self.lines_of[s].contains(&l)));
        }
        suspects
    }

    /// Whether the proxy makes no calls that its lines do not list: those that were seen beside
    /// nothing but requests that made all that their lines tell of are no more than those of
    /// requests that were lost together with their lines.
    pub(super) fn lists_all_calls(&self, told: &[bool]) -> bool {
        let is_beside_told = |&call: &usize| {
            let mut suspects = self.suspects(call, told, false).into_iter();
            suspects.len() > 0 && suspects.all(|s| told[s])
        };
        let undecided = (0..self.clients.len()).filter(|&call| self.parent[call].is_none());
        let beside = undecided.filter(is_beside_told).count();
        let requests = self.servers.len();
        let Some(&first) = self.servers.first() else { return false };
        let lost = self.sight.coverage.share_lost(self.sight.exchange(first).node);
        let without_line = requests - self.server_of_log.iter().flatten().count();
        let expected = lost * without_line as f64;
        requests >= BESIDE_PART
            && beside * BESIDE_PART <= requests
            && beside as f64 <= coverage::lost_by_chance(expected)
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
