//! What was seen of the steps of requests, each with the weight of its belief.
//!
//! A step is a call, or the request's end. It is told apart by what the request had done before
//! (its pattern), by whether a call was still in flight, and by where it leads.

use super::gap::GapCounts;
use super::order::Turns;
use super::pattern::{PatternId, Patterns};

/// From where a gap is measured: the request's start, the last call's start, the last call's end.
pub(super) const REFERENCES: usize = 3;

/// Gaps of one step by reference, in units of the resolution.
pub(super) type Gaps = [i64; REFERENCES];

/// Index of a kind of step.
pub(super) type CellId = usize;

/// Kinds of steps are numbered by pattern, in flight or not, and where they lead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cells {
    pub(super) destinations: usize,
}

impl Cells {
    /// `outcome` is a destination, or the number of destinations for the request's end.
    pub(super) fn id(self, pattern: PatternId, in_flight: bool, outcome: usize) -> CellId {
        (pattern as usize * 2 + usize::from(in_flight)) * (self.destinations + 1) + outcome
    }

    pub(super) fn end(self) -> usize {
        self.destinations
    }

    pub(super) fn pattern(self, cell: CellId) -> PatternId {
        (cell / (self.destinations + 1) / 2) as PatternId
    }

    pub(super) fn in_flight(self, cell: CellId) -> bool {
        cell / (self.destinations + 1) % 2 == 1
    }

    pub(super) fn outcome(self, cell: CellId) -> usize {
        cell % (self.destinations + 1)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct CellCounts {
    pub(super) weight: f64,
    pub(super) gaps: [GapCounts; REFERENCES],
}

impl CellCounts {
    pub(super) fn merge(&mut self, other: &Self) {
        self.weight += other.weight;
        for (own, other) in self.gaps.iter_mut().zip(&other.gaps) {
            own.merge(other);
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Counts {
    pub(super) layout: Cells,
    pub(super) cells: Vec<Option<Box<CellCounts>>>,
    /// By operation and destination: calls that ended after their request, and all.
    pub(super) late: Vec<(f64, f64)>,
    /// By destination: calls that belong to no request, and all.
    pub(super) alone: Vec<(f64, f64)>,
    /// Who went first: calls, and ends of requests.
    pub(super) turns: [Turns; 2],
}

impl Counts {
    pub(super) fn new(patterns: &Patterns) -> Self {
        let destinations = patterns.destinations;
        Self {
            layout: Cells { destinations },
            cells: Vec::new(),
            late: vec![(0.0, 0.0); patterns.operations * destinations],
            alone: vec![(0.0, 0.0); destinations],
            turns: [Turns::default(); 2],
        }
    }

    pub(super) fn cell(&mut self, cell: CellId) -> &mut CellCounts {
        if cell >= self.cells.len() {
            self.cells.resize(cell + 1, None);
        }
        self.cells[cell].get_or_insert_default()
    }

    pub(super) fn step(&mut self, cell: CellId, gaps: Gaps, weight: f64) {
        let counts = self.cell(cell);
        counts.weight += weight;
        for (own, gap) in counts.gaps.iter_mut().zip(gaps) {
            own.add(gap, weight);
        }
    }

    /// A call of a request: did it end after the request?
    pub(super) fn lateness(&mut self, operation: u32, destination: u32, late: bool, weight: f64) {
        let at = operation as usize * self.layout.destinations + destination as usize;
        self.late[at].0 += if late { weight } else { 0.0 };
        self.late[at].1 += weight;
    }

    pub(super) fn belongs_to_none(&mut self, destination: u32, p: f64) {
        self.alone[destination as usize].0 += p;
        self.alone[destination as usize].1 += 1.0;
    }

    pub(super) fn known(&self) -> impl Iterator<Item = (CellId, &CellCounts)> {
        self.cells.iter().enumerate().filter_map(|(id, c)| c.as_deref().map(|c| (id, c)))
    }
}
