//! What kinds of steps have in common, for those that were seen seldom or never.

use super::chance::{Beliefs, From};
use super::counts::{CellCounts, Counts, REFERENCES};
use super::gap::{BINS, Shape};
use super::pattern::Patterns;

/// What the steps of one operation to one destination have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) reference: usize,
    pub(super) shapes: [Shape; REFERENCES],
    pub(super) log_density: Box<[f32; BINS]>,
    /// Share of these steps with a call in flight.
    pub(super) in_flight: f64,
    /// Steps it was learned from.
    pub(super) weight: f64,
}

/// Calls to one destination that are told apart when asking for one more.
pub(super) const MORE: usize = 9;

pub(super) fn commons(counts: &Counts, patterns: &Patterns, beliefs: &Beliefs) -> Vec<Common> {
    let layout = counts.layout;
    let outcomes = layout.destinations + 1;
    let mut sums = vec![(CellCounts::default(), 0.0, 0.0); patterns.operations * outcomes];
    for (id, cell) in counts.known() {
        let pattern = &patterns.all[layout.pattern(id) as usize];
        let sum = &mut sums[pattern.operation as usize * outcomes + layout.outcome(id)];
        sum.0.merge(cell);
        if !pattern.calls.is_empty() {
            sum.1 += if layout.in_flight(id) { cell.weight } else { 0.0 };
            sum.2 += cell.weight;
        }
    }
    sums.into_iter()
        .enumerate()
        .map(|(at, (sum, in_flight, all))| {
            let (operation, outcome) = (at / outcomes, at % outcomes);
            let believed = &beliefs
                .follows(From::RequestStart(operation as u32), operation as u32, outcome)
                .shape;
            let shapes: [Shape; REFERENCES] =
                std::array::from_fn(|r| Shape::learned(&sum.gaps[r], believed));
            let reference = sharpest(&sum, &shapes, sum.weight <= 0.0);
            let believed_in_flight = if outcome == layout.end() { 0.01 } else { 0.2 };
            Common {
                reference,
                log_density: shapes[reference].log_density(beliefs.last_bin),
                shapes,
                in_flight: (in_flight + believed_in_flight) / (all + 1.0),
                weight: sum.weight,
            }
        })
        .collect()
}

/// The reference from which the gaps are told best.
pub(super) fn sharpest(cell: &CellCounts, shapes: &[Shape], nothing_called: bool) -> usize {
    if nothing_called {
        return 0;
    }
    let fit = |r: usize| -> f64 {
        (0..BINS)
            .filter(|&i| cell.gaps[r].weights[i] > 0.0)
            .map(|i| cell.gaps[r].weights[i] * shapes[r].log_density_of(i))
            .sum()
    };
    let fits: Vec<f64> = (0..REFERENCES).map(fit).collect();
    (0..REFERENCES).fold(0, |best, r| if fits[r] > fits[best] { r } else { best })
}

/// How likely is one more call to a destination, after so many.
pub(super) fn more(counts: &Counts, patterns: &Patterns, beliefs: &Beliefs) -> Vec<[f64; MORE]> {
    let layout = counts.layout;
    let mut reached = vec![[0.0; MORE + 1]; patterns.operations * layout.destinations];
    for (id, cell) in counts.known().filter(|(id, _)| layout.outcome(*id) == layout.end()) {
        let pattern = &patterns.all[layout.pattern(id) as usize];
        for d in 0..layout.destinations {
            let at = pattern.operation as usize * layout.destinations + d;
            let count = pattern.count(d as u32).min(MORE);
            reached[at][..=count].iter_mut().for_each(|r| *r += cell.weight);
        }
    }
    reached
        .iter()
        .enumerate()
        .map(|(at, reached)| {
            let (operation, destination) = (at / layout.destinations, at % layout.destinations);
            let operation = operation as u32;
            let calls =
                beliefs.follows(From::RequestStart(operation), operation, destination).share;
            std::array::from_fn(|k| {
                let believed = (calls - k as f64).clamp(0.02, 0.95);
                (reached[k + 1] + 2.0 * believed) / (reached[k] + 2.0)
            })
        })
        .collect()
}
