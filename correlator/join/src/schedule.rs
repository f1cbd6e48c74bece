//! What is due: which windows' provisional and final rows the watermark allows.

use crate::Settings;

/// A window by its start, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    Provisional(i64),
    Final(i64),
}

/// Windows that are due, provisional ones first, each in order.
///
/// `next_*_ns` are the starts of the first windows not done yet. A window whose final rows are due
/// at once gets no provisional ones.
pub fn due(
    watermark_ns: i64,
    next_provisional_ns: i64,
    next_final_ns: i64,
    settings: &Settings,
) -> Vec<Due> {
    let final_end = first_not_due(watermark_ns, settings.lateness_ns, settings);
    let provisional_end = first_not_due(watermark_ns, settings.settle_ns, settings);
    let starts = |from: i64, to: i64| {
        (0..).map(move |i| from + i * settings.window_ns).take_while(move |start| *start < to)
    };
    let provisional_from = next_provisional_ns.max(final_end.max(next_final_ns));
    starts(provisional_from, provisional_end)
        .map(Due::Provisional)
        .chain(starts(next_final_ns, final_end).map(Due::Final))
        .collect()
}

/// Start of the first window whose end plus `delay_ns` the watermark has not passed.
fn first_not_due(watermark_ns: i64, delay_ns: i64, settings: &Settings) -> i64 {
    crate::window::window_start(watermark_ns - delay_ns, settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SECOND;

    fn check(watermark_s: i64, next_p_s: i64, next_f_s: i64, expected: &[Due]) {
        let settings = Settings { lateness_ns: 40 * SECOND, ..Settings::default() };
        let found = due(watermark_s * SECOND, next_p_s * SECOND, next_f_s * SECOND, &settings);
        let expected: Vec<Due> = expected
            .iter()
            .map(|d| match d {
                Due::Provisional(s) => Due::Provisional(s * SECOND),
                Due::Final(s) => Due::Final(s * SECOND),
            })
            .collect();
        assert_eq!(found, expected, "watermark {watermark_s}");
    }

    #[test]
    fn provisional_waits_for_end_and_settle_time() {
        check(114, 100, 100, &[]);
        check(115, 100, 100, &[Due::Provisional(100)]);
    }

    #[test]
    fn final_waits_for_the_allowed_lateness() {
        check(149, 140, 100, &[]);
        check(150, 140, 100, &[Due::Final(100)]);
    }

    #[test]
    fn window_that_is_already_final_gets_no_provisional_rows() {
        check(
            175,
            100,
            100,
            &[
                Due::Provisional(130),
                Due::Provisional(140),
                Due::Provisional(150),
                Due::Provisional(160),
                Due::Final(100),
                Due::Final(110),
                Due::Final(120),
            ],
        );
    }
}
