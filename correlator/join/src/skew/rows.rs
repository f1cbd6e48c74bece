//! What is known of the clocks, as rows of `clock_offset`.

use std::ops::Range;

use tables::ClockOffset;

use super::corridor::Corridor;
use super::{Epochs, Knowledge, Offsets, Pair, around};

impl Offsets {
    /// One row a pair of clocks that exchanged messages, in file order.
    ///
    /// `nodes` are the names by [`super::Clock::node`]; `template` holds the columns that all rows
    /// of the window share; settings of a clock before `epochs_from_ns` are not told.
    pub fn rows(
        &self,
        nodes: &[&str],
        epochs: &Epochs,
        epochs_from_ns: i64,
        window: &Range<i64>,
        template: &ClockOffset,
    ) -> Vec<ClockOffset> {
        let name = |clock: usize| {
            let node = nodes.get(self.clocks[clock].node as usize);
            node.copied().unwrap_or_default().to_owned()
        };
        let epoch = |clock: usize| {
            epochs.start_ns(self.clocks[clock]).filter(|&start| start >= epochs_from_ns)
        };
        let row = |pair: &Pair| {
            let blank = ClockOffset {
                node_a: name(pair.a),
                node_b: name(pair.b),
                epoch_a_ns: epoch(pair.a),
                epoch_b_ns: epoch(pair.b),
                start_time: tables::micros_of_ns(window.start),
                start_ns: window.start,
                end_ns: window.end,
                samples: i64::try_from(pair.samples).unwrap_or(i64::MAX),
                quarantined: matches!(pair.knowledge, Knowledge::Contradicted),
                ..template.clone()
            };
            match &pair.knowledge {
                Knowledge::Bounded(corridor) => self.measured_row(pair, corridor, window, blank),
                Knowledge::OneSided | Knowledge::Contradicted => blank,
            }
        };
        self.pairs.iter().map(row).collect()
    }

    fn measured_row(
        &self,
        pair: &Pair,
        corridor: &Corridor,
        window: &Range<i64>,
        row: ClockOffset,
    ) -> ClockOffset {
        let middle_ns = window.start.midpoint(window.end);
        let agreed = self.network.difference(pair.a, pair.b, middle_ns);
        let (low, high) = corridor.limits(middle_ns);
        let offset = around(agreed, low, high);
        ClockOffset {
            offset_ns: Some(offset.offset_ns),
            bound_ns: Some(offset.bound_ns),
            drift_ppb: corridor.drift().map(|drift| (drift * 1e9).round() as i64),
            residual_ns: Some(offset.offset_ns - f64::midpoint(low, high).round() as i64),
            ..row
        }
    }
}
