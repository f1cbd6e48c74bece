//! `calibration`: what a raw score of a statistical method was worth, found by hiding exact ids.

use serde::{Deserialize, Serialize};

use crate::row::{Layer, Row};

/// The step function of one method over one window, with the samples it rests on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    pub hour: String,
    pub win: i64,
    pub stage: String,
    pub revision: i32,
    pub finality: String,
    /// `relay` or `hop`.
    pub method: String,
    /// Links that were tried with their exact ids hidden.
    pub samples: i64,
    /// Ascending in `raw_from` and in `right / count`.
    pub steps: Vec<CalibrationStep>,
    /// Expected calibration error and Brier score of the raw scores.
    pub raw_ece: f64,
    pub raw_brier: f64,
}

/// Raw scores from `raw_from` up to the next step's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CalibrationStep {
    pub raw_from: f64,
    pub count: i64,
    pub right: i64,
}

impl Row for Calibration {
    const TABLE: &'static str = "calibration";
    const LAYER: Layer = Layer::Derived;
    const STATISTICS: &'static [&'static str] = &["win", "method"];
    const BLOOM: &'static [&'static str] = &[];
    fn hour(&self) -> &str {
        &self.hour
    }
}
