//! Where the offset of two clocks can lie, given points it passes below and points it passes above.
//!
//! Clocks run at nearly constant rates. The line with the most room between the points above and
//! below gives the rate, and the lines that fit at all how far it may be wrong: only the corners of
//! the two convex hulls matter, O(n log n) (Andrew's monotone chain). From each point the offset then
//! departs no faster than the rate and what it may change: a cone, and the cones' lower envelope is
//! the limit. Near points count more than far ones, so a clock whose rate is being adjusted keeps a
//! bound that holds.
//!
//! A kernel stamps what was sent when the call that sent it returns, and what was sent may have been
//! received by then: a limit is met only up to how late such stamps are.

use super::bucket::Limit;

/// The kernel steers a clock by at most 500 ppm (`MAXFREQ`); two of them part at most this fast.
const RATE_MAX: f64 = 1e-3;

/// By how much the rate may change within the time that is looked at: as of a clock left alone or
/// well disciplined, of one that was just corrected, of one that is being slewed. The first that
/// contradicts nothing is taken.
const RATE_CHANGES: [f64; 3] = [5e-6, 1e-4, RATE_MAX];

/// How late stamps of sending may be. Between two nodes of one machine with both cores busy every
/// twentieth message was stamped as received up to 0.07 ms before it was sent, one in some thousands
/// 0.4 ms, as long as its sender was not running. The first that contradicts nothing is taken; more
/// would hide clocks that jump.
const SENT_LATE_NS: [f64; 2] = [5e4, 1e6];

/// A rate that is known less well than this is not worth telling.
const DRIFT_DOUBT_MAX: f64 = 2e-5;

type Point = (f64, f64);

/// The offsets d that contradict nothing.
#[derive(Debug)]
pub(super) struct Corridor {
    /// Middle of the times of all points, and how far the first and last are from it.
    origin_ns: i64,
    reach_ns: i64,
    rate: f64,
    /// d passes below the first, -d below the second; both as distances from the line of that rate.
    above: Envelope,
    below: Envelope,
    drift: Option<f64>,
}

impl Corridor {
    /// d passes below the points `above` and -d below those of `below`.
    ///
    /// None when no clock that is not set could do so, or when either has no points.
    pub(super) fn fit(above: &[Limit], below: &[Limit]) -> Option<Self> {
        let first = above.iter().chain(below).map(|p| p.0).min()?;
        let last = above.iter().chain(below).map(|p| p.0).max()?;
        if above.is_empty() || below.is_empty() {
            return None;
        }
        let origin_ns = first.midpoint(last);
        let hulls = (hull(above), hull(below));
        SENT_LATE_NS.iter().find_map(|late| {
            let near = |points: &[Limit]| -> Vec<Point> {
                points.iter().map(|&(x, y)| ((x - origin_ns) as f64, y as f64 + late)).collect()
            };
            let fit = fitting_rates(&near(&hulls.0), &near(&hulls.1));
            let (above, below) = (near(above), near(below));
            RATE_CHANGES.iter().find_map(|change| {
                let steepness = change + fit.doubt;
                let above = Envelope::new(&above, fit.rate, steepness);
                let below = Envelope::new(&below, -fit.rate, steepness);
                let is_passable = below.apexes.iter().all(|&(x, y)| above.at(x) + y >= 0.0);
                is_passable.then(|| {
                    let is_known = *change == RATE_CHANGES[0] && fit.doubt <= DRIFT_DOUBT_MAX;
                    let drift = is_known.then_some(fit.rate);
                    let reach_ns = last - origin_ns;
                    Self { origin_ns, reach_ns, rate: fit.rate, above, below, drift }
                })
            })
        })
    }

    /// Whether the moment lies between the first and the last point.
    pub(super) fn spans(&self, at_ns: i64) -> bool {
        (at_ns - self.origin_ns).abs() <= self.reach_ns
    }

    /// Least and greatest d when the first clock shows `at_ns`.
    pub(super) fn limits(&self, at_ns: i64) -> (f64, f64) {
        let x = (at_ns - self.origin_ns) as f64;
        let line = self.rate * x;
        let (high, low) = (line + self.above.at(x), line - self.below.at(x));
        (low.min(high), high)
    }

    /// How fast d grows; none when the points leave it open or it changes.
    pub(super) fn drift(&self) -> Option<f64> {
        self.drift
    }
}

/// The least of many upward cones of one steepness.
#[derive(Debug)]
struct Envelope {
    /// Those that are below all other cones, ascending.
    apexes: Vec<Point>,
    steepness: f64,
}

impl Envelope {
    /// Cones on the points' distances from a line of this rate through the origin.
    fn new(points: &[Point], rate: f64, steepness: f64) -> Self {
        let mut apexes: Vec<Point> = points.iter().map(|&(x, y)| (x, y - rate * x)).collect();
        apexes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        apexes.dedup_by_key(|p| p.0);
        for _direction in 0..2 {
            let mut last: Option<Point> = None;
            apexes.retain(|&(x, y)| {
                let is_apex = last.is_none_or(|(at, low)| y <= low + steepness * (x - at).abs());
                if is_apex {
                    last = Some((x, y));
                }
                is_apex
            });
            apexes.reverse();
        }
        Self { apexes, steepness }
    }

    fn at(&self, x: f64) -> f64 {
        // Of the cones on either side none is below the nearest, or its apex would not be one.
        let after = self.apexes.partition_point(|p| p.0 <= x);
        let near = [after.checked_sub(1), Some(after)];
        let cones = near.into_iter().flatten().filter_map(|i| self.apexes.get(i));
        cones.map(|p| p.1 + self.steepness * (x - p.0).abs()).fold(f64::MAX, f64::min)
    }
}

/// Rate of the line with the most room, and how far from it the rates of lines that fit may be: 0
/// when none fits.
#[derive(Debug)]
struct Fit {
    rate: f64,
    doubt: f64,
}

/// The room between the hulls along a rate is concave and piecewise linear in the rate, with its
/// corners at the hulls' edges.
fn fitting_rates(above: &[Point], below: &[Point]) -> Fit {
    let edges = |hull: &[Point]| hull.windows(2).map(|w| slope(w[0], w[1])).collect::<Vec<_>>();
    let mut rates = edges(above);
    rates.extend(edges(below).iter().map(|rate| -rate));
    rates.retain(|rate| rate.abs() < RATE_MAX);
    rates.extend([-RATE_MAX, RATE_MAX]);
    rates.sort_unstable_by(f64::total_cmp);
    rates.dedup();
    let rooms: Vec<f64> = rates.iter().map(|&r| tangent(above, r) + tangent(below, -r)).collect();
    let room = rooms.iter().copied().fold(f64::MIN, f64::max);
    let first = rooms.iter().position(|&r| r >= room).unwrap_or_default();
    let last = rooms.iter().rposition(|&r| r >= room).unwrap_or_default();
    let rate = f64::midpoint(rates[first], rates[last]);
    if room < 0.0 {
        return Fit { rate, doubt: 0.0 };
    }
    let least = crossing(&rates, &rooms, (0..first).rev(), first);
    let greatest = crossing(&rates, &rooms, last + 1..rates.len(), last);
    Fit { rate, doubt: (greatest - rate).max(rate - least) }
}

/// Walks away from the rate with the most room to where the room ends.
fn crossing(rates: &[f64], rooms: &[f64], away: impl Iterator<Item = usize>, at: usize) -> f64 {
    let mut inside = at;
    for outside in away {
        if rooms[outside] < 0.0 {
            let part = rooms[inside] / (rooms[inside] - rooms[outside]);
            return rates[inside] + part * (rates[outside] - rates[inside]);
        }
        inside = outside;
    }
    rates[inside]
}

/// Corners of the convex hull's lower side, ascending (Andrew's monotone chain). Exact.
fn hull(points: &[Limit]) -> Vec<Limit> {
    let mut sorted = points.to_vec();
    sorted.sort_unstable();
    // Of points above each other only the lowest counts.
    sorted.dedup_by_key(|p| p.0);
    let mut corners: Vec<Limit> = Vec::with_capacity(sorted.len());
    for point in sorted {
        while let [.., before, last] = corners[..] {
            if turns_left(before, last, point) {
                break;
            }
            corners.pop();
        }
        corners.push(point);
    }
    corners
}

fn turns_left(a: Limit, b: Limit, c: Limit) -> bool {
    let wide = |v: i64| i128::from(v);
    let (abx, aby) = (wide(b.0) - wide(a.0), wide(b.1) - wide(a.1));
    let (acx, acy) = (wide(c.0) - wide(a.0), wide(c.1) - wide(a.1));
    abx * acy - aby * acx > 0
}

fn slope(from: Point, to: Point) -> f64 {
    (to.1 - from.1) / (to.0 - from.0)
}

/// Value at the origin of the highest line with this slope that passes below a hull.
fn tangent(hull: &[Point], line_slope: f64) -> f64 {
    let (mut from, mut to) = (0, hull.len() - 1);
    while from < to {
        let middle = usize::midpoint(from, to);
        if slope(hull[middle], hull[middle + 1]) < line_slope {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    hull[from].1 - line_slope * hull[from].0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;

    const SECOND: i64 = crate::SECOND;

    /// Points that a line of a random rate passes between.
    fn points(random: &mut Seeded) -> (Vec<Limit>, Vec<Limit>) {
        let rate = (random.unit() - 0.5) * 2e-4;
        let count = 1 + random.below(30) as usize;
        let mut side = |sign: f64| -> Vec<Limit> {
            (0..count)
                .map(|_| {
                    let x = random.below(60 * SECOND as u64) as i64;
                    (x, (sign * rate * x as f64) as i64 + 1 + random.below(900_000) as i64)
                })
                .collect()
        };
        (side(1.0), side(-1.0))
    }

    /// Room for a line of this rate: all points above it against all below.
    fn room(above: &[Limit], below: &[Limit], rate: f64) -> f64 {
        let lowest = |points: &[Limit], rate: f64| {
            points.iter().map(|p| p.1 as f64 - rate * p.0 as f64).fold(f64::MAX, f64::min)
        };
        lowest(above, rate) + lowest(below, -rate)
    }

    #[test]
    fn rates_that_fit_are_those_of_a_look_at_all_points() {
        for seed in 0..200 {
            let (above, below) = points(&mut Seeded::new(seed));
            let near = |points: &[Limit]| -> Vec<Point> {
                hull(points).iter().map(|&(x, y)| (x as f64, y as f64)).collect()
            };
            let fit = fitting_rates(&near(&above), &near(&below));
            let widest = room(&above, &below, fit.rate);
            let (mut least, mut greatest) = (f64::MAX, f64::MIN);
            for step in -1_000..=1_000 {
                let rate = RATE_MAX * f64::from(step) / 1_000.0;
                let room = room(&above, &below, rate);
                assert!(room <= widest + 1e-3, "seed {seed}: more room at {rate} than at {fit:?}");
                if room >= 0.0 {
                    (least, greatest) = (least.min(rate), greatest.max(rate));
                }
            }
            let doubt = (greatest - fit.rate).max(fit.rate - least);
            // The grid is that coarse; where no rate of it fits, nothing is compared.
            let is_seen = least <= greatest;
            assert!(
                !is_seen || (0.0..2e-6).contains(&(fit.doubt - doubt + 1e-9)),
                "seed {seed}: {fit:?} {doubt}"
            );
        }
    }

    #[test]
    fn envelope_is_the_least_of_all_cones() {
        for seed in 0..200 {
            let mut random = Seeded::new(seed);
            let count = 1 + random.below(20);
            let mut point = || (random.below(1_000) as f64, random.below(300) as f64);
            let points: Vec<Point> = (0..count).map(|_| point()).collect();
            let envelope = Envelope::new(&points, 0.25, 0.5);
            for x in (-50..1_050).map(f64::from) {
                let cone = |p: &Point| p.1 - 0.25 * p.0 + 0.5 * (x - p.0).abs();
                let least = points.iter().map(cone).fold(f64::MAX, f64::min);
                assert!((envelope.at(x) - least).abs() < 1e-9, "seed {seed} at {x}");
            }
        }
    }

    #[test]
    fn drift_is_told_once_the_points_leave_little_room() {
        let points = |excess: i64, slope: i64| -> Vec<Limit> {
            (0..30).map(|s| (s * SECOND, excess + s * slope)).collect()
        };
        let corridor = Corridor::fit(&points(50_000, 40_000), &points(50_000, -40_000)).unwrap();
        assert!((corridor.drift().unwrap() - 40e-6).abs() < 1e-6, "{corridor:?}");
        let one = Corridor::fit(&[(0, 50_000)], &[(0, 50_000)]).unwrap();
        assert_eq!(one.drift(), None);
    }

    #[test]
    fn clock_whose_rate_changes_keeps_a_bound_and_one_that_jumps_has_none() {
        let of = |d: &dyn Fn(i64) -> i64, sign: i64| -> Vec<Limit> {
            (0..30).map(|s| (s * SECOND, sign * d(s) + 30_000)).collect()
        };
        for ppm in [1, 20, 400] {
            let slewed = |s: i64| 1_000 * ppm * s.min(10);
            let corridor = Corridor::fit(&of(&slewed, 1), &of(&slewed, -1)).unwrap();
            for s in 0..30 {
                let (low, high) = corridor.limits(s * SECOND + SECOND / 2);
                let truth = (slewed(s) + slewed(s + 1)) as f64 / 2.0;
                assert!(low <= truth && truth <= high, "{ppm} ppm: {low} {truth} {high}");
            }
        }
        let jumped = |s: i64| if s < 10 { 0 } else { 50_000_000 };
        assert!(Corridor::fit(&of(&jumped, 1), &of(&jumped, -1)).is_none());
    }
}
