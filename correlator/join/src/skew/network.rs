//! All clocks together: offsets that agree with each other, and ways between clocks that exchanged
//! no message.
//!
//! The offsets of pairs are measured one by one and do not add up around a circle. The weighted
//! least squares solution gives each clock one value, with weight 1 / bound^2 for a pair (the network
//! effect of Geng et al., "Exploiting a Natural Network Effect for Scalable, Fine-grained Clock
//! Synchronization", NSDI 2018). It chooses within what is proven and proves nothing itself.

use std::ops::Range;

use super::corridor::Corridor;

/// Beyond this many clocks only pairs that exchanged messages have an offset: both solutions take
/// time in the cube of the clocks, 0.2 G steps at this size.
const CLOCKS_MAX: usize = 600;

const NO_WAY: u16 = u16::MAX;

/// A pair whose offset is bounded by its own messages.
#[derive(Clone, Copy)]
pub(super) struct Edge<'a> {
    pub(super) a: usize,
    pub(super) b: usize,
    pub(super) corridor: &'a Corridor,
}

/// What the pairs say together. Clocks are indexes.
#[derive(Debug, Default)]
pub(super) struct Network {
    clocks: usize,
    /// Two moments, a quarter of the range from its ends, and the value of each clock at them.
    moments_ns: [i64; 2],
    values: [Vec<f64>; 2],
    /// The clock after `from` on the tightest way to `to`, at `from * clocks + to`.
    next: Vec<u16>,
}

impl Network {
    /// `edges` sorted by (a, b); `doubtful` clocks are no part of a way between others.
    pub(super) fn solve(range: &Range<i64>, edges: &[Edge<'_>], doubtful: &[bool]) -> Self {
        let clocks = doubtful.len();
        if clocks > CLOCKS_MAX {
            return Self { clocks, ..Self::default() };
        }
        let middle_ns = range.start.midpoint(range.end);
        let moments_ns = [range.start.midpoint(middle_ns), middle_ns.midpoint(range.end)];
        let values = moments_ns.map(|at_ns| least_squares(clocks, edges, at_ns));
        Self { clocks, moments_ns, values, next: tightest_ways(edges, doubtful, middle_ns) }
    }

    /// Value of clock `to` minus that of clock `from`; meaningful where there is a way between them.
    pub(super) fn difference(&self, from: usize, to: usize, at_ns: i64) -> Option<f64> {
        let length = (self.moments_ns[1] - self.moments_ns[0]).max(1) as f64;
        let part = (at_ns - self.moments_ns[0]) as f64 / length;
        let [first, last] = &self.values;
        let (at_first, at_last) = (first.get(to)? - first[from], last[to] - last[from]);
        Some(at_first + part * (at_last - at_first))
    }

    /// The clock after `from` on the way to `to`.
    pub(super) fn step(&self, from: usize, to: usize) -> Option<usize> {
        match self.next.get(from * self.clocks + to) {
            Some(&NO_WAY) => None,
            Some(&next) => Some(usize::from(next)),
            None => Some(to),
        }
    }
}

/// Values whose differences are nearest to the measured offsets, by weight 1 / bound^2. The first
/// clock of each connected part is 0.
fn least_squares(clocks: usize, edges: &[Edge<'_>], at_ns: i64) -> Vec<f64> {
    let measured: Vec<(usize, usize, f64, f64)> = edges
        .iter()
        .map(|edge| {
            let (low, high) = edge.corridor.limits(at_ns);
            let bound = ((high - low) / 2.0).max(1.0);
            (edge.a, edge.b, f64::midpoint(low, high), 1.0 / (bound * bound))
        })
        .collect();
    let mut system = vec![0.0; clocks * clocks];
    for &(a, b, _, weight) in &measured {
        system[a * clocks + a] += weight;
        system[b * clocks + b] += weight;
        system[b * clocks + a] -= weight;
    }
    for root in roots(clocks, edges) {
        // Ties the part to 0. The other equations do not change with a common shift of the part.
        let own = system[root * clocks + root];
        system[root * clocks + root] += if own > 0.0 { own } else { 1.0 };
    }
    factorise(&mut system, clocks);
    let mut values = vec![0.0; clocks];
    // The second round takes away what rounding left of offsets much larger than their bounds.
    for _ in 0..2 {
        let mut rest = vec![0.0; clocks];
        for &(a, b, offset, weight) in &measured {
            let missing = weight * (offset - (values[b] - values[a]));
            rest[b] += missing;
            rest[a] -= missing;
        }
        substitute(&system, clocks, &mut rest);
        for (value, correction) in values.iter_mut().zip(&rest) {
            *value += correction;
        }
    }
    values
}

/// The first clock of each connected part.
fn roots(clocks: usize, edges: &[Edge<'_>]) -> Vec<usize> {
    let mut part: Vec<usize> = (0..clocks).collect();
    fn root(part: &mut [usize], mut at: usize) -> usize {
        while part[at] != at {
            part[at] = part[part[at]];
            at = part[at];
        }
        at
    }
    for edge in edges {
        let (a, b) = (root(&mut part, edge.a), root(&mut part, edge.b));
        part[a.max(b)] = a.min(b);
    }
    (0..clocks).filter(|&clock| part[clock] == clock).collect()
}

/// Cholesky factor of a symmetric positive definite matrix in its lower triangle, in place.
fn factorise(matrix: &mut [f64], size: usize) {
    for row in 0..size {
        let (done, rest) = matrix.split_at_mut(row * size);
        let this = &mut rest[..=row];
        for column in 0..row {
            let other = &done[column * size..=column * size + column];
            let known: f64 = this[..column].iter().zip(other).map(|(x, y)| x * y).sum();
            this[column] = (this[column] - known) / other[column];
        }
        let known: f64 = this[..row].iter().map(|x| x * x).sum();
        this[row] = (this[row] - known).max(f64::MIN_POSITIVE).sqrt();
    }
}

/// Solves with a factor from [`factorise`], in place.
fn substitute(factor: &[f64], size: usize, right: &mut [f64]) {
    for row in 0..size {
        let known: f64 = (0..row).map(|k| factor[row * size + k] * right[k]).sum();
        right[row] = (right[row] - known) / factor[row * size + row];
    }
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|k| factor[k * size + row] * right[k]).sum();
        right[row] = (right[row] - known) / factor[row * size + row];
    }
}

/// Shortest sums of bounds between all clocks (Floyd and Warshall), as the first step of each way.
fn tightest_ways(edges: &[Edge<'_>], doubtful: &[bool], at_ns: i64) -> Vec<u16> {
    let clocks = doubtful.len();
    let mut bounds = vec![f64::INFINITY; clocks * clocks];
    let mut next = vec![NO_WAY; clocks * clocks];
    for edge in edges {
        let (low, high) = edge.corridor.limits(at_ns);
        for (from, to) in [(edge.a, edge.b), (edge.b, edge.a)] {
            bounds[from * clocks + to] = ((high - low) / 2.0).max(1.0);
            next[from * clocks + to] = to as u16;
        }
    }
    for via in (0..clocks).filter(|&clock| !doubtful[clock]) {
        let onward = bounds[via * clocks..(via + 1) * clocks].to_vec();
        for from in (0..clocks).filter(|&from| from != via) {
            let first = bounds[from * clocks + via];
            if !first.is_finite() {
                continue;
            }
            let step = next[from * clocks + via];
            let row = &mut bounds[from * clocks..(from + 1) * clocks];
            let steps = &mut next[from * clocks..(from + 1) * clocks];
            for to in 0..clocks {
                let sum = first + onward[to];
                if sum < row[to] && to != from {
                    row[to] = sum;
                    steps[to] = step;
                }
            }
        }
    }
    next
}
