//! `raw_span`: the allow-listed part of an OpenTelemetry span.

super::raw_row! {
    /// Event time is the end of the span. Span names, events, links and free text never pass.
    Span, table = "raw_span", statistics = [], bloom = ["trace_id"]
    {
        /// 32 lower-case hex digits.
        trace_id: String,
        /// 16 lower-case hex digits.
        span_id: String,
        parent_span_id: Option<String>,
        /// `internal`, `server`, `client`, `producer`, `consumer` or `unspecified`.
        kind: String,
        service_name: Option<String>,
        pod_uid: Option<String>,
        pod_name: Option<String>,
        namespace: Option<String>,
        node_name: Option<String>,
        /// Address the span was sent from, as the collector's socket saw it.
        sender_ip: Option<String>,
        start_ns: i64,
        end_ns: i64,
        method: Option<String>,
        /// Route template, never a raw path.
        route: Option<String>,
        status_code: Option<i32>,
        /// Span status is ERROR.
        error: bool,
        /// Socket peer: `network.peer.*` and its older names.
        peer_ip: Option<String>,
        peer_port: Option<i32>,
        local_ip: Option<String>,
        local_port: Option<i32>,
        /// `server.port` or its older names; the address part is free text and is not kept.
        server_port: Option<i32>,
        /// Canonical request id, where the SDK was told to capture that header.
        request_id: Option<String>,
        /// `http`, `rpc`, `db`, `messaging` or null.
        system: Option<String>,
    }
}
