//! What a request has done so far: its operation and the calls it has made, without their order.
//!
//! Patterns are interned, so that a state of a request is a small integer. A destination is
//! counted up to a limit: a loop of a hundred calls is not a hundred states.

use std::collections::BTreeMap;

pub(super) type PatternId = u32;

/// Calls to one destination beyond this are not told apart.
const COUNT_MAX: usize = 8;

const UNKNOWN: PatternId = PatternId::MAX;

#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) operation: u32,
    /// Destinations with how often each was called, sorted.
    pub(super) calls: Vec<(u32, usize)>,
    next: Vec<PatternId>,
}

impl Pattern {
    pub(super) fn count(&self, destination: u32) -> usize {
        self.calls.iter().find(|(d, _)| *d == destination).map_or(0, |(_, n)| *n)
    }
}

/// All patterns that were met.
#[derive(Clone, Debug)]
pub(super) struct Patterns {
    pub(super) all: Vec<Pattern>,
    known: BTreeMap<(u32, Vec<(u32, usize)>), PatternId>,
    pub(super) operations: usize,
    pub(super) destinations: usize,
}

impl Patterns {
    /// The first `operations` patterns are those without a call.
    pub(super) fn new(operations: usize, destinations: usize) -> Self {
        let mut patterns =
            Self { all: Vec::new(), known: BTreeMap::new(), operations, destinations };
        for operation in 0..operations {
            patterns.intern(operation as u32, Vec::new());
        }
        patterns
    }

    pub(super) fn empty(&self, operation: u32) -> PatternId {
        operation
    }

    /// The pattern after one more call.
    pub(super) fn after(&mut self, from: PatternId, destination: u32) -> PatternId {
        let known = self.all[from as usize].next[destination as usize];
        if known != UNKNOWN {
            return known;
        }
        let mut calls = self.all[from as usize].calls.clone();
        match calls.binary_search_by_key(&destination, |(d, _)| *d) {
            Ok(at) => calls[at].1 = (calls[at].1 + 1).min(COUNT_MAX),
            Err(at) => calls.insert(at, (destination, 1)),
        }
        let id = self.intern(self.all[from as usize].operation, calls);
        self.all[from as usize].next[destination as usize] = id;
        id
    }

    fn intern(&mut self, operation: u32, calls: Vec<(u32, usize)>) -> PatternId {
        let next = self.all.len() as PatternId;
        let id = *self.known.entry((operation, calls.clone())).or_insert(next);
        if id == next {
            self.all.push(Pattern { operation, calls, next: vec![UNKNOWN; self.destinations] });
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_calls_makes_no_other_pattern() {
        let mut patterns = Patterns::new(2, 3);
        let empty = patterns.empty(1);
        let (a, b) = (patterns.after(empty, 0), patterns.after(empty, 2));
        assert_ne!(a, b);
        assert_eq!(patterns.after(a, 2), patterns.after(b, 0));
    }

    #[test]
    fn a_long_loop_ends_in_one_pattern() {
        let mut patterns = Patterns::new(1, 1);
        let mut at = patterns.empty(0);
        for _ in 0..1000 {
            at = patterns.after(at, 0);
        }
        assert_eq!(patterns.after(at, 0), at);
        assert_eq!(patterns.all.len(), 1 + COUNT_MAX);
    }
}
