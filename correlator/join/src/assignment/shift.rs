//! What the residual error of the clocks' correction may be, while delays are learned under another.
//!
//! The correction of the servers' times is wrong by a part of its bound, and so was that of the links
//! that the delays were learned from. Their difference shifts all requests of a stratum later and all
//! responses earlier by the same time. It is a distribution here: even over what the bounds allow at
//! first, then what the pairs that are certain anyway make of it (Bayes).

use super::delays::Delays;

/// Shifts looked at on either side of none.
const STEPS: i64 = 8;

/// A shift less likely than this is left out.
const SHARE_MIN: f64 = 1e-4;

/// Shifts and their probabilities.
#[derive(Debug)]
pub(super) struct Shift {
    shares: Vec<(i64, f64)>,
}

impl Shift {
    /// Before anything was seen: anything within both bounds.
    pub(super) fn within(bound_ns: i64) -> Self {
        if bound_ns == 0 {
            return Self { shares: vec![(0, 1.0)] };
        }
        let share = 1.0 / (2 * STEPS + 1) as f64;
        let shift = |step: i64| (2 * bound_ns).saturating_mul(step) / STEPS;
        Self { shares: (-STEPS..=STEPS).map(|step| (shift(step), share)).collect() }
    }

    /// After pairs with these request and response times were seen.
    pub(super) fn after(&self, pairs: &[(i64, i64)], delays: &Delays) -> Self {
        let mut shares = self.shares.clone();
        for &(request_ns, response_ns) in pairs {
            for (shift, share) in &mut shares {
                *share *= delays.request.at(request_ns - *shift)
                    * delays.response.at(response_ns + *shift);
            }
            let most = shares.iter().map(|s| s.1).fold(f64::MIN_POSITIVE, f64::max);
            shares.iter_mut().for_each(|s| s.1 /= most);
        }
        Self { shares: spread(&shares) }
    }

    pub(super) fn request(&self, delays: &Delays, time_ns: i64) -> f64 {
        self.shares.iter().map(|&(shift, share)| share * delays.request.at(time_ns - shift)).sum()
    }

    pub(super) fn response(&self, delays: &Delays, time_ns: i64) -> f64 {
        self.shares.iter().map(|&(shift, share)| share * delays.response.at(time_ns + shift)).sum()
    }
}

/// The truth lies between the shifts looked at: each lends a quarter to its neighbours.
fn spread(shares: &[(i64, f64)]) -> Vec<(i64, f64)> {
    let whole: f64 = shares.iter().map(|s| s.1).sum();
    let at = |i: usize| shares.get(i).map_or(0.0, |s| s.1 / whole);
    let mut spread: Vec<(i64, f64)> = (0..shares.len())
        .map(|i| (shares[i].0, at(i) / 2.0 + (at(i.wrapping_sub(1)) + at(i + 1)) / 4.0))
        .filter(|s| s.1 >= SHARE_MIN)
        .collect();
    let kept: f64 = spread.iter().map(|s| s.1).sum();
    spread.iter_mut().for_each(|s| s.1 /= kept);
    spread
}

#[cfg(test)]
mod tests {
    use super::super::delays::Learned;
    use super::*;
    use crate::seeded::Seeded;

    #[test]
    fn pairs_show_by_how_much_the_clocks_were_corrected_otherwise() {
        let mut random = Seeded::new(4);
        let mut learned = Learned::default();
        let mut pairs = Vec::new();
        let shift = 50_000;
        for _ in 0..1_000 {
            let mut delay = || 50_000 + random.exponential(150_000.0) as i64;
            let (request, response) = (delay(), delay());
            learned.add((0, 9_000_000), (request, 9_000_000 - response));
            pairs.push((delay() + shift, delay() - shift));
        }
        let delays = learned.at(0);
        let prior = Shift::within(40_000);
        assert_eq!(prior.shares.len(), 17);
        let mean = |shift: &Shift| shift.shares.iter().map(|s| s.0 as f64 * s.1).sum::<f64>();
        assert!(mean(&prior).abs() < 1e-6);
        let found = prior.after(&pairs, &delays);
        assert!((mean(&found) - shift as f64).abs() < 5_000.0, "{found:?}");
        assert!(found.shares.len() <= 5, "{found:?}");
        let nothing = prior.after(&[], &delays);
        assert_eq!(nothing.shares.len(), 17);
        assert_eq!(Shift::within(0).shares, [(0, 1.0)]);
    }
}
