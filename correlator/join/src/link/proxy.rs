//! What a proxy logged, as a link between the request it received and the calls it made for it.
//!
//! A proxy's worker serves many requests on one thread, so threads say nothing. Its log line says
//! how many servers it tried for a request and for how long; a call lies inside its request. Both
//! together are constraints, and only what they force is linked:
//! 1. a log line's request id, where the callee saw the same one, names the call, and so does the
//!    proxy's end of the connection in the line;
//! 2. a call belongs to a request that contains it, no request has more calls than attempts;
//! 3. log lines and requests are paired by time, duration, bytes and the calls' addresses; a single
//!    worker writes its lines in the order in which its requests end.
//!
//! Where events are lost, 2. alone proves nothing: the request that made a call may be one of them.
//! A request whose calls are one for one the tries of its line is proven all the same, as long as
//! two losses at once are rare (`unseen.rs`).

mod ends;
mod left;
mod line;
mod measured;
mod naming;
mod parents;
mod scene;
mod unseen;

use std::collections::{BTreeMap, BTreeSet};

use crate::address::{Address, End};
use crate::columns::Exchange;
use crate::id::Id;
use crate::link::{Parent, half};
use crate::reason::Reason;
use crate::row_map::RowMap;
use crate::sight::Sight;
use crate::slab::{ExchangeId, LogId, RowId};
use line::EVENT_LOOP_NS;
use naming::Named;
use scene::Scene;

/// The lines in sight by the place that wrote them.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    of_place: BTreeMap<u32, Vec<LogId>>,
    /// Lines that name their client's socket, by place and that socket.
    of_peer: BTreeMap<(u32, End), Vec<LogId>>,
    /// Places of which some line tells of a server elsewhere, or of none.
    proxies: BTreeSet<u32>,
}

impl Lines {
    pub(crate) fn new(sight: &Sight<'_>) -> Self {
        let view = sight.view();
        let mut lines = Self::default();
        let mut known: BTreeMap<(Address, i64), Option<u32>> = BTreeMap::new();
        for window in sight.earliest()..sight.window + 2 {
            let Some(slab) = sight.slabs.slab(window) else { continue };
            for (row, log) in slab.access_logs.iter().enumerate() {
                if log.event_ns >= view.until_ns {
                    continue;
                }
                let of_address = |ip: Address| {
                    let at = (ip, log.end_lo_ns);
                    *known.entry(at).or_insert_with(|| view.place_of_address(at.0, at.1))
                };
                let place = match log.pod {
                    Some(pod) => sight.slabs.place_of_pod(pod),
                    None => log.emitter_ip.and_then(of_address),
                };
                if let Some(place) = place.filter(|&place| window >= sight.first_of(place)) {
                    let id = RowId { window, row: row as u32 };
                    lines.of_place.entry(place).or_default().push(id);
                    let port = log.remote_port.and_then(|port| u16::try_from(port).ok());
                    if let Some((ip, port)) = log.remote_ip.zip(port) {
                        let peer = End { ip, port };
                        lines.of_peer.entry((place, peer)).or_default().push(id);
                    }
                    if slab.attempts(&log.attempts).iter().any(|attempt| !attempt.is_inside) {
                        lines.proxies.insert(place);
                    }
                }
            }
        }
        lines
    }

    /// Lines of a place, in the order in which it wrote them; `None` where it writes none.
    pub(crate) fn of(&self, place: u32) -> Option<&[LogId]> {
        self.of_place.get(&place).map(Vec::as_slice)
    }

    /// Whether a place passes requests on to others. A sidecar that only hands them to its own pod
    /// says nothing of the calls that the pod makes.
    pub(crate) fn is_proxy(&self, place: u32) -> bool {
        self.proxies.contains(&place)
    }

    /// The only line that names the client's socket of a request and was written at its end.
    fn of_turn(&self, sight: &Sight<'_>, server: &Exchange) -> Option<LogId> {
        let lines = self.of_peer.get(&(server.place, server.remote()))?.iter().copied();
        let mut near = lines.filter(|&id| {
            let line = sight.slabs.log(id);
            line.end_lo_ns - EVENT_LOOP_NS <= server.end_ns
                && server.end_ns < line.end_hi_ns + EVENT_LOOP_NS
        });
        let first = near.next()?;
        near.next().is_none().then_some(first)
    }
}

/// What the lines of one proxy decide. Calls by index.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The requests that calls were made for.
    pub(crate) parents: Vec<Option<Parent>>,
    /// Calls that stay undecided, with the requests that contain them.
    pub(crate) undecided: BTreeMap<usize, Vec<ExchangeId>>,
    log_of: Vec<(ExchangeId, LogId)>,
    log_candidates: Vec<(ExchangeId, Vec<LogId>)>,
    shared_ids: BTreeSet<Id>,
}

impl Told {
    /// Decides the calls of one proxy. `servers` and `clients` by start.
    pub(crate) fn new(
        sight: &Sight<'_>,
        servers: &[ExchangeId],
        clients: &[ExchangeId],
        lines: &Lines,
        half: &[half::Call],
        place: u32,
    ) -> Self {
        let of_place = lines.of(place).unwrap_or_default();
        let mut scene = Scene::new(sight, servers, clients, of_place.to_vec());
        scene.named = Named::new(&scene, lines);
        scene.fit_around_named();
        if !half.is_empty() {
            let unlinked = scene.unlinked();
            let is_seen_twice = |h: &&half::Call| unlinked.may_hold(sight.exchange(h.server), h);
            scene.half = half.iter().filter(|half| !is_seen_twice(half)).copied().collect();
            scene.name_halves(lines);
        }
        scene.narrow();
        scene.withdraw_unproven_lines();
        scene.give_unlisted();
        scene.add_left_lines();
        let mut told = Self { shared_ids: scene.shared_ids(), ..Self::default() };
        told.take(&scene);
        told
    }

    /// Requests that have a line.
    pub(crate) fn labelled(&self) -> BTreeSet<ExchangeId> {
        self.log_of.iter().map(|(server, _)| *server).collect()
    }

    fn take(&mut self, scene: &Scene<'_>) {
        let told = scene.told();
        let lists_all = scene.lists_all_calls(&told);
        for (call, parent) in scene.parent.iter().enumerate() {
            let parent = parent.map(|server| {
                let by = match scene.named.line_of(call) {
                    Some((log, by)) if scene.server_of_log[log] == Some(server) => by,
                    None if scene.named.unlisted.contains_key(&call) => Reason::OkExactId,
                    _ if told[server] && scene.leaves_traces(call) => Reason::OkUpstreamUnique,
                    _ => Reason::OkContainment,
                };
                Parent { server: scene.servers[server], by }
            });
            self.parents.push(parent);
            if parent.is_none() {
                let candidates = scene.suspects(call, &told, lists_all);
                let ids = candidates.into_iter().map(|s| scene.servers[s]).collect();
                self.undecided.insert(call, ids);
            }
        }
        let mut is_told = vec![false; scene.servers.len()];
        for (log, server) in scene.server_of_log.iter().enumerate() {
            if let Some(server) = server {
                is_told[*server] = true;
                self.log_of.push((scene.servers[*server], scene.logs[log]));
            }
        }
        for server in (0..scene.servers.len()).filter(|&server| !is_told[server]) {
            let fitting: Vec<LogId> = scene.open_lines(server).map(|log| scene.logs[log]).collect();
            if !fitting.is_empty() {
                self.log_candidates.push((scene.servers[server], fitting));
            }
        }
    }
}

/// What proxies' lines tell in one window.
#[derive(Debug, Default)]
pub(crate) struct ProxyLinks {
    /// Request received by a proxy -> its log line.
    pub(crate) log_of: RowMap<LogId>,
    /// Requests received by a proxy that more than one line fits.
    pub(crate) log_candidates: BTreeMap<ExchangeId, Vec<LogId>>,
    /// Request ids that several requests of one proxy carry.
    pub(crate) shared_ids: BTreeSet<Id>,
}

impl ProxyLinks {
    pub(crate) fn new(sight: &Sight<'_>) -> Self {
        Self { log_of: sight.row_map(), ..Self::default() }
    }

    /// Adds what the lines of one more proxy tell.
    pub(crate) fn take(&mut self, told: Told) {
        told.log_of.into_iter().for_each(|(server, log)| self.log_of.insert(server, log));
        self.log_candidates.extend(told.log_candidates);
        self.shared_ids.extend(told.shared_ids);
    }
}
