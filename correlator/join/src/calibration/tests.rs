//! Scores whose worth is known.

use super::*;
use crate::seeded::Seeded;

/// Scores of an overconfident method: right with probability `worth(raw)`.
fn trials(seed: u64, count: usize, worth: impl Fn(f64) -> f64) -> Vec<(f64, bool)> {
    let mut random = Seeded::new(seed);
    (0..count)
        .map(|_| {
            // Most scores are high, as of a method that works.
            let raw = 1.0 - random.unit().powi(4);
            (raw, random.unit() < worth(raw))
        })
        .collect()
}

fn counted(trials: &[(f64, bool)]) -> Trials {
    let mut counted = Trials::default();
    for &(raw, is_right) in trials {
        counted.add(raw, is_right);
    }
    counted
}

fn quality(trials: &[(f64, bool)], p: impl Fn(f64) -> f64) -> Quality {
    let mut quality = Quality::default();
    for &(raw, is_right) in trials {
        quality.add(p(raw), is_right);
    }
    quality
}

#[test]
fn calibrated_scores_of_bad_methods_are_right_as_often_as_they_say() {
    type Worth = fn(f64) -> f64;
    let methods: [(&str, Worth); 3] = [
        ("overconfident", |raw| 0.2 + 0.7 * raw * raw),
        ("underconfident", |raw| 1.0 - 0.4 * (1.0 - raw).powi(2)),
        ("steps", |raw| if raw > 0.9 { 0.8 } else { 0.3 }),
    ];
    for (name, worth) in methods {
        for seed in 0..5 {
            let fitted = Calibration::fit(&counted(&trials(seed, 40_000, worth)));
            let unseen = trials(1_000 + seed, 40_000, worth);
            let before = quality(&unseen, |raw| raw);
            let after = quality(&unseen, |raw| fitted.apply(raw));
            let (error, brier) = (after.calibration_error(), after.brier());
            assert!(error <= 0.02, "{name}, seed {seed}: {error}");
            assert!(before.calibration_error() > 2.0 * error, "{name}, seed {seed}: {before:?}");
            assert!(brier < before.brier() + 1e-3, "{name}, seed {seed}: {brier}");
        }
    }
}

#[test]
fn few_samples_never_give_more_than_they_prove() {
    assert_eq!(Calibration::fit(&Trials::default()).apply(1.0), 0.0);
    for (count, at_most) in [(1, 0.3), (10, 0.8), (50, 0.95), (87, 0.97)] {
        let all_right: Vec<(f64, bool)> = (0..count).map(|_| (0.999_999, true)).collect();
        let p = Calibration::fit(&counted(&all_right)).apply(0.999_999);
        assert!(p <= at_most, "{count} right of {count}: {p}");
    }
    // Of small calibrations one in twenty says more than is true.
    let mut too_much = 0;
    for seed in 0..400 {
        let worth = 0.95;
        let fitted = Calibration::fit(&counted(&trials(seed, 150, |_| worth)));
        too_much += usize::from(fitted.apply(1.0) > worth);
    }
    assert!(too_much <= 400 / 10, "{too_much}");
}

#[test]
fn probability_never_falls_while_the_score_grows() {
    for seed in 0..50 {
        let fitted = Calibration::fit(&counted(&trials(seed, 2_000, |raw| 0.5 + 0.3 * raw)));
        let mut last = 0.0;
        for i in 0..=10_000 {
            let p = fitted.apply(f64::from(i) / 10_000.0);
            assert!(p >= last, "seed {seed} at {i}");
            last = p;
        }
        assert_eq!(fitted.samples(), 2_000);
    }
}

/// Isotonic regression by its min-max formula.
fn by_definition(shares: &[(i64, i64)]) -> Vec<f64> {
    let mean = |from: usize, to: usize| {
        let (count, right) =
            shares[from..=to].iter().fold((0, 0), |sum, s| (sum.0 + s.0, sum.1 + s.1));
        right as f64 / count as f64
    };
    (0..shares.len())
        .map(|i| {
            (0..=i)
                .map(|from| (i..shares.len()).map(|to| mean(from, to)).fold(f64::MAX, f64::min))
                .fold(f64::MIN, f64::max)
        })
        .collect()
}

#[test]
fn steps_are_the_isotonic_regression() {
    for seed in 0..200 {
        let mut random = Seeded::new(seed);
        let scores: Vec<f64> = (1..12).map(|i| f64::from(i) / 12.0).collect();
        let shares: Vec<(i64, i64)> = scores
            .iter()
            .map(|_| {
                let count = 1 + random.below(50) as i64;
                (count, random.below(count as u64 + 1) as i64)
            })
            .collect();
        let mut trials = Trials::default();
        for (&score, &(count, right)) in scores.iter().zip(&shares) {
            for i in 0..count {
                trials.add(score, i < right);
            }
        }
        let steps = isotonic(&trials);
        for (&score, expected) in scores.iter().zip(by_definition(&shares)) {
            let step = steps[steps.partition_point(|s| s.raw_from <= score) - 1];
            let share = step.right as f64 / step.count as f64;
            assert!((share - expected).abs() < 1e-12, "seed {seed} at {score}: {share} {expected}");
        }
    }
}

#[test]
fn every_score_lies_in_its_cell() {
    let mut random = Seeded::new(3);
    for i in 0..100_000 {
        let small = random.unit() * 0.5f64.powi(i % 30);
        for raw in [small, 1.0 - small] {
            let at = cell(raw);
            let from = least_score(at);
            assert!(from <= raw, "{raw} is below its cell's {from}");
            if at + 1 < 2 * HALF {
                let to = least_score(at + 1);
                assert!(raw < to || (raw == to && raw >= 0.5), "{raw} is above its cell's {to}");
            }
        }
    }
    assert_eq!((cell(-1.0), cell(0.0), cell(1.0), cell(2.0)), (0, 0, 2 * HALF - 1, 2 * HALF - 1));
}

#[test]
fn same_trials_give_the_same_function_in_any_order_and_parts() {
    let mut all = trials(9, 5_000, |raw| raw * raw);
    let template = tables::Calibration { win: 7, ..Default::default() };
    let row =
        |trials: &Trials| Calibration::fit(trials).row("hop", trials.raw_quality(), &template);
    let expected = row(&counted(&all));
    let mut random = Seeded::new(10);
    for _ in 0..20 {
        random.shuffle(&mut all);
        assert_eq!(row(&counted(&all)), expected);
        let (one, other) = all.split_at(random.below(all.len() as u64) as usize);
        let mut merged = counted(one);
        merged.merge(&counted(other));
        assert_eq!(row(&merged), expected);
    }
}

#[test]
fn calibration_comes_back_from_its_row() {
    let trials = counted(&trials(4, 3_000, |raw| raw));
    let fitted = Calibration::fit(&trials);
    let row = fitted.row("relay", trials.raw_quality(), &tables::Calibration::default());
    assert_eq!((&row.method[..], row.samples), ("relay", 3_000));
    assert!(row.raw_ece < 0.05 && row.raw_brier < 0.25, "{row:?}");
    assert_eq!(Calibration::from_steps(row.steps), fitted);
}
