//! Which agent was watching at what time: the difference between "lost" and "never observed".

use std::collections::BTreeMap;

use crate::columns::Heartbeat;
use crate::names::Name;
use crate::reason::Reason;

/// Intervals this near each other touch. They do so on the agent's boot clock; each batch takes
/// them to wall time with a clock sample of its own, which differs by nanoseconds, or by what the
/// wall clock was slewed meanwhile (at most 500 ppm: 1 ms in 2 s).
const SEAM_NS: i64 = 1_000_000;

/// Lost of a thousand at each end: both ends are lost once in a thousand times.
const LOST_AT_ONE_END_PERMILLE: i64 = 31;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Interval {
    from_ns: i64,
    to_ns: i64,
    lost_permille: i64,
}

/// What one node's agent can vouch for.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    agents: BTreeMap<Name, Vec<Interval>>,
}

impl Coverage {
    pub(crate) fn new<'a>(heartbeats: impl Iterator<Item = &'a Heartbeat>) -> Self {
        let mut agents: BTreeMap<Name, Vec<Interval>> = BTreeMap::new();
        for h in heartbeats.filter(|h| h.is_agent) {
            let (from_ns, to_ns) = (h.covered_from_ns, h.covered_to_ns);
            agents.entry(h.node).or_default().push(Interval {
                from_ns,
                to_ns,
                lost_permille: h.lost_permille,
            });
        }
        for intervals in agents.values_mut() {
            intervals.sort_unstable();
        }
        Self { agents }
    }

    /// Whether everything that happened on `node` in [from_ns, to_ns] was seen.
    ///
    /// # Errors
    /// The reason why something may be missing.
    pub(crate) fn whole(&self, node: Option<Name>, from_ns: i64, to_ns: i64) -> Result<(), Reason> {
        self.lost_at_most(0, node, from_ns, to_ns)
    }

    /// The same, where a loss that leaves a trace does no harm: an exchange vanishes whole only if
    /// both of its ends were lost, which up to this share is rarer than one in a thousand.
    ///
    /// # Errors
    /// As [`Self::whole`].
    pub(crate) fn nearly_whole(
        &self,
        node: Option<Name>,
        from_ns: i64,
        to_ns: i64,
    ) -> Result<(), Reason> {
        self.lost_at_most(LOST_AT_ONE_END_PERMILLE, node, from_ns, to_ns)
    }

    fn lost_at_most(
        &self,
        permille: i64,
        node: Option<Name>,
        from_ns: i64,
        to_ns: i64,
    ) -> Result<(), Reason> {
        let intervals = node.and_then(|node| self.agents.get(&node));
        let Some(intervals) = intervals else { return Err(Reason::MissingNoCoverage) };
        let lost = intervals
            .iter()
            .any(|i| i.lost_permille > permille && i.from_ns <= to_ns && from_ns <= i.to_ns);
        let mut covered_to = from_ns;
        for i in intervals {
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
        if lost { Err(Reason::MissingLostEvents) } else { Ok(()) }
    }
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
            lost_permille: lost,
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

    #[test]
    fn little_loss_doubts_who_else_was_there_and_not_that_a_trace_is_left() {
        let node = Names::default().name("n");
        for (lost_permille, expected) in [(31, Ok(())), (32, Err(Reason::MissingLostEvents))] {
            let heartbeat = Heartbeat {
                covered_from_ns: 0,
                covered_to_ns: 10,
                event_ns: 10,
                clock_epoch_ns: 0,
                clock_boot_ns: 0,
                clock_wall_ns: 0,
                lost_permille,
                is_agent: true,
                node,
            };
            let coverage = Coverage::new(std::iter::once(&heartbeat));
            assert_eq!(coverage.nearly_whole(Some(node), 2, 5), expected);
            assert_eq!(coverage.whole(Some(node), 2, 5), Err(Reason::MissingLostEvents));
        }
    }

    #[test]
    fn times_at_the_edge_of_integers_are_compared_like_others() {
        check(&[(i64::MIN, i64::MAX, 0)], 0, i64::MAX, Ok(()));
    }
}
