//! One piece of work as its commits to the tables have it in common.

use join::Stage;
use store::FileRef;

use crate::compacted;
use crate::failpoint::Work;
use crate::output::entry::Entry;
use crate::output::files::{prefix, window_of};

/// Who commits, which decides the names of its progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Windows in order; progress is the index of the newest one, and for revisions that of the
    /// boundary at which they were due.
    Live(Stage),
    /// Any past windows; progress counts commits.
    Backfill,
}

/// What the tables' commits of one piece of work have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) writer: Writer,
    pub(crate) index: i64,
    pub(crate) entry: Entry,
    /// The work of another process, or of this one before it died.
    pub(crate) is_completion: bool,
}

impl Step {
    pub(crate) fn live(stage: Stage, index: i64, entry: Entry) -> Self {
        Self { writer: Writer::Live(stage), index, entry, is_completion: false }
    }

    pub(crate) fn backfill(entry: Entry) -> Self {
        Self { writer: Writer::Backfill, index: 0, entry, is_completion: false }
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.writer {
            Writer::Live(stage) => stage,
            Writer::Backfill => Stage::Final,
        }
    }

    pub(super) fn work(&self) -> Work {
        match self.writer {
            Writer::Live(Stage::Provisional) => Work::Provisional,
            Writer::Live(Stage::Revised) => Work::Revised,
            Writer::Live(Stage::Final) => Work::Final,
            Writer::Backfill => Work::Backfill,
        }
    }

    /// Whether a file holds rows of the step's windows.
    pub(super) fn part(&self) -> impl Fn(&FileRef) -> bool + Send + Sync + use<> {
        let (windows, revisions) = (self.entry.windows.clone(), self.entry.revisions.clone());
        move |file| {
            let is_ours = |win| {
                windows.contains(&win) && (revisions.is_empty() || revisions.contains_key(&win))
            };
            window_of(file).is_some_and(is_ours) || compacted::overlaps(file, &windows)
        }
    }

    pub(super) fn prefix(&self, win: i64) -> String {
        let revision = self.entry.revisions.get(&win).copied().unwrap_or(0);
        prefix(win, self.stage(), revision)
    }
}
