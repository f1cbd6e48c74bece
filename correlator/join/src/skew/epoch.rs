//! When a node's wall clock was set: the boundaries of what its stamps may be compared with.
//!
//! A wall clock that is slewed runs with the boot clock, so their difference changes only when the
//! wall clock is set (or the node boots). Between two samples it is not known when that happened,
//! and stamps that either side of the step could have made belong to no epoch.

use std::ops::RangeInclusive;

use super::Clock;

/// A moment without samples this near on both sides belongs to no epoch.
pub const SAMPLE_GAP_NS_MAX: i64 = 60 * crate::SECOND;

/// A sample reads two clocks one after the other and may be interrupted between them.
const READING_NOISE_NS: i64 = 1_000_000;

/// A wall clock that is slewed gains at most 500 ppm (Linux, adjtimex); twice that is a step.
const SLEW_PER_NS: i64 = 1_000;

/// Differences of wall and boot clock further apart than this are of two boots or as good as that:
/// stamps from between them can't be placed.
const BOOT_NS: i64 = 15 * 60 * crate::SECOND;

/// Both clocks of a node at one moment, from its heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockSample {
    pub node: u32,
    pub boot_ns: i64,
    pub wall_ns: i64,
    /// What the node did before this wall time had been told by then, and so not with a later clock.
    pub told_to_ns: i64,
}

/// The epochs of every node.
#[derive(Clone, Debug, Default)]
pub struct Epochs {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Wall times of all samples, ascending.
    sampled_ns: Vec<i64>,
    /// In order: stamps in [from, to) may lie on either side; `to` is on the new epoch's clock.
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    from_ns: i64,
    to_ns: i64,
    /// By how much the clock was set; 0 where it was slewed, or the node booted: nothing that it did
    /// went on then.
    by_ns: i64,
    /// How far off `by_ns` may be.
    within_ns: i64,
}

/// How far apart stamps of one moment may be that a node took by its clock before it was set, and
/// after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Jump {
    pub by_ns: i64,
    /// How far off that may be.
    pub within_ns: i64,
}

impl Jump {
    /// What a stamp may say of a moment, as ranges of the clock that another stamp was taken by.
    pub fn of(self, ns: i64) -> [RangeInclusive<i64>; 3] {
        [-self.by_ns, 0, self.by_ns].map(|by_ns| {
            let ns = ns.saturating_add(by_ns);
            ns.saturating_sub(self.within_ns)..=ns.saturating_add(self.within_ns)
        })
    }
}

impl Epochs {
    /// `samples` in any order; nodes numbered from 0 to below `nodes`.
    pub fn new(nodes: usize, samples: &[ClockSample]) -> Self {
        let mut by_node: Vec<Vec<ClockSample>> = vec![Vec::new(); nodes];
        for sample in samples {
            by_node[sample.node as usize].push(*sample);
        }
        Self { nodes: by_node.into_iter().map(Node::new).collect() }
    }

    /// Whether both say the same of every moment before `until_ns`, and of whether clocks were set.
    pub(crate) fn agrees(&self, other: &Self, until_ns: i64) -> bool {
        let is_same = |(a, b): (&Node, &Node)| {
            a.steps == b.steps && a.sampled_until(until_ns).eq(b.sampled_until(until_ns))
        };
        self.nodes.len() == other.nodes.len() && self.nodes.iter().zip(&other.nodes).all(is_same)
    }

    /// The clock that stamped `wall_ns` on a node; none when it was being set then, or when nobody
    /// vouches for it.
    pub fn at(&self, node: u32, wall_ns: i64) -> Option<Clock> {
        let seen = self.nodes.get(node as usize)?;
        let is_sampled = seen.is_sampled_around(wall_ns);
        let is_doubtful = seen.steps.iter().any(|s| s.from_ns <= wall_ns && wall_ns < s.to_ns);
        if !is_sampled || is_doubtful {
            return None;
        }
        let steps_before = seen.steps.iter().filter(|s| s.to_ns <= wall_ns).count();
        Some(Clock { node, epoch: steps_before as u32 })
    }

    /// Whether the node's clock was set between any two of its samples.
    pub fn is_set(&self, node: u32) -> bool {
        self.nodes.get(node as usize).is_some_and(|seen| !seen.steps.is_empty())
    }

    /// The first moment that a sample of the node's clock vouches for.
    pub fn known_from(&self, node: u32) -> Option<i64> {
        self.nodes.get(node as usize)?.sampled_ns.first().copied()
    }

    /// How far stamps of a node between two moments may be off each other; none where its clock was
    /// not set. Where it was set more than once, they may be by anything up to twice the most of it.
    pub fn set_by(&self, node: u32, from_ns: i64, to_ns: i64) -> Option<Jump> {
        let steps = self.nodes.get(node as usize)?.steps.iter();
        let mut near = steps.filter(|s| s.by_ns > 0 && s.from_ns <= to_ns && from_ns <= s.to_ns);
        let first = near.next()?;
        let most_ns = near.map(|s| s.by_ns).max();
        Some(most_ns.map_or(Jump { by_ns: first.by_ns, within_ns: first.within_ns }, |by_ns| {
            let by_ns = by_ns.max(first.by_ns);
            Jump { by_ns, within_ns: by_ns }
        }))
    }

    /// From when on the clock's stamps are surely its own; none for the first epoch that is known.
    pub fn start_ns(&self, clock: Clock) -> Option<i64> {
        let before = (clock.epoch as usize).checked_sub(1)?;
        self.nodes.get(clock.node as usize)?.steps.get(before).map(|s| s.to_ns)
    }
}

impl Node {
    fn new(mut samples: Vec<ClockSample>) -> Self {
        samples.sort_unstable_by_key(|s| (s.ahead_ns(), s.boot_ns));
        let mut boot = 0;
        let mut ordered = Vec::with_capacity(samples.len());
        for (i, sample) in samples.iter().enumerate() {
            if i > 0 && sample.ahead_ns() - samples[i - 1].ahead_ns() > BOOT_NS {
                boot += 1;
            }
            ordered.push((boot, sample.boot_ns, *sample));
        }
        ordered.sort_unstable();
        let steps = ordered.windows(2).filter_map(|pair| {
            let ((boot, _, old), (next_boot, _, new)) = (pair[0], pair[1]);
            if boot == next_boot { step(&old, &new) } else { Some(restart(&old, &new)) }
        });
        let steps = steps.collect();
        let mut sampled_ns: Vec<i64> = samples.iter().map(|s| s.wall_ns).collect();
        sampled_ns.sort_unstable();
        Self { sampled_ns, steps }
    }

    /// Times before `until_ns` with samples around them: first and last moment of each stretch.
    fn sampled_until(&self, until_ns: i64) -> impl Iterator<Item = (i64, i64)> {
        let near = |pair: &[i64]| {
            let (from_ns, to_ns) = (pair[0], pair[1]);
            let middle =
                (to_ns - SAMPLE_GAP_NS_MAX).max(from_ns)..=(from_ns + SAMPLE_GAP_NS_MAX).min(to_ns);
            [(from_ns, from_ns), (*middle.start(), *middle.end()), (to_ns, to_ns)]
        };
        let mut stretches: Vec<(i64, i64)> = Vec::new();
        let found = self.sampled_ns.windows(2).flat_map(near).filter(|(from, to)| from <= to);
        for (from_ns, to_ns) in found.filter(|(from_ns, _)| *from_ns < until_ns) {
            let to_ns = to_ns.min(until_ns);
            match stretches.last_mut() {
                Some((_, end_ns)) if from_ns <= *end_ns => *end_ns = to_ns.max(*end_ns),
                _ => stretches.push((from_ns, to_ns)),
            }
        }
        stretches.into_iter()
    }

    fn is_sampled_around(&self, wall_ns: i64) -> bool {
        let after = self.sampled_ns.partition_point(|&s| s < wall_ns);
        let to = self.sampled_ns.get(after);
        let from = self.sampled_ns[..self.sampled_ns.partition_point(|&s| s <= wall_ns)].last();
        let is_near = |s: &&i64| (**s - wall_ns).abs() <= SAMPLE_GAP_NS_MAX;
        from.filter(is_near).is_some() && to.filter(is_near).is_some()
    }
}

impl ClockSample {
    fn ahead_ns(&self) -> i64 {
        self.wall_ns.saturating_sub(self.boot_ns)
    }
}

/// What had not been told at the old sample may have gone out with either clock, and so may what
/// happened since, until the new one.
fn step(old: &ClockSample, new: &ClockSample) -> Option<Step> {
    let jump_ns = new.ahead_ns().saturating_sub(old.ahead_ns());
    let by_ns = jump_ns.saturating_abs();
    let passed_ns = new.boot_ns.saturating_sub(old.boot_ns).max(0);
    let slewed_ns = READING_NOISE_NS + passed_ns / SLEW_PER_NS;
    let is_slewed = by_ns <= slewed_ns;
    (by_ns > READING_NOISE_NS).then(|| Step {
        // The heartbeat itself may have been told with either.
        from_ns: old.told_to_ns.min(old.wall_ns).saturating_sub(by_ns),
        to_ns: new.wall_ns.saturating_add((-jump_ns).max(0)),
        by_ns: if is_slewed { 0 } else { by_ns },
        // Both samples are read, and an agent's stamps follow a clock that is slewed in steps.
        within_ns: slewed_ns + 2 * READING_NOISE_NS,
    })
}

fn restart(old: &ClockSample, new: &ClockSample) -> Step {
    let (from_ns, to_ns) = (old.wall_ns.min(new.wall_ns), old.wall_ns.max(new.wall_ns));
    Step { from_ns, to_ns, by_ns: 0, within_ns: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SECOND;

    /// Samples as (boot, wall) seconds; expected epochs at wall seconds, -1 for none.
    fn check(samples: &[(i64, i64)], expected: &[(i64, i64)]) {
        let sample = |&(boot, wall): &(i64, i64)| ClockSample {
            node: 0,
            boot_ns: boot * SECOND,
            wall_ns: wall * SECOND,
            told_to_ns: wall * SECOND,
        };
        let mut samples: Vec<_> = samples.iter().map(sample).collect();
        for _ in 0..samples.len() {
            samples.rotate_left(1);
            let epochs = Epochs::new(1, &samples);
            for &(wall, epoch) in expected {
                let found = epochs.at(0, wall * SECOND).map_or(-1, |c| i64::from(c.epoch));
                assert_eq!(found, epoch, "at {wall} in {samples:?}");
            }
        }
    }

    #[test]
    fn clock_that_is_not_set_has_one_epoch() {
        check(&[(0, 100), (10, 110), (20, 120)], &[(100, 0), (115, 0), (120, 0)]);
    }

    #[test]
    fn clock_set_forward_begins_an_epoch_once_that_is_certain() {
        check(
            &[(0, 100), (10, 110), (20, 125), (30, 135)],
            &[(104, 0), (105, -1), (124, -1), (125, 1), (135, 1)],
        );
    }

    #[test]
    fn stamps_that_a_clock_set_back_shows_twice_belong_to_no_epoch() {
        check(
            &[(0, 100), (10, 110), (20, 117), (30, 127), (40, 137)],
            &[(106, 0), (107, -1), (119, -1), (120, 1), (130, 1)],
        );
    }

    #[test]
    fn node_that_boots_begins_an_epoch() {
        check(
            &[(5_000, 100_000), (5_010, 100_010), (5, 100_050), (15, 100_060)],
            &[(100_005, 0), (100_020, -1), (100_055, 1)],
        );
    }

    #[test]
    fn stamps_of_what_was_told_after_a_step_are_in_doubt_and_others_are_not() {
        let ms = SECOND / 1_000;
        let samples = [(10, 10_400), (12, 12_400), (14, 14_000), (16, 16_001)];
        let samples = samples.map(|(boot_s, wall_ms)| ClockSample {
            node: 0,
            boot_ns: boot_s * SECOND,
            wall_ns: wall_ms * ms,
            told_to_ns: (wall_ms - 1_000) * ms,
        });
        let epochs = Epochs::new(1, &samples);
        for (from_ms, to_ms, expected) in [
            (10_000, 10_999, None),
            (10_000, 11_000, Some(400 * ms)),
            (14_400, 15_000, Some(400 * ms)),
            (14_401, 16_001, None),
        ] {
            let found = epochs.set_by(0, from_ms * ms, to_ms * ms).map(|jump| jump.by_ns);
            assert_eq!(found, expected, "{from_ms}..{to_ms}");
        }
    }

    #[test]
    fn slewing_and_booting_put_no_stamp_of_a_node_in_doubt() {
        let ms = SECOND / 1_000;
        for later in [(20_000, 20_011), (5, 60_000_000)] {
            let samples = [(10_000, 10_000), later].map(|(boot_ms, wall_ms)| ClockSample {
                node: 0,
                boot_ns: boot_ms * ms,
                wall_ns: wall_ms * ms,
                told_to_ns: wall_ms * ms,
            });
            let epochs = Epochs::new(1, &samples);
            assert!(epochs.is_set(0));
            assert_eq!(epochs.set_by(0, 0, 100_000_000 * ms), None, "{later:?}");
        }
    }

    #[test]
    fn later_samples_say_nothing_new_of_moments_that_had_samples_around_them() {
        let of = |samples: &[(i64, i64)]| {
            let sample = |&(boot, wall): &(i64, i64)| ClockSample {
                node: 0,
                boot_ns: boot * SECOND,
                wall_ns: wall * SECOND,
                told_to_ns: wall * SECOND,
            };
            Epochs::new(1, &samples.iter().map(sample).collect::<Vec<_>>())
        };
        let known = of(&[(0, 100), (10, 110), (90, 190)]);
        let agrees = |more: (i64, i64), until_s: i64| {
            let later = of(&[(0, 100), (10, 110), (90, 190), more]);
            assert_eq!(
                known.agrees(&later, until_s * SECOND),
                later.agrees(&known, until_s * SECOND)
            );
            known.agrees(&later, until_s * SECOND)
        };
        // Further on, and in a gap that samples on both sides covered in part.
        assert!(agrees((100, 200), 190));
        assert!(!agrees((100, 200), 195));
        assert!(!agrees((50, 150), 115) && agrees((50, 150), 110));
        // A clock that was set.
        assert!(!agrees((100, 205), 150));
    }

    #[test]
    fn moment_far_from_any_sample_belongs_to_no_epoch() {
        check(&[(0, 100), (200, 300)], &[(101, -1), (299, -1)]);
        check(&[(0, 100), (50, 150)], &[(99, -1), (101, 0), (151, -1)]);
    }
}
