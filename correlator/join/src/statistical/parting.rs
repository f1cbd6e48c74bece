//! Parts a group into what is undecided independently.
//!
//! Groups meet at a call that could be of either, and most of them have nothing to do with each
//! other once it is decided. As one they would need the product of their hypotheses, which soon
//! leaves no room for any of them; apart they need the sum.

use std::collections::BTreeMap;

use super::chain::NodeId;
use super::group::{Group, first_of_equals};

/// Requests depend on each other where what is undecided of both goes together or excludes each
/// other by more than this (the covariance of their being otherwise than under the best hypothesis).
const APART: f64 = 1e-3;

/// A group is parted where the parts together say the same, but for so much probability.
const LOST_MAX: f64 = 5e-3;

impl Group {
    /// Its independent parts, or itself where there are none.
    pub(super) fn part(self) -> Vec<Self> {
        // Two parts of two hypotheses each are four, of which the least likely may be missing.
        if self.len() < 3 || self.slots.len() < 2 {
            return vec![self];
        }
        let total = self.weight();
        let shares: Vec<f64> = self.weights.iter().map(|w| (w - total).exp()).collect();
        let dependent = self.dependent(&shares);
        if dependent.len() < 2 {
            return vec![self];
        }
        let parts: Vec<Part> = dependent.iter().map(|slots| self.project(slots, &shares)).collect();
        if lost(&parts, &shares) > LOST_MAX {
            return vec![self];
        }
        let ways = parts.iter().map(|part| part.of_hypothesis.clone()).collect();
        let mut all = total;
        let lattices = self.lattice.part(ways);
        let parts = parts.into_iter().zip(lattices);
        parts
            .map(|(part, lattice)| {
                let weights = part.shares.iter().map(|share| share.ln() + all).collect();
                // The weight of what was before counts once.
                all = 0.0;
                Self::of(part.slots, weights, part.nodes, lattice)
            })
            .collect()
    }

    /// Positions of slots by what they depend on.
    fn dependent(&self, shares: &[f64]) -> Vec<Vec<usize>> {
        let width = self.slots.len();
        let best = (0..shares.len()).fold(0, |b, h| if shares[h] > shares[b] { h } else { b });
        let mut otherwise = vec![0.0; width];
        let mut both = vec![0.0; width * width];
        let mut differs = Vec::with_capacity(width);
        for (hypothesis, share) in shares.iter().enumerate() {
            differs.clear();
            let nodes = self.nodes(hypothesis).iter().zip(self.nodes(best)).enumerate();
            differs.extend(nodes.filter(|(_, (node, best))| node != best).map(|(at, _)| at));
            for (i, &a) in differs.iter().enumerate() {
                otherwise[a] += share;
                differs[i + 1..].iter().for_each(|b| both[a * width + b] += share);
            }
        }
        let mut part_of: Vec<usize> = (0..width).collect();
        for a in 0..width {
            for b in a + 1..width {
                let (one, other) = (part_of[a], part_of[b]);
                let together = both[a * width + b] - otherwise[a] * otherwise[b];
                if one != other && together.abs() > APART {
                    part_of.iter_mut().filter(|p| **p == other).for_each(|p| *p = one);
                }
            }
        }
        let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        part_of.iter().enumerate().for_each(|(at, part)| parts.entry(*part).or_default().push(at));
        parts.into_values().collect()
    }

    /// What the hypotheses say of some slots alone.
    fn project(&self, positions: &[usize], shares: &[f64]) -> Part {
        let mut part = Part {
            slots: positions.iter().map(|at| self.slots[*at]).collect(),
            shares: Vec::new(),
            nodes: Vec::new(),
            of_hypothesis: Vec::with_capacity(shares.len()),
        };
        let nodes = |hypothesis: usize| {
            let nodes = self.nodes(hypothesis);
            positions.iter().map(|at| nodes[*at])
        };
        let first = first_of_equals(shares.len(), |a, b| nodes(a).cmp(nodes(b)));
        for (hypothesis, (share, first)) in shares.iter().zip(first).enumerate() {
            if first == hypothesis {
                part.of_hypothesis.push(part.shares.len() as u32);
                part.nodes.extend(nodes(hypothesis));
                part.shares.push(*share);
            } else {
                let index = part.of_hypothesis[first];
                part.of_hypothesis.push(index);
                part.shares[index as usize] += share;
            }
        }
        part
    }
}

/// Hypotheses about some slots of a group, each once.
struct Part {
    slots: Vec<u32>,
    shares: Vec<f64>,
    nodes: Vec<NodeId>,
    /// Which of them each hypothesis of the group holds.
    of_hypothesis: Vec<u32>,
}

/// How much of what the group says is said otherwise by its parts.
fn lost(parts: &[Part], shares: &[f64]) -> f64 {
    let (mut differs, mut covered) = (0.0, 0.0);
    for (hypothesis, share) in shares.iter().enumerate() {
        let of_part = |part: &Part| part.shares[part.of_hypothesis[hypothesis] as usize];
        let product: f64 = parts.iter().map(of_part).product();
        differs += (share - product).abs();
        covered += product;
    }
    differs + (1.0 - covered).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::group::Next;
    use super::*;

    /// A group of the first requests of four, each hypothesis with its share and their nodes.
    fn group(hypotheses: &[(f64, &[NodeId])]) -> Group {
        let width = hypotheses[0].1.len();
        let mut group = Group::empty();
        let agreed: Vec<NodeId> = (0..4).collect();
        for at in 0..width {
            let way = |&(share, nodes): &(f64, &[NodeId])| (share, nodes[at]);
            let ways: Vec<Next> = (0u32..)
                .zip(hypotheses.iter().map(way))
                .map(|(h, (share, node))| Next {
                    from: if at == 0 { 0 } else { h },
                    weight: share.ln(),
                    change: Some((at as u32, node)),
                })
                .collect();
            group.advance(&ways, &agreed);
        }
        group
    }

    /// Slots of each part with the shares of its hypotheses in a hundred.
    fn check(hypotheses: &[(f64, &[NodeId])], expected: &[(&[u32], &[i64])]) {
        let parts = group(hypotheses).part();
        let said: Vec<(Vec<u32>, Vec<i64>)> = parts
            .iter()
            .map(|part| {
                let total = part.weight();
                let shares =
                    part.weights.iter().map(|w| (100.0 * (w - total).exp()).round() as i64);
                (part.slots.clone(), shares.collect())
            })
            .collect();
        let expected: Vec<_> = expected.iter().map(|(s, h)| (s.to_vec(), h.to_vec())).collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn what_is_undecided_independently_is_parted() {
        let pairs: [(f64, &[NodeId]); 4] = [
            (0.42, &[10, 20, 30, 40]),
            (0.28, &[11, 21, 30, 40]),
            (0.18, &[10, 20, 31, 41]),
            (0.12, &[11, 21, 31, 41]),
        ];
        check(&pairs, &[(&[0, 1], &[60, 40]), (&[2, 3], &[70, 30])]);
    }

    #[test]
    fn what_excludes_each_other_stays_together() {
        let one: [(f64, &[NodeId]); 3] =
            [(0.5, &[11, 20, 30]), (0.3, &[10, 21, 30]), (0.2, &[10, 20, 31])];
        check(&one, &[(&[0, 1, 2], &[50, 30, 20])]);
    }

    #[test]
    fn parts_weigh_together_what_the_group_weighed() {
        let pairs: [(f64, &[NodeId]); 4] =
            [(0.04, &[10, 20]), (0.04, &[11, 20]), (0.01, &[10, 21]), (0.01, &[11, 21])];
        let weight: f64 = group(&pairs).part().iter().map(Group::weight).sum();
        assert!((weight - 0.1f64.ln()).abs() < 1e-9, "{weight}");
    }
}
