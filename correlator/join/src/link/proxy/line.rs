//! Whether a log line and a request, or its calls, can be the same by what each of them says.

use crate::address::End;
use crate::columns::{Attempt, Exchange};
use crate::link::proxy::ends::Ends;
use crate::link::proxy::measured::{self, Slack};
use crate::link::proxy::scene::Scene;
use crate::lists::Lists;

/// A proxy's cached clock and the kernel's stamps differ by an iteration of its event loop.
pub(super) const EVENT_LOOP_NS: i64 = 5_000_000;

impl Scene<'_> {
    /// The requests that a line fits.
    pub(super) fn fitting_to(&self, log: usize, ends: &Ends) -> impl Iterator<Item = usize> {
        let told = ends.told_by(self.line(log));
        told.filter(move |&s| self.same_sizes(log, s) && self.lasts_as_long(log, s))
    }

    /// Those that are no further from the line than the proxy's lines are as a rule.
    pub(super) fn still_fitting(&self) -> Lists {
        let is_near = |log: usize, server: usize| {
            let body = self.line(log).body_bytes_sent;
            self.lasts_as_long(log, server)
                && measured::is_body_of(body, self.server(server), &self.slack.head_of_response)
        };
        let lists = self.fitting.iter().enumerate().map(|(log, fitting)| {
            fitting.iter().copied().filter(move |&server| is_near(log, server))
        });
        lists.collect()
    }

    /// A line that fits no request tells of one that was not seen, unless a request that has no
    /// line either differs from it in nothing but the time that both measured.
    pub(super) fn find_unseen(&mut self, log: usize, ends: &Ends) {
        let has_no_line = |&s: &usize| self.lines_of[s].is_empty() && self.same_sizes(log, s);
        let is_told =
            !self.fitting[log].is_empty() || ends.told_by(self.line(log)).any(|s| has_no_line(&s));
        if !is_told {
            for end in self.attempts(log).iter().filter_map(|a| a.server) {
                self.of_unseen.entry(end).or_default().push(log);
            }
        }
    }

    /// Whether both ends measured the same time.
    fn lasts_as_long(&self, log: usize, server: usize) -> bool {
        let (line, e) = (self.line(log), self.server(server));
        line.duration_ns.is_none_or(|d| {
            let slack_ns = line.duration_error_ns + self.slack.of_request_ns;
            (e.end_ns - e.start_ns - d).abs() <= slack_ns
        })
    }

    /// Whether both ends counted the same bytes from the same peer.
    fn same_sizes(&self, log: usize, server: usize) -> bool {
        let (line, e) = (self.line(log), self.server(server));
        let same_bytes = line.bytes_received.is_none_or(|b| b == e.bytes_request);
        let body_fits = line.body_bytes_sent.is_none_or(|b| b <= e.bytes_response);
        let same_port = line.remote_port.is_none_or(|port| port == i32::from(e.remote_port));
        same_bytes && body_fits && same_port && line.remote_ip.is_none_or(|ip| ip == e.remote_ip)
    }

    /// Whether a line tells of an attempt at that address, or can't be read that far.
    pub(super) fn lists(&self, log: usize, remote: End) -> bool {
        let attempts = self.attempts(log);
        self.line(log).attempts_malformed || attempts.iter().any(|a| a.server == Some(remote))
    }

    /// Whether a try of a line may be a call, or the line can't be read that far.
    pub(super) fn lists_call(&self, log: usize, call: usize) -> bool {
        let mut tries = self.attempts(log).iter();
        self.line(log).attempts_malformed || tries.any(|a| self.may_be(log, a, call))
    }

    /// Whether a try of a line went where a call did, and both lasted as long and had as many bytes.
    pub(super) fn may_be(&self, log: usize, attempt: &Attempt, call: usize) -> bool {
        self.went_as_call(attempt, call)
            && (self.measures_as_call(log, attempt, call, &self.slack)
                || self.held_up.contains(&(call, log)))
    }

    /// Whether a try went where a call did, and neither was answered without the other.
    pub(super) fn went_as_call(&self, attempt: &Attempt, call: usize) -> bool {
        let client = self.client(call);
        attempt.server == Some(client.remote()) && !(client.was_dropped() && attempt.was_answered())
    }

    /// Whether a try of a line and a call are the same by all that was measured of both, but for a
    /// slack.
    pub(super) fn measures_as_call(
        &self,
        log: usize,
        attempt: &Attempt,
        call: usize,
        slack: &Slack,
    ) -> bool {
        self.lasts_as_call(log, attempt, call, slack.of_try_ns)
            && measured::is_body_of(attempt.response_length, self.client(call), &slack.head_of_try)
    }

    /// Whether a try of a line and a call lasted as long, but for a slack. Of one that nobody answered
    /// it is only known how long it lasted where its connection ended with it.
    fn lasts_as_call(&self, log: usize, attempt: &Attempt, call: usize, slack_ns: i64) -> bool {
        let client = self.client(call);
        let measured_ns = client.end_ns - client.start_ns;
        let slack_ns = self.line(log).duration_error_ns + slack_ns;
        let has_end = client.has_response() || client.was_dropped();
        !has_end
            || attempt
                .duration_ns
                .is_none_or(|d| measured_ns.abs_diff(d) <= slack_ns.unsigned_abs())
    }

    /// Whether the calls that were given to a request are, one for one, the tries that its line
    /// tells of. A call of another request is among them only if one of its own was lost, and the
    /// other request too.
    pub(super) fn accounts_for(&self, log: usize, server: usize, calls: &[usize]) -> bool {
        let tries = self.attempts(log);
        let mut ends = tries.iter().filter_map(|a| a.server);
        let each_is_there = ends.all(|end| {
            let at_end = |a: &&Attempt| a.server == Some(end);
            let made = || calls.iter().map(|&c| self.client(c)).filter(|c| c.remote() == end);
            let count = made().count();
            // What was refused sent nothing, and is told like what was dropped.
            count == tries.iter().filter(at_end).count()
                || !made().any(Exchange::was_dropped)
                    && count == tries.iter().filter(at_end).filter(|a| !a.was_refused()).count()
        });
        each_is_there && self.calls_agree(log, server, calls)
    }

    /// Whether the calls that are known to be the request's are those that the line lists.
    pub(super) fn calls_agree(&self, log: usize, server: usize, calls: &[usize]) -> bool {
        let named_are_its = self
            .named
            .calls_of(log)
            .all(|call| self.parent[call].is_none_or(|parent| parent == server));
        let its_are_named = calls.iter().all(|&call| {
            let line = self.named.line_of(call);
            line.is_none_or(|(l, _)| l == log) && !self.named.is_foreign(call)
        });
        let mut attempts = self.attempts(log).iter();
        let listed = calls.iter().all(|&call| attempts.any(|a| self.may_be(log, a, call)));
        named_are_its && its_are_named && listed
    }
}
