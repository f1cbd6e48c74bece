//! `raw_heartbeat`: what a source covered and what it lost, written even when nothing happened.

super::raw_row! {
    /// Event time is `covered_to_ns`. Heartbeats drive watermarks and coverage.
    ///
    /// A source covers [covered_from_ns, covered_to_ns): every event of its kind in that time was
    /// either shipped before this row or is in the loss counters of this row.
    Heartbeat, table = "raw_heartbeat", statistics = [], bloom = []
    {
        covered_from_ns: i64,
        covered_to_ns: i64,
        /// Records that the kernel programs could not hand over.
        lost_kernel: i64,
        /// Records dropped in user space because memory was full.
        lost_user: i64,
        /// Records shipped in the interval.
        shipped: i64,
        /// Clock sample: boot clock, wall clock, and the epoch (wall - boot) in force.
        clock_boot_ns: i64,
        clock_wall_ns: i64,
        clock_epoch_ns: i64,
        /// Id of the capability manifest in force.
        manifest_id: String,
        /// Interval after which the source wants to be taken for idle.
        idle_after_ns: i64,
    }
}
