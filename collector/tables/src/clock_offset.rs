//! `clock_offset`: how far two nodes' clocks are apart, with a bound that holds.

use serde::{Deserialize, Serialize};

use crate::row::{Layer, Micros, Row};

/// The offset of one pair of nodes in one pair of clock epochs over an interval of a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClockOffset {
    pub hour: String,
    pub win: i64,
    pub stage: String,
    pub revision: i32,
    pub finality: String,
    /// The name that sorts first.
    pub node_a: String,
    pub node_b: String,
    /// When each node's wall clock was last set, on its own clock; null when it was not set within
    /// what was read for the window.
    pub epoch_a_ns: Option<i64>,
    pub epoch_b_ns: Option<i64>,
    /// Interval of event time, half-open, for which the row holds.
    pub start_time: Micros,
    pub start_ns: i64,
    pub end_ns: i64,
    /// Clock of b minus clock of a in the middle of the interval; null when it is not known.
    pub offset_ns: Option<i64>,
    /// The true offset in the middle of the interval is at most this far from `offset_ns`.
    pub bound_ns: Option<i64>,
    /// How fast the offset grows, parts per billion; null when that is not known or not constant.
    pub drift_ppb: Option<i64>,
    /// How far the offset that agrees best with all other nodes is from what this pair alone says.
    pub residual_ns: Option<i64>,
    /// Messages between the two nodes that it rests on.
    pub samples: i64,
    /// The pairs contradict each other without a step of either clock: no offset is believed.
    pub quarantined: bool,
}

impl Row for ClockOffset {
    const TABLE: &'static str = "clock_offset";
    const LAYER: Layer = Layer::Derived;
    const STATISTICS: &'static [&'static str] = &["win", "start_time", "node_a", "node_b"];
    const BLOOM: &'static [&'static str] = &[];
    fn hour(&self) -> &str {
        &self.hour
    }
}
