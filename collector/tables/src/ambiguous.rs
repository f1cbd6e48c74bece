//! `ambiguous`: what could not be decided, with the candidates, and what failed to correlate.

use serde::{Deserialize, Serialize};

use crate::row::{Layer, Micros, Row};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Path that could own the segment, when it has one.
    pub path_id: Option<String>,
    /// What it would mean, such as `cart-1 (10.244.2.3:8080)`; last, where there are more than are
    /// listed, `one of 9 more requests`.
    pub what: String,
    pub p: f64,
    pub evidence: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ambiguous {
    pub hour: String,
    pub win: i64,
    pub stage: String,
    pub revision: i32,
    pub finality: String,
    /// Path that lacks the segment; null for an orphan.
    pub path_id: Option<String>,
    /// What is undecided, such as `relay in frontend-0` or `server of 10.96.0.10:80`.
    pub segment: String,
    pub reason: String,
    pub start_time: Micros,
    pub start_ns: i64,
    pub end_ns: i64,
    /// At most 5, most likely first.
    pub candidates: Vec<Candidate>,
    /// What would have decided it.
    pub decided_by: String,
}

impl Row for Ambiguous {
    const TABLE: &'static str = "ambiguous";
    const LAYER: Layer = Layer::Derived;
    const STATISTICS: &'static [&'static str] = &["win", "start_time", "reason"];
    const BLOOM: &'static [&'static str] = &["path_id"];
    fn hour(&self) -> &str {
        &self.hour
    }
}
