//! Derived files by their names, and which of them a step replaces. Pure.
//!
//! A file is named `<window start in seconds>-<stage>-<hash>.parquet`, and one of a revision
//! `<window start>-R-<revision>-<hash>.parquet`.

use std::collections::BTreeSet;

use join::Stage;
use store::FileRef;

use super::{Step, Writer};

/// How the name of a window's file begins.
pub(crate) fn prefix(win: i64, stage: Stage, revision: i32) -> String {
    match stage {
        Stage::Revised => format!("{win}-{}-{revision}", stage.code()),
        Stage::Provisional | Stage::Final => format!("{win}-{}", stage.code()),
    }
}

/// Start of the window, seconds. None for files that hold several.
pub(crate) fn window_of(file: &FileRef) -> Option<i64> {
    file.name().split('-').next()?.parse().ok()
}

/// Revision of a file's rows: provisional rows are the first.
pub(crate) fn revision_of(file: &FileRef) -> i32 {
    let mut parts = file.name().split('-').skip(1);
    let is_revised = parts.next() == Some(Stage::Revised.code());
    parts.next().filter(|_| is_revised).and_then(|part| part.parse().ok()).unwrap_or(0)
}

pub(crate) fn is_final_file(file: &FileRef) -> bool {
    is_of(file, Stage::Final)
}

fn is_of(file: &FileRef, stage: Stage) -> bool {
    file.name().split('-').nth(1) == Some(stage.code())
}

/// Paths of files of the step's windows that go, and of files that come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) remove: Vec<String>,
    pub(crate) add: Vec<String>,
}

impl Difference {
    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }
}

/// What makes `current` hold what is `staged`, as far as the step may change it.
pub(crate) fn difference(step: &Step, current: &[FileRef], staged: &[&FileRef]) -> Difference {
    let final_windows: BTreeSet<i64> =
        current.iter().filter(|file| is_final_file(file)).filter_map(window_of).collect();
    let is_final = |file: &FileRef| window_of(file).is_some_and(|w| final_windows.contains(&w));
    let is_revised = |file: &FileRef| {
        current.iter().any(|c| is_of(c, Stage::Revised) && window_of(c) == window_of(file))
    };
    let may_go = |file: &FileRef| match step.writer {
        Writer::Backfill | Writer::Live(Stage::Final) => true,
        Writer::Live(Stage::Revised) => {
            let revision = window_of(file).and_then(|win| step.entry.revisions.get(&win));
            // Left by a crash: path knows nothing of it.
            !is_final(file) && revision.is_some_and(|revision| revision_of(file) >= *revision)
        }
        Writer::Live(Stage::Provisional) => !is_final(file) && !is_revised(file),
    };
    let may_come = |file: &FileRef| match step.writer {
        Writer::Backfill | Writer::Live(Stage::Final) => true,
        Writer::Live(Stage::Revised) => !is_final(file),
        Writer::Live(Stage::Provisional) => !is_final(file) && !is_revised(file),
    };
    let is_staged = |file: &FileRef| staged.iter().any(|staged| staged.path == file.path);
    let is_current = |file: &FileRef| current.iter().any(|current| current.path == file.path);
    // A compacted file is looked at by what it stands for, and is never replaced as a whole.
    let is_one_windows = |file: &FileRef| window_of(file).is_some();
    let gone =
        current.iter().filter(|file| is_one_windows(file) && may_go(file) && !is_staged(file));
    let come = staged.iter().filter(|file| may_come(file) && !is_current(file));
    Difference {
        remove: gone.map(|file| file.path.clone()).collect(),
        add: come.map(|file| file.path.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::output::Entry;

    fn file(name: &str) -> FileRef {
        FileRef {
            path: format!("hour=2026-11-21T12/{name}.parquet"),
            hour: "2026-11-21T12".into(),
            size: 1,
            rows: 1,
            stats: BTreeMap::new(),
        }
    }

    /// Names of the current files and of the staged ones, then `-name` and `+name` as expected.
    fn check(writer: Writer, current: &[&str], staged: &[&str], expected: &[&str]) {
        let entry = Entry { revisions: [(10, 2)].into(), ..Entry::default() };
        let step = Step { writer, index: 1, entry, is_completion: false };
        let current: Vec<FileRef> = current.iter().map(|name| file(name)).collect();
        let staged: Vec<FileRef> = staged.iter().map(|name| file(name)).collect();
        let found = difference(&step, &current, &staged.iter().collect::<Vec<_>>());
        let mark = |mark: char, paths: Vec<String>| {
            let names = paths.into_iter().map(move |path| format!("{mark}{path}"));
            names.map(|n| n.replace("hour=2026-11-21T12/", "").replace(".parquet", ""))
        };
        let found: Vec<String> = mark('-', found.remove).chain(mark('+', found.add)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn names_tell_window_stage_and_revision() {
        assert_eq!(window_of(&file(&prefix(10, Stage::Revised, 2))), Some(10));
        assert_eq!(revision_of(&file("10-R-2-ab")), 2);
        assert_eq!(revision_of(&file("10-P-2")), 0);
        assert!(is_final_file(&file("10-F-ab")) && !is_final_file(&file("10-R-2-ab")));
        assert_eq!(window_of(&file("compacted-ab")), None);
    }

    #[test]
    fn provisional_rows_replace_only_provisional_ones() {
        let p = Writer::Live(Stage::Provisional);
        check(p, &["10-P-a"], &["10-P-a"], &[]);
        check(p, &["10-P-a"], &["10-P-b"], &["-10-P-a", "+10-P-b"]);
        check(p, &["10-F-a"], &["10-P-b"], &[]);
        check(p, &["10-P-a", "10-R-1-c"], &["10-P-b"], &[]);
    }

    #[test]
    fn revisions_are_added_and_replace_only_what_a_crash_left_of_the_same() {
        let r = Writer::Live(Stage::Revised);
        check(r, &["10-P-a", "10-R-1-b"], &["10-R-2-c"], &["+10-R-2-c"]);
        check(r, &["10-P-a", "10-R-2-b"], &["10-R-2-c"], &["-10-R-2-b", "+10-R-2-c"]);
        check(r, &["10-F-a"], &["10-R-2-c"], &[]);
    }

    #[test]
    fn final_rows_replace_all_others() {
        for writer in [Writer::Live(Stage::Final), Writer::Backfill] {
            let current = ["10-P-a", "10-R-1-b"];
            check(writer, &current, &["10-F-c"], &["-10-P-a", "-10-R-1-b", "+10-F-c"]);
            check(writer, &["10-F-a"], &["10-F-c"], &["-10-F-a", "+10-F-c"]);
            check(writer, &["10-F-a"], &["10-F-a"], &[]);
            check(writer, &["10-F-a"], &[], &["-10-F-a"]);
            check(writer, &["compacted-a"], &[], &[]);
        }
    }
}
