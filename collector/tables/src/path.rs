//! `path`: the line one request took, with its hops as a list. One read says what happened.

use serde::{Deserialize, Serialize};

use crate::row::{Layer, Micros, Row};

/// What a reader needs of a hop to draw the line; the `hop` table has the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PathHop {
    pub position: i32,
    pub parent: Option<i32>,
    pub kind: String,
    pub attempt: i32,
    pub source_pod: Option<String>,
    pub source_node: Option<String>,
    pub source_ip: Option<String>,
    pub source_port: Option<i32>,
    pub requested_ip: Option<String>,
    pub requested_port: Option<i32>,
    pub service: Option<String>,
    pub destination_pod: Option<String>,
    pub destination_node: Option<String>,
    pub destination_ip: Option<String>,
    pub destination_port: Option<i32>,
    pub nat: String,
    pub nat_node: Option<String>,
    pub nat_original: Option<String>,
    pub nat_reply: Option<String>,
    pub start_ns: i64,
    pub end_ns: i64,
    pub status: Option<i32>,
    pub failure_cause: Option<String>,
    pub evidence: Vec<String>,
    pub confidence: f64,
    pub reasons: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Path {
    pub hour: String,
    pub win: i64,
    pub stage: String,
    pub revision: i32,
    pub finality: String,
    /// 128-bit hash of the root's evidence, 32 hex digits.
    pub path_id: String,
    /// Canonical request id.
    pub request_id: Option<String>,
    pub trace_id: Option<String>,
    /// Address of the client outside the cluster is never stored; this is a keyed token of it.
    pub client_token: Option<String>,
    pub entry_service: Option<String>,
    pub method: Option<String>,
    pub route: Option<String>,
    pub status: Option<i32>,
    /// `ok`, `error`, `aborted` or `unknown`: what became of the request.
    pub outcome: String,
    pub start_time: Micros,
    pub start_ns: i64,
    pub end_ns: i64,
    pub duration_ns: i64,
    pub hop_count: i32,
    pub services: Vec<String>,
    pub pods: Vec<String>,
    pub nodes: Vec<String>,
    /// Pod that served the last attempt of the entry's request.
    pub final_pod: Option<String>,
    pub failing_hop: Option<i32>,
    pub failure_cause: Option<String>,
    /// `complete`, `partial`, `ambiguous` or `failed`: what is known of the line.
    pub verdict: String,
    /// `segment: REASON_CODE`, one an expected segment that has no evidence.
    pub missing: Vec<String>,
    /// Reason codes that hold for the whole path.
    pub reasons: Vec<String>,
    pub conf_min: f64,
    pub conf_joint: f64,
    pub hops: Vec<PathHop>,
}

impl Row for Path {
    const TABLE: &'static str = "path";
    const LAYER: Layer = Layer::Derived;
    const STATISTICS: &'static [&'static str] = &["win", "start_time", "verdict", "status"];
    const BLOOM: &'static [&'static str] = &["path_id", "request_id", "trace_id"];
    fn hour(&self) -> &str {
        &self.hour
    }
}
