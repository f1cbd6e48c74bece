//! What was learned, ready to be asked: how likely is this step of this request now?
//!
//! Every number is the logarithm of a density in time (per unit of the resolution), so that whole
//! assignments of calls to requests can be compared by their sums. A kind of step that was seen
//! seldom leans on all steps of the same operation to the same destination.

use super::chance::{Beliefs, From};
use super::counts::{CellCounts, CellId, Counts, Gaps, REFERENCES, Turn, Turns};
use super::gap::{BINS, Shape, bin};
use super::idle::{idle, idle_after, idle_reference};
use super::pattern::Patterns;

/// So many steps from a pattern weigh as much as what is believed of a pattern never met.
const BELIEF_WEIGHT: f64 = 1.0;

/// A step out of order is believed this likely before anything is learned. It starts low: where
/// order holds, nothing else tells as much, and where it does not, that is learned at once.
const BEHIND_BELIEF: f64 = 0.05;
const BEHIND_MIN: f64 = 0.002;

/// What is believed of a call that belongs to nobody seen.
const ALONE_MIN: f64 = 1e-3;

const LATE_BELIEF: f64 = 0.01;

/// How much it says that a request takes its step before others that were ready before it. A
/// service that works on one thing after the other shows hardly anything else; in a pool it is
/// learned that order means little.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    log_first: f64,
    log_behind: f64,
}

impl Order {
    fn learned(turns: Turns, believed: f64) -> Self {
        // Not in more than half of the cases: an order that is reversed is no order.
        let p = (turns.behind + 2.0 * believed) / (turns.first + turns.behind + 2.0);
        let p = p.clamp(BEHIND_MIN, 0.5);
        Self { log_first: (1.0 - p).ln(), log_behind: p.ln() }
    }
}

impl Score {
    /// The likelihood in view of who else was ready.
    pub(super) fn in_turn(&self, turn: Turn) -> f64 {
        self.log
            + match turn {
                Turn::Alone => 0.0,
                Turn::First => self.order.log_first,
                Turn::Behind => self.order.log_behind,
            }
    }
}

/// How one kind of step is distributed.
#[derive(Clone, Debug)]
struct Kind {
    reference: usize,
    /// Logarithm of the density of its gap, times its share among the steps of its pattern.
    log_density: Box<[f32; BINS]>,
    order: Order,
}

/// What the steps of one operation to one destination have in common.
#[derive(Clone, Debug)]
struct Common {
    reference: usize,
    shapes: [Shape; REFERENCES],
    log_density: Box<[f32; BINS]>,
    /// Share of these steps with a call in flight.
    in_flight: f64,
    order: Order,
    /// Steps it was learned from.
    weight: f64,
}

/// So many steps of an operation to a destination, and what follows what by more than chance is
/// not asked any more.
const ENOUGH: f64 = 30.0;

#[derive(Clone, Debug)]
pub(super) struct Model {
    /// Power to which likelihoods are taken.
    pub(super) heat: f64,
    layout: super::counts::Cells,
    kinds: Vec<Option<Box<Kind>>>,
    commons: Vec<Common>,
    /// Steps seen from each pattern.
    steps: Vec<f64>,
    /// By operation, destination and calls made: how likely is one more.
    more: Vec<[f64; MORE]>,
    late: Vec<(f64, f64)>,
    alone: Vec<f64>,
    /// By pattern: how likely is it that a request that waits for no answer still does nothing.
    idle: Vec<Option<Box<[f32; BINS]>>>,
    /// The same by operation, then by the last call, for patterns never met.
    idle_after: Vec<[f32; BINS]>,
    /// By the last call, in flight or ended, and the step that follows; empty once enough is learned.
    after: Vec<After>,
}

/// A step that follows a call.
#[derive(Clone, Debug)]
struct After {
    share: f64,
    log_density: Box<[f32; BINS]>,
}

/// Calls to one destination that are told apart when asking for one more.
const MORE: usize = 9;

/// How likely a step is, and how it depends on who was ready first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    pub(super) log: f64,
    pub(super) order: Order,
}

impl Model {
    /// `rates` is how often each destination is called, per unit of time; likelihoods are taken to
    /// the power of `heat`.
    pub(super) fn learn(
        counts: &Counts,
        patterns: &Patterns,
        beliefs: &Beliefs,
        rates: &[f64],
        heat: f64,
    ) -> Self {
        let layout = counts.layout;
        let more = more(counts, patterns, beliefs);
        let mut steps = vec![0.0; patterns.all.len()];
        for (id, cell) in counts.known() {
            steps[layout.pattern(id) as usize] += cell.weight;
        }
        let commons = commons(counts, patterns, beliefs);
        let is_new = commons.iter().any(|c| c.weight < ENOUGH);
        let mut model = Self {
            heat,
            after: if is_new { after(patterns, beliefs) } else { Vec::new() },
            layout,
            kinds: Vec::new(),
            commons,
            idle: idle(counts, patterns),
            idle_after: if is_new { idle_after(patterns, beliefs) } else { Vec::new() },
            steps,
            more,
            late: counts.late.iter().map(|&(late, all)| lateness(late, all)).collect(),
            alone: counts
                .alone
                .iter()
                .zip(rates)
                .map(|(&(alone, all), rate)| {
                    (((alone + ALONE_MIN) / (all + 1.0)).max(ALONE_MIN) * rate).ln()
                })
                .collect(),
        };
        for (id, cell) in counts.known().filter(|(_, c)| c.weight > 0.0) {
            let kind = model.kind(patterns, id, cell);
            model.kinds.resize(model.kinds.len().max(id + 1), None);
            model.kinds[id] = Some(Box::new(kind));
        }
        model
    }

    pub(super) fn score(
        &self,
        patterns: &Patterns,
        cell: CellId,
        last: Option<u32>,
        gaps: &Gaps,
    ) -> Score {
        if let Some(Some(kind)) = self.kinds.get(cell) {
            return Score {
                log: f64::from(kind.log_density[bin(gaps[kind.reference])]),
                order: kind.order,
            };
        }
        let pattern = self.layout.pattern(cell);
        let common = self.common(patterns, cell);
        let share = BELIEF_WEIGHT * self.believed_share(patterns, cell)
            / (self.steps.get(pattern as usize).copied().unwrap_or(0.0) + BELIEF_WEIGHT);
        if let Some(last) = last.filter(|_| common.weight < ENOUGH && !self.after.is_empty()) {
            let in_flight = self.layout.in_flight(cell);
            let reference = if in_flight { 1 } else { 2 };
            let after = &self.after[self.after_at(patterns, last, cell)];
            return Score {
                log: f64::from(after.log_density[bin(gaps[reference])])
                    + (share * after.share).ln(),
                order: common.order,
            };
        }
        Score {
            log: f64::from(common.log_density[bin(gaps[common.reference])]) + share.ln(),
            order: common.order,
        }
    }

    /// For a request that waits for no answer and has not yet gone on.
    pub(super) fn idle(
        &self,
        patterns: &Patterns,
        pattern: u32,
        last: Option<u32>,
        gaps: &Gaps,
    ) -> f64 {
        let bin = bin(gaps[idle_reference(patterns, pattern)]);
        if let Some(Some(idle)) = self.idle.get(pattern as usize) {
            return f64::from(idle[bin]);
        }
        let from = match last {
            Some(last) => patterns.operations + last as usize,
            None => patterns.all[pattern as usize].operation as usize,
        };
        self.idle_after.get(from).map_or(0.0, |idle| f64::from(idle[bin]))
    }

    /// For a call that ends after, or within, the request.
    pub(super) fn lateness(&self, operation: u32, destination: u32, late: bool) -> f64 {
        let at = operation as usize * self.layout.destinations + destination as usize;
        if late { self.late[at].0 } else { self.late[at].1 }
    }

    /// For a call that belongs to nobody seen.
    pub(super) fn alone(&self, destination: u32) -> f64 {
        self.alone[destination as usize]
    }

    fn after_at(&self, patterns: &Patterns, last: u32, cell: CellId) -> usize {
        let operation = patterns.all[self.layout.pattern(cell) as usize].operation as usize;
        let from = last as usize * 2 + usize::from(self.layout.in_flight(cell));
        let outcomes = self.layout.destinations + 1;
        (from * patterns.operations + operation) * outcomes + self.layout.outcome(cell)
    }

    fn kind(&self, patterns: &Patterns, id: CellId, cell: &CellCounts) -> Kind {
        let common = self.common(patterns, id);
        let pattern = self.layout.pattern(id);
        let learned: Vec<Shape> =
            (0..REFERENCES).map(|r| Shape::learned(&cell.gaps[r], &common.shapes[r])).collect();
        let reference = sharpest(cell, &learned, patterns.all[pattern as usize].calls.is_empty());
        let share = (cell.weight + BELIEF_WEIGHT * self.believed_share(patterns, id))
            / (self.steps[pattern as usize] + BELIEF_WEIGHT);
        let mut log_density = learned[reference].log_density();
        log_density.iter_mut().for_each(|d| *d += share.ln() as f32);
        let order = Order::learned(cell.turns, common.order.log_behind.exp());
        Kind { reference, log_density, order }
    }

    fn common(&self, patterns: &Patterns, cell: CellId) -> &Common {
        let operation = patterns.all[self.layout.pattern(cell) as usize].operation as usize;
        &self.commons[operation * (self.layout.destinations + 1) + self.layout.outcome(cell)]
    }

    /// Share of this step among the steps of its pattern, from how often each destination is
    /// called as many times, whatever else was called.
    fn believed_share(&self, patterns: &Patterns, cell: CellId) -> f64 {
        let pattern = &patterns.all[self.layout.pattern(cell) as usize];
        let more = |d: usize| {
            let at = pattern.operation as usize * self.layout.destinations + d;
            self.more[at][pattern.count(d as u32).min(MORE - 1)]
        };
        let outcome = self.layout.outcome(cell);
        let share = if outcome == self.layout.end() {
            (0..self.layout.destinations).map(|d| 1.0 - more(d)).product()
        } else {
            0.5 * more(outcome)
        };
        let in_flight = self.common(patterns, cell).in_flight;
        let in_flight = match (pattern.calls.is_empty(), self.layout.in_flight(cell)) {
            (true, _) => 1.0,
            (false, true) => in_flight,
            (false, false) => 1.0 - in_flight,
        };
        share * in_flight
    }
}

/// The reference from which the gaps are told best.
fn sharpest(cell: &CellCounts, shapes: &[Shape], nothing_called: bool) -> usize {
    if nothing_called {
        return 0;
    }
    let fit = |r: usize| -> f64 {
        let density = shapes[r].log_density();
        (0..BINS)
            .filter(|&i| cell.gaps[r].weights[i] > 0.0)
            .map(|i| cell.gaps[r].weights[i] * f64::from(density[i]))
            .sum()
    };
    let fits: Vec<f64> = (0..REFERENCES).map(fit).collect();
    (0..REFERENCES).fold(0, |best, r| if fits[r] > fits[best] { r } else { best })
}

fn lateness(late: f64, all: f64) -> (f64, f64) {
    let p = (late + 10.0 * LATE_BELIEF) / (all + 10.0);
    (p.ln(), (1.0 - p).ln())
}

fn commons(counts: &Counts, patterns: &Patterns, beliefs: &Beliefs) -> Vec<Common> {
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
            let order = Order::learned(sum.turns, BEHIND_BELIEF);
            Common {
                reference,
                log_density: shapes[reference].log_density(),
                shapes,
                in_flight: (in_flight + believed_in_flight) / (all + 1.0),
                order,
                weight: sum.weight,
            }
        })
        .collect()
}

/// How likely is one more call to a destination, after so many.
fn more(counts: &Counts, patterns: &Patterns, beliefs: &Beliefs) -> Vec<[f64; MORE]> {
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

/// Shares of steps that chance explains as well are not believed to be nothing.
const AFTER_MIN: f64 = 0.02;

fn after(patterns: &Patterns, beliefs: &Beliefs) -> Vec<After> {
    let mut after = Vec::new();
    for last in 0..patterns.destinations as u32 {
        for from in [From::CallEnd(last), From::CallStart(last)] {
            for operation in 0..patterns.operations as u32 {
                for outcome in 0..=patterns.destinations {
                    let follows = beliefs.follows(from, operation, outcome);
                    after.push(After {
                        share: follows.share.clamp(AFTER_MIN, 1.0),
                        log_density: follows.shape.log_density(),
                    });
                }
            }
        }
    }
    after
}
