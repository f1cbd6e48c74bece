//! `raw_connection`: a TCP connection in one network namespace.

super::raw_row! {
    /// Open, close and, while it lives, one row each active timeout. Event time is that moment.
    Connection, table = "raw_connection", statistics = [], bloom = []
    {
        netns_cookie: i64,
        cgroup_id: i64,
        pod_uid: Option<String>,
        /// How the pod was found: `netns`, `cgroup`, or null.
        attributed_by: Option<String>,
        socket_cookie: i64,
        /// `client`, `server` or `unknown`.
        role: String,
        local_ip: String,
        local_port: i32,
        remote_ip: String,
        remote_port: i32,
        /// `open`, `active` or `closed`.
        state: String,
        /// When the handshake ended; null when the agent was not there.
        opened_ns: Option<i64>,
        closed_ns: Option<i64>,
        bytes_sent: i64,
        bytes_received: i64,
        retransmits: i64,
        srtt_us: i64,
        /// `fin`, `reset`, `refused`, `timeout` or null while open.
        end_cause: Option<String>,
    }
}
