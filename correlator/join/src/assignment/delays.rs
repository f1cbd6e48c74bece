//! How long requests and responses travel, learned from links that are exact.

use std::collections::BTreeMap;

const HOUR_NS: i64 = 3_600 * crate::SECOND;

/// Four bins an octave of distance from zero, the first octave from 1,024 ns, to about an hour.
const BINS_LOG2: usize = 2;
const FIRST_LOG2: usize = 10;
const BINS: usize = 32 << BINS_LOG2;

/// Mass that is spread over all bins: what was never seen is rare, not impossible.
const UNSEEN: f64 = 1e-3;

/// Times and their frequency, for either sign.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counts {
    /// Bins of negative times from the far end to zero, then those of positive times.
    bins: Vec<u32>,
}

impl Default for Counts {
    fn default() -> Self {
        Self { bins: vec![0; 2 * BINS] }
    }
}

/// Counts of the links of one hour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hour {
    request: Counts,
    response: Counts,
    both: Counts,
    links: u32,
}

/// What exact links of like strata took, by hour. Counts only: any order gives the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    hours: BTreeMap<i64, Hour>,
}

impl Learned {
    /// Counts a link: the start and end of both exchanges on the client's clock.
    pub fn add(&mut self, client: (i64, i64), server: (i64, i64)) {
        let hour = self.hours.entry(client.1.div_euclid(HOUR_NS)).or_default();
        let (request_ns, response_ns) = (server.0 - client.0, client.1 - server.1);
        hour.request.add(request_ns);
        hour.response.add(response_ns);
        hour.both.add(request_ns.saturating_add(response_ns));
        hour.links = hour.links.saturating_add(1);
    }

    /// Adds what another part counted.
    pub fn merge(&mut self, other: &Self) {
        for (at, theirs) in &other.hours {
            let hour = self.hours.entry(*at).or_default();
            hour.request.merge(&theirs.request);
            hour.response.merge(&theirs.response);
            hour.both.merge(&theirs.both);
            hour.links = hour.links.saturating_add(theirs.links);
        }
    }

    /// The delays to expect at a moment: each hour of age halves what a link counts.
    pub fn at(&self, at_ns: i64) -> Delays {
        let now = at_ns.div_euclid(HOUR_NS);
        let mut mass = [(); 3].map(|()| vec![0.0; 2 * BINS]);
        let mut links = 0.0;
        for (at, hour) in &self.hours {
            let weight = 0.5f64.powi((now - at).unsigned_abs().min(60) as i32);
            links += weight * f64::from(hour.links);
            for (mass, counts) in mass.iter_mut().zip([&hour.request, &hour.response, &hour.both]) {
                for (sum, &count) in mass.iter_mut().zip(&counts.bins) {
                    *sum += weight * f64::from(count);
                }
            }
        }
        let [request, response, both] = mass.map(|mass| Density::new(&mass));
        Delays { request, response, both, links }
    }
}

impl Counts {
    fn add(&mut self, time_ns: i64) {
        let bin = &mut self.bins[bin(time_ns)];
        *bin = bin.saturating_add(1);
    }

    fn merge(&mut self, other: &Self) {
        for (bin, theirs) in self.bins.iter_mut().zip(&other.bins) {
            *bin = bin.saturating_add(*theirs);
        }
    }
}

/// The delays of a stratum: request and response separately, and both together, which no clock
/// offset changes.
#[derive(Clone, Debug)]
pub struct Delays {
    pub(super) request: Density,
    pub(super) response: Density,
    both: Density,
    links: f64,
}

impl Delays {
    /// Links that it was learned from, older ones counting less.
    pub fn links(&self) -> f64 {
        self.links
    }

    /// Time that a pair spends on the network in all, by share of the pairs.
    pub fn slack_ns(&self, share: f64) -> f64 {
        self.both.quantile(share)
    }
}

/// A probability density over times, piecewise constant.
#[derive(Clone, Debug)]
pub(super) struct Density {
    per_ns: Vec<f64>,
    mass: Vec<f64>,
    /// From the least to twice the greatest time that was seen.
    pub(super) plausible_ns: (i64, i64),
}

impl Density {
    /// Of a sample.
    pub(super) fn of(times_ns: impl Iterator<Item = i64>) -> Self {
        let mut counts = Counts::default();
        times_ns.for_each(|time| counts.add(time));
        Self::new(&counts.bins.iter().map(|&count| f64::from(count)).collect::<Vec<_>>())
    }

    fn new(mass: &[f64]) -> Self {
        let total: f64 = mass.iter().sum();
        let at = |bin: usize| mass.get(bin).copied().unwrap_or(0.0);
        let share = |bin: usize| {
            // Neighbours lend a quarter each, since a sample leaves gaps where the truth has none.
            let lent = at(bin.wrapping_sub(1)) + at(bin + 1);
            let seen = if total > 0.0 { (at(bin) / 2.0 + lent / 4.0) / total } else { 0.0 };
            (1.0 - UNSEEN) * seen + UNSEEN / mass.len() as f64
        };
        let shares: Vec<f64> = (0..mass.len()).map(share).collect();
        let width = |bin: usize| (edge(bin + 1) - edge(bin)) as f64;
        let per_ns = shares.iter().enumerate().map(|(bin, s)| s / width(bin)).collect();
        let first = mass.iter().position(|&m| m > 0.0).unwrap_or(BINS);
        let last = mass.iter().rposition(|&m| m > 0.0).unwrap_or(BINS);
        let plausible_ns = (edge(first), edge(last + 1).saturating_mul(2));
        Self { per_ns, mass: mass.to_vec(), plausible_ns }
    }

    pub(super) fn at(&self, time_ns: i64) -> f64 {
        self.per_ns[bin(time_ns)]
    }

    /// Upper edge of the bin below which lies this share of what was seen.
    fn quantile(&self, share: f64) -> f64 {
        let wanted = share * self.mass.iter().sum::<f64>();
        let mut sum = 0.0;
        let reached = self.mass.iter().position(|mass| {
            sum += mass;
            sum >= wanted
        });
        edge(reached.unwrap_or(BINS) + 1) as f64
    }
}

fn bin(time_ns: i64) -> usize {
    let shifted = time_ns.unsigned_abs().saturating_add(1 << FIRST_LOG2);
    let octave = shifted.ilog2() as usize;
    let step = (shifted >> (octave - BINS_LOG2)) as usize & ((1 << BINS_LOG2) - 1);
    let place = (((octave - FIRST_LOG2) << BINS_LOG2) + step).min(BINS - 1);
    if time_ns < 0 { BINS - 1 - place } else { BINS + place }
}

/// Where a bin begins.
fn edge(bin: usize) -> i64 {
    let distance = |place: usize| {
        let octave = (place >> BINS_LOG2) + FIRST_LOG2;
        let step = place & ((1 << BINS_LOG2) - 1);
        (((1 << BINS_LOG2) + step as i64) << (octave - BINS_LOG2)) - (1 << FIRST_LOG2)
    };
    if bin < BINS { -distance(BINS - bin) } else { distance(bin - BINS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_lies_in_its_bin() {
        let powers = (0..40).flat_map(|e| [(1i64 << e) - 1, 1 << e, 5 << e]);
        for time in powers.flat_map(|t| [t, -t]) {
            let at = bin(time);
            assert!(edge(at) <= time && time <= edge(at + 1), "{time} in {at}");
        }
        assert_eq!((edge(BINS), bin(0), bin(-1)), (0, BINS, BINS - 1));
        assert!(edge(2 * BINS) > HOUR_NS);
    }

    #[test]
    fn density_adds_up_to_one() {
        let density = Density::of([5_000, 7_000, -300, 2_000_000].into_iter());
        let whole: f64 =
            (0..2 * BINS).map(|b| density.per_ns[b] * (edge(b + 1) - edge(b)) as f64).sum();
        assert!((whole - 1.0).abs() < 1e-9, "{whole}");
        assert!(density.at(6_000) > 100.0 * density.at(60_000));
    }

    #[test]
    fn older_hours_count_half_as_much_each() {
        let mut learned = Learned::default();
        for _ in 0..100 {
            learned.add((0, 1_000_000), (100_000, 900_000));
            learned.add((HOUR_NS, HOUR_NS + 1_000_000), (HOUR_NS + 10_000, HOUR_NS + 990_000));
        }
        let delays = learned.at(HOUR_NS + 5);
        assert!((delays.links() - 150.0).abs() < 1e-9);
        let (recent, old) = (delays.request.at(10_000), delays.request.at(100_000));
        let width = |time| (edge(bin(time) + 1) - edge(bin(time))) as f64;
        let ratio = recent * width(10_000) / (old * width(100_000));
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
        assert!((learned.at(10 * HOUR_NS).links() - 100.0 * 3.0 / 1024.0).abs() < 1e-9);
    }
}
