//! `data_quality`: what a window's data lacked, and how often.

use serde::{Deserialize, Serialize};

use crate::row::{Layer, Row};

/// One finding of one check about one subject, counted over the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataQuality {
    pub hour: String,
    pub win: i64,
    pub stage: String,
    pub revision: i32,
    pub finality: String,
    /// What was looked at; one of [`check`].
    pub check: String,
    /// What it was found about: a reason code, a pair of nodes, a trace id, a source, a table.
    pub subject: String,
    pub count: i64,
    /// What the count alone does not say, in words.
    pub detail: Option<String>,
}

/// Values of the column `check`. The subject's form is behind the colon.
pub mod check {
    /// Expected segments without evidence: `reason code`.
    pub const MISSING_SEGMENT: &str = "missing_segment";
    /// Pairs of nodes whose clocks are not tied to each other: `node_a|node_b`.
    pub const CLOCK_SKEW: &str = "clock_skew";
    /// Copies of a span that were seen before: the trace id.
    pub const DUPLICATE_TRACE_ID: &str = "duplicate_trace_id";
    /// Requests that share a trace id and are not one trace: the trace id.
    pub const REUSED_TRACE_ID: &str = "reused_trace_id";
    /// Rows in a form that is not the expected one: the source.
    pub const SCHEMA_DRIFT: &str = "schema_drift";
    /// What the limits of the slow lane left unread, of requests longer than the guard: the limit.
    pub const SLOW_LANE: &str = "slow_lane";
    /// Rows that arrived after their window was final: the raw table.
    pub const TOO_LATE: &str = "too_late";
}

impl Row for DataQuality {
    const TABLE: &'static str = "data_quality";
    const LAYER: Layer = Layer::Derived;
    const STATISTICS: &'static [&'static str] = &["win", "check"];
    const BLOOM: &'static [&'static str] = &["subject"];
    fn hour(&self) -> &str {
        &self.hour
    }
}
