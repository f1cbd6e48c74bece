//! When a node's wall clock was set: stamps around that moment are of two clocks.
//!
//! An agent takes boot time to wall time with the epoch in force when it sends a batch. What one
//! request's calls went out with may then differ from what the request itself went out with, by the
//! step, and what lay inside another lies outside, or inside a third.

use std::collections::BTreeMap;

use crate::names::Name;

/// A clock sample reads two clocks one after the other, and may be interrupted between them.
const READING_NOISE_NS: i64 = 2_000_000;

/// A wall clock that is slewed gains at most 500 ppm (Linux, adjtimex); twice that is a step.
const SLEW_PER_NS: i64 = 1_000;

#[derive(Clone, Copy, Debug)]
struct Step {
    /// Stamps from here to there may be of either epoch.
    from_ns: i64,
    to_ns: i64,
    by_ns: i64,
}

/// The steps of every node's clock in sight.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    of_node: BTreeMap<Name, Vec<Step>>,
}

impl Steps {
    /// From what agents' heartbeats say: the node, its wall clock, and that minus its boot clock.
    pub(crate) fn new(heartbeats: impl Iterator<Item = (Name, i64, i64)>) -> Self {
        let mut samples: BTreeMap<Name, Vec<(i64, i64)>> = BTreeMap::new();
        for (node, wall_ns, epoch_ns) in heartbeats {
            samples.entry(node).or_default().push((wall_ns, epoch_ns));
        }
        let mut of_node: BTreeMap<Name, Vec<Step>> = BTreeMap::new();
        for (node, mut samples) in samples {
            // In the order of boot time, which nobody sets.
            samples.sort_unstable_by_key(|(wall_ns, epoch_ns)| {
                (wall_ns.saturating_sub(*epoch_ns), *epoch_ns)
            });
            let steps: Vec<Step> = samples.windows(2).filter_map(|s| step(s[0], s[1])).collect();
            if !steps.is_empty() {
                of_node.insert(node, steps);
            }
        }
        Self { of_node }
    }

    /// By how much, at most, the stamps of a node between two moments may be off each other; none
    /// where its clock was not set.
    pub(crate) fn doubt(&self, node: Name, from_ns: i64, to_ns: i64) -> Option<i64> {
        let steps = self.of_node.get(&node)?.iter();
        let near = steps.filter(|s| s.from_ns <= to_ns && from_ns <= s.to_ns);
        near.map(|s| s.by_ns).max()
    }
}

fn step(old: (i64, i64), new: (i64, i64)) -> Option<Step> {
    let jump_ns = new.1.saturating_sub(old.1);
    let passed_ns = new.0.saturating_sub(old.0).saturating_sub(jump_ns).max(0);
    let allowed_ns = READING_NOISE_NS + passed_ns / SLEW_PER_NS;
    (jump_ns.saturating_abs() > allowed_ns).then(|| Step {
        from_ns: old.0.saturating_add(jump_ns.min(0)),
        to_ns: new.0.saturating_add(jump_ns.max(0)),
        by_ns: jump_ns.saturating_abs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SECOND;
    use crate::names::Names;

    #[test]
    fn stamps_around_a_step_are_in_doubt_and_others_are_not() {
        let node = Names::default().name("node-1");
        let ms = 1_000_000;
        let all = [(10, 400), (12, 400), (14, 0), (16, 1)];
        let samples = all.map(|(at_s, epoch_ms)| (node, at_s * SECOND, epoch_ms * ms));
        let steps = Steps::new(samples.into_iter());
        for (from_s, to_s, expected) in
            [(10, 11, None), (11, 12, Some(400 * ms)), (13, 13, Some(400 * ms)), (15, 16, None)]
        {
            let found = steps.doubt(node, from_s * SECOND, to_s * SECOND);
            assert_eq!(found, expected, "{from_s}..{to_s}");
        }
    }
}
