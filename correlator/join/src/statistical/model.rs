//! What was learned, ready to be asked: how likely is this step of this request now?
//!
//! Every number is the logarithm of a density in time (per unit of the resolution), so that whole
//! assignments of calls to requests can be compared by their sums. A kind of step that was seen
//! seldom leans on all steps of the same operation to the same destination.

use std::cell::Cell;

use super::chance::{Beliefs, From};
use super::common::{Common, MORE, commons, more, sharpest};
use super::counts::{CellCounts, CellId, Counts, Gaps, REFERENCES};
use super::gap::{BINS, Shape, bin};
use super::order::Order;
use super::pattern::{PatternId, Patterns};
use super::wait::{Wait, wait_reference, waits};

/// So many steps from a pattern weigh as much as what is believed of a pattern never met.
const BELIEF_WEIGHT: f64 = 1.0;

/// What is believed of a call that belongs to nobody seen.
const ALONE_MIN: f64 = 1e-3;

const LATE_BELIEF: f64 = 0.01;

/// How one kind of step is distributed.
#[derive(Clone, Debug)]
struct Kind {
    reference: usize,
    /// Logarithm of the density of its gap, times its share among the steps of its pattern.
    log_density: Box<[f32; BINS]>,
}

/// So many steps of an operation to a destination, and what follows what by more than chance is
/// not asked any more.
const ENOUGH: f64 = 30.0;

/// A kind of step believed to have been taken less often has not been seen.
const WEIGHT_MIN: f64 = 0.05;

#[derive(Clone, Debug)]
pub(super) struct Model<'a> {
    beliefs: &'a Beliefs,
    layout: super::counts::Cells,
    kinds: Vec<Option<Box<Kind>>>,
    /// By kind of step: logarithm of its share where it was not seen, once it is asked for.
    unseen: Vec<Cell<Option<f64>>>,
    commons: Vec<Common>,
    /// Steps seen from each pattern.
    steps: Vec<f64>,
    /// By operation, destination and calls made: how likely is one more.
    more: Vec<[f64; MORE]>,
    late: Vec<(f64, f64)>,
    alone: Vec<f64>,
    /// Who goes first: calls, and ends of requests.
    pub(super) orders: [Order; 2],
    /// How requests of each pattern wait.
    waits: Vec<Option<Box<Wait>>>,
}

impl<'a> Model<'a> {
    /// `rates` is how often each destination is called, per unit of time.
    pub(super) fn learn(
        counts: &Counts,
        patterns: &Patterns,
        beliefs: &'a Beliefs,
        rates: &[f64],
        orders: [Order; 2],
    ) -> Self {
        let layout = counts.layout;
        let more = more(counts, patterns, beliefs);
        let mut steps = vec![0.0; patterns.all.len()];
        for (id, cell) in counts.known() {
            steps[layout.pattern(id) as usize] += cell.weight;
        }
        let commons = commons(counts, patterns, beliefs);
        let cells = layout.id(patterns.all.len() as PatternId, false, 0);
        let mut model = Self {
            beliefs,
            layout,
            kinds: Vec::new(),
            unseen: vec![Cell::new(None); cells],
            commons,
            orders,
            waits: waits(counts, patterns, &beliefs.ignorant),
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
        for (id, cell) in counts.known().filter(|(_, c)| c.weight > WEIGHT_MIN) {
            let kind = model.kind(patterns, id, cell);
            model.kinds.resize(model.kinds.len().max(id + 1), None);
            model.kinds[id] = Some(Box::new(kind));
        }
        model
    }

    /// How likely a step is.
    pub(super) fn score(
        &self,
        patterns: &Patterns,
        cell: CellId,
        last: Option<u32>,
        gaps: &Gaps,
    ) -> f64 {
        if let Some(Some(kind)) = self.kinds.get(cell) {
            return f64::from(kind.log_density[bin(gaps[kind.reference])]);
        }
        let common = self.common(patterns, cell);
        let log_share = self.log_unseen(patterns, cell);
        if let Some(last) = last.filter(|_| common.weight < ENOUGH) {
            let (from, reference) = match self.layout.in_flight(cell) {
                true => (From::CallStart(last), 1),
                false => (From::CallEnd(last), 2),
            };
            let operation = patterns.all[self.layout.pattern(cell) as usize].operation;
            let (outcome, gap) = (self.layout.outcome(cell), gaps[reference]);
            return log_share + self.beliefs.log_follows(from, operation, outcome, gap);
        }
        f64::from(common.log_density[bin(gaps[common.reference])]) + log_share
    }

    /// Logarithm of the share of a step that was not seen among those of its pattern.
    fn log_unseen(&self, patterns: &Patterns, cell: CellId) -> f64 {
        let known = self.unseen.get(cell);
        if let Some(log) = known.and_then(Cell::get) {
            return log;
        }
        let pattern = self.layout.pattern(cell) as usize;
        let steps = self.steps.get(pattern).copied().unwrap_or(0.0);
        let share = BELIEF_WEIGHT * self.believed_share(patterns, cell) / (steps + BELIEF_WEIGHT);
        let log = share.ln();
        known.into_iter().for_each(|known| known.set(Some(log)));
        log
    }

    /// Whether a request that has done so much may take this step while a call is in flight.
    pub(super) fn acts_in_flight(&self, pattern: PatternId, outcome: usize) -> bool {
        let is_known = self.steps.get(pattern as usize).is_some_and(|s| *s >= ENOUGH);
        let cell = self.layout.id(pattern, true, outcome);
        !is_known || self.kinds.get(cell).is_some_and(|k| k.is_some())
    }

    /// For a request that waits for no answer: logarithm of how likely it is to wait for so long,
    /// and how often such a wait ends.
    pub(super) fn wait(
        &self,
        patterns: &Patterns,
        pattern: u32,
        last: Option<u32>,
        gaps: &Gaps,
    ) -> (f64, f64) {
        let bin = bin(gaps[wait_reference(patterns, pattern)]);
        let wait = match self.waits.get(pattern as usize) {
            Some(Some(wait)) => wait,
            _ => {
                let operation = patterns.all[pattern as usize].operation;
                self.beliefs.wait(last.map_or(From::RequestStart(operation), From::CallEnd))
            }
        };
        (f64::from(wait.log_idle[bin]), f64::from(wait.hazard[bin]))
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

    fn kind(&self, patterns: &Patterns, id: CellId, cell: &CellCounts) -> Kind {
        let common = self.common(patterns, id);
        let pattern = self.layout.pattern(id);
        let learned: Vec<Shape> =
            (0..REFERENCES).map(|r| Shape::learned(&cell.gaps[r], &common.shapes[r])).collect();
        let reference = sharpest(cell, &learned, patterns.all[pattern as usize].calls.is_empty());
        let share = (cell.weight + BELIEF_WEIGHT * self.believed_share(patterns, id))
            / (self.steps[pattern as usize] + BELIEF_WEIGHT);
        let mut log_density = learned[reference].log_density(self.beliefs.last_bin);
        log_density.iter_mut().for_each(|d| *d += share.ln() as f32);
        Kind { reference, log_density }
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

fn lateness(late: f64, all: f64) -> (f64, f64) {
    let p = (late + 10.0 * LATE_BELIEF) / (all + 10.0);
    (p.ln(), (1.0 - p).ln())
}
