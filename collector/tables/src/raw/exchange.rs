//! `raw_exchange`: one request and its response, seen at one socket end.

super::raw_row! {
    /// Event time is the end of the exchange. The same exchange may come again with a later end
    /// (a response that went on); the row with the greatest `end_ns` is the true one.
    Exchange, table = "raw_exchange", statistics = ["start_ns", "end_ns"], bloom = []
    {
        netns_cookie: i64,
        cgroup_id: i64,
        pod_uid: Option<String>,
        attributed_by: Option<String>,
        socket_cookie: i64,
        /// `client` or `server`.
        role: String,
        local_ip: String,
        local_port: i32,
        remote_ip: String,
        remote_port: i32,
        /// Number of the exchange on its connection from 0, or -1 when the start was not seen.
        ordinal: i64,
        /// Absolute TCP sequence number of the first request byte (32 bits, not sign-extended), or
        /// -1 where it is not known: requests of one HTTP/2 connection may share a segment.
        tcp_seq_req: i64,
        /// The same of the first response byte; null while there is no response.
        tcp_seq_resp: Option<i64>,
        start_ns: i64,
        first_response_ns: Option<i64>,
        /// Last byte seen in either direction.
        end_ns: i64,
        bytes_request: i64,
        bytes_response: i64,
        /// Process and thread of the first call of the request, kernel-wide ids.
        process: i64,
        thread: i64,
        /// Thread of the first call of the response; null without a response.
        response_thread: Option<i64>,
        /// How the turn ended: `turn` (next request), `close`, `quiet` (no byte for the sweep time),
        /// or `open`: it has not ended, and is reported again each active timeout.
        ended_by: String,
        /// `http1` or `http2`; null where the observer does not look at it.
        protocol: Option<String>,
        /// Stream of an HTTP/2 connection; null for other protocols and where it is not known.
        stream_id: Option<i64>,
        /// It was reported as open before: a stream, a websocket, a long poll.
        is_stream: Option<bool>,
    }
}
