//! Boot time to wall time. Events carry the boot clock, which never steps; wall time is its
//! epoch away.

use rustix::time::{ClockId, clock_gettime};

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub boot_ns: u64,
    pub wall_ns: u64,
}

impl Sample {
    /// Wall clock minus boot clock.
    pub fn epoch_ns(self) -> i64 {
        (i128::from(self.wall_ns) - i128::from(self.boot_ns)) as i64
    }
}

/// How far the wall clock may move from the epoch in force before a new epoch begins. Slewing at
/// its most, 500 ppm, takes 2 s for it; the jitter of a sample is a thousand times less.
const STEP_NS: u64 = 1_000_000;

/// The wall clock's epoch in force: the same for every record until the clock has really moved, so
/// that records of one node keep the order and the distances that they have on its boot clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    ns: i64,
}

impl Epoch {
    pub fn of(sample: Sample) -> Self {
        Self { ns: sample.epoch_ns() }
    }

    /// Looks at the clocks again; wall clock minus boot clock, as records are to carry it.
    pub fn follow(&mut self, sample: Sample) -> i64 {
        let measured = sample.epoch_ns();
        if measured.abs_diff(self.ns) > STEP_NS {
            self.ns = measured;
        }
        self.ns
    }
}

pub fn boot_ns() -> u64 {
    read(ClockId::Boottime)
}

/// The wall clock is read between two readings of the boot clock and set against their middle;
/// of a few tries the one that was interrupted least is taken.
pub fn sample() -> Sample {
    let attempt = || {
        let before = boot_ns();
        let wall_ns = read(ClockId::Realtime);
        let after = boot_ns();
        let width = after.saturating_sub(before);
        (width, Sample { boot_ns: before + width / 2, wall_ns })
    };
    let mut best = attempt();
    for _ in 0..2 {
        let next = attempt();
        if next.0 < best.0 {
            best = next;
        }
    }
    best.1
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_leads_from_boot_time_to_wall_time() {
        let sample = Sample { boot_ns: 5, wall_ns: 1_000 };
        assert_eq!(sample.epoch_ns(), 995);
        assert_eq!(Sample { boot_ns: 10, wall_ns: 4 }.epoch_ns(), -6);
    }

    #[test]
    fn the_epoch_stays_through_jitter_and_follows_a_step() {
        let at = |wall_ns| Sample { boot_ns: 0, wall_ns };
        let mut epoch = Epoch::of(at(5_000_000));
        assert_eq!(epoch.follow(at(5_000_400)), 5_000_000);
        assert_eq!(epoch.follow(at(6_000_000)), 5_000_000);
        assert_eq!(epoch.follow(at(6_000_001)), 6_000_001);
        assert_eq!(epoch.follow(at(4_999_000)), 4_999_000);
    }

    #[test]
    fn the_boot_clock_goes_forward() {
        let first = sample();
        let second = sample();
        assert!(second.boot_ns >= first.boot_ns);
    }
}
