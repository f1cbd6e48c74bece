//! Revisions: windows computed again when raw rows came that touch them, and what changed appended.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use join::window::read_range;
use join::{SECOND, Settings, Stage, schedule};

use super::live::Live;
use super::report::report;
use crate::EngineError;
use crate::correlation::{Feed, revise};
use crate::output::{Counts, Entry, Left, Step, WindowColumns, last_index};

impl Live {
    /// Revises what is due at a range of boundaries. False where another process is at work on it.
    pub(super) async fn revise(&mut self, boundaries: Range<i64>) -> Result<bool, EngineError> {
        let is_redone = match self.output.left(Stage::Revised).await? {
            Left::Work(step) => return self.complete(*step).await,
            left => left == Left::Unreadable,
        };
        let windows = self.touched(&boundaries).await?;
        let seconds: BTreeSet<i64> = windows.iter().map(|start| start / SECOND).collect();
        let revisions = self.output.next_revisions(&seconds).await?;
        let mut entry = Entry { revisions, ..Entry::default() };
        let (rows, read) = self.computed_anew(&mut entry, false).await?;
        entry.revisions.retain(|win, _| rows.iter().any(|window| window.win == *win));
        entry.windows = span(&entry, self.settings.window_ns / SECOND);
        let index = last_index(boundaries.end, &self.settings);
        let mut step = Step::live(Stage::Revised, index, entry);
        step.is_completion = is_redone;
        // Without windows the step would stand for all of them.
        let written = if step.entry.revisions.is_empty() {
            Default::default()
        } else {
            self.output.write(&step, &rows).await?
        };
        report(Stage::Revised, &boundaries, Counts::of(&rows), read, &written);
        if !written.is_overtaken {
            let look = self.input.look();
            self.computed.extend(windows.into_iter().map(|start| (start, look)));
        }
        self.advance(Stage::Revised, boundaries, &written).await
    }

    /// What a step that is in the tables already wrote, or would have written.
    pub(super) async fn revision_of(
        &mut self,
        entry: &Entry,
    ) -> Result<Vec<WindowColumns>, EngineError> {
        Ok(self.computed_anew(&mut entry.clone(), true).await?.0)
    }

    /// Windows due at these boundaries that rows came for since they were computed last.
    async fn touched(&mut self, boundaries: &Range<i64>) -> Result<Vec<i64>, EngineError> {
        let Some(cursors) = &self.cursors else {
            return Ok(Vec::new());
        };
        let open = cursors.finals.next_ns..cursors.provisional.next_ns;
        let steps = join::window::windows(boundaries.clone(), &self.settings);
        let due: BTreeSet<i64> = steps
            .flat_map(|at| schedule::revised_at(at.start, &self.settings))
            .filter(|start| open.contains(start))
            .collect();
        let mut touched = Vec::new();
        for start in due {
            let range = read_range(start..start + self.settings.window_ns, &self.settings);
            // What another process computed may rest on fewer rows than are here now.
            let is_touched = match self.computed.get(&start) {
                Some(look) => self.input.touched_since(*look, &range).await?,
                None => true,
            };
            if is_touched {
                touched.push(start);
            }
        }
        Ok(touched)
    }

    /// The changed rows of the windows that the entry revises, and how many raw rows were read.
    async fn computed_anew(
        &mut self,
        entry: &mut Entry,
        is_pinned: bool,
    ) -> Result<(Vec<WindowColumns>, usize), EngineError> {
        let (mut rows, mut read) = (Vec::new(), 0);
        for windows in runs(&entry.revisions, &self.settings) {
            let first_ns = windows.keys().next().map_or(i64::MIN, |win| win * SECOND);
            let settings = &self.settings;
            let feed = if is_pinned {
                Feed::anew(&mut self.input, Some(&entry.inputs), settings)
            } else {
                Feed::visible(&mut self.input, &mut self.held, first_ns, settings)
            };
            let revised = revise(feed, &self.output, &windows).await?;
            read += revised.read;
            if !is_pinned {
                entry.inputs.merge(&revised.pins);
            }
            rows.extend(revised.windows);
        }
        Ok((rows, read))
    }
}

/// Windows, by start in seconds with their revisions, that read the same rows: these are read once.
fn runs(revisions: &BTreeMap<i64, i32>, settings: &Settings) -> Vec<BTreeMap<i64, i32>> {
    let rows =
        |win: i64| read_range(win * SECOND..win * SECOND + settings.window_ns, settings).rows;
    let mut runs: Vec<BTreeMap<i64, i32>> = Vec::new();
    for (&win, &revision) in revisions {
        let follows = |run: &BTreeMap<i64, i32>| {
            run.last_key_value().is_some_and(|(&last, _)| rows(win).start < rows(last).end)
        };
        match runs.last_mut().filter(|run| follows(run)) {
            Some(run) => {
                run.insert(win, revision);
            }
            None => runs.push([(win, revision)].into()),
        }
    }
    runs
}

/// From the first window that is revised to the end of the last, seconds.
fn span(entry: &Entry, window_s: i64) -> Range<i64> {
    let first = entry.revisions.keys().next().copied().unwrap_or_default();
    let last = entry.revisions.keys().next_back().copied().unwrap_or_default();
    first..last + window_s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_read_the_same_rows_are_one_run() {
        let settings = Settings::default();
        let rows = read_range(0..settings.window_ns, &settings).rows;
        // The last window whose rows begin before those of the first end.
        let near = (rows.end - rows.start - 1) / settings.window_ns * 10;
        let far = near + near + 10;
        let found = runs(&[(0, 1), (near, 2), (far, 3), (far + 10, 1)].into(), &settings);
        let expected: [BTreeMap<i64, i32>; 2] =
            [[(0, 1), (near, 2)].into(), [(far, 3), (far + 10, 1)].into()];
        assert_eq!(found, expected);
    }
}
