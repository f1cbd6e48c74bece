//! Where a run's rows come from: read for it window by window, or held already for all stages.

use std::ops::Range;

use join::window::{ReadRange, read_range};
use join::{Earlier, Run, Settings, Stage};

use super::Held;
use crate::input::{Input, InputError, Limit, Taken};
use crate::pins::Pins;

/// Gives a run the rows of one window after another, each row once.
pub(crate) struct Feed<'a> {
    input: &'a mut Input,
    /// What holds the rows of all windows that are asked for.
    held: Option<&'a mut Held>,
    limit: Limit<'a>,
    pub(super) settings: &'a Settings,
    /// How far it has read.
    upto: Option<ReadRange>,
    pub(super) pins: Pins,
    pub(super) read: usize,
}

impl<'a> Feed<'a> {
    /// Reads the rows that may be read.
    pub(crate) fn anew(input: &'a mut Input, limit: Limit<'a>, settings: &'a Settings) -> Self {
        Self { input, held: None, limit, settings, upto: None, pins: Pins::default(), read: 0 }
    }

    /// Takes all visible rows of windows from this one on, from where they are held.
    pub(crate) fn visible(
        input: &'a mut Input,
        held: &'a mut Held,
        first_ns: i64,
        settings: &'a Settings,
    ) -> Self {
        let held = held.holds(first_ns).then_some(held);
        let pins = held.as_ref().map(|held| held.pins()).unwrap_or_default();
        Self { held, pins, ..Self::anew(input, None, settings) }
    }

    pub(super) fn run(&mut self, stage: Stage) -> Run {
        let held = self.held.as_mut().and_then(|held| held.lend());
        let mut run = held.unwrap_or_else(|| Run::new(stage, self.settings));
        run.turn_to(stage);
        run
    }

    /// Ends the work of a run.
    pub(super) fn give_back(&mut self, run: Run) {
        if let Some(held) = &mut self.held {
            held.take_back(run);
        }
    }

    /// What the window needs and no window before it did, and the event times of those rows.
    pub(super) async fn read(&mut self, start_ns: i64) -> Result<Option<Stretch>, InputError> {
        if self.held.is_some() {
            return Ok(None);
        }
        let window_ns = self.settings.window_ns;
        let needed = read_range(start_ns..start_ns + window_ns, self.settings);
        let all = needed.rows.start..needed.long.end;
        // Rows come in whole windows: the links of one are not looked for again when the rest of
        // the next one comes.
        let whole = (needed.rows.end - start_ns + window_ns - 1) / window_ns * window_ns;
        let mut range = needed;
        range.rows.end = start_ns + whole;
        range.requests.start = range.rows.end;
        range.requests.end = range.requests.end.max(range.rows.end);
        let before = self.upto.replace(range.clone());
        if let Some(upto) = &before {
            range.rows.start = upto.rows.end;
            range.long.start = upto.long.end;
            range.connections.start = upto.connections.end;
            range.heartbeats.start = upto.heartbeats.end;
            range.cluster.start = upto.cluster.end;
        }
        // Heartbeats and bindings count for later windows too, also where nothing else happened.
        let mut taken = self.input.columns(&range, self.limit, self.settings).await?;
        let objects = self.input.objects(&range.cluster, before.is_none(), self.limit, &mut taken);
        objects.await?;
        self.pins.merge(&taken.pins);
        self.read += taken.rows;
        let rows = all.start..all.end.max(range.rows.end);
        Ok(Some(Stretch { start_ns, taken, rows }))
    }

    /// Hands the run the earlier rows that it asked for.
    pub(super) async fn read_back(
        &mut self,
        mut run: Run,
        earlier: &Earlier,
    ) -> Result<Run, InputError> {
        let take = |columns| run.reach_back(columns);
        let (pins, rows) = self.input.earlier(earlier, self.limit, take).await?;
        self.pins.merge(&pins);
        self.read += rows;
        Ok(run)
    }
}

/// Rows that a window needs and those before it did not.
pub(super) struct Stretch {
    start_ns: i64,
    taken: Taken,
    /// Event times that are looked at.
    rows: Range<i64>,
}

impl Stretch {
    pub(super) fn add_to(self, run: &mut Run) {
        for columns in self.taken.parts {
            run.add(columns, &self.rows);
        }
        run.forget_before(self.start_ns);
    }
}
