//! Tumbling event-time windows and what must be read to compute them.

use std::ops::Range;

use crate::skew::SAMPLE_GAP_NS_MAX;
use crate::{SECOND, Settings, Stage};

/// Access logs know the end of a request to the second only; their rows may carry an event time
/// this much later than the exchange they describe.
const COARSEST_STAMP_NS: i64 = 2 * SECOND;

/// A heartbeat that covers a moment may end this much later.
const HEARTBEAT_NS_MAX: i64 = 60 * SECOND;

/// Event-time ranges, nanoseconds, half-open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRange {
    /// Exchanges, spans, access logs, ends of connections.
    pub rows: Range<i64>,
    /// Beyond `rows`, only requests received that began before its end: they were still open, and
    /// may have caused what is in it.
    pub requests: Range<i64>,
    /// Beyond `requests`, only those of them that lasted longer than [`long_ns`].
    pub long: Range<i64>,
    /// NAT bindings, which are reported again each active timeout.
    pub connections: Range<i64>,
    pub heartbeats: Range<i64>,
    /// Changes of cluster objects; the last full snapshot before `start` is needed too.
    pub cluster: Range<i64>,
}

/// What to read to compute `windows` for good; less is needed for provisional rows.
pub fn read_range(windows: Range<i64>, settings: &Settings) -> ReadRange {
    let mut range = range_of_stage(windows, Stage::Final, settings);
    // The links of the oldest window in sight look at the one before it.
    range.rows.start -= settings.window_ns;
    range.connections.start -= settings.window_ns;
    // What is known of clocks rests on samples around the first of these rows.
    range.heartbeats.start = range.rows.start - SAMPLE_GAP_NS_MAX;
    // Who owned an address is asked of calls that are read back too.
    range.cluster.start = range.rows.start - longest_ns(settings);
    range
}

/// The same with all that the slow lane may ask for: what must still be there to compute `windows`.
pub fn furthest_range(windows: Range<i64>, settings: &Settings) -> ReadRange {
    let mut range = read_range(windows, settings);
    let back_ns = longest_ns(settings);
    range.rows.start -= back_ns;
    range.connections.start -= back_ns;
    range.heartbeats.start -= back_ns;
    range
}

/// The longest request that is followed whole. A guard of the allowed lateness is left, so that the
/// row of a request has come when the windows in which it began become final.
pub(crate) fn longest_ns(settings: &Settings) -> i64 {
    let guard_ns = settings.guard_ns.min(settings.lateness_ns);
    settings.slow.back_ns.min(settings.lateness_ns - settings.guard_ns).max(guard_ns)
}

/// Requests that lasted no longer are in the range of every window that they touch.
pub fn long_ns(settings: &Settings) -> i64 {
    settings.guard_ns.min(settings.lateness_ns) - settings.skew_ns - COARSEST_STAMP_NS
}

/// How far after a window's end its rows reach.
pub(crate) fn ahead_ns(settings: &Settings) -> i64 {
    settings.skew_ns + COARSEST_STAMP_NS
}

/// What of that one window's stage looks at. Provisional rows must not depend on what has arrived
/// of the time after them.
pub(crate) fn range_of_stage(window: Range<i64>, stage: Stage, settings: &Settings) -> ReadRange {
    let rows =
        window_start(window.start - settings.guard_ns, settings)..window.end + ahead_ns(settings);
    // A call may end long before the request that caused it.
    let until = |ns: i64| match stage {
        Stage::Provisional => rows.end,
        Stage::Revised | Stage::Final => rows.end.max(window.end + ns),
    };
    let open_until = until(settings.guard_ns.min(settings.lateness_ns));
    ReadRange {
        requests: rows.end..open_until,
        long: open_until..until(longest_ns(settings)),
        connections: rows.start - settings.active_timeout_ns - settings.propagation_ns..rows.end,
        heartbeats: rows.start..rows.end + HEARTBEAT_NS_MAX,
        cluster: rows.start..rows.end + settings.propagation_ns,
        rows,
    }
}

/// Start of the window that holds a moment.
pub fn window_start(at_ns: i64, settings: &Settings) -> i64 {
    at_ns.div_euclid(settings.window_ns) * settings.window_ns
}

/// Number of the window since the epoch: the version of the application transactions.
pub fn window_index(start_ns: i64, settings: &Settings) -> i64 {
    start_ns.div_euclid(settings.window_ns)
}

/// The single windows of a range that starts at a window's start.
pub fn windows(range: Range<i64>, settings: &Settings) -> impl Iterator<Item = Range<i64>> {
    let length = settings.window_ns;
    let first = window_start(range.start, settings);
    (0..)
        .map(move |i| first + i * length)
        .take_while(move |start| *start < range.end)
        .map(move |start| start..start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_half_open_and_aligned() {
        let settings = Settings::default();
        let all: Vec<_> = windows(20 * SECOND..40 * SECOND, &settings).collect();
        assert_eq!(all, [20 * SECOND..30 * SECOND, 30 * SECOND..40 * SECOND]);
        assert_eq!(window_start(29 * SECOND + 999, &settings), 20 * SECOND);
        assert_eq!(window_start(-1, &settings), -10 * SECOND);
    }

    #[test]
    fn range_of_a_run_covers_the_range_of_each_window_in_it() {
        let settings = Settings::default();
        let run = read_range(0..30 * SECOND, &settings);
        for window in windows(0..30 * SECOND, &settings) {
            let one = read_range(window, &settings);
            assert!(run.rows.start <= one.rows.start && one.rows.end <= run.rows.end);
            assert!(run.connections.start <= one.connections.start);
        }
    }
}
