//! How likely it is that a request that waits for no answer still does nothing.

use super::chance::{Beliefs, From};
use super::counts::Counts;
use super::gap::{BINS, GapCounts};
use super::pattern::Patterns;

/// No wait is believed to be rarer than this.
const IDLE_LOG_MIN: f32 = -6.0;

pub(super) fn idle_reference(patterns: &Patterns, pattern: u32) -> usize {
    if patterns.all[pattern as usize].calls.is_empty() { 0 } else { 2 }
}

pub(super) fn idle(counts: &Counts, patterns: &Patterns) -> Vec<Option<Box<[f32; BINS]>>> {
    let layout = counts.layout;
    let mut gaps: Vec<Option<GapCounts>> = vec![None; patterns.all.len()];
    for (id, cell) in counts.known().filter(|(id, _)| !layout.in_flight(*id)) {
        let pattern = layout.pattern(id);
        let reference = idle_reference(patterns, pattern);
        gaps[pattern as usize].get_or_insert_default().merge(&cell.gaps[reference]);
    }
    gaps.iter()
        .map(|gaps| gaps.as_ref().filter(|g| g.total() >= IDLE_ENOUGH).map(survival))
        .collect()
}

/// Steps from which the waits of a pattern are told.
const IDLE_ENOUGH: f64 = 10.0;

pub(super) fn idle_after(patterns: &Patterns, beliefs: &Beliefs) -> Vec<[f32; BINS]> {
    let starts = (0..patterns.operations as u32).map(From::RequestStart);
    let ends = (0..patterns.destinations as u32).map(From::CallEnd);
    starts.chain(ends).map(|from| *beliefs.idle(from)).collect()
}

/// Logarithm of the share of gaps that are longer.
fn survival(gaps: &GapCounts) -> Box<[f32; BINS]> {
    let mut log = Box::new([0.0; BINS]);
    let total = gaps.total() + 1.0;
    let mut longer = 0.5;
    for i in (0..BINS).rev() {
        log[i] = (((longer + gaps.weights[i] / 2.0) / total).ln() as f32).max(IDLE_LOG_MIN);
        longer += gaps.weights[i];
    }
    log
}
