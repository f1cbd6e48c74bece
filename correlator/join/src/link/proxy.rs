//! What a proxy logged, as a link between the request it received and the calls it made for it.
//!
//! A proxy's worker serves many requests on one thread, so threads say nothing. Its log line says
//! how many servers it tried for a request and for how long; a call lies inside its request. Both
//! together are constraints, and only what they force is linked:
//! 1. a log line's request id, where a callee's server span carries the same one, names the call;
//! 2. a call belongs to a request that contains it, no request has more calls than attempts;
//! 3. log lines and requests are paired by time, duration, bytes and the calls' addresses; a single
//!    worker writes its lines in the order in which its requests end.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::End;
use crate::link::Parent;
use crate::link::ids::SpanLinks;
use crate::matching;
use crate::observation::{Exchange, ExchangeId, Place, Seen, address};
use crate::ownership::{Owner, Ownership};
use crate::reason::Reason;

/// Index of a line in [`Seen::access_logs`].
pub(crate) type LogId = usize;

/// A proxy's cached clock and the kernel's stamps differ by an iteration of its event loop.
const EVENT_LOOP_NS: i64 = 5_000_000;

/// A proxy passes the last bytes on before it reads the end of the upstream's stream.
const TRAILING_READ_NS: i64 = 1_000_000;

/// Rounds of mutual narrowing; each can only decide more.
const ROUNDS_MAX: usize = 4;

#[derive(Debug, Default)]
pub(crate) struct ProxyLinks {
    /// Places that write access logs.
    pub(crate) proxies: BTreeSet<usize>,
    /// Call -> the request that it was made for.
    pub(crate) parents: BTreeMap<ExchangeId, Parent>,
    /// Calls of proxies that stay undecided, with the requests that contain them.
    pub(crate) undecided: BTreeMap<ExchangeId, Vec<ExchangeId>>,
    /// Request received by a proxy -> its log line.
    pub(crate) log_of: BTreeMap<ExchangeId, LogId>,
    /// Requests received by a proxy that more than one line fits.
    pub(crate) log_candidates: BTreeMap<ExchangeId, Vec<LogId>>,
}

/// One proxy: its requests, calls and lines, and what is decided so far.
struct Scene<'a, 'b> {
    seen: &'b Seen<'a>,
    servers: &'b [ExchangeId],
    clients: &'b [ExchangeId],
    logs: Vec<LogId>,
    is_single_worker: bool,
    /// Indexes into `servers`, by index into `clients`.
    parent: Vec<Option<usize>>,
    /// Indexes into `servers`, by index into `logs`.
    server_of_log: Vec<Option<usize>>,
    /// Index into `logs`, by index into `clients`: the call that a request id names.
    log_of_call: BTreeMap<usize, usize>,
}

impl ProxyLinks {
    pub(crate) fn new(
        seen: &Seen<'_>,
        owners: &Ownership,
        spans: &SpanLinks,
        server_of: &[Option<ExchangeId>],
    ) -> Self {
        let mut logs_of: BTreeMap<usize, Vec<LogId>> = BTreeMap::new();
        for (id, log) in seen.access_logs.iter().enumerate() {
            if let Some(place) = place(seen, owners, log) {
                logs_of.entry(place).or_default().push(id);
            }
        }
        let mut links = Self::default();
        for (place, logs) in logs_of {
            links.proxies.insert(place);
            let mut scene = Scene::new(seen, &seen.places[place], logs);
            scene.name_calls_by_request_id(spans, server_of);
            scene.narrow();
            links.take(&scene);
        }
        links
    }

    fn take(&mut self, scene: &Scene<'_, '_>) {
        for (call, parent) in scene.parent.iter().enumerate() {
            let client = scene.clients[call];
            match parent {
                Some(server) => {
                    let by = match scene.log_of_call.get(&call) {
                        Some(&log) if scene.server_of_log[log] == Some(*server) => {
                            Reason::OkUpstreamUnique
                        }
                        _ => Reason::OkContainment,
                    };
                    let parent = Parent { server: scene.servers[*server], by };
                    self.parents.insert(client, parent);
                }
                None => {
                    let candidates = scene.containing(call);
                    let ids = candidates.into_iter().map(|s| scene.servers[s]).collect();
                    self.undecided.insert(client, ids);
                }
            }
        }
        for (log, server) in scene.server_of_log.iter().enumerate() {
            if let Some(server) = server {
                self.log_of.insert(scene.servers[*server], scene.logs[log]);
            }
        }
        for server in 0..scene.servers.len() {
            let id = scene.servers[server];
            if self.log_of.contains_key(&id) {
                continue;
            }
            let fitting: Vec<LogId> = (0..scene.logs.len())
                .filter(|&log| scene.server_of_log[log].is_none() && scene.fits(log, server))
                .map(|log| scene.logs[log])
                .collect();
            if !fitting.is_empty() {
                self.log_candidates.insert(id, fitting);
            }
        }
    }
}

impl<'a, 'b> Scene<'a, 'b> {
    fn new(seen: &'b Seen<'a>, place: &'b Place, logs: Vec<LogId>) -> Self {
        let threads: BTreeSet<i64> =
            place.servers.iter().map(|&s| seen.exchanges[s].row.thread).collect();
        Self {
            seen,
            servers: &place.servers,
            clients: &place.clients,
            is_single_worker: threads.len() == 1,
            parent: vec![None; place.clients.len()],
            server_of_log: vec![None; logs.len()],
            log_of_call: BTreeMap::new(),
            logs,
        }
    }

    /// A request id that one line and one callee's span carry names the call of that line.
    fn name_calls_by_request_id(&mut self, spans: &SpanLinks, server_of: &[Option<ExchangeId>]) {
        let mut lines: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (log, id) in self.logs.iter().enumerate() {
            if let Some(request_id) = self.seen.access_logs[*id].request_id.as_deref() {
                lines.entry(request_id).or_default().push(log);
            }
        }
        for (call, client) in self.clients.iter().enumerate() {
            let span = server_of[*client].and_then(|s| spans.span_of.get(&s));
            let request_id = span.and_then(|&s| self.seen.spans[s].request_id.as_deref());
            if let Some([log]) = request_id.and_then(|id| lines.get(id)).map(Vec::as_slice) {
                self.log_of_call.insert(call, *log);
            }
        }
    }

    /// Decides calls and lines in turn until nothing more follows.
    fn narrow(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let before = (self.parent.clone(), self.server_of_log.clone());
            self.parent = self.decide_parents();
            self.server_of_log = self.decide_logs();
            if before == (self.parent.clone(), self.server_of_log.clone()) {
                break;
            }
        }
    }

    fn decide_parents(&self) -> Vec<Option<usize>> {
        let candidates: Vec<Vec<usize>> = (0..self.clients.len())
            .map(|call| match self.parent[call] {
                Some(known) => vec![known],
                None => self.possible_parents(call),
            })
            .collect();
        let capacity: Vec<usize> = (0..self.servers.len()).map(|s| self.attempts_max(s)).collect();
        matching::forced(&candidates, &capacity)
    }

    fn possible_parents(&self, call: usize) -> Vec<usize> {
        let containing = self.containing(call);
        let Some(&log) = self.log_of_call.get(&call) else { return containing };
        if let Some(server) = self.server_of_log[log] {
            return vec![server];
        }
        containing.into_iter().filter(|&s| self.fits(log, s)).collect()
    }

    /// Requests during which the call was made and answered.
    fn containing(&self, call: usize) -> Vec<usize> {
        let client = self.client(call);
        let first_response_ns = client.row.first_response_ns.unwrap_or(client.row.start_ns);
        let end_ns = if client.has_response() { client.row.end_ns } else { client.row.start_ns };
        (0..self.servers.len())
            .filter(|&s| {
                let server = self.server(s);
                server.row.start_ns <= client.row.start_ns
                    && first_response_ns <= server.upper_ns()
                    && end_ns <= server.upper_ns().saturating_add(TRAILING_READ_NS)
            })
            .collect()
    }

    /// The most calls that a request can have made, by the lines that fit it. A request whose line
    /// is not there (yet) is taken to have made one, as nearly all do: a second one would leave an
    /// item without a slot, which withdraws the neighbourhood instead of guessing.
    fn attempts_max(&self, server: usize) -> usize {
        let of_log = |log: usize| self.seen.access_logs[self.logs[log]].attempts.len();
        let known = (0..self.logs.len()).find(|&l| self.server_of_log[l] == Some(server));
        match known {
            Some(log) => of_log(log),
            None => (0..self.logs.len())
                .filter(|&l| self.server_of_log[l].is_none() && self.fits(l, server))
                .map(of_log)
                .max()
                .unwrap_or(1),
        }
    }

    fn decide_logs(&self) -> Vec<Option<usize>> {
        let taken: BTreeSet<usize> = self.server_of_log.iter().flatten().copied().collect();
        let mut order: Vec<usize> = (0..self.servers.len()).collect();
        order.sort_by_key(|&s| (self.server(s).row.end_ns, s));
        let possible = |log: usize, server: usize| match self.server_of_log[log] {
            Some(known) => known == server,
            None => {
                !taken.contains(&server) && self.fits(log, server) && self.calls_agree(log, server)
            }
        };
        if self.is_single_worker {
            return self.aligned_in_blocks(&order, &possible);
        }
        let candidates: Vec<Vec<usize>> = (0..self.logs.len())
            .map(|l| (0..self.servers.len()).filter(|&s| possible(l, s)).collect())
            .collect();
        matching::forced(&candidates, &vec![1; self.servers.len()])
    }

    /// Alignment of lines and requests, cut wherever no line before the cut fits a request after
    /// it or the other way round, so that the cost stays linear in time.
    fn aligned_in_blocks(
        &self,
        order: &[usize],
        possible: &impl Fn(usize, usize) -> bool,
    ) -> Vec<Option<usize>> {
        let mut found = vec![None; self.logs.len()];
        let reach: Vec<Option<(usize, usize)>> = (0..self.logs.len())
            .map(|log| {
                let mut fitting = (0..order.len()).filter(|&j| possible(log, order[j]));
                let first = fitting.next()?;
                Some((first, fitting.last().unwrap_or(first)))
            })
            .collect();
        let mut log = 0;
        while log < self.logs.len() {
            let Some((mut first, mut last)) = reach[log] else {
                log += 1;
                continue;
            };
            let mut end = log + 1;
            while let Some(next) = reach.get(end) {
                match next {
                    Some((f, l)) if *f <= last => {
                        first = first.min(*f);
                        last = last.max(*l);
                        end += 1;
                    }
                    None => end += 1,
                    Some(_) => break,
                }
            }
            let pairs = matching::aligned(end - log, last + 1 - first, |i, j| {
                possible(log + i, order[first + j])
            });
            for (i, j) in pairs.into_iter().enumerate() {
                found[log + i] = j.map(|j| order[first + j]);
            }
            log = end;
        }
        found
    }

    /// Whether a line can be that request's by what both ends measured themselves.
    fn fits(&self, log: usize, server: usize) -> bool {
        let line = self.seen.access_logs[self.logs[log]];
        let e = self.server(server).row;
        let ends_in_time =
            e.end_ns >= line.end_lo_ns - EVENT_LOOP_NS && e.end_ns < line.end_hi_ns + EVENT_LOOP_NS;
        let lasts_as_long = line.duration_ns.is_none_or(|d| {
            (e.end_ns - e.start_ns - d).abs() <= line.duration_error_ns + EVENT_LOOP_NS
        });
        let same_bytes = line.bytes_received.is_none_or(|b| b == e.bytes_request);
        let body_fits = line.body_bytes_sent.is_none_or(|b| b <= e.bytes_response);
        let remote = address(line.remote_ip.as_deref());
        let same_peer = remote.is_none_or(|ip| ip == self.server(server).remote.ip);
        ends_in_time && lasts_as_long && same_bytes && body_fits && same_peer
    }

    /// Whether the calls that are known to be the request's are those that the line lists.
    fn calls_agree(&self, log: usize, server: usize) -> bool {
        let line = self.seen.access_logs[self.logs[log]];
        let mut attempts = line
            .attempts
            .iter()
            .filter_map(|a| Some((End::parse(a.ip.as_deref()?, a.port?)?, a.duration_ns)));
        let named = self.log_of_call.iter().all(|(&call, &named)| {
            (named == log) == (self.parent[call] == Some(server)) || self.parent[call].is_none()
        });
        named
            && (0..self.clients.len()).filter(|&c| self.parent[c] == Some(server)).all(|call| {
                let client = self.client(call);
                attempts.any(|(end, duration_ns)| {
                    end == client.remote
                        && duration_ns.is_none_or(|d| {
                            let measured = client.row.end_ns - client.row.start_ns;
                            !client.has_response()
                                || (measured - d).abs() <= line.duration_error_ns + EVENT_LOOP_NS
                        })
                })
            })
    }

    fn server(&self, index: usize) -> &Exchange<'a> {
        &self.seen.exchanges[self.servers[index]]
    }

    fn client(&self, index: usize) -> &Exchange<'a> {
        &self.seen.exchanges[self.clients[index]]
    }
}

fn place(seen: &Seen<'_>, owners: &Ownership, log: &tables::AccessLog) -> Option<usize> {
    if let Some(uid) = log.pod_uid.as_deref() {
        return seen.place_of_pod(uid);
    }
    let ip = address(log.emitter_ip.as_deref())?;
    match owners.owner(End { ip, port: 0 }, log.end_lo_ns) {
        Owner::Pod(pod) => seen.place_of_pod(&pod.uid),
        _ => None,
    }
}
