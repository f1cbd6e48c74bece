//! Revisions: of what was computed again, the rows that say something new.
//!
//! The rows of a window fall into groups, one for each path and one for what belongs to no path.
//! A group that is as it was is not written. Of a group that changed all rows are written with the
//! new revision, and in a table where it has none any more a row that withdraws it.

use std::collections::{BTreeMap, BTreeSet};

use join::{Stage, WindowRows};
use tables::{Ambiguous, Hop, Path, Row, finality};

/// A row of a table that is revised.
pub(crate) trait Revisable: Row + PartialEq {
    /// The group that the row belongs to.
    fn group(&self) -> Option<&str>;
    fn win(&self) -> i64;
    fn revision(&self) -> i32;
    fn is_withdrawn(&self) -> bool;
    fn stamp(&mut self, stage: Stage, revision: i32);
    /// What stands for the group of this row once it is gone.
    fn withdrawal(&self) -> Self;
}

/// Names the columns that say which output of a window a row belongs to.
macro_rules! revisable {
    ($row:ty, $group:expr, $withdrawal:expr) => {
        impl Revisable for $row {
            fn group(&self) -> Option<&str> {
                let group: fn(&$row) -> Option<&str> = $group;
                group(self)
            }
            fn win(&self) -> i64 {
                self.win
            }
            fn revision(&self) -> i32 {
                self.revision
            }
            fn is_withdrawn(&self) -> bool {
                self.finality == finality::WITHDRAWN
            }
            fn stamp(&mut self, stage: Stage, revision: i32) {
                self.stage = stage.code().into();
                self.revision = revision;
                if !self.is_withdrawn() {
                    self.finality = stage.finality().into();
                }
            }
            fn withdrawal(&self) -> Self {
                let withdrawal: fn(&$row) -> $row = $withdrawal;
                Self {
                    hour: self.hour.clone(),
                    win: self.win,
                    finality: finality::WITHDRAWN.into(),
                    ..withdrawal(self)
                }
            }
        }
    };
}

revisable!(Path, |row| Some(&row.path_id), |row| Path {
    path_id: row.path_id.clone(),
    request_id: row.request_id.clone(),
    trace_id: row.trace_id.clone(),
    start_time: row.start_time,
    start_ns: row.start_ns,
    end_ns: row.end_ns,
    ..Path::default()
});
revisable!(Hop, |row| Some(&row.path_id), |row| Hop {
    path_id: row.path_id.clone(),
    start_time: row.start_time,
    start_ns: row.start_ns,
    end_ns: row.end_ns,
    ..Hop::default()
});
revisable!(Ambiguous, |row| row.path_id.as_deref(), |row| Ambiguous {
    path_id: row.path_id.clone(),
    start_time: row.start_time,
    start_ns: row.start_ns,
    end_ns: row.end_ns,
    ..Ambiguous::default()
});

/// The rows of the newest revision of each group, without groups that are withdrawn.
pub(crate) fn newest<R: Revisable>(rows: Vec<R>) -> Vec<R> {
    let mut newest: BTreeMap<(i64, Option<String>), i32> = BTreeMap::new();
    let group = |row: &R| (row.win(), row.group().map(str::to_owned));
    for row in &rows {
        let known = newest.entry(group(row)).or_insert(row.revision());
        *known = row.revision().max(*known);
    }
    let is_current =
        |row: &R| newest.get(&group(row)) == Some(&row.revision()) && !row.is_withdrawn();
    rows.into_iter().filter(is_current).collect()
}

/// What to write so that the newest rows, which were `before`, are `now`.
pub(crate) fn changed(before: &WindowRows, now: &WindowRows, revision: i32) -> WindowRows {
    let mut groups = differing(&before.paths, &now.paths);
    groups.extend(differing(&before.hops, &now.hops));
    groups.extend(differing(&before.ambiguous, &now.ambiguous));
    WindowRows {
        win: now.win,
        hops: rows_of(&groups, &before.hops, &now.hops, revision),
        ambiguous: rows_of(&groups, &before.ambiguous, &now.ambiguous, revision),
        paths: rows_of(&groups, &before.paths, &now.paths, revision),
        ..WindowRows::default()
    }
}

type Groups<'a> = BTreeSet<Option<&'a str>>;

fn by_group<R: Revisable>(rows: &[R]) -> BTreeMap<Option<&str>, Vec<&R>> {
    let mut groups: BTreeMap<_, Vec<&R>> = BTreeMap::new();
    for row in rows {
        groups.entry(row.group()).or_default().push(row);
    }
    groups
}

/// Groups of which one side says what the other does not.
fn differing<'a, R: Revisable>(before: &'a [R], now: &'a [R]) -> Groups<'a> {
    let (before, now) = (by_group(before), by_group(now));
    let all = before.keys().chain(now.keys());
    all.filter(|group| !say_the_same(before.get(*group), now.get(*group))).copied().collect()
}

fn say_the_same<R: Revisable>(before: Option<&Vec<&R>>, now: Option<&Vec<&R>>) -> bool {
    let (Some(before), Some(now)) = (before, now) else {
        return false;
    };
    let stamped = |row: &R| {
        let mut row = row.clone();
        row.stamp(Stage::Revised, 0);
        row
    };
    before.len() == now.len()
        && before.iter().zip(now).all(|(before, now)| stamped(before) == stamped(now))
}

/// Rows of these groups as they are now, and of those that are gone what withdraws them.
fn rows_of<R: Revisable>(groups: &Groups<'_>, before: &[R], now: &[R], revision: i32) -> Vec<R> {
    let left: BTreeSet<_> = now.iter().map(Revisable::group).collect();
    let mut gone = BTreeSet::new();
    let withdrawals = before
        .iter()
        .filter(|row| groups.contains(&row.group()) && !left.contains(&row.group()))
        .filter(|row| gone.insert(row.group()))
        .map(Revisable::withdrawal);
    let current = now.iter().filter(|row| groups.contains(&row.group())).cloned();
    let mut rows: Vec<R> = current.chain(withdrawals).collect();
    for row in &mut rows {
        row.stamp(Stage::Revised, revision);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(id: &str, status: i32) -> Path {
        Path { win: 10, path_id: id.into(), status: Some(status), ..Default::default() }
    }

    fn undecided(path_id: Option<&str>, segment: &str) -> Ambiguous {
        let path_id = path_id.map(str::to_owned);
        Ambiguous { win: 10, path_id, segment: segment.into(), ..Default::default() }
    }

    fn rows(paths: &[Path], ambiguous: &[Ambiguous]) -> WindowRows {
        WindowRows {
            win: 10,
            paths: paths.to_vec(),
            ambiguous: ambiguous.to_vec(),
            ..WindowRows::default()
        }
    }

    /// (group, what it says) of each row, `-` where it is withdrawn.
    fn check(before: &WindowRows, now: &WindowRows, paths: &[&str], ambiguous: &[&str]) {
        let changed = changed(before, now, 3);
        let says = |is_withdrawn, text: String| if is_withdrawn { "-".to_owned() } else { text };
        let found: Vec<String> = changed
            .paths
            .iter()
            .map(|p| {
                let status = p.status.unwrap_or_default().to_string();
                format!("{} {}", p.path_id, says(p.is_withdrawn(), status))
            })
            .collect();
        assert_eq!(found, paths);
        let found: Vec<String> = changed
            .ambiguous
            .iter()
            .map(|a| {
                let path = a.path_id.as_deref().unwrap_or("none");
                format!("{path} {}", says(a.is_withdrawn(), a.segment.clone()))
            })
            .collect();
        assert_eq!(found, ambiguous);
        assert!(changed.paths.iter().all(|p| p.revision == 3 && p.stage == "R"));
        // What is written last is the newest, and says what now is.
        let newest_paths = newest([before.paths.clone(), changed.paths].concat());
        assert_eq!(differing(&newest_paths, &now.paths), Groups::new());
        let newest_ambiguous = newest([before.ambiguous.clone(), changed.ambiguous].concat());
        assert_eq!(differing(&newest_ambiguous, &now.ambiguous), Groups::new());
    }

    #[test]
    fn only_paths_that_changed_are_written() {
        let before = rows(&[path("a", 200), path("b", 200)], &[]);
        check(&before, &before, &[], &[]);
        let now = rows(&[path("a", 200), path("b", 502), path("c", 200)], &[]);
        check(&before, &now, &["b 502", "c 200"], &[]);
    }

    #[test]
    fn path_that_merged_away_is_withdrawn() {
        let before = rows(&[path("a", 200), path("b", 200)], &[undecided(Some("a"), "relay")]);
        let now = rows(&[path("b", 200)], &[]);
        check(&before, &now, &["a -"], &["a -"]);
    }

    #[test]
    fn path_whose_doubt_is_resolved_is_written_in_both_tables() {
        let before = rows(&[path("a", 200)], &[undecided(Some("a"), "relay")]);
        let now = rows(&[path("a", 200)], &[]);
        check(&before, &now, &["a 200"], &["a -"]);
    }

    #[test]
    fn what_belongs_to_no_path_is_revised_together() {
        let (one, two) = (undecided(None, "one"), undecided(None, "two"));
        let before = rows(&[], &[one.clone(), two.clone()]);
        check(&before, &rows(&[], &[two]), &[], &["none two"]);
        check(&before, &rows(&[], &[]), &[], &["none -"]);
    }

    #[test]
    fn path_that_comes_back_after_its_withdrawal_is_written() {
        let mut gone = path("a", 200).withdrawal();
        gone.stamp(Stage::Revised, 1);
        let before = rows(&newest(vec![path("a", 200), gone]), &[]);
        check(&before, &rows(&[path("a", 200)], &[]), &["a 200"], &[]);
    }
}
