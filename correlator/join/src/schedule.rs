//! What is due: which windows' provisional, revised and final rows the watermark allows.
//!
//! Revisions have several delays, and each window passes all of them. They are counted by the
//! window boundary that the watermark reached: at each boundary one window falls due for each
//! delay, so that one number says how far revising has come.

use crate::window::window_start;
use crate::{Settings, Stage};

/// Something to compute, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// A window by its start.
    Provisional(i64),
    /// A boundary that the watermark reached; [`revised_at`] has the windows.
    Revised(i64),
    /// A window by its start.
    Final(i64),
}

impl Due {
    pub fn stage(self) -> Stage {
        match self {
            Self::Provisional(_) => Stage::Provisional,
            Self::Revised(_) => Stage::Revised,
            Self::Final(_) => Stage::Final,
        }
    }

    /// Start of the window, or the boundary.
    pub fn at_ns(self) -> i64 {
        match self {
            Self::Provisional(at) | Self::Revised(at) | Self::Final(at) => at,
        }
    }
}

/// The first of each stage that is not done yet, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    pub provisional_ns: i64,
    pub revised_ns: i64,
    pub final_ns: i64,
}

/// What is due: provisional windows first, then revisions, then final windows, each in order.
///
/// A window whose final rows are due at once gets no others before them.
pub fn due(watermark_ns: i64, next: &Next, settings: &Settings) -> Vec<Due> {
    let length = settings.window_ns;
    let final_end = first_not_due(watermark_ns, settings.lateness_ns, settings);
    let provisional_end = first_not_due(watermark_ns, settings.settle_ns, settings);
    let steps = |from: i64, to: i64| {
        (0..).map(move |i| from + i * length).take_while(move |start| *start < to)
    };
    let not_final = final_end.max(next.final_ns);
    let provisional = steps(next.provisional_ns.max(not_final), provisional_end);
    let revised = shortest_delay(settings).map(|delay_ns| {
        // Before this boundary only windows fall due that are final by now.
        let first = not_final + length + delay_ns;
        steps(next.revised_ns.max(first), window_start(watermark_ns, settings) + length)
    });
    provisional
        .map(Due::Provisional)
        .chain(revised.into_iter().flatten().map(Due::Revised))
        .chain(steps(next.final_ns, final_end).map(Due::Final))
        .collect()
}

/// Windows, by their start, that are to be revised when the watermark reaches a boundary.
pub fn revised_at(boundary_ns: i64, settings: &Settings) -> impl Iterator<Item = i64> {
    let newest_ns = boundary_ns - settings.window_ns;
    delays(settings).map(move |delay_ns| newest_ns - delay_ns)
}

/// Delays in whole windows, without those that the final rows come before.
fn delays(settings: &Settings) -> impl Iterator<Item = i64> {
    let length = settings.window_ns;
    settings
        .revise_after_ns
        .iter()
        .filter(|delay_ns| **delay_ns < settings.lateness_ns)
        .map(move |delay_ns| (delay_ns + length - 1).div_euclid(length) * length)
}

fn shortest_delay(settings: &Settings) -> Option<i64> {
    delays(settings).min()
}

/// Start of the first window whose end plus `delay_ns` the watermark has not passed.
fn first_not_due(watermark_ns: i64, delay_ns: i64, settings: &Settings) -> i64 {
    window_start(watermark_ns - delay_ns, settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SECOND;

    fn settings() -> Settings {
        Settings {
            lateness_ns: 40 * SECOND,
            revise_after_ns: vec![15 * SECOND, 30 * SECOND, 60 * SECOND],
            ..Settings::default()
        }
    }

    /// Watermark and the next of each stage, in seconds, then what must be due.
    fn check(watermark_s: i64, next_s: (i64, i64, i64), expected: &[Due]) {
        let next = Next {
            provisional_ns: next_s.0 * SECOND,
            revised_ns: next_s.1 * SECOND,
            final_ns: next_s.2 * SECOND,
        };
        let found = due(watermark_s * SECOND, &next, &settings());
        let in_seconds: Vec<Due> = found
            .iter()
            .map(|due| match due.stage() {
                Stage::Provisional => Due::Provisional(due.at_ns() / SECOND),
                Stage::Revised => Due::Revised(due.at_ns() / SECOND),
                Stage::Final => Due::Final(due.at_ns() / SECOND),
            })
            .collect();
        assert_eq!(in_seconds, expected, "watermark {watermark_s}");
    }

    #[test]
    fn provisional_waits_for_end_and_settle_time() {
        check(114, (100, 200, 100), &[]);
        check(115, (100, 200, 100), &[Due::Provisional(100)]);
    }

    #[test]
    fn final_waits_for_the_allowed_lateness() {
        check(149, (140, 200, 100), &[]);
        check(150, (140, 200, 100), &[Due::Final(100)]);
    }

    #[test]
    fn window_that_is_already_final_gets_no_other_rows() {
        check(
            175,
            (100, 100, 100),
            &[
                Due::Provisional(130),
                Due::Provisional(140),
                Due::Provisional(150),
                Due::Provisional(160),
                Due::Revised(160),
                Due::Revised(170),
                Due::Final(100),
                Due::Final(110),
                Due::Final(120),
            ],
        );
    }

    #[test]
    fn revisions_are_due_when_the_watermark_reaches_a_boundary() {
        check(129, (200, 130, 100), &[]);
        check(130, (200, 130, 100), &[Due::Revised(130)]);
    }

    #[test]
    fn each_window_is_revised_once_for_each_delay_that_final_rows_do_not_precede() {
        let at = |boundary: i64| -> Vec<i64> {
            revised_at(boundary * SECOND, &settings()).map(|start| start / SECOND).collect()
        };
        // 15 s become two whole windows; 60 s are later than final.
        assert_eq!(at(130), [100, 90]);
        assert_eq!(at(140), [110, 100]);
        let none = Settings { revise_after_ns: Vec::new(), ..settings() };
        assert_eq!(revised_at(130 * SECOND, &none).count(), 0);
    }
}
