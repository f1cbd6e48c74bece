//! Which files of a pinned snapshot can hold an answer. Pure: names and statistics in, files out.
//!
//! A derived file is named `hour=<hour>/<window>-<stage>-<hash>.parquet`; the stage decides whether
//! its rows are final. A file is left out only when its window or its statistics prove that no row
//! of it matters.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use store::FileRef;

use crate::filter::Interval;

const WINDOW: &str = "win";
const STATUS: &str = "status";

/// Longest window that a correlator may be set to. A request is in the window of its end, so a
/// window may begin this much before a request that starts in it.
const WINDOW_S_MAX: i64 = 60;

/// Longest request: streams are cut after a day. A request is in the window of its end, so a window
/// may begin this much after the start of a request in it.
const REQUEST_S_MAX: i64 = 24 * 60 * 60;

/// How far a revision may move a path from one window to another: twice the default guard, which is
/// the longest request that is followed whole.
const MOVE_S_MAX: i64 = 60;

const SECOND: i64 = 1_000_000_000;

/// The files of a table, by whether their rows can still change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ByFinality {
    pub(crate) fixed: Vec<FileRef>,
    pub(crate) provisional: Vec<FileRef>,
}

/// What the rows asked for must have, in terms of what is known of a file without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Starts of windows, seconds since the Unix epoch.
    pub(crate) windows: RangeInclusive<i64>,
    pub(crate) status: Option<RangeInclusive<i32>>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { windows: i64::MIN..=i64::MAX, status: None }
    }
}

impl Bounds {
    /// Of requests that started in the interval.
    pub(crate) fn started(interval: Interval) -> Self {
        let first = interval.since_ns.map_or(i64::MIN, |ns| ns.div_euclid(SECOND) - WINDOW_S_MAX);
        let last = interval.until_ns.map_or(i64::MAX, |ns| ns.div_euclid(SECOND) + REQUEST_S_MAX);
        Self { windows: first..=last, status: None }
    }

    /// Of what was said in one window.
    pub(crate) fn of_window(window: i64) -> Self {
        Self { windows: window..=window, status: None }
    }

    /// The same bounds, without the windows before this one.
    pub(crate) fn since_window(&self, window: i64) -> Self {
        let first = window.max(*self.windows.start());
        Self { windows: first..=*self.windows.end(), status: self.status.clone() }
    }

    /// Bounds that every revision of a path keeps when its newest one is within these.
    pub(crate) fn of_all_revisions(&self) -> Self {
        let (first, last) = (*self.windows.start(), *self.windows.end());
        let windows = first.saturating_sub(MOVE_S_MAX)..=last.saturating_add(MOVE_S_MAX);
        Self { windows, status: None }
    }
}

/// Applies the readers' rule to whole files: a window that has a final file has no other.
pub(crate) fn by_finality(files: &[FileRef]) -> ByFinality {
    let (provisional, fixed): (Vec<_>, Vec<_>) = files.iter().cloned().partition(is_provisional);
    let closed: BTreeSet<i64> =
        fixed.iter().filter_map(window_and_stage).map(|(window, _)| window).collect();
    let is_open =
        |file: &FileRef| window_and_stage(file).is_none_or(|(window, _)| !closed.contains(&window));
    ByFinality { fixed, provisional: provisional.into_iter().filter(is_open).collect() }
}

/// The files that may hold a row within the bounds.
pub(crate) fn within(files: &[FileRef], bounds: &Bounds) -> Vec<FileRef> {
    let status = bounds.status.as_ref().map(|s| (i64::from(*s.start()), i64::from(*s.end()) + 1));
    let may_hold = |file: &&FileRef| {
        let is_in_time = windows(file).is_none_or(|(first, last)| {
            last >= *bounds.windows.start() && first <= *bounds.windows.end()
        });
        is_in_time && status.is_none_or(|(least, end)| file.may_overlap(STATUS, least, end))
    };
    files.iter().filter(may_hold).cloned().collect()
}

/// Start of the n-th newest window within the bounds, counted from 1; none where there are fewer.
pub(crate) fn nth_newest_window(files: &[FileRef], bounds: &Bounds, n: usize) -> Option<i64> {
    let starts: BTreeSet<i64> =
        within(files, bounds).iter().filter_map(windows).map(|(first, _)| first).collect();
    starts.iter().rev().nth(n.saturating_sub(1)).copied()
}

/// The final files that may hold a newer row of a path that `provisional` files have too.
pub(crate) fn superseding(fixed: &[FileRef], provisional: &[FileRef]) -> Vec<FileRef> {
    let spans: Vec<_> = provisional.iter().filter_map(windows).collect();
    let Some(first) = spans.iter().map(|(first, _)| first - MOVE_S_MAX).min() else {
        return Vec::new();
    };
    let last = spans.iter().map(|(_, last)| last + MOVE_S_MAX).max().unwrap_or(first);
    let is_near = |file: &&FileRef| windows(file).is_none_or(|(a, b)| b >= first && a <= last);
    fixed.iter().filter(is_near).cloned().collect()
}

/// Only windows that are final are ever written together, under names without a stage.
pub(crate) fn is_provisional(file: &FileRef) -> bool {
    matches!(window_and_stage(file), Some((_, "P" | "R")))
}

/// First and last window of a file, in seconds since the Unix epoch.
pub(crate) fn windows(file: &FileRef) -> Option<(i64, i64)> {
    let named = || window_and_stage(file).map(|(window, _)| (window, window));
    file.stats.get(WINDOW).map(|range| (range.min, range.max)).or_else(named)
}

/// Start of the window in seconds and the letter of the stage, from a file's name.
fn window_and_stage(file: &FileRef) -> Option<(i64, &str)> {
    let mut parts = file.name().split('-');
    let window = parts.next()?.parse().ok()?;
    Some((window, parts.next()?))
}

#[cfg(test)]
mod tests {
    use store::Range;

    use super::*;

    fn file(name: &str, stats: &[(&str, i64, i64)]) -> FileRef {
        let range = |(column, min, max): &(&str, i64, i64)| {
            ((*column).to_owned(), Range { min: *min, max: *max })
        };
        FileRef {
            path: format!("hour=2026-11-21T12/{name}.parquet"),
            hour: "2026-11-21T12".into(),
            size: 1,
            rows: 1,
            stats: stats.iter().map(range).collect(),
        }
    }

    fn check(files: &[FileRef], expected: &[&str]) {
        let names: Vec<_> =
            files.iter().map(|file| file.name().trim_end_matches(".parquet")).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn a_window_with_a_final_file_hides_its_provisional_one() {
        let files = ["100-P-aa", "100-F-bb", "110-P-cc", "compacted"].map(|name| file(name, &[]));
        let split = by_finality(&files);
        check(&split.fixed, &["100-F-bb", "compacted"]);
        check(&split.provisional, &["110-P-cc"]);
    }

    #[test]
    fn windows_that_end_before_the_interval_or_begin_a_day_after_it_are_skipped() {
        let files =
            ["100-F-a", "500-F-b", "900-F-c", "99999-F-d", "unnamed"].map(|name| file(name, &[]));
        let started = Interval { since_ns: Some(550 * SECOND), until_ns: Some(600 * SECOND) };
        check(&within(&files, &Bounds::started(started)), &["500-F-b", "900-F-c", "unnamed"]);
    }

    #[test]
    fn statistics_of_a_file_of_many_windows_count_for_all_of_them() {
        let files =
            [file("hour", &[(WINDOW, 100, 3_590)]), file("next", &[(WINDOW, 3_600, 7_190)])];
        let started = Interval { since_ns: Some(4_000 * SECOND), until_ns: None };
        check(&within(&files, &Bounds::started(started)), &["next"]);
    }

    #[test]
    fn status_outside_the_class_skips_the_file() {
        let files =
            [file("100-F-a", &[(STATUS, 200, 204)]), file("110-F-b", &[(STATUS, 200, 502)])];
        let bounds = Bounds { status: Some(500..=599), ..Bounds::default() };
        check(&within(&files, &bounds), &["110-F-b"]);
    }

    #[test]
    fn what_a_revision_may_change_is_no_bound_for_the_revisions_before_it() {
        let wider = Bounds { windows: 100..=i64::MAX, status: Some(500..=599) }.of_all_revisions();
        assert_eq!(wider, Bounds { windows: 40..=i64::MAX, status: None });
    }

    #[test]
    fn only_final_files_near_the_provisional_windows_can_supersede() {
        let fixed = [file("1000-F-a", &[]), file("2000-F-b", &[]), file("x", &[(WINDOW, 0, 5000)])];
        check(&superseding(&fixed, &[file("2050-P-c", &[])]), &["2000-F-b", "x"]);
        check(&superseding(&fixed, &[]), &[]);
    }
}
