//! Which request each call of a proxy was made for: what names, lines and containment force.

use std::collections::BTreeMap;

use crate::address::End;
use crate::columns::Exchange;
use crate::interval::Intervals;
use crate::link::half;
use crate::link::proxy::scene::Scene;
use crate::lists::Lists;
use crate::matching;

impl Scene<'_> {
    pub(super) fn decide_parents(&self) -> Vec<Option<usize>> {
        // Requests that were not seen: one slot for all, and one for each that a line tells of.
        let unseen = self.servers.len();
        let of_unseen_line = |log: usize| unseen + 1 + log;
        let mut log_of: Vec<Option<usize>> = vec![None; unseen];
        for (log, server) in self.server_of_log.iter().enumerate() {
            if let Some(server) = server {
                log_of[*server] = Some(log);
            }
        }
        let mut capacity: Vec<usize> =
            (0..unseen).map(|s| self.attempts_max(s, log_of[s])).collect();
        capacity.push(matching::NO_LIMIT);
        capacity.extend((0..self.logs.len()).map(|log| self.attempts(log).len()));
        let named = self.decided_by_name(&capacity);
        for &server in named.iter().flatten() {
            capacity[server] -= 1;
        }
        let mut candidates = Lists::default();
        for (call, by_name) in named.iter().enumerate() {
            match self.parent[call] {
                // Not one of any line's tries.
                None if self.named.unlisted.contains_key(&call) => candidates.push([]),
                _ if by_name.is_some() => candidates.push([]),
                Some(known) => candidates.push([known]),
                None => {
                    let mut possible = self.possible_parents(call);
                    let is_foreign = self.named.is_foreign(call);
                    possible.retain(|&s| capacity[s] > 0 && !(is_foreign && log_of[s].is_some()));
                    // Those with lines are struck where none of these lists the call.
                    let has_line = |&s: &usize| log_of[s].is_some() || self.has_open_line(s);
                    let is_told = !possible.is_empty()
                        && possible.iter().all(has_line)
                        && !self.is_held_up(call)
                        && self.leaves_traces(call);
                    // A line that may be this request's carries another id than the call.
                    let is_anothers = is_foreign && possible.iter().any(|&s| self.has_open_line(s));
                    if is_anothers && !possible.is_empty() {
                        possible.push(unseen);
                    } else if !is_told {
                        possible.extend(self.unseen_lines(call).map(of_unseen_line));
                    }
                    candidates.push(possible);
                }
            }
        }
        // A call that was half seen is some request's all the same, and takes its try.
        for half in &self.half {
            let possible = self.possible_parents_of_half(half).into_iter();
            candidates.push(possible.filter(|&s| capacity[s] > 0));
        }
        let forced = matching::certain(&candidates, &capacity);
        let forced = forced.into_iter().map(|slot| slot.filter(|&s| s < unseen));
        named.into_iter().zip(forced).map(|(named, forced)| named.or(forced)).collect()
    }

    /// Requests of the calls that lines name, where a line names no more of them than it has tries
    /// and all were made during its request. No other call has to agree.
    fn decided_by_name(&self, capacity: &[usize]) -> Vec<Option<usize>> {
        let request = |call: usize| {
            let (log, _) = self.named.line_of(call)?;
            self.server_of_log[log]
        };
        let mut named: Vec<Option<usize>> = (0..self.clients.len()).map(request).collect();
        let mut left = capacity.to_vec();
        let mut is_contradicted = vec![false; self.servers.len()];
        for (call, server) in named.iter().enumerate() {
            let Some(server) = *server else { continue };
            let is_its = left[server] > 0 && self.is_around(server, call, &self.reach_ns(call));
            is_contradicted[server] |= !is_its;
            left[server] = left[server].saturating_sub(1);
        }
        named.iter_mut().for_each(|s| *s = s.filter(|&server| !is_contradicted[server]));
        named
    }

    fn possible_parents(&self, call: usize) -> Vec<usize> {
        if let Some((log, _)) = self.named.line_of(call) {
            let fitting = match &self.server_of_log[log] {
                Some(server) => std::slice::from_ref(server),
                None => &self.fitting[log],
            };
            let reach_ns = self.reach_ns(call);
            let is_around = |server: &usize| self.is_around(*server, call, &reach_ns);
            return fitting.iter().copied().filter(is_around).collect();
        }
        let mut possible = self.containing(call);
        self.keep_listing(&mut possible, |log| self.lists_call(log, call));
        possible
    }

    fn possible_parents_of_half(&self, half: &half::Call) -> Vec<usize> {
        let mut possible =
            self.open.around(half.from_ns + half.bound_ns, half.to_ns - half.bound_ns);
        if let Some(log) = self.named.line_of_half(half.server) {
            let fitting = match &self.server_of_log[log] {
                Some(server) => std::slice::from_ref(server),
                None => &self.fitting[log],
            };
            possible.retain(|server| fitting.contains(server));
            return possible;
        }
        self.keep_listing(&mut possible, |log| self.lists_half(log, half));
        possible
    }

    /// Whether a try of a line may be a call of which only the server's end was seen.
    pub(super) fn lists_half(&self, log: usize, half: &half::Call) -> bool {
        let server = self.sight.exchange(half.server);
        let is_service = |end| self.sight.owners.service(end, server.start_ns).is_some();
        let mut ends = self.attempts(log).iter().filter_map(|a| a.server);
        self.lists(log, server.local()) || ends.any(is_service)
    }

    /// Calls that no key links to their server's end, if that was seen.
    pub(super) fn unlinked(&self) -> Unlinked {
        let mut times: BTreeMap<End, Vec<(i64, i64)>> = BTreeMap::new();
        for (call, &id) in self.clients.iter().enumerate() {
            let client = self.client(call);
            if client.seq_req < 0 && self.sight.server_of(id).is_none() {
                times.entry(client.remote()).or_default().push((client.start_ns, client.end_ns));
            }
        }
        let intervals = |(end, times): (End, Vec<_>)| (end, Intervals::new(times.into_iter()));
        Unlinked(times.into_iter().map(intervals).collect())
    }

    /// Strikes the requests that have lines, and none that may list a call.
    fn keep_listing(&self, possible: &mut Vec<usize>, may_list: impl Fn(usize) -> bool) {
        possible.retain(|&s| {
            let mut lines = self.lines_of[s]
                .iter()
                .filter(|&&l| self.server_of_log[l].is_none_or(|known| known == s))
                .peekable();
            lines.peek().is_none() || lines.any(|&l| may_list(l))
        });
    }

    fn has_open_line(&self, server: usize) -> bool {
        self.open_lines(server).next().is_some()
    }

    /// The most calls that a request can have made, by the lines that fit it. A request whose line
    /// is not there (yet) is taken to have made one, as nearly all do: a second one would leave an
    /// item without a slot, which withdraws the neighbourhood instead of guessing.
    fn attempts_max(&self, server: usize, log: Option<usize>) -> usize {
        let attempts = |log: usize| self.attempts(log).len();
        match log {
            Some(log) => attempts(log),
            None => self.open_lines(server).map(attempts).max().unwrap_or(1),
        }
    }
}

/// By where they went. Streams without numbers that nobody answered are such calls.
pub(super) struct Unlinked(BTreeMap<End, Intervals>);

impl Unlinked {
    /// Whether a call that its server saw may be one of them: then it takes no try of its own.
    pub(super) fn may_hold(&self, server: &Exchange, half: &half::Call) -> bool {
        let from_ns = half.from_ns.saturating_add(half.bound_ns);
        let to_ns = half.from_ns.saturating_sub(half.bound_ns);
        let is_around = |calls: &Intervals| !calls.around(from_ns, to_ns).is_empty();
        server.seq_req < 0 && self.0.get(&server.local()).is_some_and(is_around)
    }
}
