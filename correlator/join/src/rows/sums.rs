//! What sums a window up. It is told once, when the window is final.

use tables::{Calibration, ClockOffset, DataQuality, EdgeMinute};

use crate::Stage;
use crate::rows::{Scope, Tally, quality};

#[derive(Default)]
pub(super) struct Sums {
    pub(super) quality: Vec<DataQuality>,
    pub(super) clock_offsets: Vec<ClockOffset>,
    pub(super) edges: Vec<EdgeMinute>,
    pub(super) calibrations: Vec<Calibration>,
}

impl Sums {
    pub(super) fn new(scope: &Scope<'_>, tally: &Tally) -> Self {
        if scope.sight.stage != Stage::Final {
            return Self::default();
        }
        let clock_offsets = clock_offsets(scope);
        Self {
            quality: quality::rows(scope, tally, &clock_offsets),
            edges: tally.edges.rows(scope),
            calibrations: calibrations(scope),
            clock_offsets,
        }
    }
}

fn clock_offsets(scope: &Scope<'_>) -> Vec<ClockOffset> {
    let head = scope.head();
    scope.sight.clocks().rows(&ClockOffset {
        hour: head.hour,
        win: head.win,
        stage: head.stage.into(),
        finality: head.finality.into(),
        ..ClockOffset::default()
    })
}

/// What the methods that judge by times were worth in the window.
fn calibrations(scope: &Scope<'_>) -> Vec<Calibration> {
    let head = scope.head();
    let row = Calibration {
        hour: head.hour,
        win: head.win,
        stage: head.stage.into(),
        finality: head.finality.into(),
        ..Calibration::default()
    };
    let hop = scope.sight.calibration(&row);
    let relay = scope.relays.statistics.calibration(&row);
    hop.into_iter().chain(relay).collect()
}
