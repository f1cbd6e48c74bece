//! How long after one event the next one comes: counted in bins, read as a density.
//!
//! The density is per unit of time, not per bin: the candidates for one call have gaps of very
//! different size, and a bin that is a thousand times wider must not count a thousand times more.
//! No bin is narrower than the source's resolution, so that coarse stamps cannot make a gap of
//! zero look like certainty.

/// Bins up to this gap (in units of the resolution) are one unit wide, later ones an eighth of an
/// octave.
const LINEAR: usize = 8;
const BITS: u32 = 3;
/// 26 octaves beyond the linear part: nine minutes at 1 us, six days at 1 ms.
pub(super) const BINS: usize = LINEAR + 26 * LINEAR;

pub(super) fn bin(gap: i64) -> usize {
    let gap = gap.max(0) as u64;
    if gap < LINEAR as u64 {
        return gap as usize;
    }
    let octave = 63 - gap.leading_zeros() - BITS;
    let within = (gap >> octave) as usize - LINEAR;
    (LINEAR * (1 + octave as usize) + within).min(BINS - 1)
}

/// Width of a bin, in units of the resolution.
pub(super) fn width(bin: usize) -> f64 {
    if bin < LINEAR { 1.0 } else { (1u64 << (bin / LINEAR - 1)) as f64 }
}

/// Weights of gaps by bin.
#[derive(Clone, Debug)]
pub(super) struct GapCounts {
    pub(super) weights: Box<[f64; BINS]>,
}

impl Default for GapCounts {
    fn default() -> Self {
        Self { weights: Box::new([0.0; BINS]) }
    }
}

impl GapCounts {
    pub(super) fn add(&mut self, gap: i64, weight: f64) {
        self.weights[bin(gap)] += weight;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (own, other) in self.weights.iter_mut().zip(other.weights.iter()) {
            *own += other;
        }
    }

    pub(super) fn total(&self) -> f64 {
        self.weights.iter().sum()
    }
}

/// Mass of each bin; sums to one.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) mass: Box<[f64; BINS]>,
}

/// So many observations weigh as much as what is believed without any.
const PRIOR_WEIGHT: f64 = 2.0;

/// Share of gaps that are unlike the others, however many were seen.
const UNLIKE: f64 = 0.01;

impl Shape {
    /// Any order of magnitude is as likely as any other, up to the longest gap that can occur.
    pub(super) fn ignorant(longest: i64) -> Self {
        let last = bin(longest);
        let mut mass = Box::new([0.0; BINS]);
        // The linear bins cover three octaves and a little; each counts by its share of them.
        let mut total = 0.0;
        for (i, m) in mass.iter_mut().enumerate().take(last + 1) {
            *m = if i < LINEAR { 0.5 } else { 1.0 };
            total += *m;
        }
        mass.iter_mut().for_each(|m| *m /= total);
        Self { mass }
    }

    /// What the counts say, smoothed, and what is believed without them.
    pub(super) fn learned(counts: &GapCounts, believed: &Self) -> Self {
        let total = counts.total();
        let mut mass = Box::new([0.0; BINS]);
        if total > 0.0 {
            smooth(counts, total, &mut mass);
        }
        let weight = PRIOR_WEIGHT + UNLIKE * total;
        for (own, prior) in mass.iter_mut().zip(believed.mass.iter()) {
            *own = (*own + weight * prior) / (total + weight);
        }
        Self { mass }
    }

    /// Logarithm of the density by bin, up to the last one that is ever asked for.
    pub(super) fn log_density(&self, last: usize) -> Box<[f32; BINS]> {
        let mut density = Box::new([0.0f32; BINS]);
        for (i, d) in density.iter_mut().enumerate().take(last + 1) {
            *d = (self.density_of(i) as f32).ln();
        }
        density
    }

    fn density_of(&self, bin: usize) -> f64 {
        self.mass[bin].max(1e-12) / width(bin)
    }

    pub(super) fn log_density_of(&self, bin: usize) -> f64 {
        self.density_of(bin).ln()
    }
}

/// Share of gaps that are spread widely around those that were seen: the next one may well lie a
/// little beyond all of them.
const WIDE: f64 = 0.05;

/// A triangle over neighbouring bins, wider where there is less to go by. In the linear bins its
/// reach shrinks with the gap, as it does in time.
fn smooth(counts: &GapCounts, total: f64, mass: &mut [f64; BINS]) {
    let reach = (16.0 * total.max(1.0).powf(-0.2)).clamp(1.0, 10.0);
    for (i, &weight) in counts.weights.iter().enumerate() {
        if weight <= 0.0 {
            continue;
        }
        let reach = if i < LINEAR { reach * i as f64 / LINEAR as f64 } else { reach };
        spread(weight * (1.0 - WIDE), i, reach as usize, mass);
        spread(weight * WIDE, i, (3.0 * reach).max(2.0) as usize, mass);
    }
}

fn spread(weight: f64, i: usize, reach: usize, mass: &mut [f64; BINS]) {
    let (low, high) = (i.saturating_sub(reach), (i + reach).min(BINS - 1));
    let height = |j: usize| (reach + 1 - j.abs_diff(i)) as f64;
    let norm: f64 = (low..=high).map(height).sum();
    for (j, mass) in (low..).zip(&mut mass[low..=high]) {
        *mass += weight * height(j) / norm;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_follow_each_other_without_a_hole() {
        let mut last = 0;
        for gap in 0..100_000 {
            let this = bin(gap);
            assert!(this == last || this == last + 1, "gap {gap}");
            last = this;
        }
        assert_eq!(bin(-3), 0);
        assert_eq!(bin(i64::MAX), BINS - 1);
    }

    #[test]
    fn a_density_integrates_to_one() {
        let mut counts = GapCounts::default();
        for gap in [0, 3, 900, 1000, 1100, 50_000] {
            counts.add(gap, 1.0);
        }
        let shape = Shape::learned(&counts, &Shape::ignorant(100_000));
        let density = shape.log_density(BINS - 1);
        let integral: f64 = (0..BINS).map(|i| f64::from(density[i]).exp() * width(i)).sum();
        assert!((integral - 1.0).abs() < 1e-4, "{integral}");
    }

    #[test]
    fn a_gap_beside_all_that_were_seen_is_not_impossible() {
        let mut counts = GapCounts::default();
        counts.add(0, 60.0);
        counts.add(1, 60.0);
        let believed = Shape::learned(&counts, &Shape::ignorant(100_000));
        let density = Shape::learned(&counts, &believed).log_density(BINS - 1);
        assert!(density[0] - density[2] < 6.0, "{} after {}", density[2], density[0]);
    }

    #[test]
    fn a_wide_bin_with_the_same_mass_is_less_dense() {
        let mut counts = GapCounts::default();
        counts.add(20, 100.0);
        counts.add(20_000, 100.0);
        let shape = Shape::learned(&counts, &Shape::ignorant(100_000));
        let density = shape.log_density(BINS - 1);
        assert!(density[bin(20)] - density[bin(20_000)] > 5.0);
    }
}
