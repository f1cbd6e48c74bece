//! Lines that are less exact than a proxy's lines are as a rule, and what is left for them.
//!
//! An event loop is held up now and then, and a moment that it stamps after that is off by some
//! milliseconds. The slack that the proxy's lines show ([`Slack`]) leaves such a line without a
//! request, or a try of it without a call. Both are looked at again with the slack of a proxy that
//! nothing is known of, among the requests and calls that nothing nearer claims.
//!
//! What is left may be so because of a loss: the line's own request was lost, and the line of a
//! request that is left as well. So the tries have to be there, and the line has to list every call
//! that can be of no other request.

use crate::columns::Attempt;
use crate::link::proxy::measured::Slack;
use crate::link::proxy::scene::Scene;
use crate::lists::Lists;

impl Scene<'_> {
    /// Fits lines without a request to requests without a line. Returns the lines that now fit some.
    pub(super) fn widen_lines(&mut self) -> Vec<usize> {
        if self.slack == Slack::UNKNOWN {
            return Vec::new();
        }
        let mut has_line = vec![false; self.servers.len()];
        self.server_of_log.iter().flatten().for_each(|&server| has_line[server] = true);
        let is_left = |log: &usize| {
            self.server_of_log[*log].is_none()
                && !self.is_widened[*log]
                && self.fitting[*log].iter().all(|&server| has_line[server])
        };
        let left = (0..self.logs.len()).filter(is_left);
        let found = left.filter_map(|log| {
            let is_its = |&s: &usize| !has_line[s] && self.is_left_for(s, log);
            let requests: Vec<usize> = self.wide[log].iter().copied().filter(is_its).collect();
            (!requests.is_empty()).then_some((log, requests))
        });
        let found: Vec<(usize, Vec<usize>)> = found.collect();
        let lines: Vec<usize> = found.iter().map(|(log, _)| *log).collect();
        self.fit_too(found);
        lines
    }

    /// Whether no line fits a request that is left better than one that is left, and the calls in
    /// it say the same as the line.
    fn is_left_for(&self, server: usize, log: usize) -> bool {
        let is_nearer = |&l: &usize| self.server_of_log[l].is_none() && !self.is_widened[l];
        let inside = || self.calls_in(server);
        let mut tries = self.attempts(log).iter().filter(|a| !a.was_refused()).peekable();
        !self.lines_of[server].iter().any(is_nearer)
            && self.is_around_named(log, server)
            && self.keeps_order(server, log)
            && tries.peek().is_some()
            && tries.all(|a| inside().any(|call| self.may_be(log, a, call)))
            && inside().all(|call| {
                self.lists_call(log, call) || self.containing(call).iter().any(|&s| s != server)
            })
    }

    /// Calls that a request can have made, by time.
    fn calls_in(&self, server: usize) -> impl Iterator<Item = usize> + '_ {
        let request = self.server(server);
        let start_ns = |&call: &usize| self.client(call).start_ns;
        let from = self.clients_begun_before(request.start_ns);
        let begun = (from..self.clients.len()).take_while(move |c| start_ns(c) <= request.end_ns);
        begun.filter(move |&call| self.is_around(server, call, &self.reach_ns(call)))
    }

    /// Whether a worker that writes its lines in the order of ends can have written a line of a
    /// request between the lines beside it. What is named needs no order.
    fn keeps_order(&self, server: usize, log: usize) -> bool {
        if !self.is_in_order || self.named.calls_of(log).next().is_some() {
            return true;
        }
        let rank = |known: &Option<usize>| known.map(|server| self.rank[server]);
        let before = self.server_of_log[..log].iter().rev().find_map(rank);
        let after = self.server_of_log[log + 1..].iter().find_map(rank);
        let own = self.rank[server];
        before.is_none_or(|before| before < own) && after.is_none_or(|after| own < after)
    }

    fn fit_too(&mut self, found: Vec<(usize, Vec<usize>)>) {
        if found.is_empty() {
            return;
        }
        let mut found = found.into_iter().peekable();
        let mut fitting = Lists::default();
        for (log, known) in self.fitting.iter().enumerate() {
            match found.next_if(|(widened, _)| *widened == log) {
                // All that fitted it have lines of their own.
                Some((_, requests)) => {
                    fitting.push(requests);
                    self.is_widened[log] = true;
                }
                None => fitting.push(known.iter().copied()),
            }
        }
        self.lines_of = fitting.inverse(self.servers.len());
        self.fitting = fitting;
        let is_widened = &self.is_widened;
        self.of_unseen.values_mut().for_each(|lines| lines.retain(|&log| !is_widened[log]));
    }

    /// Takes calls that no line lists for tries that no call is near. Whether there were any.
    pub(super) fn widen_tries(&mut self) -> bool {
        if self.slack == Slack::UNKNOWN {
            return false;
        }
        let mut line_of: Vec<Option<usize>> = vec![None; self.servers.len()];
        for (log, server) in self.server_of_log.iter().enumerate() {
            if let Some(server) = server {
                line_of[*server] = Some(log);
            }
        }
        let is_left = |call: &usize| {
            self.parent[*call].is_none()
                && self.named.line_of(*call).is_none()
                && !self.named.is_foreign(*call)
        };
        let mut found = Vec::new();
        for call in (0..self.clients.len()).filter(is_left) {
            let around = self.containing(call);
            let may_list = |&s: &usize| self.lines_of[s].iter().any(|&l| self.lists_call(l, call));
            if around.iter().any(may_list) {
                continue;
            }
            let lines = around.iter().filter_map(|&s| Some((s, line_of[s]?)));
            let pairs = lines.filter(|&(s, log)| self.has_try_left(s, log, call));
            found.extend(pairs.map(|(_, log)| (call, log)));
        }
        let known = self.held_up.len();
        self.held_up.extend(found);
        self.held_up.len() > known
    }

    /// Whether a line lists a call by no more than the slack of a proxy that nothing is known of.
    pub(super) fn is_held_up(&self, call: usize) -> bool {
        self.held_up.range((call, 0)..=(call, usize::MAX)).next().is_some()
    }

    /// Whether a line tells of more tries where a call went than its request made calls that are near
    /// them, and the call may be one of those by the slack of a proxy that nothing is known of.
    fn has_try_left(&self, server: usize, log: usize, call: usize) -> bool {
        let remote = self.client(call).remote();
        let there = || self.attempts(log).iter().filter(|a| a.server == Some(remote));
        let near = self
            .calls_in(server)
            .filter(|&other| self.client(other).remote() == remote && self.lists_call(log, other));
        let may_be = |a: &Attempt| {
            self.went_as_call(a, call) && self.measures_as_call(log, a, call, &Slack::UNKNOWN)
        };
        there().any(may_be) && near.count() < there().count()
    }
}
