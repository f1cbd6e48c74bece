//! How good probabilities are: expected calibration error and Brier score.

/// Equal-width classes of the expected calibration error.
const CLASSES: usize = 15;

/// Probabilities are summed in these units, so that no order of addition matters.
const UNIT: f64 = (1u64 << 32) as f64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Class {
    count: i64,
    right: i64,
    /// Sum of the probabilities.
    said: i64,
}

/// Counts of probabilities and outcomes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    classes: [Class; CLASSES],
    /// Sum of squared differences of probability and outcome.
    squares: i64,
}

impl Quality {
    /// Counts a prediction of `p` for something that was or was not so.
    pub fn add(&mut self, p: f64, is_right: bool) {
        let at = ((p * CLASSES as f64) as usize).min(CLASSES - 1);
        let class = &mut self.classes[at];
        class.count += 1;
        class.right += i64::from(is_right);
        class.said += (p * UNIT) as i64;
        let miss = p - f64::from(u8::from(is_right));
        self.squares += (miss * miss * UNIT) as i64;
    }

    /// Adds what another part counted.
    pub fn merge(&mut self, other: &Self) {
        for (class, theirs) in self.classes.iter_mut().zip(&other.classes) {
            class.count += theirs.count;
            class.right += theirs.right;
            class.said += theirs.said;
        }
        self.squares += other.squares;
    }

    pub fn count(&self) -> i64 {
        self.classes.iter().map(|class| class.count).sum()
    }

    /// Mean distance between what was said and how often it was so, over 15 classes of equal width
    /// (Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015).
    pub fn calibration_error(&self) -> f64 {
        let off = |class: &Class| (class.said as f64 / UNIT - class.right as f64).abs();
        let sum: f64 = self.classes.iter().map(off).sum();
        sum / self.count().max(1) as f64
    }

    /// Mean squared difference of probability and outcome (Brier, 1950).
    pub fn brier(&self) -> f64 {
        self.squares as f64 / UNIT / self.count().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_the_distance_of_what_was_said_from_what_was_so() {
        let mut quality = Quality::default();
        for i in 0..10 {
            quality.add(0.9, i < 7);
            quality.add(0.1, i < 1);
        }
        assert!((quality.calibration_error() - 0.1).abs() < 1e-6, "{quality:?}");
        // 0.9: 7 at 0.01 and 3 at 0.81; 0.1: 9 at 0.01 and 1 at 0.81.
        let expected = (7.0 * 0.01 + 3.0 * 0.81 + 9.0 * 0.01 + 0.81) / 20.0;
        assert!((quality.brier() - expected).abs() < 1e-6, "{}", quality.brier());
        assert_eq!(
            (Quality::default().calibration_error(), Quality::default().brier()),
            (0.0, 0.0)
        );
    }
}
