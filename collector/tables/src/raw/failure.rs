//! `raw_failure`: why packets or connections failed, as the kernel said it.

super::raw_row! {
    Failure, table = "raw_failure", statistics = [], bloom = []
    {
        netns_cookie: i64,
        pod_uid: Option<String>,
        /// `reset_sent`, `reset_received`, `syn_retransmit`, `refused` or `drop`.
        kind: String,
        /// Name from the kernel's own enumeration, for drops.
        reason: Option<String>,
        local_ip: String,
        local_port: i32,
        remote_ip: String,
        remote_port: i32,
    }
}
