//! What has happened so far in a transcript: the cluster, and the raw rows that have arrived.

use std::collections::BTreeMap;
use std::ops::Range;

use collector::admit::Admission;
use join::window::{furthest_range, read_range};
use join::{Observations, Settings};
use tables::Origin;

use crate::words::T0_NS;

#[derive(Clone, Debug)]
pub(crate) struct PodFacts {
    pub(crate) uid: String,
    pub(crate) ip: String,
    pub(crate) node: String,
    pub(crate) body: tables::cluster::Pod,
}

/// One node's agent.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) covered_ns: i64,
    pub(crate) stops_ns: Option<i64>,
    pub(crate) losses: Vec<Loss>,
    /// Wall clock minus boot clock from each moment on.
    pub(crate) epochs: Vec<(i64, i64)>,
}

/// Events that an agent lost at a moment, and says so in the heartbeat that covers it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss {
    pub(crate) at_ns: i64,
    pub(crate) count: i64,
}

pub(crate) struct World {
    pub(crate) nodes: BTreeMap<String, String>,
    pub(crate) pods: BTreeMap<String, PodFacts>,
    pub(crate) services: BTreeMap<String, String>,
    pub(crate) agents: BTreeMap<String, Agent>,
    pub(crate) arrived: Observations,
    pub(crate) admission: Admission,
    /// The collector's clock: the last watermark move.
    pub(crate) now_ns: i64,
    sequence: i64,
}

/// Addresses that the transcripts' cluster uses; all others become tokens.
const CLUSTER: [&str; 5] = ["10.0.0.0/8", "172.16.0.0/12", "fd00::/8", "127.0.0.0/8", "::1/128"];

impl World {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let ranges = CLUSTER.iter().map(|range| Ok(range.parse()?));
        Ok(Self {
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            services: BTreeMap::new(),
            agents: BTreeMap::new(),
            arrived: Observations::default(),
            admission: Admission::new(&[7; 32], ranges.collect::<anyhow::Result<_>>()?),
            now_ns: T0_NS,
            sequence: 0,
        })
    }

    /// A number that no other row has.
    pub(crate) fn next(&mut self) -> i64 {
        self.sequence += 1;
        self.sequence
    }

    pub(crate) fn origin(&mut self, source: &str, node: &str, event_ns: i64) -> Origin {
        let sequence = self.next();
        Origin {
            source: source.into(),
            node: node.into(),
            boot_id: "life-1".into(),
            sequence,
            item: 0,
            event_ns,
            received_ns: self.now_ns.max(event_ns),
            collector: "collector-0".into(),
            ingest_seq: sequence,
        }
    }

    /// Event times of what has arrived, by raw table and in order of arrival; heartbeats and
    /// cluster objects aside, which are of no window.
    pub(crate) fn events(&self) -> [(&'static str, Vec<i64>); 5] {
        macro_rules! events {
            ($field:ident, $row:ident) => {
                (
                    <tables::$row as tables::Row>::TABLE,
                    self.arrived.$field.iter().map(|row| row.event_ns).collect(),
                )
            };
        }
        [
            events!(exchanges, Exchange),
            events!(connections, Connection),
            events!(nat_bindings, NatBinding),
            events!(spans, Span),
            events!(access_logs, AccessLog),
        ]
    }

    /// The rows that have arrived of those that computing these windows may read.
    pub(crate) fn read(&self, windows: &Range<i64>, settings: &Settings) -> Observations {
        let is_long = |row: &tables::Exchange| {
            windows.contains(&row.event_ns) && row.event_ns - row.start_ns > settings.guard_ns
        };
        let range =
            if self.arrived.exchanges.iter().any(is_long) { furthest_range } else { read_range };
        let range = range(windows.clone(), settings);
        let with_open_requests = range.rows.start..range.long.end;
        macro_rules! within {
            ($field:ident, $range:expr) => {
                self.arrived
                    .$field
                    .iter()
                    .filter(|row| $range.contains(&row.event_ns))
                    .cloned()
                    .collect()
            };
        }
        Observations {
            exchanges: within!(exchanges, with_open_requests),
            connections: within!(connections, range.connections),
            nat_bindings: within!(nat_bindings, range.connections),
            spans: within!(spans, range.rows),
            access_logs: within!(access_logs, range.rows),
            heartbeats: within!(heartbeats, range.heartbeats),
            cluster_objects: self.arrived.cluster_objects.clone(),
            quarantine: within!(quarantine, range.rows),
        }
    }

    /// How many observations have arrived, heartbeats aside.
    pub(crate) fn raw_rows(&self) -> usize {
        let all = &self.arrived;
        all.exchanges.len()
            + all.connections.len()
            + all.nat_bindings.len()
            + all.spans.len()
            + all.access_logs.len()
            + all.cluster_objects.len()
    }

    /// A pod's own address for its name; any other text as the allow-list would store it.
    pub(crate) fn address(&self, host: &str) -> String {
        if let Some(pod) = self.pods.get(host) {
            return pod.ip.clone();
        }
        match host.parse() {
            Ok(ip) => self.admission.address(ip),
            Err(_) => host.to_owned(),
        }
    }

    /// Node and pod at an address.
    pub(crate) fn pod_at(&self, ip: &str) -> Option<(&str, &PodFacts)> {
        self.pods.iter().find(|(_, pod)| pod.ip == ip).map(|(name, pod)| (name.as_str(), pod))
    }
}
