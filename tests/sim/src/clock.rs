//! The nodes' clocks against true time: skew, drift and one step.
//!
//! An agent stamps events on the boot clock, which drifts and never steps; its batches carry the
//! epoch that takes them to wall time, looked at when a batch is closed. An SDK and a proxy read
//! the wall clock itself.

use crate::chance::{hash, unit};
use crate::dials::Dials;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    skew_ns: i64,
    /// Parts per billion.
    drift: i64,
    /// True time at which drift is zero.
    origin_ns: i64,
    step: Option<Step>,
    boot_ns: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    at_ns: i64,
    by_ns: i64,
}

/// For so long before a step an agent's records may already be told under the new epoch.
const UNDER_EITHER_EPOCH_NS: i64 = 6_000_000_000;

const CLOCK: u64 = 0xc10c;

impl Clock {
    pub fn of_node(node: usize, dials: &Dials, start_ns: i64, end_ns: i64) -> Self {
        let draw = |what: u64| 2.0 * unit(hash(dials.seed, &[CLOCK, node as u64, what])) - 1.0;
        let middle_ns = start_ns + (end_ns - start_ns) / 2;
        let by_ns = if node.is_multiple_of(2) { dials.step } else { -dials.step };
        Self {
            skew_ns: (draw(0) * dials.skew as f64) as i64,
            drift: (draw(1) * dials.drift * 1_000.0) as i64,
            origin_ns: start_ns,
            step: (node < dials.clock_steps).then_some(Step { at_ns: middle_ns, by_ns }),
            boot_ns: start_ns - 86_400_000_000_000 - node as i64 * 1_000_000_007,
        }
    }

    /// Wall time as a program on the node reads it.
    pub fn wall_ns(&self, true_ns: i64) -> i64 {
        self.under_epoch_of(true_ns, true_ns)
    }

    /// Wall time of an event as told with the epoch that is in force at another moment.
    pub fn under_epoch_of(&self, true_ns: i64, told_at_ns: i64) -> i64 {
        let stepped = self.step.filter(|step| told_at_ns >= step.at_ns);
        self.before_step_ns(true_ns) + stepped.map_or(0, |step| step.by_ns)
    }

    /// The stamp of an event shortly before or after the step under the other epoch.
    pub fn other_epoch_ns(&self, true_ns: i64) -> Option<i64> {
        let step = self.step?;
        let near = (step.at_ns - UNDER_EITHER_EPOCH_NS..step.at_ns).contains(&true_ns);
        near.then(|| self.before_step_ns(true_ns) + step.by_ns)
    }

    /// Boot clock and epoch (wall minus boot) at a moment.
    pub fn sample(&self, true_ns: i64) -> (i64, i64) {
        let boot_ns = self.before_step_ns(true_ns) - self.boot_ns;
        (boot_ns, self.wall_ns(true_ns) - boot_ns)
    }

    fn before_step_ns(&self, true_ns: i64) -> i64 {
        let elapsed_ns = true_ns - self.origin_ns;
        true_ns + self.skew_ns + elapsed_ns / 1_000_000 * self.drift / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dials::SECOND;

    fn clock(node: usize, dials: &Dials) -> Clock {
        Clock::of_node(node, dials, 0, 100 * SECOND)
    }

    #[test]
    fn without_dials_every_clock_is_true() {
        assert_eq!(clock(3, &Dials::default()).wall_ns(5_000), 5_000);
    }

    #[test]
    fn skew_and_drift_stay_within_their_dials_and_differ_by_node() {
        let dials = Dials { skew: SECOND / 2, drift: 50.0, ..Dials::default() };
        let mut offsets = Vec::new();
        for node in 0..50 {
            let clock = clock(node, &dials);
            let (first, last) = (clock.wall_ns(0), clock.wall_ns(100 * SECOND) - 100 * SECOND);
            assert!(first.abs() <= SECOND / 2, "{first}");
            assert!((last - first).abs() <= 5_000_000, "50 ppm of 100 s are 5 ms");
            offsets.push(first);
        }
        offsets.dedup();
        assert_eq!(offsets.len(), 50);
    }

    #[test]
    fn a_step_moves_wall_time_and_the_epoch_but_not_the_boot_clock() {
        let dials = Dials { clock_steps: 1, ..Dials::default() };
        let clock = clock(0, &dials);
        let (before, after) = (clock.sample(49 * SECOND), clock.sample(51 * SECOND));
        assert_eq!(after.0 - before.0, 2 * SECOND);
        assert_eq!(after.1 - before.1, dials.step);
        assert_eq!(clock.wall_ns(51 * SECOND), 51 * SECOND + dials.step);
        assert_eq!(clock.under_epoch_of(49 * SECOND, 51 * SECOND), 49 * SECOND + dials.step);
        assert_eq!(clock.other_epoch_ns(49 * SECOND), Some(49 * SECOND + dials.step));
        assert_eq!(clock.other_epoch_ns(20 * SECOND), None);
    }
}
