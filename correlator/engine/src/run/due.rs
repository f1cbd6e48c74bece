//! What is due, put together: adjacent windows are computed at once.

use std::ops::Range;

use join::schedule::Due;
use join::{Settings, Stage};

/// Adjacent windows computed at once: the guard band is read once for them, and a commit's size
/// and the time until the first of them is visible stay small.
const WINDOWS_PER_RUN: i64 = 6;

/// Adjacent windows of one stage, or adjacent boundaries at which revisions are due: from the first
/// to one length after the last, nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) stage: Stage,
    pub(super) range: Range<i64>,
}

/// Runs of at most [`WINDOWS_PER_RUN`], in the order they are due.
pub(super) fn runs(due: &[Due], settings: &Settings) -> Vec<Run> {
    let longest_ns = WINDOWS_PER_RUN * settings.window_ns;
    let mut runs: Vec<Run> = Vec::new();
    for due in due {
        let (stage, start) = (due.stage(), due.at_ns());
        let end = start + settings.window_ns;
        match runs.last_mut() {
            Some(Run { stage: same, range })
                if *same == stage && range.end == start && start - range.start < longest_ns =>
            {
                range.end = end;
            }
            _ => runs.push(Run { stage, range: start..end }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use join::SECOND;

    #[test]
    fn adjacent_windows_of_one_stage_are_one_run_up_to_the_limit() {
        let second = |s: i64| s * SECOND;
        let mut due: Vec<Due> = (10..18).map(|i| Due::Provisional(second(i * 10))).collect();
        due.extend([Due::Revised(second(180)), Due::Revised(second(190))]);
        due.extend([Due::Final(0), Due::Final(second(20))]);
        let found: Vec<_> = runs(&due, &Settings::default())
            .into_iter()
            .map(|run| (run.stage, run.range.start / SECOND, run.range.end / SECOND))
            .collect();
        assert_eq!(
            found,
            [
                (Stage::Provisional, 100, 160),
                (Stage::Provisional, 160, 180),
                (Stage::Revised, 180, 200),
                (Stage::Final, 0, 10),
                (Stage::Final, 20, 30),
            ]
        );
    }
}
