//! A run of adjacent windows: read stretch by stretch, each window computed when its rows are there.
//!
//! While one window is computed and encoded, the rows of the next are read and the files of the one
//! before are uploaded, so that two cores have work and a run of any length holds a few windows in
//! memory. A window with requests longer than the guard may ask for earlier rows; it waits for them.

use std::collections::BTreeMap;
use std::ops::Range;

use join::window::{ReadRange, read_range};
use join::{Earlier, Run, SECOND, Settings, Stage, WindowRows};
use store::StoreError;

use crate::input::{Input, InputError, Limit, Taken};
use crate::output::{Counts, Drafts, Output, RevisionError, Staged, Step, WindowColumns};
use crate::pins::Pins;

/// The uploaded files of a run of windows and what they rest on.
pub(crate) struct Uploaded {
    pub(crate) staged: Staged,
    pub(crate) counts: Counts,
    pub(crate) pins: Pins,
    /// Raw rows read.
    pub(crate) read: usize,
}

/// What windows say that they did not say before, and what it rests on.
pub(crate) struct Revised {
    pub(crate) windows: Vec<WindowColumns>,
    pub(crate) pins: Pins,
    /// Raw rows read.
    pub(crate) read: usize,
}

/// Computes the windows of a range as rows, for who looks at single rows.
pub(crate) async fn compute(
    input: &mut Input,
    windows: Range<i64>,
    stage: Stage,
    limit: Limit<'_>,
    settings: &Settings,
) -> Result<Vec<WindowRows>, InputError> {
    let feed = Feed::new(input, limit, settings);
    let starts = starts(windows, settings);
    let (_, Kept(rows)) = each(feed, &starts, stage, Kept(Vec::new())).await?;
    Ok(rows)
}

/// Computes windows again and compares them with their newest rows. Windows are given by their start
/// in seconds, each with the revision that it gets where it changed.
pub(crate) async fn revise(
    input: &mut Input,
    output: &Output,
    revisions: &BTreeMap<i64, i32>,
    limit: Limit<'_>,
    settings: &Settings,
) -> Result<Revised, InputError> {
    let feed = Feed::new(input, limit, settings);
    let starts: Vec<i64> = revisions.keys().map(|win| win * SECOND).collect();
    let revise = Revise { output, revisions, changed: Vec::new() };
    let (Feed { pins, read, .. }, Revise { changed, .. }) =
        each(feed, &starts, Stage::Revised, revise).await?;
    Ok(Revised { windows: changed, pins, read })
}

/// Computes the windows of a range and uploads their rows, for the commits of `step`.
pub(crate) async fn upload(
    input: &mut Input,
    output: &Output,
    windows: Range<i64>,
    step: &Step,
    limit: Limit<'_>,
    settings: &Settings,
) -> Result<Uploaded, InputError> {
    let feed = Feed::new(input, limit, settings);
    let upload = Upload { output, step, staged: Staged::default(), counts: Counts::default() };
    let (Feed { pins, read, .. }, Upload { staged, counts, .. }) =
        each(feed, &starts(windows, settings), step.stage(), upload).await?;
    Ok(Uploaded { staged, counts, pins, read })
}

/// What becomes of each window's rows.
trait Sink: Send {
    type Window: Send + 'static;

    /// What makes them of a run, on another thread.
    fn maker(&self) -> impl Fn(&mut Run, i64) -> Self::Window + Clone + Send + 'static;

    fn take(&mut self, window: Self::Window)
    -> impl Future<Output = Result<(), InputError>> + Send;
}

/// They are kept.
struct Kept(Vec<WindowRows>);

impl Sink for Kept {
    type Window = WindowRows;

    fn maker(&self) -> impl Fn(&mut Run, i64) -> WindowRows + Clone + Send + 'static {
        Run::window
    }

    async fn take(&mut self, window: WindowRows) -> Result<(), InputError> {
        self.0.push(window);
        Ok(())
    }
}

/// They are encoded and uploaded.
struct Upload<'a> {
    output: &'a Output,
    step: &'a Step,
    staged: Staged,
    counts: Counts,
}

impl Sink for Upload<'_> {
    type Window = Result<Drafts, StoreError>;

    fn maker(&self) -> impl Fn(&mut Run, i64) -> Self::Window + Clone + Send + 'static {
        let pen = self.output.pen(self.step);
        move |run, start_ns| pen.write(run, start_ns)
    }

    async fn take(&mut self, window: Self::Window) -> Result<(), InputError> {
        let window = window?;
        self.counts.add(window.counts);
        self.staged.append(self.output.upload_window(window, self.step).await?);
        Ok(())
    }
}

/// They are compared with those before, and what changed is kept.
struct Revise<'a> {
    output: &'a Output,
    revisions: &'a BTreeMap<i64, i32>,
    changed: Vec<WindowColumns>,
}

impl Sink for Revise<'_> {
    type Window = Option<Result<WindowColumns, RevisionError>>;

    fn maker(&self) -> impl Fn(&mut Run, i64) -> Self::Window + Clone + Send + 'static {
        WindowColumns::of
    }

    async fn take(&mut self, window: Self::Window) -> Result<(), InputError> {
        let Some(window) = window.transpose()? else { return Ok(()) };
        let revision = self.revisions.get(&window.win).copied().unwrap_or_default();
        let before = self.output.before(window.win, revision).await?;
        let compare = move || before.changed_to(&window, revision);
        let changed = joined(tokio::task::spawn_blocking(compare).await)?;
        self.changed.extend(Some(changed).filter(|changed| !changed.is_empty()));
        Ok(())
    }
}

fn starts(windows: Range<i64>, settings: &Settings) -> Vec<i64> {
    join::window::windows(windows, settings).map(|window| window.start).collect()
}

/// Hands the rows of each of these windows to `sink`, in order.
async fn each<'a, S: Sink>(
    mut feed: Feed<'a>,
    starts: &[i64],
    stage: Stage,
    mut sink: S,
) -> Result<(Feed<'a>, S), InputError> {
    let mut run = Run::new(stage, feed.settings);
    let make = sink.maker();
    let Some(&first) = starts.first() else { return Ok((feed, sink)) };
    let mut next = feed.read(first).await?;
    let mut done: Option<S::Window> = None;
    for (nth, &start) in starts.iter().enumerate() {
        let (taken, rows) = std::mem::take(&mut next);
        let make_it = make.clone();
        let compute = tokio::task::spawn_blocking(move || {
            for columns in taken.parts {
                run.add(columns, &rows);
            }
            run.forget_before(start);
            look(run, start, make_it)
        });
        let read = async {
            match starts.get(nth + 1) {
                Some(&following) => feed.read(following).await,
                None => Ok(Default::default()),
            }
        };
        let write = async {
            match done.take() {
                Some(window) => sink.take(window).await,
                None => Ok(()),
            }
        };
        let (computed, read, written) = tokio::join!(compute, read, write);
        written?;
        next = read?;
        let mut looked = joined(computed);
        while let Some(earlier) = looked.earlier.take() {
            looked.run = feed.read_back(looked.run, &earlier).await?;
            let make_it = make.clone();
            let again = move || look(looked.run, start, make_it);
            looked = joined(tokio::task::spawn_blocking(again).await);
        }
        run = looked.run;
        done = looked.window;
    }
    if let Some(window) = done {
        sink.take(window).await?;
    }
    Ok((feed, sink))
}

/// A run that looked at a window: it needs earlier rows, or computed it.
struct Looked<W> {
    run: Run,
    earlier: Option<Earlier>,
    window: Option<W>,
}

fn look<W>(mut run: Run, start_ns: i64, make: impl Fn(&mut Run, i64) -> W) -> Looked<W> {
    let earlier = run.earlier(start_ns);
    let window = earlier.is_none().then(|| make(&mut run, start_ns));
    Looked { run, earlier, window }
}

/// A bug in the pure core: the panic goes on where it can be seen.
fn joined<T>(done: Result<T, tokio::task::JoinError>) -> T {
    done.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
}

/// Reads the rows of one window after another, each row once.
struct Feed<'a> {
    input: &'a mut Input,
    limit: Limit<'a>,
    settings: &'a Settings,
    /// How far it has read.
    upto: Option<ReadRange>,
    pins: Pins,
    read: usize,
}

impl<'a> Feed<'a> {
    fn new(input: &'a mut Input, limit: Limit<'a>, settings: &'a Settings) -> Self {
        Self { input, limit, settings, upto: None, pins: Pins::default(), read: 0 }
    }

    /// What the window needs and no window before it did, and the event times of those rows.
    async fn read(&mut self, start_ns: i64) -> Result<(Taken, Range<i64>), InputError> {
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
        let all = all.start..all.end.max(range.rows.end);
        Ok((taken, all))
    }

    /// Hands the run the earlier rows that it asked for.
    async fn read_back(&mut self, mut run: Run, earlier: &Earlier) -> Result<Run, InputError> {
        let take = |columns| run.reach_back(columns);
        let (pins, rows) = self.input.earlier(earlier, self.limit, take).await?;
        self.pins.merge(&pins);
        self.read += rows;
        Ok(run)
    }
}
