//! `hop`: one leg of a path, from the socket that asked to the socket that answered.

use serde::{Deserialize, Serialize};

use crate::row::{Layer, Micros, Row};

/// Columns that every derived row carries are `hour`, `win`, `stage`, `revision`, `finality`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hop {
    pub hour: String,
    /// Start of the window, seconds since the Unix epoch.
    pub win: i64,
    /// `P`, `R` or `F`.
    pub stage: String,
    pub revision: i32,
    /// One of [`crate::finality`].
    pub finality: String,
    /// 32 hex digits.
    pub path_id: String,
    /// Place in the path, depth first by start, from 0.
    pub position: i32,
    /// Position of the hop whose server made this call; null for the entry.
    pub parent: Option<i32>,
    /// `edge`, `ingress`, `service`, `endpoint` or `app`.
    pub kind: String,
    /// Number of this try among the tries of one request by one proxy, from 1.
    pub attempt: i32,
    pub source_pod_uid: Option<String>,
    pub source_pod: Option<String>,
    pub source_namespace: Option<String>,
    pub source_workload: Option<String>,
    pub source_node: Option<String>,
    pub source_ip: Option<String>,
    pub source_port: Option<i32>,
    /// What the client addressed: the Service's address, or the pod's when called directly.
    pub requested_ip: Option<String>,
    pub requested_port: Option<i32>,
    pub service: Option<String>,
    pub service_namespace: Option<String>,
    pub destination_pod_uid: Option<String>,
    pub destination_pod: Option<String>,
    pub destination_namespace: Option<String>,
    pub destination_workload: Option<String>,
    pub destination_node: Option<String>,
    pub destination_ip: Option<String>,
    pub destination_port: Option<i32>,
    /// `none`, `dnat`, `snat`, `dnat+snat` or `unknown`.
    pub nat: String,
    /// Node whose conntrack translated.
    pub nat_node: Option<String>,
    /// `ip:port->ip:port`; null where no translation was recorded.
    pub nat_original: Option<String>,
    pub nat_reply: Option<String>,
    pub start_time: Micros,
    pub start_ns: i64,
    pub end_ns: i64,
    /// Time at the client minus time at the server, both ends seen.
    pub network_ns: Option<i64>,
    pub server_ns: Option<i64>,
    pub bytes_request: Option<i64>,
    pub bytes_response: Option<i64>,
    pub status: Option<i32>,
    pub method: Option<String>,
    pub route: Option<String>,
    /// `no_response`, `reset`, `refused`, `status_5xx` or null.
    pub failure_cause: Option<String>,
    /// What this row rests on, such as `client_exchange`, `server_exchange`, `tcp_seq`, `nat_binding`.
    pub evidence: Vec<String>,
    pub confidence: f64,
    /// Reason codes, `OK_*` first.
    pub reasons: Vec<String>,
}

impl Row for Hop {
    const TABLE: &'static str = "hop";
    const LAYER: Layer = Layer::Derived;
    const STATISTICS: &'static [&'static str] =
        &["win", "start_time", "source_workload", "destination_workload"];
    const BLOOM: &'static [&'static str] = &["path_id"];
    fn hour(&self) -> &str {
        &self.hour
    }
}
