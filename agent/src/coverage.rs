//! Up to when everything was shipped, and what was lost before then. Pure.
//!
//! A turn is shipped only once it has been silent for a while, so a sweep vouches for the time
//! before it by that much. Losses are counters that are read at each sweep: to tell those of a
//! covered interval, the interval ends at the moment of an earlier sweep, and the counters of that
//! very sweep are used.

use std::collections::VecDeque;

/// Sweeps between two heartbeats; with more, intervals only become coarser.
const SWEEPS_MAX: usize = 1_024;

pub struct Coverage {
    sweeps: VecDeque<Sweep>,
    /// Every turn that was silent since then, or ended before, is shipped.
    shipped_to_ns: u64,
    last: Sweep,
    /// Whether requests are seen at all; without them no time is vouched for.
    sees_requests: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sweep {
    at_ns: u64,
    lost: u64,
}

/// What a heartbeat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub from_ns: u64,
    pub to_ns: u64,
    pub lost: u64,
}

impl Coverage {
    pub fn new(start_ns: u64, sees_requests: bool) -> Self {
        let last = Sweep { at_ns: start_ns, lost: 0 };
        Self { sweeps: VecDeque::new(), shipped_to_ns: start_ns, last, sees_requests }
    }

    /// A sweep began at `at_ns`, when `lost` had been lost since the start.
    pub fn begin_sweep(&mut self, at_ns: u64, lost: u64) {
        if self.sweeps.len() == SWEEPS_MAX {
            self.sweeps.pop_back();
        }
        self.sweeps.push_back(Sweep { at_ns, lost });
    }

    /// It was complete, and shipped every turn that was silent since `silent_until_ns`.
    pub fn end_sweep(&mut self, silent_until_ns: u64) {
        self.shipped_to_ns = self.shipped_to_ns.max(silent_until_ns);
    }

    /// The interval since the last one that can be vouched for by now. It may be empty.
    pub fn close(&mut self) -> Interval {
        let before = self.last;
        while let Some(sweep) = self.sweeps.pop_front_if(|sweep| sweep.at_ns <= self.shipped_to_ns)
        {
            self.last = sweep;
        }
        Interval {
            from_ns: if self.sees_requests { before.at_ns } else { self.last.at_ns },
            to_ns: self.last.at_ns,
            lost: self.last.lost.saturating_sub(before.lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: u64 = 10;

    fn sweep(coverage: &mut Coverage, at_ns: u64, lost: u64) {
        coverage.begin_sweep(at_ns, lost);
        coverage.end_sweep(at_ns - QUIET);
    }

    fn closed(coverage: &mut Coverage) -> (u64, u64, u64) {
        let Interval { from_ns, to_ns, lost } = coverage.close();
        (from_ns, to_ns, lost)
    }

    #[test]
    fn an_interval_ends_at_a_sweep_that_was_long_enough_ago() {
        let mut coverage = Coverage::new(100, true);
        sweep(&mut coverage, 110, 0);
        sweep(&mut coverage, 120, 0);
        assert_eq!(closed(&mut coverage), (100, 110, 0));
        sweep(&mut coverage, 129, 0);
        assert_eq!(closed(&mut coverage), (110, 110, 0), "119 is vouched for, 120 is not");
        sweep(&mut coverage, 130, 0);
        assert_eq!(closed(&mut coverage), (110, 120, 0));
    }

    #[test]
    fn a_loss_is_told_with_the_interval_that_it_happened_in() {
        let mut coverage = Coverage::new(100, true);
        sweep(&mut coverage, 110, 0);
        sweep(&mut coverage, 120, 3);
        assert_eq!(closed(&mut coverage), (100, 110, 0), "the loss was after 110");
        sweep(&mut coverage, 130, 3);
        assert_eq!(closed(&mut coverage), (110, 120, 3));
        sweep(&mut coverage, 140, 4);
        assert_eq!(closed(&mut coverage), (120, 130, 0));
    }

    #[test]
    fn a_sweep_that_was_cut_short_vouches_for_nothing() {
        let mut coverage = Coverage::new(100, true);
        coverage.begin_sweep(110, 0);
        coverage.begin_sweep(130, 0);
        assert_eq!(closed(&mut coverage), (100, 100, 0));
        coverage.end_sweep(120);
        assert_eq!(closed(&mut coverage), (100, 110, 0));
    }

    #[test]
    fn without_requests_no_time_is_vouched_for_and_losses_are_still_told() {
        let mut coverage = Coverage::new(0, false);
        sweep(&mut coverage, 20, 3);
        sweep(&mut coverage, 40, 3);
        assert_eq!(closed(&mut coverage), (20, 20, 3));
    }
}
