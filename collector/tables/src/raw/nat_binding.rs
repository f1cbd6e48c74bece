//! `raw_nat_binding`: original -> reply translation of one connection on one node.

super::raw_row! {
    /// Written when first seen and again each active timeout. Event time is the last sighting.
    ///
    /// The client's socket sees the original tuple. The server's socket sees the reply tuple
    /// inverted: its local end is the reply's source, its remote end the reply's destination.
    NatBinding, table = "raw_nat_binding", statistics = [], bloom = []
    {
        /// Namespace whose conntrack table holds the entry.
        netns_cookie: i64,
        zone: i32,
        /// IP protocol number.
        protocol: i32,
        original_source_ip: String,
        original_source_port: i32,
        original_destination_ip: String,
        original_destination_port: i32,
        reply_source_ip: String,
        reply_source_port: i32,
        reply_destination_ip: String,
        reply_destination_port: i32,
        first_seen_ns: i64,
        last_seen_ns: i64,
        /// `xmit` (seen on a packet), `dump` (conntrack dump) or `socket_lb`.
        evidence: String,
        /// Conntrack status bits as read; never decided on.
        status: i64,
    }
}
