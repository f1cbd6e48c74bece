//! What a raw score is worth: a monotone step function from scores to probabilities, learned where
//! the truth is known.
//!
//! Links that have exact ids are tried again with the ids hidden; [`Trials`] counts how often a
//! score was right. [`Calibration::fit`] is isotonic regression (pool adjacent violators: Ayer et
//! al., "An Empirical Distribution Function for Sampling with Incomplete Information", 1955) with
//! the lower confidence limit of each step, so that few samples prove little and none prove nothing.
//! All counts are integers: the same trials in any order and parts give the same function.

mod quality;

pub use quality::Quality;

use tables::CalibrationStep;

/// One-sided 95 % confidence.
const Z: f64 = 1.645;

/// Steps with fewer samples are joined with their neighbour: 100 right ones of 100 prove 0.974.
const STEP_SAMPLES_MIN: i64 = 100;

/// Neighbouring steps whose lower limits are both further below their shares than this are joined
/// too: many small steps would each say much less than is true.
const DOUBT_MAX: f64 = 0.015;

/// Scores this near to 0 or 1, and nearer, count alike.
const EXPONENTS: usize = 20;
/// Steps of the grid from one power of two to the next.
const STEPS_LOG2: usize = 5;
const HALF: usize = EXPONENTS << STEPS_LOG2;

/// Counts of scores and whether they were right, on a grid that is equally fine near 0 and near 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trials {
    /// (tried, right) by cell, ascending in score.
    cells: Vec<(i64, i64)>,
    raw: Quality,
}

/// The step function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    steps: Vec<CalibrationStep>,
    /// Probability of each step.
    values: Vec<f64>,
}

impl Default for Trials {
    fn default() -> Self {
        Self { cells: vec![(0, 0); 2 * HALF], raw: Quality::default() }
    }
}

impl Trials {
    /// Counts a link that was scored `raw` and was or was not the true one.
    pub fn add(&mut self, raw: f64, is_right: bool) {
        let cell = &mut self.cells[cell(raw)];
        cell.0 += 1;
        cell.1 += i64::from(is_right);
        self.raw.add(raw, is_right);
    }

    /// Adds what another part counted.
    pub fn merge(&mut self, other: &Self) {
        for (cell, theirs) in self.cells.iter_mut().zip(&other.cells) {
            cell.0 += theirs.0;
            cell.1 += theirs.1;
        }
        self.raw.merge(&other.raw);
    }

    /// How good the raw scores are.
    pub fn raw_quality(&self) -> &Quality {
        &self.raw
    }
}

impl Calibration {
    pub fn fit(trials: &Trials) -> Self {
        Self::from_steps(of_enough_samples(&isotonic(trials)))
    }

    /// From the steps of a `calibration` row.
    pub fn from_steps(steps: Vec<CalibrationStep>) -> Self {
        let mut best = 0.0;
        let value = |step: &CalibrationStep| {
            // A higher score is not worth less, so what the steps below prove holds too.
            best = lower_limit(step.right, step.count).max(best);
            best
        };
        let values = steps.iter().map(value).collect();
        Self { steps, values }
    }

    /// The probability that a link with this score is right, at least. 0 without any samples.
    pub fn apply(&self, raw: f64) -> f64 {
        let at = self.steps.partition_point(|step| step.raw_from <= raw);
        at.checked_sub(1).map_or(0.0, |at| self.values[at])
    }

    /// Links tried.
    pub fn samples(&self) -> i64 {
        self.steps.iter().map(|step| step.count).sum()
    }

    /// The `calibration` row of a method (`relay`, `hop`); `template` holds the window's columns.
    pub fn row(
        &self,
        method: &str,
        raw: &Quality,
        template: &tables::Calibration,
    ) -> tables::Calibration {
        tables::Calibration {
            method: method.to_owned(),
            samples: self.samples(),
            steps: self.steps.clone(),
            raw_ece: raw.calibration_error(),
            raw_brier: raw.brier(),
            ..template.clone()
        }
    }
}

/// The grid follows the binary representation: of the score up to a half, of its distance to 1
/// above. Exact, where logarithms would not be the same on every machine.
fn cell(raw: f64) -> usize {
    if raw <= 0.5 { distance(raw) } else { 2 * HALF - 1 - distance(1.0 - raw) }
}

/// Place of a number between 0 and a half among `HALF` cells.
fn distance(from_end: f64) -> usize {
    const SHIFT: usize = 52 - STEPS_LOG2;
    // Half itself is the last cell, with the numbers just below it.
    let top = (0.5f64.to_bits() >> SHIFT) as usize;
    let place = (from_end.max(0.0).to_bits() >> SHIFT) as usize;
    (place + HALF).saturating_sub(top).min(HALF - 1)
}

/// The least score of a cell.
fn least_score(cell: usize) -> f64 {
    const SHIFT: usize = 52 - STEPS_LOG2;
    let top = (0.5f64.to_bits() >> SHIFT) as usize;
    let bound = |place: usize| f64::from_bits(((place + top - HALF) as u64) << SHIFT);
    match cell {
        0 => 0.0,
        _ if cell < HALF => bound(cell),
        _ => 1.0 - bound(2 * HALF - cell),
    }
}

/// Pools neighbours until the share of right ones grows from step to step.
fn isotonic(trials: &Trials) -> Vec<CalibrationStep> {
    let mut steps: Vec<CalibrationStep> = Vec::new();
    for (cell, &(count, right)) in trials.cells.iter().enumerate().filter(|c| c.1.0 > 0) {
        steps.push(CalibrationStep { raw_from: least_score(cell), count, right });
        while let [.., before, last] = steps[..] {
            if is_below(&before, &last) {
                break;
            }
            join_last(&mut steps);
        }
    }
    steps
}

/// Whether the share of right ones grows from one step to the next.
fn is_below(before: &CalibrationStep, last: &CalibrationStep) -> bool {
    i128::from(before.right) * i128::from(last.count)
        < i128::from(last.right) * i128::from(before.count)
}

fn join_last(steps: &mut Vec<CalibrationStep>) {
    if let Some(last) = steps.pop()
        && let Some(before) = steps.last_mut()
    {
        before.count += last.count;
        before.right += last.right;
    }
}

/// Joins neighbours that have too few samples each.
fn of_enough_samples(steps: &[CalibrationStep]) -> Vec<CalibrationStep> {
    let is_small = |step: &CalibrationStep| step.count < STEP_SAMPLES_MIN;
    let is_doubtful = |step: &CalibrationStep| doubt(step.right, step.count) > DOUBT_MAX;
    let mut joined: Vec<CalibrationStep> = Vec::with_capacity(steps.len());
    for step in steps {
        joined.push(*step);
        if let [.., before, last] = joined[..]
            && (is_small(&before) || (is_doubtful(&before) && is_doubtful(&last)))
        {
            join_last(&mut joined);
        }
    }
    if joined.last().is_some_and(is_small) && joined.len() > 1 {
        join_last(&mut joined);
    }
    if let Some(first) = joined.first_mut() {
        first.raw_from = 0.0;
    }
    joined
}

/// How far the lower limit of a share is from the share.
fn doubt(right: i64, count: i64) -> f64 {
    right as f64 / count.max(1) as f64 - lower_limit(right, count)
}

/// Lower end of Wilson's score interval for a share.
fn lower_limit(right: i64, count: i64) -> f64 {
    if count == 0 {
        return 0.0;
    }
    let (n, share) = (count as f64, right as f64 / count as f64);
    let spread = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((share + Z * Z / (2.0 * n) - spread) / (1.0 + Z * Z / n)).max(0.0)
}

#[cfg(test)]
mod tests;
