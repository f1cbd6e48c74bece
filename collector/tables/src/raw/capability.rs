//! `raw_capability`: what a node's agent can see, one row a feature, at each start.

super::raw_row! {
    Capability, table = "raw_capability", statistics = [], bloom = []
    {
        manifest_id: String,
        /// Stable name of the feature, such as `exchange`.
        feature: String,
        loaded: bool,
        /// Why it is off; null when it is on.
        reason: Option<String>,
        /// What is not known without it.
        lost: String,
        kernel: String,
    }
}
