//! Requests that wait for no answer: how likely it is that one still does nothing, and that it goes
//! on just now.

use super::counts::Counts;
use super::gap::{BINS, GapCounts, Shape, width};
use super::pattern::Patterns;

/// No wait is believed to be rarer than this.
const SURVIVAL_MIN: f64 = 2.5e-3;

/// Nor to end more seldom than this, per unit of time.
const HAZARD_MIN: f64 = 1e-9;

/// Steps from which the waits of a pattern are told.
const ENOUGH: f64 = 10.0;

/// By bin of the time that a request has waited.
#[derive(Clone, Debug)]
pub(super) struct Wait {
    /// Logarithm of the share of waits that are longer.
    pub(super) log_idle: [f32; BINS],
    /// How often a wait of this length ends, per unit of time.
    pub(super) hazard: [f32; BINS],
}

impl Wait {
    pub(super) fn of(mass: &[f64; BINS]) -> Self {
        let mut wait = Self { log_idle: [0.0; BINS], hazard: [0.0; BINS] };
        // What is not in any bin never ends.
        let mut longer = (1.0 - mass.iter().sum::<f64>()).max(0.0);
        for i in (0..BINS).rev() {
            let survival = f64::max(longer + mass[i] / 2.0, SURVIVAL_MIN);
            wait.log_idle[i] = survival.ln() as f32;
            wait.hazard[i] = (mass[i] / width(i) / survival).max(HAZARD_MIN) as f32;
            longer += mass[i];
        }
        wait
    }
}

/// From where the wait of a pattern is counted.
pub(super) fn wait_reference(patterns: &Patterns, pattern: u32) -> usize {
    if patterns.all[pattern as usize].calls.is_empty() { 0 } else { 2 }
}

/// By pattern, where enough was seen.
pub(super) fn waits(
    counts: &Counts,
    patterns: &Patterns,
    ignorant: &Shape,
) -> Vec<Option<Box<Wait>>> {
    let layout = counts.layout;
    let mut gaps: Vec<Option<GapCounts>> = vec![None; patterns.all.len()];
    for (id, cell) in counts.known().filter(|(id, _)| !layout.in_flight(*id)) {
        let pattern = layout.pattern(id);
        let reference = wait_reference(patterns, pattern);
        gaps[pattern as usize].get_or_insert_default().merge(&cell.gaps[reference]);
    }
    gaps.iter()
        .map(|gaps| {
            let gaps = gaps.as_ref().filter(|g| g.total() >= ENOUGH)?;
            Some(Box::new(Wait::of(&Shape::learned(gaps, ignorant).mass)))
        })
        .collect()
}
