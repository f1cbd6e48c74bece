//! Which agent was watching at what time: the difference between "lost" and "never observed".
//!
//! What a counted loss puts in doubt depends on the question. Whether *everything* was seen it always
//! does ([`Coverage::whole`]). Whether a call left *no trace at all* it does not, where losses come
//! one by one ([`Coverage::nearly_whole`]): what one end lost the other end has seen, and a call
//! vanishes only with both.

use std::collections::BTreeMap;

use crate::SECOND;
use crate::columns::Heartbeat;
use crate::names::Name;
use crate::reason::Reason;

/// Intervals this near each other touch. They do so on the agent's boot clock; each batch takes
/// them to wall time with a clock sample of its own, which differs by nanoseconds, or by what the
/// wall clock was slewed meanwhile (at most 500 ppm: 1 ms in 2 s).
const SEAM_NS: i64 = 1_000_000;

/// What is shipped is counted at once, and what was lost when its time is vouched for: after 2 s of
/// silence, by a sweep each 2 s, with a heartbeat each 2 s.
const LOSS_COUNTED_AFTER_NS: i64 = 6 * SECOND;

/// Part that is lost at each end: both ends are lost once in a thousand times.
const LOST_AT_ONE_END: f64 = 0.0315;

/// What an agent of few rows loses is known as well as this many rows of all agents together say.
const ROWS_OF_ALL: f64 = 1_024.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Interval {
    from_ns: i64,
    to_ns: i64,
    lost: i64,
    shipped: i64,
}

impl Interval {
    /// How many rows there were.
    fn rows(&self) -> i128 {
        i128::from(self.lost) + i128::from(self.shipped)
    }
}

/// What one node's agent says of itself, by time.
#[derive(Debug, Default)]
struct Agent {
    /// By their start.
    intervals: Vec<Interval>,
    /// By interval: the greatest end up to it.
    latest_ns: Vec<i64>,
    /// Part of its rows that it loses.
    share: f64,
    /// By interval: it lost too much to trust that a trace is left of everything.
    is_torn: Vec<bool>,
}

/// What each node's agent can vouch for.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    agents: BTreeMap<Name, Agent>,
}

impl Coverage {
    pub(crate) fn new<'a>(heartbeats: impl Iterator<Item = &'a Heartbeat>) -> Self {
        let mut agents: BTreeMap<Name, Agent> = BTreeMap::new();
        for h in heartbeats.filter(|h| h.is_agent) {
            agents.entry(h.node).or_default().intervals.push(Interval {
                from_ns: h.covered_from_ns,
                to_ns: h.covered_to_ns,
                lost: h.lost,
                shipped: h.shipped,
            });
        }
        let all = agents.values().flat_map(|agent| &agent.intervals);
        let share_of_all = share(all, None);
        for agent in agents.values_mut() {
            agent.intervals.sort_unstable();
            agent.find_latest();
            agent.share = share(agent.intervals.iter(), Some(share_of_all));
            agent.find_torn();
        }
        Self { agents }
    }

    /// Whether everything that happened on `node` in [from_ns, to_ns] was seen.
    ///
    /// # Errors
    /// The reason why something may be missing.
    pub(crate) fn whole(&self, node: Option<Name>, from_ns: i64, to_ns: i64) -> Result<(), Reason> {
        self.agent(node)?.check(from_ns, to_ns, |_, interval| interval.lost > 0)
    }

    /// The same, where a loss that leaves a trace does no harm: an exchange vanishes whole only if
    /// both of its ends were lost. Rarer than one in a thousand is that up to some share, of losses
    /// that are spread evenly; a moment in which much was lost may have taken both.
    ///
    /// # Errors
    /// As [`Self::whole`].
    pub(crate) fn nearly_whole(
        &self,
        node: Option<Name>,
        from_ns: i64,
        to_ns: i64,
    ) -> Result<(), Reason> {
        let agent = self.agent(node)?;
        agent.check(from_ns, to_ns, |at, _| agent.is_torn[at])
    }

    /// The part of its rows that a node's agent loses.
    pub(crate) fn share_lost(&self, node: Name) -> f64 {
        self.agents.get(&node).map_or(1.0, |agent| agent.share)
    }

    fn agent(&self, node: Option<Name>) -> Result<&Agent, Reason> {
        node.and_then(|node| self.agents.get(&node)).ok_or(Reason::MissingNoCoverage)
    }
}

impl Agent {
    /// One interval holds few rows, and what it lost may be counted in it while what it shipped is
    /// counted before: the share is that of all that is in sight, and an interval stands out where
    /// it lost more than chance makes of that share of its rows and those near it.
    fn find_torn(&mut self) {
        let is_torn = |interval: &Interval| {
            let from_ns = interval.from_ns.saturating_sub(LOSS_COUNTED_AFTER_NS);
            let to_ns = interval.to_ns.saturating_add(LOSS_COUNTED_AFTER_NS);
            let begun = self.intervals.partition_point(|i| i.from_ns <= to_ns);
            let near = self.intervals[..begun].iter().filter(|i| i.to_ns >= from_ns);
            let expected = self.share * near.map(Interval::rows).sum::<i128>() as f64;
            let is_much = || interval.lost as f64 > lost_by_chance(expected);
            interval.lost > 0 && (self.share > LOST_AT_ONE_END || is_much())
        };
        self.is_torn = self.intervals.iter().map(is_torn).collect();
    }

    fn find_latest(&mut self) {
        let mut latest_ns = i64::MIN;
        let latest = self.intervals.iter().map(|i| {
            latest_ns = latest_ns.max(i.to_ns);
            latest_ns
        });
        self.latest_ns = latest.collect();
    }

    fn check(
        &self,
        from_ns: i64,
        to_ns: i64,
        is_doubtful: impl Fn(usize, &Interval) -> bool,
    ) -> Result<(), Reason> {
        // It is asked for every hop: what ended before is passed over at once.
        let first = self.latest_ns.partition_point(|&latest_ns| latest_ns < from_ns);
        let near = &self.intervals[first..];
        let mut covered_to = from_ns;
        for i in near {
            if i.to_ns < covered_to {
                continue;
            }
            if i.from_ns > covered_to.saturating_add(SEAM_NS) {
                break;
            }
            covered_to = i.to_ns;
            if covered_to > to_ns {
                break;
            }
        }
        if covered_to < to_ns {
            return Err(Reason::MissingNoCoverage);
        }
        let begun = near.iter().take_while(|i| i.from_ns <= to_ns);
        let mut here = (first..).zip(begun).filter(|(_, i)| from_ns <= i.to_ns);
        if here.any(|(at, i)| is_doubtful(at, i)) {
            return Err(Reason::MissingLostEvents);
        }
        Ok(())
    }
}

/// The part of rows that was lost, where some rows of other agents count too.
fn share<'a>(intervals: impl Iterator<Item = &'a Interval>, of_others: Option<f64>) -> f64 {
    let sum =
        |(lost, rows): (i128, i128), i: &Interval| (lost + i128::from(i.lost), rows + i.rows());
    let (lost, rows) = intervals.fold((0, 0), sum);
    let (lost, rows) = (lost as f64, rows as f64);
    match of_others {
        Some(others) => (lost + others * ROWS_OF_ALL) / (rows + ROWS_OF_ALL),
        None => lost / rows.max(1.0),
    }
}

/// The most rows that one interval loses when `expected` are lost on average and losses are
/// independent: a Poisson variable is above this less than twice in ten thousand times.
pub(crate) fn lost_by_chance(expected: f64) -> f64 {
    expected + 4.0 * expected.sqrt() + 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Names;

    /// Heartbeats as (from, to, lost).
    fn check(rows: &[(i64, i64, i64)], from: i64, to: i64, expected: Result<(), Reason>) {
        let node = Names::default().name("n");
        let heartbeat = |&(covered_from_ns, covered_to_ns, lost): &(i64, i64, i64)| Heartbeat {
            covered_from_ns,
            covered_to_ns,
            event_ns: covered_to_ns,
            clock_epoch_ns: 0,
            clock_boot_ns: 0,
            clock_wall_ns: 0,
            lost,
            shipped: 10,
            is_agent: true,
            node,
        };
        let heartbeats: Vec<_> = rows.iter().map(heartbeat).collect();
        let coverage = Coverage::new(heartbeats.iter());
        assert_eq!(coverage.whole(Some(node), from, to), expected, "{rows:?} {from}..{to}");
    }

    #[test]
    fn adjacent_heartbeats_cover_what_lies_across_them() {
        check(&[(0, 10, 0), (10, 20, 0)], 5, 15, Ok(()));
    }

    #[test]
    fn intervals_apart_by_the_jitter_of_clock_samples_touch() {
        check(&[(0, 10, 0), (20, 30, 0)], 5, 25, Ok(()));
        check(&[(0, 10, 0), (8, 30, 0)], 5, 25, Ok(()));
    }

    #[test]
    fn heartbeats_that_vouch_for_no_time_cover_nothing() {
        let (first, second) = (100 * SEAM_NS, 200 * SEAM_NS);
        let empty = [(first, first, 0), (second, second, 0)];
        check(&empty, first, second, Err(Reason::MissingNoCoverage));
        check(
            &[(0, first, 0), (second, second, 0)],
            first / 2,
            second,
            Err(Reason::MissingNoCoverage),
        );
    }

    #[test]
    fn gap_between_two_lives_of_an_agent_is_no_coverage() {
        let later = 10 + 2 * SEAM_NS;
        check(&[(0, 10, 0), (later, later + 9, 0)], 5, later + 5, Err(Reason::MissingNoCoverage));
        check(&[(0, 10, 0)], 5, 15, Err(Reason::MissingNoCoverage));
        check(&[], 5, 15, Err(Reason::MissingNoCoverage));
    }

    #[test]
    fn counted_loss_is_told_apart_and_only_in_its_interval() {
        check(&[(0, 10, 3), (10, 20, 0)], 5, 15, Err(Reason::MissingLostEvents));
        check(&[(0, 10, 3), (10, 20, 0)], 11, 15, Ok(()));
        // Told in a row of its own, inside an interval that another row vouches for.
        check(&[(0, 100, 0), (10, 20, 3)], 5, 25, Err(Reason::MissingLostEvents));
        check(&[(0, 100, 0), (10, 20, 3)], 25, 30, Ok(()));
    }

    /// Ten intervals of ten seconds each, with what each lost and shipped.
    fn nearly_whole(rows: [(i64, i64); 10]) -> [bool; 10] {
        nearly_whole_each(10 * SECOND, rows)
    }

    fn nearly_whole_each(length_ns: i64, rows: [(i64, i64); 10]) -> [bool; 10] {
        let node = Names::default().name("n");
        let heartbeats: Vec<_> = (0..)
            .zip(rows)
            .map(|(at, (lost, shipped))| Heartbeat {
                covered_from_ns: at * length_ns,
                covered_to_ns: (at + 1) * length_ns,
                event_ns: (at + 1) * length_ns,
                clock_epoch_ns: 0,
                clock_boot_ns: 0,
                clock_wall_ns: 0,
                lost,
                shipped,
                is_agent: true,
                node,
            })
            .collect();
        let coverage = Coverage::new(heartbeats.iter());
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|at| {
            let (from_ns, to_ns) = (at * length_ns + 2, at * length_ns + 5);
            let found = coverage.nearly_whole(Some(node), from_ns, to_ns);
            let is_lossless = rows[at as usize].0 == 0;
            assert_eq!(coverage.whole(Some(node), from_ns, to_ns).is_ok(), is_lossless);
            assert!(matches!(found, Ok(()) | Err(Reason::MissingLostEvents)), "{found:?}");
            found.is_ok()
        })
    }

    #[test]
    fn little_loss_doubts_who_else_was_there_and_not_that_a_trace_is_left() {
        assert_eq!(nearly_whole([(31, 969); 10]), [true; 10]);
        assert_eq!(nearly_whole([(32, 968); 10]), [false; 10]);
    }

    #[test]
    fn share_of_loss_is_taken_over_all_that_is_in_sight() {
        // By itself each of these intervals lost more than the share that is bearable.
        let few =
            [(1, 9), (0, 30), (2, 28), (0, 40), (1, 20), (0, 30), (0, 50), (3, 40), (0, 9), (0, 9)];
        assert_eq!(nearly_whole(few), [true; 10]);
        // Rows that were shipped before what was lost with them was counted.
        let mut late = [(0, 1); 10];
        (late[3], late[4]) = ((40, 3_000), (30, 100));
        assert_eq!(nearly_whole(late), [true; 10]);
    }

    #[test]
    fn moment_that_lost_much_is_in_doubt_however_little_was_lost_on_average() {
        let mut burst = [(2, 998); 10];
        burst[6].0 = 60;
        let expected = [true, true, true, true, true, true, false, true, true, true];
        assert_eq!(nearly_whole(burst), expected);
    }

    #[test]
    fn loss_that_is_counted_some_heartbeats_after_its_rows_were_shipped_stands_out_of_nothing() {
        let mut last_seconds = [(0, 1); 10];
        last_seconds[2..7].copy_from_slice(&[(0, 5_400), (95, 8_000), (174, 260), (70, 1), (0, 1)]);
        assert_eq!(nearly_whole_each(2 * SECOND, last_seconds), [true; 10]);
        // As much in a moment that nothing was shipped near.
        last_seconds[9].0 = 70;
        assert!(!nearly_whole_each(2 * SECOND, last_seconds)[9]);
    }

    #[test]
    fn times_at_the_edge_of_integers_are_compared_like_others() {
        check(&[(i64::MIN, i64::MAX, 0)], 0, i64::MAX, Ok(()));
    }
}
