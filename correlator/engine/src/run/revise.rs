//! Revisions: windows computed again when raw rows came that touch them, and what changed appended.

use std::collections::BTreeSet;
use std::ops::Range;

use join::window::read_range;
use join::{SECOND, Stage, WindowRows, schedule};

use super::live::Live;
use super::report::report;
use crate::EngineError;
use crate::correlation::compute;
use crate::output::{Entry, Left, Step, changed, last_index};

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
        report(Stage::Revised, &boundaries, crate::output::Counts::of(&rows), read, &written);
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
    ) -> Result<Vec<WindowRows>, EngineError> {
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
    ) -> Result<(Vec<WindowRows>, usize), EngineError> {
        let length = self.settings.window_ns;
        let mut runs: Vec<Range<i64>> = Vec::new();
        for start in entry.revisions.keys().map(|win| win * SECOND) {
            match runs.last_mut() {
                Some(run) if run.end == start => run.end += length,
                _ => runs.push(start..start + length),
            }
        }
        let (mut rows, mut read) = (Vec::new(), 0);
        for run in runs {
            let limit = is_pinned.then_some(&entry.inputs);
            let computed =
                compute(&mut self.input, run, Stage::Revised, limit, &self.settings).await?;
            read += computed.read;
            if !is_pinned {
                entry.inputs.merge(&computed.pins);
            }
            for now in computed.rows {
                let revision = entry.revisions.get(&now.win).copied().unwrap_or_default();
                let before = self.output.before(now.win, revision).await?;
                let changed = changed(&before, &now, revision);
                if !(changed.paths.is_empty() && changed.ambiguous.is_empty()) {
                    rows.push(changed);
                }
            }
        }
        Ok((rows, read))
    }
}

/// From the first window that is revised to the end of the last, seconds.
fn span(entry: &Entry, window_s: i64) -> Range<i64> {
    let first = entry.revisions.keys().next().copied().unwrap_or_default();
    let last = entry.revisions.keys().next_back().copied().unwrap_or_default();
    first..last + window_s
}
