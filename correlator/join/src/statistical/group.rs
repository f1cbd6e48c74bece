//! A group: open requests that depend on each other because calls may belong to one or another of
//! them, and the hypotheses about them.
//!
//! A hypothesis is one node (a request with its calls so far) for each slot of the group. What is
//! undecided in two groups is decided independently, so that ten requests in doubt about pairs are
//! five groups of two hypotheses and not one of thirty-two: see [`super::parting`].

use super::chain::NodeId;
use super::lattice::{Edge, Lattice, StepOf, Went};

#[derive(Debug)]
pub(super) struct Group {
    /// Slots of the open requests.
    pub(super) slots: Vec<u32>,
    /// Logarithm of the likelihood of each hypothesis.
    pub(super) weights: Vec<f64>,
    /// The same in view of who still waits at the event that is looked at.
    pub(super) ranks: Vec<f64>,
    /// How likely its request is to act that is likeliest to, together with its hypothesis.
    pub(super) acts: f64,
    /// Nodes by slot, hypothesis after hypothesis.
    nodes: Vec<NodeId>,
    pub(super) lattice: Lattice,
}

/// How a hypothesis goes on: from which, and which slot gets which node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    pub(super) from: u32,
    pub(super) weight: f64,
    pub(super) change: Option<(u32, NodeId)>,
}

impl Group {
    /// One hypothesis about nothing.
    pub(super) fn empty() -> Self {
        Self {
            slots: Vec::new(),
            weights: vec![0.0],
            ranks: vec![0.0],
            acts: f64::NEG_INFINITY,
            nodes: Vec::new(),
            lattice: Lattice::new(),
        }
    }

    /// Hypotheses with their weights and nodes.
    pub(super) fn of(
        slots: Vec<u32>,
        weights: Vec<f64>,
        nodes: Vec<NodeId>,
        lattice: Lattice,
    ) -> Self {
        Self { slots, weights, ranks: Vec::new(), acts: f64::NEG_INFINITY, nodes, lattice }
    }

    pub(super) fn len(&self) -> usize {
        self.weights.len()
    }

    /// Logarithm of the likelihood of all hypotheses.
    pub(super) fn weight(&self) -> f64 {
        log_total(self.weights.iter().copied())
    }

    /// The nodes under one hypothesis.
    pub(super) fn nodes(&self, hypothesis: usize) -> &[NodeId] {
        let width = self.slots.len();
        &self.nodes[hypothesis * width..(hypothesis + 1) * width]
    }

    /// Ranks the hypotheses. `of` tells of a slot and its node how likely it is to still do nothing,
    /// and how likely to act.
    pub(super) fn look(&mut self, mut of: impl FnMut(u32, NodeId) -> (f64, f64)) {
        let width = self.slots.len();
        self.ranks.clear();
        self.acts = f64::NEG_INFINITY;
        for (hypothesis, weight) in self.weights.iter().enumerate() {
            let nodes = &self.nodes[hypothesis * width..][..width];
            let (mut idle, mut acts) = (0.0, f64::NEG_INFINITY);
            for (slot, node) in self.slots.iter().zip(nodes) {
                let (log_idle, log_acts) = of(*slot, *node);
                idle += log_idle;
                acts = f64::max(acts, log_acts);
            }
            let rank = weight + idle;
            self.ranks.push(rank);
            self.acts = self.acts.max(acts + rank);
        }
    }

    /// Hypothesis with the highest rank.
    pub(super) fn likeliest(&self) -> usize {
        let ranks = &self.ranks;
        (0..ranks.len()).fold(0, |best, h| if ranks[h] > ranks[best] { h } else { best })
    }

    /// Takes in another group. Of the pairs of hypotheses those are kept that their ranks put first.
    /// Tells which others were not hopeless, by their rank and their nodes.
    pub(super) fn merge(&mut self, other: Self, most: usize, lag: f64) -> Vec<(f64, Vec<NodeId>)> {
        if self.slots.is_empty() && self.len() == 1 {
            *self = other;
            return Vec::new();
        }
        let least = self.ranks[self.likeliest()] + other.ranks[other.likeliest()] - lag;
        let mut pairs: Vec<(f64, u32, u32)> = Vec::with_capacity(self.len() * other.len());
        for (i, a) in (0u32..).zip(&self.ranks) {
            let ranks = (0u32..).zip(&other.ranks).map(|(j, b)| (a + b, i, j));
            pairs.extend(ranks.filter(|(rank, ..)| *rank >= least));
        }
        let tie = |a: &(f64, u32, u32), b: &(f64, u32, u32)| (a.1, a.2).cmp(&(b.1, b.2));
        let dropped = keep_best(&mut pairs, most, lag, |p| p.0, tie);
        let pair = |i, j| self.nodes(i as usize).iter().chain(other.nodes(j as usize)).copied();
        let dropped = dropped.into_iter();
        let dropped = dropped.map(|(rank, i, j)| (rank, pair(i, j).collect())).collect();
        let mut nodes = Vec::with_capacity(pairs.len() * (self.slots.len() + other.slots.len()));
        let mut weights = Vec::with_capacity(pairs.len());
        for &(_, i, j) in &pairs {
            nodes.extend(pair(i, j));
            weights.push(self.weights[i as usize] + other.weights[j as usize]);
        }
        self.ranks = pairs.iter().map(|(rank, ..)| *rank).collect();
        let pairs = pairs.into_iter().map(|(_, i, j)| (i, j)).collect();
        self.lattice.merge(other.lattice, &self.weights, &other.weights, pairs);
        self.slots.extend(other.slots);
        self.nodes = nodes;
        self.weights = weights;
        dropped
    }

    /// Hypotheses with the same nodes become one. Tells which one each became.
    pub(super) fn unite(&mut self) -> Vec<u32> {
        let first = first_of_equals(self.len(), |a, b| self.nodes(a).cmp(self.nodes(b)));
        let (mut became, mut weights, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
        for (hypothesis, first) in first.into_iter().enumerate() {
            let weight = self.weights[hypothesis];
            if first == hypothesis {
                became.push(weights.len() as u32);
                weights.push(weight);
                nodes.extend_from_slice(self.nodes(hypothesis));
            } else {
                let into = became[first];
                became.push(into);
                weights[into as usize] = log_sum(weights[into as usize], weight);
            }
        }
        self.weights = weights;
        self.nodes = nodes;
        became
    }

    /// Replaces the hypotheses by how they go on; `agreed` is the node of a slot that was not of
    /// this group. Edges are recorded by the caller.
    pub(super) fn advance(&mut self, ways: &[Next], agreed: &[NodeId]) {
        let own = self.slots.len();
        let mut slots = self.slots.clone();
        for (slot, _) in ways.iter().filter_map(|w| w.change) {
            if !slots.contains(&slot) {
                slots.push(slot);
            }
        }
        let mut nodes = Vec::with_capacity(ways.len() * slots.len());
        for way in ways {
            let begin = nodes.len();
            nodes.extend_from_slice(self.nodes(way.from as usize));
            nodes.extend(slots[own..].iter().map(|s| agreed[*s as usize]));
            if let Some((slot, node)) = way.change {
                let at = slots.iter().position(|s| *s == slot);
                at.into_iter().for_each(|at| nodes[begin + at] = node);
            }
        }
        self.weights = ways.iter().map(|w| w.weight).collect();
        self.ranks.clear();
        self.slots = slots;
        self.nodes = nodes;
    }

    /// The request in a slot ends: `edges` weigh what it did under each hypothesis. Hypotheses that
    /// differed in it alone are one from then on.
    pub(super) fn close(&mut self, slot: u32, mut went: Went) {
        let at = self.slots.iter().position(|s| *s == slot);
        let mut slots = self.slots.clone();
        at.into_iter().for_each(|at| {
            slots.remove(at);
        });
        let width = self.slots.len();
        let rows = went.edges.iter().map(|edge| &self.nodes[edge.from as usize * width..][..width]);
        let others = rows.flat_map(|row| row.iter().enumerate().filter(|(i, _)| Some(*i) != at));
        self.nodes = others.map(|(_, node)| *node).collect();
        self.weights = went.edges.iter().map(|edge| edge.forward).collect();
        self.slots = slots;
        for (edge, to) in went.edges.iter_mut().zip(self.unite()) {
            edge.to = to;
        }
        self.lattice.went(went);
    }

    /// Weighs the hypotheses by something that none of its requests did. Those that are left far
    /// behind are dropped.
    pub(super) fn weigh(&mut self, logs: &[f64], lag: f64) {
        let ranks = &self.ranks;
        let best = ranks.iter().zip(logs).map(|(r, l)| r + l).fold(f64::NEG_INFINITY, f64::max);
        let width = self.slots.len();
        let mut nodes = Vec::with_capacity(self.nodes.len());
        let mut weights = Vec::with_capacity(self.len());
        let mut edges = Vec::with_capacity(self.len());
        for (from, (&log, rank)) in logs.iter().zip(ranks).enumerate() {
            if rank + log < best - lag {
                continue;
            }
            let forward = self.weights[from] + log;
            let (from, to) = (from as u32, weights.len() as u32);
            edges.push(Edge { from, to, log, forward, taken: None, class: None });
            nodes.extend_from_slice(&self.nodes[from as usize * width..][..width]);
            weights.push(forward);
        }
        let (taken, expected) = (Vec::new(), Vec::new());
        self.lattice.went(Went { of: StepOf::Other, edges, taken, expected });
        self.nodes = nodes;
        self.weights = weights;
    }

    /// Slots in which all hypotheses have the same node leave the group.
    pub(super) fn release(&mut self) -> Vec<(u32, NodeId)> {
        let width = self.slots.len();
        if width == 0 {
            return Vec::new();
        }
        let mut differs = vec![false; width];
        for row in self.nodes.chunks_exact(width).skip(1) {
            let pairs = row.iter().zip(&self.nodes);
            differs.iter_mut().zip(pairs).for_each(|(differs, (a, b))| *differs |= a != b);
        }
        let agreed = (0..width).filter(|i| !differs[*i]);
        let released: Vec<_> = agreed.map(|i| (self.slots[i], self.nodes[i])).collect();
        if !released.is_empty() {
            self.slots = (0..width).filter(|i| differs[*i]).map(|i| self.slots[i]).collect();
            let kept = (0..self.nodes.len()).filter(|i| differs[i % width]);
            self.nodes = kept.map(|i| self.nodes[i]).collect();
        }
        released
    }
}

/// By item: which is the first that equals it.
pub(super) fn first_of_equals(
    items: usize,
    compare: impl Fn(usize, usize) -> std::cmp::Ordering,
) -> Vec<usize> {
    let mut order: Vec<usize> = (0..items).collect();
    order.sort_unstable_by(|a, b| compare(*a, *b).then(a.cmp(b)));
    let mut first: Vec<usize> = (0..items).collect();
    for pair in order.windows(2) {
        if compare(pair[0], pair[1]).is_eq() {
            first[pair[1]] = first[pair[0]];
        }
    }
    first
}

/// Keeps the best by rank that are not too far behind, in order, and tells which others were not.
pub(super) fn keep_best<T>(
    all: &mut Vec<T>,
    most: usize,
    lag: f64,
    rank: impl Fn(&T) -> f64,
    tie: impl Fn(&T, &T) -> std::cmp::Ordering,
) -> Vec<T> {
    let best = all.iter().map(&rank).fold(f64::NEG_INFINITY, f64::max);
    all.retain(|one| rank(one) >= best - lag);
    let order = |a: &T, b: &T| rank(b).total_cmp(&rank(a)).then_with(|| tie(a, b));
    let mut dropped = Vec::new();
    if all.len() > most {
        all.select_nth_unstable_by(most, order);
        dropped = all.split_off(most);
    }
    all.sort_unstable_by(order);
    dropped
}

/// Logarithm of a sum of what is given by its logarithms.
pub(super) fn log_total(logs: impl Iterator<Item = f64> + Clone) -> f64 {
    let highest = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    if highest == f64::NEG_INFINITY {
        return highest;
    }
    highest + logs.map(|log| (log - highest).exp()).sum::<f64>().ln()
}

pub(super) fn log_sum(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(from: u32, weight: f64, change: Option<(u32, NodeId)>) -> Next {
        Next { from, weight, change }
    }

    fn edge(from: u32, forward: f64) -> Edge {
        Edge { from, to: 0, log: 0.0, forward, taken: None, class: None }
    }

    #[test]
    fn only_slots_in_which_hypotheses_differ_stay_in_a_group() {
        let mut group = Group::empty();
        let agreed = [10, 11, 12];
        group.advance(&[way(0, -1.0, Some((1, 21))), way(0, -2.0, Some((2, 22)))], &agreed);
        assert_eq!(group.slots, [1, 2]);
        assert_eq!((group.nodes(0), group.nodes(1)), (&[21, 12][..], &[11, 22][..]));
        group.advance(&[way(0, -1.0, None), way(0, -2.0, Some((2, 32)))], &agreed);
        assert_eq!(group.release(), [(1, 21)]);
        assert_eq!((group.nodes(0), group.nodes(1)), (&[12][..], &[32][..]));
    }

    #[test]
    fn hypotheses_that_agree_again_are_one() {
        let mut group = Group::empty();
        group.advance(&[way(0, -1.0, Some((1, 21))), way(0, -1.0, None)], &[10, 11]);
        let edges = vec![edge(0, -1.0), edge(1, -1.0)];
        let (taken, expected) = (Vec::new(), Vec::new());
        group.close(1, Went { of: StepOf::End, edges, taken, expected });
        assert_eq!((group.len(), group.slots.len()), (1, 0));
        assert!((group.weights[0] - (2f64.ln() - 1.0)).abs() < 1e-12);
    }

    #[test]
    fn hypotheses_with_the_same_nodes_weigh_as_one_what_they_weighed() {
        let mut group = Group::empty();
        let agreed = [10, 11];
        group.advance(&[way(0, -1.0, Some((0, 20))), way(0, -2.0, Some((0, 30)))], &agreed);
        let (same, other) = (Some((0, 40)), Some((0, 41)));
        group.advance(&[way(0, -3.0, same), way(1, -4.0, other), way(1, -3.0, same)], &agreed);
        assert_eq!(group.unite(), [0, 1, 0]);
        assert_eq!((group.nodes(0), group.nodes(1)), (&[40][..], &[41][..]));
        assert!((group.weights[0] - (2f64.ln() - 3.0)).abs() < 1e-12);
    }

    #[test]
    fn merged_groups_hold_all_pairs_that_are_not_hopeless() {
        let (mut left, mut right) = (Group::empty(), Group::empty());
        left.advance(&[way(0, -1.0, Some((0, 20))), way(0, -2.0, None)], &[10, 11]);
        right.advance(&[way(0, -1.0, Some((1, 21))), way(0, -9.0, None)], &[10, 11]);
        left.ranks = left.weights.clone();
        right.ranks = right.weights.clone();
        left.merge(right, 10, 5.0);
        assert_eq!((left.slots.as_slice(), left.len()), (&[0, 1][..], 2));
        assert_eq!((left.nodes(0), left.nodes(1)), (&[20, 21][..], &[10, 21][..]));
    }
}
