//! Chance from a seed: a stream of numbers for the traffic, and hashes for single decisions.
//!
//! What is observed is decided by hashes of what it is about, so that turning one dial never
//! changes the traffic or the decisions of another dial.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Chance {
    state: u64,
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

const fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// 64 bits that depend on all parts.
pub fn hash(seed: u64, parts: &[u64]) -> u64 {
    parts.iter().fold(mixed(seed ^ GAMMA), |state, &part| {
        mixed(state.wrapping_add(GAMMA) ^ mixed(part.wrapping_add(GAMMA)))
    })
}

/// The hash as a number in [0, 1).
pub fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// 128 bits of the same.
pub fn wide(seed: u64, parts: &[u64]) -> u128 {
    let high = hash(seed, parts);
    u128::from(high) << 64 | u128::from(mixed(high.wrapping_add(GAMMA)))
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self { state: mixed(seed) }
    }

    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mixed(self.state)
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        unit(self.bits())
    }

    /// In [0, limit); 0 for a limit of 0.
    pub fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.bits()) * limit as u128) >> 64) as usize
    }

    pub fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// Uniform in [low, high).
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.unit() * (high - low) as f64) as i64
    }
}

/// A distribution of durations in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spread {
    Constant(i64),
    /// `min` and an exponential part of this mean.
    Exponential {
        min: i64,
        mean: i64,
    },
    /// `min` and a log-normal part.
    LogNormal {
        min: i64,
        median: i64,
        sigma: f64,
    },
}

impl Spread {
    pub fn draw(self, chance: &mut Chance) -> i64 {
        match self {
            Self::Constant(ns) => ns,
            Self::Exponential { min, mean } => {
                min + (-(1.0 - chance.unit()).ln() * mean as f64) as i64
            }
            Self::LogNormal { min, median, sigma } => {
                // Box and Muller, 1958.
                let radius = (-2.0 * (1.0 - chance.unit()).ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * chance.unit()).cos();
                min + (median as f64 * (sigma * normal).exp()) as i64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_the_same_numbers_and_another_seed_others() {
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            (0..4).map(|_| chance.bits()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_ne!(hash(1, &[2, 3]), hash(1, &[3, 2]));
    }

    #[test]
    fn draws_have_the_mean_they_say() {
        let mut chance = Chance::new(7);
        let mut mean =
            |spread: Spread| (0..20_000).map(|_| spread.draw(&mut chance)).sum::<i64>() / 20_000;
        let exponential = mean(Spread::Exponential { min: 1_000, mean: 9_000 });
        assert!((9_700..10_300).contains(&exponential), "{exponential}");
        assert_eq!(mean(Spread::Constant(5)), 5);
        let half = (0..20_000).filter(|_| chance.happens(0.5)).count();
        assert!((9_700..10_300).contains(&half), "{half}");
    }
}
