//! Which request each call of a proxy was made for: what names, lines and containment force.

use std::collections::BTreeMap;
use std::iter::repeat;

use crate::columns::Attempt;
use crate::link::half;
use crate::link::proxy::scene::Scene;
use crate::matching;

impl Scene<'_> {
    pub(super) fn decide_parents(&self) -> Vec<Option<usize>> {
        // One more slot stands for all the requests that were not seen.
        let unseen = self.servers.len();
        let mut log_of: Vec<Option<usize>> = vec![None; unseen];
        for (log, server) in self.server_of_log.iter().enumerate() {
            if let Some(server) = server {
                log_of[*server] = Some(log);
            }
        }
        let mut capacity: Vec<usize> =
            (0..unseen).map(|s| self.attempts_max(s, log_of[s])).collect();
        capacity.push(matching::NO_LIMIT);
        // What a name decides needs no other call to agree.
        let named: Vec<Option<usize>> = (0..self.clients.len())
            .map(|call| self.named.line_of(call).and_then(|(log, _)| self.server_of_log[log]))
            .collect();
        for &server in named.iter().flatten() {
            capacity[server] = capacity[server].saturating_sub(1);
        }
        let of_clients = (0..self.clients.len()).map(|call| match self.parent[call] {
            // Not one of any line's tries.
            None if self.named.unlisted.contains_key(&call) => Vec::new(),
            _ if named[call].is_some() => Vec::new(),
            Some(known) => vec![known],
            None => {
                let mut possible = self.possible_parents(call);
                possible.retain(|&s| capacity[s] > 0);
                // Those with lines are struck where none of these lists the call.
                let has_line = |&s: &usize| log_of[s].is_some() || self.has_open_line(s);
                let is_told = possible.iter().all(has_line) && self.leaves_traces(call);
                if !possible.is_empty() && !is_told && self.may_be_of_unseen(call) {
                    possible.push(unseen);
                }
                possible
            }
        });
        // A call that was half seen is some request's all the same, and takes its try.
        let of_half = self.half.iter().map(|half| {
            let mut possible = self.possible_parents_of_half(half);
            possible.retain(|&s| capacity[s] > 0);
            possible
        });
        let candidates: Vec<Vec<usize>> = of_clients.chain(of_half).collect();
        let forced = matching::forced(&candidates, &capacity);
        let forced = forced.into_iter().map(|slot| slot.filter(|&s| s != unseen));
        let mut parents: Vec<Option<usize>> =
            named.into_iter().chain(repeat(None)).zip(forced).map(|(n, f)| n.or(f)).collect();
        self.fill_tries(&candidates, &log_of, &mut parents);
        parents.truncate(self.clients.len());
        parents
    }

    /// Gives a request the only call that fits the only try of its line that is left. If the call
    /// were another's, both ends of the one that was made would be lost.
    fn fill_tries(
        &self,
        candidates: &[Vec<usize>],
        log_of: &[Option<usize>],
        parents: &mut [Option<usize>],
    ) {
        let is_sent = |a: &&Attempt| a.server.is_some() && !a.was_refused();
        let sent = |log: &usize| self.attempts(*log).iter().filter(is_sent).count();
        let mut left: Vec<usize> = log_of.iter().map(|log| log.as_ref().map_or(0, sent)).collect();
        for &server in parents.iter().flatten() {
            left[server] = left[server].saturating_sub(1);
        }
        let mut fitting: Vec<Vec<usize>> = vec![Vec::new(); self.servers.len()];
        for (item, slots) in candidates.iter().enumerate().filter(|(i, _)| parents[*i].is_none()) {
            for &server in slots.iter().filter(|&&s| s < self.servers.len() && left[s] == 1) {
                fitting[server].push(item);
            }
        }
        let mut wanted: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (server, items) in fitting.iter().enumerate() {
            if let [item] = items[..] {
                wanted.entry(item).or_default().push(server);
            }
        }
        for (item, servers) in wanted {
            let is_call = item < self.clients.len();
            if let ([server], true) = (&servers[..], is_call && self.leaves_traces(item)) {
                parents[item] = Some(*server);
            }
        }
    }

    fn possible_parents(&self, call: usize) -> Vec<usize> {
        if let Some((log, _)) = self.named.line_of(call) {
            return match self.server_of_log[log] {
                Some(server) => vec![server],
                None => {
                    let reach_ns = self.reach_ns(call);
                    let fitting = self.fitting[log].iter().copied();
                    fitting.filter(|&server| self.is_around(server, call, &reach_ns)).collect()
                }
            };
        }
        let mut possible = self.containing(call);
        let remote = self.client(call).remote();
        self.keep_listing(&mut possible, |log| self.lists(log, remote));
        possible
    }

    fn possible_parents_of_half(&self, half: &half::Call) -> Vec<usize> {
        let mut possible =
            self.open.around(half.from_ns + half.bound_ns, half.to_ns - half.bound_ns);
        let server = self.sight.exchange(half.server);
        let is_service = |end| self.sight.owners.service(end, server.start_ns).is_some();
        self.keep_listing(&mut possible, |log| {
            let mut ends = self.attempts(log).iter().filter_map(|a| a.server);
            self.lists(log, server.local()) || ends.any(is_service)
        });
        possible
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
