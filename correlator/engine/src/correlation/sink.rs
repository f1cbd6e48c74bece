//! What becomes of each window's rows: they are kept, uploaded, or compared with those before.

use std::collections::BTreeMap;

use join::{Run, SECOND, WindowRows};
use store::StoreError;

use super::joined;
use crate::input::InputError;
use crate::output::{Counts, Drafts, Output, Staged, Step, WindowBatches, WindowColumns};

pub(super) trait Sink: Send + Sync {
    type Window: Send + 'static;

    /// What is needed of the tables to take a window.
    type Known: Send;

    /// What makes them of a run, on another thread.
    fn maker(&self) -> impl Fn(&mut Run, i64) -> Self::Window + Clone + Send + 'static;

    /// Reads what is known of a window, while it is computed.
    fn look_up(
        &self,
        start_ns: i64,
    ) -> impl Future<Output = Result<Self::Known, InputError>> + Send;

    fn take(
        &mut self,
        window: Self::Window,
        known: Self::Known,
    ) -> impl Future<Output = Result<(), InputError>> + Send;
}

/// They are kept.
pub(super) struct Kept(pub(super) Vec<WindowRows>);

impl Sink for Kept {
    type Window = WindowRows;
    type Known = ();

    fn maker(&self) -> impl Fn(&mut Run, i64) -> WindowRows + Clone + Send + 'static {
        Run::window
    }

    async fn look_up(&self, _start_ns: i64) -> Result<(), InputError> {
        Ok(())
    }

    async fn take(&mut self, window: WindowRows, _known: ()) -> Result<(), InputError> {
        self.0.push(window);
        Ok(())
    }
}

/// They are encoded and uploaded.
pub(super) struct Upload<'a> {
    pub(super) output: &'a Output,
    pub(super) step: &'a Step,
    pub(super) staged: Staged,
    pub(super) counts: Counts,
}

impl Sink for Upload<'_> {
    type Window = Result<Drafts, StoreError>;
    type Known = ();

    fn maker(&self) -> impl Fn(&mut Run, i64) -> Self::Window + Clone + Send + 'static {
        let pen = self.output.pen(self.step);
        move |run, start_ns| pen.write(run, start_ns)
    }

    async fn look_up(&self, _start_ns: i64) -> Result<(), InputError> {
        Ok(())
    }

    async fn take(&mut self, window: Self::Window, _known: ()) -> Result<(), InputError> {
        let window = window?;
        self.counts.add(window.counts);
        self.staged.append(self.output.upload_window(window, self.step).await?);
        Ok(())
    }
}

/// They are compared with those before, and what changed is kept.
pub(super) struct Revise<'a> {
    pub(super) output: &'a Output,
    pub(super) revisions: &'a BTreeMap<i64, i32>,
    pub(super) changed: Vec<WindowColumns>,
}

impl Sink for Revise<'_> {
    type Window = Option<(i64, WindowBatches)>;
    /// The newest rows.
    type Known = WindowBatches;

    fn maker(&self) -> impl Fn(&mut Run, i64) -> Self::Window + Clone + Send + 'static {
        |run, start_ns| Some((start_ns / SECOND, WindowBatches::of(run, start_ns)?))
    }

    async fn look_up(&self, start_ns: i64) -> Result<WindowBatches, InputError> {
        let win = start_ns / SECOND;
        self.output.before(win, self.revision(win)).await
    }

    async fn take(
        &mut self,
        window: Self::Window,
        before: WindowBatches,
    ) -> Result<(), InputError> {
        let Some((win, now)) = window else { return Ok(()) };
        let revision = self.revision(win);
        let compare = move || WindowColumns::changed(win, &before, &now, revision);
        let changed = joined(tokio::task::spawn_blocking(compare).await)?;
        self.changed.extend(Some(changed).filter(|changed| !changed.is_empty()));
        Ok(())
    }
}

impl Revise<'_> {
    fn revision(&self, win: i64) -> i32 {
        self.revisions.get(&win).copied().unwrap_or_default()
    }
}
