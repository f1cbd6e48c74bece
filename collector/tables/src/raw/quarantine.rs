//! `raw_quarantine`: what could not be read. Reason, length and a keyed hash, never the bytes.

super::raw_row! {
    /// Event time is the arrival.
    Quarantine, table = "raw_quarantine", statistics = [], bloom = []
    {
        /// `otlp_grpc`, `otlp_http`, `agent`, `syslog` or `file`.
        receiver: String,
        /// Stable reason, such as `protobuf_invalid`, `too_large`, `span_without_ids`, `line_cut`.
        reason: String,
        /// Bytes of the refused input.
        length: i64,
        /// Keyed blake3 of the refused input, hex.
        keyed_hash: String,
    }
}
