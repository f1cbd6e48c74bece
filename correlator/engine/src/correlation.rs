//! A run of adjacent windows: read stretch by stretch, each window computed when its rows are there.
//!
//! While one window is computed and encoded, the rows of the next are read and the files of the one
//! before are uploaded, so that two cores have work and a run of any length holds a few windows in
//! memory. A window with requests longer than the guard may ask for earlier rows; it waits for them.
//! Live windows take their rows from where they are [`Held`].

use std::collections::BTreeMap;
use std::ops::Range;

use join::{Earlier, Run, SECOND, Settings, Stage, WindowRows};

use crate::input::InputError;
use crate::output::{Counts, Output, Staged, Step, WindowColumns};
use crate::pins::Pins;

mod feed;
mod held;
mod sink;

pub(crate) use feed::Feed;
pub(crate) use held::Held;

use sink::{Kept, Revise, Sink, Upload};

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
    feed: Feed<'_>,
    windows: Range<i64>,
    stage: Stage,
) -> Result<Vec<WindowRows>, InputError> {
    let starts = starts(windows, feed.settings);
    let (_, Kept(rows)) = each(feed, &starts, stage, Kept(Vec::new())).await?;
    Ok(rows)
}

/// Computes windows again and compares them with their newest rows. Windows are given by their start
/// in seconds, each with the revision that it gets where it changed.
pub(crate) async fn revise(
    feed: Feed<'_>,
    output: &Output,
    revisions: &BTreeMap<i64, i32>,
) -> Result<Revised, InputError> {
    let starts: Vec<i64> = revisions.keys().map(|win| win * SECOND).collect();
    let revise = Revise { output, revisions, changed: Vec::new() };
    let (Feed { pins, read, .. }, Revise { changed, .. }) =
        each(feed, &starts, Stage::Revised, revise).await?;
    Ok(Revised { windows: changed, pins, read })
}

/// Computes the windows of a range and uploads their rows, for the commits of `step`.
pub(crate) async fn upload(
    feed: Feed<'_>,
    output: &Output,
    windows: Range<i64>,
    step: &Step,
) -> Result<Uploaded, InputError> {
    let starts = starts(windows, feed.settings);
    let upload = Upload { output, step, staged: Staged::default(), counts: Counts::default() };
    let (Feed { pins, read, .. }, Upload { staged, counts, .. }) =
        each(feed, &starts, step.stage(), upload).await?;
    Ok(Uploaded { staged, counts, pins, read })
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
    let Some(&first) = starts.first() else { return Ok((feed, sink)) };
    let mut run = feed.run(stage);
    let make = sink.maker();
    let mut next = feed.read(first).await?;
    let mut done: Option<(S::Window, S::Known)> = None;
    for (nth, &start) in starts.iter().enumerate() {
        let stretch = next.take();
        let make_it = make.clone();
        let compute = tokio::task::spawn_blocking(move || {
            if let Some(stretch) = stretch {
                stretch.add_to(&mut run);
            }
            look(run, start, make_it)
        });
        let read = async {
            match starts.get(nth + 1) {
                Some(&following) => feed.read(following).await,
                None => Ok(None),
            }
        };
        let write = async {
            match done.take() {
                Some((window, known)) => sink.take(window, known).await,
                None => Ok(()),
            }?;
            sink.look_up(start).await
        };
        let (computed, read, known) = tokio::join!(compute, read, write);
        let known = known?;
        next = read?;
        let mut looked = joined(computed);
        while let Some(earlier) = looked.earlier.take() {
            looked.run = feed.read_back(looked.run, &earlier).await?;
            let make_it = make.clone();
            let again = move || look(looked.run, start, make_it);
            looked = joined(tokio::task::spawn_blocking(again).await);
        }
        run = looked.run;
        done = looked.window.map(|window| (window, known));
    }
    feed.give_back(run);
    if let Some((window, known)) = done {
        sink.take(window, known).await?;
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
