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

use std::collections::{BTreeMap, BTreeSet};

use crate::link::Parent;
use crate::link::ids::SpanLinks;
use crate::observation::{ExchangeId, Seen, address};
use crate::ownership::{Owner, Ownership};
use crate::reason::Reason;
pub(crate) use line::{addressed, was_refused};
use scene::Scene;

/// Index of a line in [`Seen::access_logs`].
pub(crate) type LogId = usize;

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
            let fitting: Vec<LogId> = scene.open_lines(server).map(|log| scene.logs[log]).collect();
            if !fitting.is_empty() {
                self.log_candidates.insert(id, fitting);
            }
        }
    }
}

fn place(seen: &Seen<'_>, owners: &Ownership, log: &tables::AccessLog) -> Option<usize> {
    if let Some(uid) = log.pod_uid.as_deref() {
        return seen.place_of_pod(uid);
    }
    let ip = address(log.emitter_ip.as_deref())?;
    match owners.holder(ip, log.end_lo_ns) {
        Owner::Pod(pod) => seen.place_of_pod(&pod.uid),
        _ => None,
    }
}
