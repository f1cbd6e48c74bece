//! Rows of the newest windows, read once as they come and kept for every stage of them.
//!
//! Each stage of a window looks at the guard band too, and so does each window after it. So the
//! live stages share one run of the join: what is sorted and linked in it stays so until rows come
//! that say something else. As many windows are held as there is memory for; older ones are read
//! for each of their stages. Nothing here can't be read again.

use std::ops::Range;

use join::window::{ReadRange, read_range, window_start};
use join::{Run, SECOND, Settings, Stage};

use super::joined;
use crate::input::{Input, InputError, Look, NO_LOOK};
use crate::pins::Pins;

/// What a raw row takes, about, until it is sorted and linked.
const BYTES_OF_ROW: u64 = 192;

/// Rows further ahead of the first window than this are left to a later beginning. A day of windows
/// without rows costs some megabytes.
const AHEAD_NS_MAX: i64 = 24 * 3_600 * SECOND;

pub(crate) struct Held {
    bytes_max: usize,
    rows: Option<Rows>,
}

struct Rows {
    /// None while a window is computed. Where that failed all is begun anew.
    run: Option<Run>,
    /// Start of the first window of which all rows are here.
    first_ns: i64,
    /// Rows before this are here.
    until_ns: i64,
    /// The look that the newest of them came with.
    look: Look,
    pins: Pins,
}

impl Held {
    /// Nothing yet, and later as much as fits into so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, rows: None }
    }

    /// Whether a window and those after it can be computed from what is held.
    pub(crate) fn holds(&self, start_ns: i64) -> bool {
        self.rows.as_ref().is_some_and(|rows| rows.run.is_some() && rows.first_ns <= start_ns)
    }

    /// Bytes of the rows of a window, about: of all that is held, shared by its windows up to the
    /// newest one.
    pub(crate) fn bytes_of_window(&self, newest_ns: i64, settings: &Settings) -> usize {
        let Some(rows) = &self.rows else { return 0 };
        let windows = (newest_ns - rows.first_ns) / settings.window_ns + 1;
        let bytes = rows.run.as_ref().map_or(0, Run::bytes);
        bytes / usize::try_from(windows).unwrap_or(1).max(1)
    }

    /// What all of it rests on.
    pub(super) fn pins(&self) -> Pins {
        self.rows.as_ref().map(|rows| rows.pins.clone()).unwrap_or_default()
    }

    pub(super) fn lend(&mut self) -> Option<Run> {
        self.rows.as_mut()?.run.take()
    }

    pub(super) fn take_back(&mut self, run: Run) {
        if let Some(rows) = &mut self.rows {
            rows.run = Some(run);
        }
    }

    /// Takes the rows that came with the newest look. Holds the windows from `newest_ns` on, where
    /// the next new one starts, and those before it that are held already and not final, as far as
    /// there is memory for them. Answers how many rows were read.
    pub(crate) async fn take_in(
        &mut self,
        input: &mut Input,
        open: Range<i64>,
        settings: &Settings,
    ) -> Result<usize, InputError> {
        if self.bytes_max == 0 {
            return Ok(0);
        }
        let known = self.rows.take().filter(|rows| rows.goes_on(input, open.end, settings));
        let mut rows = known.unwrap_or_else(|| Rows::begin(open.end, settings));
        rows.first_ns = rows.first_ns.max(open.start);
        // Whoever is far behind works through the past without holding all of what follows.
        let coming = input.rows_since(rows.look, &rows.range(settings)) * BYTES_OF_ROW;
        if usize::try_from(coming).is_ok_and(|coming| coming > self.bytes_max) {
            return Ok(0);
        }
        let (mut rows, read) = rows.take_in(input, settings).await?;
        if rows.fit(self.bytes_max, open.end, settings) {
            self.rows = Some(rows);
        }
        Ok(read)
    }
}

impl Rows {
    fn begin(first_ns: i64, settings: &Settings) -> Self {
        Self {
            run: Some(Run::new(Stage::Provisional, settings)),
            first_ns,
            until_ns: window_start(first_ns + AHEAD_NS_MAX, settings),
            look: NO_LOOK,
            pins: Pins::default(),
        }
    }

    /// Whether what came since is all that is missing.
    fn goes_on(&self, input: &Input, newest_ns: i64, settings: &Settings) -> bool {
        let range = self.range(settings);
        let ahead = read_range(newest_ns..newest_ns + settings.window_ns, settings).long.end;
        self.run.is_some()
            && self.first_ns <= newest_ns
            && ahead <= self.until_ns
            && self.look + 1 >= input.look()
            && !input.was_rewritten(range.cluster.start.min(range.connections.start))
    }

    /// What the first window needs, and all after it.
    fn range(&self, settings: &Settings) -> ReadRange {
        let mut range = read_range(self.first_ns..self.first_ns + settings.window_ns, settings);
        for times in
            [&mut range.rows, &mut range.connections, &mut range.heartbeats, &mut range.cluster]
        {
            times.end = self.until_ns;
        }
        range
    }

    async fn take_in(
        mut self,
        input: &mut Input,
        settings: &Settings,
    ) -> Result<(Self, usize), InputError> {
        let range = self.range(settings);
        let taken = input.columns_since(self.look, &range).await?;
        self.look = input.look();
        self.pins.merge(&taken.pins);
        let add = move || {
            if let Some(run) = &mut self.run {
                for columns in taken.parts {
                    run.add(columns, &range.rows);
                }
            }
            self
        };
        Ok((joined(tokio::task::spawn_blocking(add).await), taken.rows))
    }

    /// Drops windows, the oldest first, until what is left fits. False where that is not even the
    /// newest one.
    fn fit(&mut self, bytes_max: usize, newest_ns: i64, settings: &Settings) -> bool {
        let Some(run) = &mut self.run else { return false };
        run.forget_before(self.first_ns);
        while run.bytes() > bytes_max && self.first_ns < newest_ns {
            self.first_ns += settings.window_ns;
            run.forget_before(self.first_ns);
        }
        run.bytes() <= bytes_max
    }
}
