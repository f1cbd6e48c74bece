//! What a proxy logged, as a link between the request it received and the calls it made for it.
//!
//! A proxy's worker serves many requests on one thread, so threads say nothing. Its log line says
//! how many servers it tried for a request and for how long; a call lies inside its request. Both
//! together are constraints, and only what they force is linked:
//! 1. a log line's request id, where a callee's server span carries the same one, names the call;
//! 2. a call belongs to a request that contains it, no request has more calls than attempts;
//! 3. log lines and requests are paired by time, duration, bytes and the calls' addresses; a single
//!    worker writes its lines in the order in which its requests end.

mod line;
mod scene;

use std::collections::BTreeMap;

use crate::address::Address;
use crate::link::Parent;
use crate::reason::Reason;
use crate::row_map::RowMap;
use crate::sight::Sight;
use crate::slab::{ExchangeId, LogId, RowId};
use scene::Scene;

/// The lines in sight by the place that wrote them.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    of_place: BTreeMap<u32, Vec<LogId>>,
}

impl Lines {
    pub(crate) fn new(sight: &Sight<'_>) -> Self {
        let view = sight.view();
        let mut lines = Self::default();
        let mut known: BTreeMap<(Address, i64), Option<u32>> = BTreeMap::new();
        for (window, _) in sight.windows() {
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
                if let Some(place) = place {
                    let id = RowId { window, row: row as u32 };
                    lines.of_place.entry(place).or_default().push(id);
                }
            }
        }
        lines
    }

    /// Lines of a place, in the order in which it wrote them; `None` where it writes none.
    pub(crate) fn of(&self, place: u32) -> Option<&[LogId]> {
        self.of_place.get(&place).map(Vec::as_slice)
    }
}

/// What proxies' lines decide in one window.
#[derive(Debug, Default)]
pub(crate) struct ProxyLinks {
    /// Call -> the request that it was made for.
    pub(crate) parents: RowMap<Parent>,
    /// Calls of proxies that stay undecided, with the requests that contain them.
    pub(crate) undecided: BTreeMap<ExchangeId, Vec<ExchangeId>>,
    /// Request received by a proxy -> its log line.
    pub(crate) log_of: RowMap<LogId>,
    /// Requests received by a proxy that more than one line fits.
    pub(crate) log_candidates: BTreeMap<ExchangeId, Vec<LogId>>,
}

impl ProxyLinks {
    pub(crate) fn new(sight: &Sight<'_>) -> Self {
        Self { parents: sight.row_map(), log_of: sight.row_map(), ..Self::default() }
    }

    /// Decides the calls of one proxy. `servers` and `clients` by start.
    pub(crate) fn decide(
        &mut self,
        sight: &Sight<'_>,
        servers: &[ExchangeId],
        clients: &[ExchangeId],
        lines: &[LogId],
    ) {
        let mut scene = Scene::new(sight, servers, clients, lines.to_vec());
        scene.name_calls_by_request_id();
        scene.narrow();
        self.take(&scene);
    }

    fn take(&mut self, scene: &Scene<'_>) {
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
            if self.log_of.contains(id) {
                continue;
            }
            let fitting: Vec<LogId> = scene.open_lines(server).map(|log| scene.logs[log]).collect();
            if !fitting.is_empty() {
                self.log_candidates.insert(id, fitting);
            }
        }
    }
}
