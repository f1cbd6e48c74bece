//! Where the offset of two clocks can lie, given points it passes below and points it passes above.
//!
//! While both clocks run at constant rates the offset is a line. The feasible lines are a convex set,
//! and only the corners of the two convex hulls matter: O(n log n) to fit, O(log n) to ask.

use std::ops::Range;

use super::bucket::Limit;

/// The kernel steers a clock by at most 500 ppm (`MAXFREQ`); two of them part at most this fast.
const RATE_MAX: f64 = 1e-3;

/// What the line's slope may change within the time that is looked at, by temperature.
const WANDER: f64 = 1e-7;

/// A slope that is known less well than this is not worth telling.
const DRIFT_DOUBT_MAX: f64 = 2e-5;

/// The offsets d that contradict nothing.
#[derive(Debug)]
pub(super) struct Corridor {
    /// Middle of the times of all points, and how far the first and last are from it.
    origin_ns: i64,
    reach_ns: i64,
    /// Points that d passes below, and points that -d passes below: (nanoseconds since the origin,
    /// nanoseconds), ascending. Corners of the hulls when the rate is constant, all otherwise.
    above: Vec<Point>,
    below: Vec<Point>,
    rate: Rate,
}

type Point = (f64, f64);

#[derive(Debug)]
enum Rate {
    /// Slopes of the feasible lines, and the slope of the line furthest from all points.
    Constant { slopes: (f64, f64), widest: f64 },
    /// No line fits: a clock is being slewed, and all that is known is how fast it can be.
    Bounded,
}

impl Corridor {
    /// d passes below the points `above` and -d below those of `below`.
    ///
    /// None when no clock that is not set could do so, or when either has no points.
    pub(super) fn fit(above: &[Limit], below: &[Limit]) -> Option<Self> {
        let first = above.iter().chain(below).map(|p| p.0).min()?;
        let last = above.iter().chain(below).map(|p| p.0).max()?;
        let origin_ns = first.midpoint(last);
        let reach_ns = last - origin_ns;
        let near = |points: &[Limit]| -> Vec<Point> {
            points.iter().map(|&(x, y)| ((x - origin_ns) as f64, y as f64)).collect()
        };
        let (above_hull, below_hull) = (near(&hull(above)), near(&hull(below)));
        if let Some(rate) = constant_rate(&above_hull, &below_hull) {
            return Some(Self { origin_ns, reach_ns, above: above_hull, below: below_hull, rate });
        }
        let (above, below) = (near(above), near(below));
        let is_passable =
            above.iter().all(|a| below.iter().all(|b| a.1 + b.1 >= -RATE_MAX * (a.0 - b.0).abs()));
        is_passable.then_some(Self { origin_ns, reach_ns, above, below, rate: Rate::Bounded })
    }

    /// Whether the moment lies between the first and the last point.
    pub(super) fn spans(&self, at_ns: i64) -> bool {
        (at_ns - self.origin_ns).abs() <= self.reach_ns
    }

    /// Least and greatest d when the first clock shows `at_ns`.
    pub(super) fn limits(&self, at_ns: i64) -> (f64, f64) {
        let x = (at_ns - self.origin_ns) as f64;
        let (high, minus_low) = match &self.rate {
            Rate::Constant { slopes: (least, greatest), .. } => (
                highest(&self.above, (*least, *greatest), x) + WANDER * x.abs(),
                highest(&self.below, (-greatest, -least), x) + WANDER * x.abs(),
            ),
            Rate::Bounded => (highest_slewed(&self.above, x), highest_slewed(&self.below, x)),
        };
        ((-minus_low).min(high), high)
    }

    /// Least and greatest offset anywhere in `times`.
    pub(super) fn limits_over(&self, times: &Range<i64>) -> (f64, f64) {
        let (first, last) = (self.limits(times.start), self.limits(times.end));
        // The greatest value of feasible lines is convex in time, so its maximum is at an end.
        let between = match self.rate {
            Rate::Constant { .. } => 0.0,
            Rate::Bounded => RATE_MAX * (times.end - times.start) as f64 / 2.0,
        };
        (first.0.min(last.0) - between, first.1.max(last.1) + between)
    }

    /// Slope of the line that keeps the greatest distance from all points; none when the points
    /// leave it open.
    pub(super) fn drift(&self) -> Option<f64> {
        match self.rate {
            Rate::Constant { slopes, widest } if slopes.1 - slopes.0 <= DRIFT_DOUBT_MAX => {
                Some(widest)
            }
            Rate::Constant { .. } | Rate::Bounded => None,
        }
    }
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

/// Value at `x` of the highest line with a feasible slope that passes below a hull. It is concave in
/// the slope and greatest at the slope of the hull over `x`.
fn highest(hull: &[Point], feasible: (f64, f64), x: f64) -> f64 {
    let best = match hull.partition_point(|p| p.0 <= x) {
        0 => f64::NEG_INFINITY,
        after if after == hull.len() => f64::INFINITY,
        after => slope(hull[after - 1], hull[after]),
    };
    let line_slope = best.clamp(feasible.0, feasible.1);
    tangent(hull, line_slope) + line_slope * x
}

/// The same for a curve that nowhere is steeper than the kernel slews.
fn highest_slewed(points: &[Point], x: f64) -> f64 {
    points.iter().map(|p| p.1 + RATE_MAX * (p.0 - x).abs()).fold(f64::MAX, f64::min)
}

/// Feasible slopes and the widest one; none when no line fits. The room between the hulls along a
/// slope is concave and piecewise linear in the slope, with its corners at the hulls' edges.
fn constant_rate(above: &[Point], below: &[Point]) -> Option<Rate> {
    let edges = |hull: &[Point]| hull.windows(2).map(|w| slope(w[0], w[1])).collect::<Vec<_>>();
    let mut slopes = edges(above);
    slopes.extend(edges(below).iter().map(|s| -s));
    slopes.retain(|s| s.abs() < RATE_MAX);
    slopes.extend([-RATE_MAX, RATE_MAX]);
    slopes.sort_unstable_by(f64::total_cmp);
    slopes.dedup();
    let rooms: Vec<f64> = slopes.iter().map(|&s| tangent(above, s) + tangent(below, -s)).collect();
    let room = rooms.iter().copied().fold(f64::MIN, f64::max);
    if room < 0.0 {
        return None;
    }
    let first_widest = rooms.iter().position(|&r| r >= room)?;
    let last_widest = rooms.iter().rposition(|&r| r >= room)?;
    let widest = f64::midpoint(slopes[first_widest], slopes[last_widest]);
    let least = crossing(&slopes, &rooms, (0..first_widest).rev(), first_widest);
    let greatest = crossing(&slopes, &rooms, last_widest + 1..slopes.len(), last_widest);
    Some(Rate::Constant { slopes: (least, greatest), widest })
}

/// Walks away from the widest slope to where the room ends.
fn crossing(slopes: &[f64], rooms: &[f64], away: impl Iterator<Item = usize>, at: usize) -> f64 {
    let mut inside = at;
    for outside in away {
        if rooms[outside] < 0.0 {
            let part = rooms[inside] / (rooms[inside] - rooms[outside]);
            return slopes[inside] + part * (slopes[outside] - slopes[inside]);
        }
        inside = outside;
    }
    slopes[inside]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;

    const SECOND: i64 = crate::SECOND;

    /// Least and greatest value at `x` over a fine grid of slopes: what the definition says.
    fn by_brute_force(above: &[Limit], below: &[Limit], x: i64) -> Option<(f64, f64)> {
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        for step in -2_000..=2_000 {
            let s = RATE_MAX * f64::from(step) / 2_000.0;
            let reach = |p: &Limit| p.1 as f64 + s * (x - p.0) as f64;
            let reach_below = |p: &Limit| p.1 as f64 - s * (x - p.0) as f64;
            let ceiling = above.iter().map(reach).fold(f64::MAX, f64::min);
            let floor = -below.iter().map(reach_below).fold(f64::MAX, f64::min);
            if floor <= ceiling {
                low = low.min(floor);
                high = high.max(ceiling);
            }
        }
        (low <= high).then_some((low, high))
    }

    #[test]
    fn limits_are_those_of_all_feasible_lines() {
        for seed in 0..300 {
            let mut random = Seeded::new(seed);
            let count = 1 + random.below(12) as usize;
            // A span of a second keeps the grid's error below a microsecond.
            let point = |random: &mut Seeded| {
                let x = random.below(SECOND as u64) as i64;
                (x, x / 5_000 + 20_000 + random.below(900_000) as i64)
            };
            let above: Vec<Limit> = (0..count).map(|_| point(&mut random)).collect();
            let below: Vec<Limit> = (0..count)
                .map(|_| {
                    let (x, y) = point(&mut random);
                    (x, y - 2 * (x / 5_000))
                })
                .collect();
            let corridor = Corridor::fit(&above, &below).expect("feasible by construction");
            assert!(matches!(corridor.rate, Rate::Constant { .. }), "seed {seed}");
            for x in [-SECOND / 2, 0, SECOND / 3, SECOND, 2 * SECOND] {
                let (low, high) = by_brute_force(&above, &below, x).expect("a line fits");
                let (fitted_low, fitted_high) = corridor.limits(x);
                let wander = WANDER * (x - corridor.origin_ns).abs() as f64;
                let near = |fitted: f64, grid: f64| (-1.0..3_000.0).contains(&(fitted - grid));
                assert!(
                    near(fitted_high - wander, high),
                    "seed {seed} at {x}: {fitted_high} {high}"
                );
                assert!(near(low, fitted_low + wander), "seed {seed} at {x}: {fitted_low} {low}");
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
    fn clock_that_is_slewed_keeps_a_bound_and_one_that_jumps_has_none() {
        // 400 ppm for ten seconds, then back to none.
        let slewed = |s: i64| 400_000 * s.min(10);
        let of = |d: fn(i64) -> i64, sign: i64| -> Vec<Limit> {
            (0..30).map(|s| (s * SECOND, sign * d(s) + 30_000)).collect()
        };
        let corridor = Corridor::fit(&of(slewed, 1), &of(slewed, -1)).unwrap();
        assert!(matches!(corridor.rate, Rate::Bounded));
        for s in 0..30 {
            let (low, high) = corridor.limits(s * SECOND + SECOND / 2);
            let truth = (slewed(s) + slewed(s + 1)) as f64 / 2.0;
            assert!(low <= truth && truth <= high, "{low} {truth} {high}");
        }
        let jumped = |s: i64| if s < 10 { 0 } else { 50_000_000 };
        assert!(Corridor::fit(&of(jumped, 1), &of(jumped, -1)).is_none());
    }
}
