//! The watermark: the moment before which no event is expected from any live source.
//!
//! It is the minimum over live sources of the time their heartbeats cover. A source goes idle when
//! others' heartbeats went on arriving and its own did not: by recorded arrivals, never by a timer,
//! so that a replay decides the same, and on the collector's clock, so that a node whose clock is
//! ahead makes nobody idle and a source that works off a backlog is waited for.

use std::collections::BTreeMap;

/// Event time further than this from the arrival is a clock fault and has no say.
const CLOCK_FAULT_NS: u64 = 15 * 60 * crate::SECOND.unsigned_abs();

#[derive(Clone, Debug)]
struct Source {
    covered_to_ns: i64,
    arrived_ns: i64,
    idle_after_ns: i64,
}

#[derive(Clone, Debug, Default)]
pub struct Watermark {
    sources: BTreeMap<(String, String), Source>,
    value_ns: Option<i64>,
}

impl Watermark {
    pub fn observe(&mut self, heartbeat: &tables::Heartbeat) {
        let arrived_ns = heartbeat.received_at.0.saturating_mul(1_000);
        if heartbeat.covered_to_ns.abs_diff(arrived_ns) > CLOCK_FAULT_NS {
            return;
        }
        let seen = Source {
            covered_to_ns: heartbeat.covered_to_ns,
            arrived_ns,
            idle_after_ns: heartbeat.idle_after_ns,
        };
        let key = (heartbeat.source.clone(), heartbeat.node.clone());
        let source = self.sources.entry(key).or_insert_with(|| seen.clone());
        if seen.covered_to_ns >= source.covered_to_ns {
            source.covered_to_ns = seen.covered_to_ns;
            source.idle_after_ns = seen.idle_after_ns;
        }
        source.arrived_ns = source.arrived_ns.max(seen.arrived_ns);
    }

    /// Never goes back, also when an idle source returns with older events: those are late.
    pub fn advance(&mut self) -> Option<i64> {
        let newest_ns = self.sources.values().map(|s| s.arrived_ns).max()?;
        let slowest_live = self
            .sources
            .values()
            .filter(|s| newest_ns.saturating_sub(s.arrived_ns) <= s.idle_after_ns)
            .map(|s| s.covered_to_ns)
            .min()?;
        self.value_ns = Some(self.value_ns.map_or(slowest_live, |old| old.max(slowest_live)));
        self.value_ns
    }

    pub fn value_ns(&self) -> Option<i64> {
        self.value_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SECOND;

    fn heartbeat(node: &str, covered_to_s: i64) -> tables::Heartbeat {
        tables::Heartbeat {
            source: "agent".into(),
            node: node.into(),
            covered_to_ns: covered_to_s * SECOND,
            received_at: tables::Micros(covered_to_s * 1_000_000),
            idle_after_ns: 30 * SECOND,
            ..Default::default()
        }
    }

    /// Heartbeats as (node, covered_to) in seconds, then the watermark that must result.
    fn check(heartbeats: &[(&str, i64)], expected: Option<i64>) {
        let mut watermark = Watermark::default();
        for (node, at) in heartbeats {
            watermark.observe(&heartbeat(node, *at));
            watermark.advance();
        }
        assert_eq!(watermark.value_ns(), expected.map(|s| s * SECOND), "{heartbeats:?}");
    }

    #[test]
    fn slowest_live_source_holds_it() {
        check(&[], None);
        check(&[("a", 100)], Some(100));
        check(&[("b", 90), ("a", 100)], Some(90));
    }

    #[test]
    fn silent_source_goes_idle_by_the_others_heartbeats() {
        check(&[("b", 90), ("a", 100), ("a", 120)], Some(90));
        check(&[("b", 90), ("a", 100), ("a", 121)], Some(121));
    }

    #[test]
    fn returning_source_does_not_take_it_back() {
        check(&[("b", 90), ("a", 200), ("b", 150)], Some(200));
        check(&[("b", 90), ("a", 200), ("b", 190), ("b", 205), ("a", 210)], Some(205));
    }

    #[test]
    fn wrong_clock_has_no_say() {
        let mut watermark = Watermark::default();
        watermark.observe(&heartbeat("a", 100));
        let mut wrong = heartbeat("b", 100);
        wrong.covered_to_ns += 2 * 86_400 * SECOND;
        watermark.observe(&wrong);
        assert_eq!(watermark.advance(), Some(100 * SECOND));
    }

    #[test]
    fn clock_that_is_ahead_makes_no_other_source_idle() {
        let mut watermark = Watermark::default();
        let mut ahead = heartbeat("a", 700);
        ahead.received_at = tables::Micros(100_000_000);
        watermark.observe(&ahead);
        watermark.observe(&heartbeat("b", 100));
        assert_eq!(watermark.advance(), Some(100 * SECOND));
    }

    #[test]
    fn source_that_works_off_a_backlog_is_waited_for() {
        let mut watermark = Watermark::default();
        watermark.observe(&heartbeat("a", 200));
        let mut behind = heartbeat("b", 100);
        behind.received_at = tables::Micros(200_000_000);
        watermark.observe(&behind);
        assert_eq!(watermark.advance(), Some(100 * SECOND));
    }
}
