//! `raw_access_log`: one row a request that a proxy logged, with its list of attempts.

use serde::{Deserialize, Serialize};

/// One try of one upstream server, in the order the proxy made them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Address of the server; null when the proxy logged a group name (no server was selectable).
    pub ip: Option<String>,
    pub port: Option<i32>,
    pub status: Option<i32>,
    pub response_length: Option<i64>,
    /// Duration in nanoseconds, at the resolution of the format.
    pub duration_ns: Option<i64>,
    /// Upstream group, counted from 0; grows at an internal redirect.
    pub group: i32,
}

super::raw_row! {
    /// Event time is the latest moment at which the request can have ended.
    AccessLog, table = "raw_access_log", statistics = [], bloom = ["request_id"]
    {
        /// Name of the log format, such as `ingress-nginx`.
        format: String,
        /// Address of the proxy's host, as the sender's socket showed it.
        emitter_ip: Option<String>,
        pod_uid: Option<String>,
        /// Canonical form: lower case, no dashes, sampling nibble of a UUID masked.
        request_id: Option<String>,
        trace_id: Option<String>,
        /// Socket peer as the proxy saw it. A node's address after masquerade.
        remote_ip: Option<String>,
        remote_port: Option<i32>,
        method: Option<String>,
        route: Option<String>,
        status: Option<i32>,
        bytes_received: Option<i64>,
        body_bytes_sent: Option<i64>,
        /// The request ended in [end_lo_ns, end_hi_ns].
        end_lo_ns: i64,
        end_hi_ns: i64,
        duration_ns: Option<i64>,
        /// Half the resolution of `duration_ns` and of attempt durations.
        duration_error_ns: i64,
        /// Name of the upstream group, such as `namespace-service-port`.
        upstream_name: Option<String>,
        attempts: Vec<Attempt>,
        /// The attempt lists did not agree in length.
        attempts_malformed: bool,
        /// The proxy's own end of its last attempt's connection, where the format has it.
        upstream_local_ip: Option<String>,
        upstream_local_port: Option<i32>,
        /// Tries that the proxy counted, where its format names only the last one; 0 when it sent
        /// the request nowhere.
        attempt_count: Option<i32>,
        /// Envoy's response flags as it wrote them, such as `UH` or `UF,URX`.
        response_flags: Option<String>,
        /// Whether the proxy's trace decision was to sample, where the format tells.
        sampled: Option<bool>,
    }
}
