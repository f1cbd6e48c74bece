//! The tables that are revised.

use join::Stage;
use tables::{Ambiguous, Hop, Path, Row, finality};

/// A row of a table that is revised.
pub(crate) trait Revisable: Row {
    /// Text columns that say the same in many rows.
    const REPEATED: &'static [&'static str];

    /// Columns whose content is in rows of the same group in another of these tables.
    const TOLD_ELSEWHERE: &'static [&'static str] = &[];

    /// What stands for the group of this row once it is gone: what identifies it.
    fn withdrawal(&self, revision: i32) -> Self;
}

macro_rules! withdrawal {
    ($($identifies:ident),*) => {
        fn withdrawal(&self, revision: i32) -> Self {
            Self {
                hour: self.hour.clone(),
                win: self.win,
                stage: Stage::Revised.code().into(),
                revision,
                finality: finality::WITHDRAWN.into(),
                path_id: self.path_id.clone(),
                start_time: self.start_time,
                start_ns: self.start_ns,
                end_ns: self.end_ns,
                $($identifies: self.$identifies.clone(),)*
                ..Self::default()
            }
        }
    };
}

impl Revisable for Path {
    const REPEATED: &'static [&'static str] =
        &["entry_service", "method", "route", "final_pod", "failure_cause"];
    const TOLD_ELSEWHERE: &'static [&'static str] = &["hops"];
    withdrawal!(request_id, trace_id);
}

impl Revisable for Hop {
    const REPEATED: &'static [&'static str] = &[
        "kind",
        "source_pod_uid",
        "source_pod",
        "source_namespace",
        "source_workload",
        "source_node",
        "service",
        "service_namespace",
        "destination_pod_uid",
        "destination_pod",
        "destination_namespace",
        "destination_workload",
        "destination_node",
        "nat",
        "nat_node",
        "method",
        "route",
        "failure_cause",
    ];
    withdrawal!();
}

impl Revisable for Ambiguous {
    const REPEATED: &'static [&'static str] = &[];
    withdrawal!();
}
