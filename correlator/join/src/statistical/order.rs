//! Who goes first among those that could go on.
//!
//! A service that works on one thing after the other takes what became ready first; in a pool the
//! gaps say all there is to say. What is learned is how much more often than its gap says a request
//! goes on, by how far it is behind the one that was ready first (iterative scaling: Darroch and
//! Ratcliff 1972), so that nothing is counted twice.

/// How far behind: not at all, then by less than 4, 16, 256 units of the resolution, or more.
pub(super) const LAGS: usize = 5;

pub(super) fn lag_class(lag: i64) -> usize {
    match lag {
        ..=0 => 0,
        1..=3 => 1,
        4..=15 => 2,
        16..=255 => 3,
        _ => 4,
    }
}

/// How often requests of each class went on, and how often that was expected.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Turns {
    pub(super) taken: [f64; LAGS],
    pub(super) expected: [f64; LAGS],
}

impl Turns {
    pub(super) fn add(&mut self, taken: usize, expected: &[f32; LAGS], p: f64) {
        self.taken[taken] += p;
        for (sum, expected) in self.expected.iter_mut().zip(expected) {
            *sum += p * f64::from(*expected);
        }
    }
}

/// Factors on how likely a request is to go on, by class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Order {
    pub(super) factors: [f64; LAGS],
    pub(super) logs: [f64; LAGS],
}

/// What may be believed of a service before anything is learned: how likely it is that one goes on
/// that was not ready first.
pub(super) const BELIEVED: [f64; 3] = [0.1, 0.003, 0.7];

/// Nothing is believed to be rarer than this.
const FACTOR_MIN: f64 = 1e-3;

/// Two places in the line differ by no more than this, as a logarithm: what a factor can make of it
/// and what all factors can, each both ways.
pub(super) const ORDER_SPAN: f64 = 28.0;

/// So many steps are as good as what was believed before.
const ENOUGH: f64 = 8.0;

impl Order {
    pub(super) fn believed(behind: f64) -> Self {
        let mut factors = [behind; LAGS];
        factors[0] = 1.0;
        Self::of(factors)
    }

    fn of(factors: [f64; LAGS]) -> Self {
        Self { factors, logs: factors.map(f64::ln) }
    }

    /// One step of scaling.
    pub(super) fn scaled(&self, turns: &Turns) -> Self {
        let mut factors = self.factors;
        for (class, factor) in factors.iter_mut().enumerate() {
            *factor *= (turns.taken[class] + ENOUGH) / (turns.expected[class] + ENOUGH);
        }
        let first = factors[0];
        factors.iter_mut().for_each(|f| *f = (*f / first).clamp(FACTOR_MIN, 1.0 / FACTOR_MIN));
        Self::of(factors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is learned where a step in so many goes to one that is behind, with this share of what
    /// is expected.
    fn learned(behind: f64, expected: f64) -> Order {
        let mut order = Order::believed(0.1);
        for _ in 0..20 {
            let weighed = expected * order.factors[4];
            let mut turns = Turns::default();
            let share = weighed / (weighed + 1.0 - expected);
            let [first, .., last] = &mut turns.taken;
            (*first, *last) = (1000.0 * (1.0 - behind), 1000.0 * behind);
            let [first, .., last] = &mut turns.expected;
            (*first, *last) = (1000.0 * (1.0 - share), 1000.0 * share);
            order = order.scaled(&turns);
        }
        order
    }

    #[test]
    fn where_gaps_say_it_all_order_says_nothing() {
        assert!((learned(0.4, 0.4).factors[4] - 1.0).abs() < 0.02);
    }

    #[test]
    fn where_nobody_overtakes_it_is_next_to_impossible() {
        assert!(learned(0.0, 0.4).factors[4] < 0.01);
    }

    #[test]
    fn lags_grow_by_powers_of_the_resolution() {
        let classes = [-3, 0, 1, 4, 16, 255, 256].map(lag_class);
        assert_eq!(classes, [0, 0, 1, 2, 3, 3, 4]);
    }
}
