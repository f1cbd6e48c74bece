//! What is due, put together: adjacent windows are computed at once.

use std::ops::Range;

use join::schedule::Due;
use join::{Settings, Stage};

/// Adjacent windows computed at once: the guard band is read once for them, and a commit's size
/// and the time until the first of them is visible stay small.
const WINDOWS_PER_RUN: i64 = 6;

/// Of windows that are computed again, or boundaries at which they are, about so many bytes of raw
/// rows at once: provisional windows may fall due meanwhile. One window is always done; of 10,000
/// requests a second it holds more, and takes two seconds.
const BYTES_BETWEEN_NEW: usize = 64 << 20;

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

/// The run of revised or final windows that is to be done next: what was due first, and of a
/// revision and a final window that fell due together the one whose rows will stay.
pub(super) fn next_of_others(runs: &[Run], settings: &Settings) -> Option<Run> {
    let others = runs.iter().filter(|run| run.stage != Stage::Provisional);
    others.min_by_key(|run| (run.due_ns(settings), run.stage != Stage::Final)).cloned()
}

impl Run {
    /// The watermark that the first of it waited for.
    fn due_ns(&self, settings: &Settings) -> i64 {
        match self.stage {
            Stage::Provisional => self.range.start + settings.window_ns + settings.settle_ns,
            Stage::Revised => self.range.start,
            Stage::Final => self.range.start + settings.window_ns + settings.lateness_ns,
        }
    }

    /// The first part of it, no longer than new paths may be held up by what is computed again.
    pub(super) fn shortened(mut self, bytes_of_window: usize, settings: &Settings) -> Self {
        let windows = i64::try_from(BYTES_BETWEEN_NEW / bytes_of_window.max(1)).unwrap_or(i64::MAX);
        let longest_ns = windows.clamp(1, WINDOWS_PER_RUN) * settings.window_ns;
        self.range.end = self.range.end.min(self.range.start + longest_ns);
        self
    }
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

    #[test]
    fn of_revised_and_final_runs_that_which_was_due_first_is_next() {
        let settings = Settings::default();
        let run = |stage: Stage, start_s: i64, end_s: i64| Run {
            stage,
            range: start_s * SECOND..end_s * SECOND,
        };
        let new = run(Stage::Provisional, 1_000, 1_010);
        let (revised, last) = (run(Stage::Revised, 1_000, 1_060), run(Stage::Final, 80, 90));
        // A final window falls due a window and the lateness after its start.
        assert_eq!(settings.lateness_ns, 900 * SECOND);
        let next = |runs: &[Run]| next_of_others(runs, &settings);
        assert_eq!(next(&[new.clone(), revised.clone(), last.clone()]), Some(last.clone()));
        let later = run(Stage::Final, 100, 110);
        assert_eq!(next(&[new.clone(), revised.clone(), later]), Some(revised.clone()));
        let together = run(Stage::Final, 90, 100);
        assert_eq!(next(&[revised, together.clone()]), Some(together));
        assert_eq!(next(&[new]), None);
    }

    #[test]
    fn run_of_windows_of_many_rows_is_shortened_to_one() {
        let settings = Settings::default();
        let run =
            |windows: i64| Run { stage: Stage::Final, range: 0..windows * settings.window_ns };
        for (bytes_of_window, windows) in
            [(0, 6), (BYTES_BETWEEN_NEW / 6, 6), (BYTES_BETWEEN_NEW / 3, 3), (usize::MAX, 1)]
        {
            assert_eq!(run(6).shortened(bytes_of_window, &settings), run(windows));
            assert_eq!(run(1).shortened(bytes_of_window, &settings), run(1));
        }
    }
}
