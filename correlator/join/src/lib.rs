//! The pure core: observations in, hop, path and ambiguous rows out.
//!
//! Enter through [`correlate`]. Invariants: the same observations in any order give the same rows;
//! each window is computed from its own read range alone, so that live, backfill and runs of any
//! length agree; nothing here does I/O, reads a clock or the environment, draws a random number or
//! iterates in hash order. Several threads share the work of a window where
//! its pieces are independent (`parallel`). What can't be decided is a row with its candidates and a reason, never a
//! guess: stages only add links, exact links are never overruled.
//!
//! The stages are the files of [`link`] and [`relay`], in this order: tuple with TCP sequence
//! number, NAT chain, span ids, access log of a proxy, then inside one pod span parent, thread,
//! containment and what times prove.

mod address;
mod clock;
mod columns;
mod comparison;
mod confidence;
mod coverage;
mod id;
mod interval;
mod link;
mod lists;
mod matching;
mod names;
mod order;
mod ownership;
mod parallel;
mod path;
mod reason;
mod relay;
mod row_map;
mod rows;
mod run;
mod sight;
mod slab;
mod slabs;
mod slow;
mod verdict;

#[cfg(test)]
mod seeded;

pub mod assignment;
pub mod calibration;
pub mod schedule;
pub mod skew;
pub mod statistical;
pub mod watermark;
pub mod window;

use std::ops::Range;

use arrow::array::RecordBatch;

pub use columns::{ColumnError, Columns, Observations, names_of_columns, repeated_columns};
pub use reason::Reason;
pub use run::Run;
pub use slow::Earlier;

/// What a deployment may set. Times are nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of the cluster; part of every path's identity.
    pub cluster: String,
    pub window_ns: i64,
    /// How far before a window its rows are read. Longer requests take the slow lane.
    pub guard_ns: i64,
    pub slow: SlowLimits,
    /// How long after a window's end it may still be revised.
    pub lateness_ns: i64,
    /// How long after a window's end the provisional rows are computed; spans come in batches.
    pub settle_ns: i64,
    /// How long after a window's end its rows are revised, ascending, where new raw rows touch it.
    pub revise_after_ns: Vec<i64>,
    /// Bound on the difference of two nodes' clocks. Only cross-node comparisons use it.
    pub skew_ns: i64,
    /// Live connections and NAT bindings are reported again after this time.
    pub active_timeout_ns: i64,
    /// How long the API server and kube-proxy may take to agree with what already happens.
    pub propagation_ns: i64,
    /// Threads that decide a window. The rows are the same for any number.
    pub threads: usize,
}

/// How far the slow lane goes: what is read by pod from before a window's range, where a request
/// lasted longer than the guard. What goes beyond stays missing, and is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowLimits {
    /// The longest request that is followed whole; up to the guard there is no slow lane. Less
    /// where the allowed lateness is not longer than this and the guard.
    pub back_ns: i64,
    /// Pods that are read back for one window.
    pub pods: usize,
    /// Exchanges of one pod that are read back for one window.
    pub exchanges: usize,
}

impl Default for SlowLimits {
    /// 32 pods of 20,000 exchanges are about 150 MB while their window is decided: a pod may serve
    /// and make 30 requests a second for ten minutes.
    fn default() -> Self {
        Self { back_ns: 600 * SECOND, pods: 32, exchanges: 20_000 }
    }
}

pub const SECOND: i64 = 1_000_000_000;

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster: "default".into(),
            window_ns: 10 * SECOND,
            guard_ns: 30 * SECOND,
            slow: SlowLimits::default(),
            lateness_ns: 15 * 60 * SECOND,
            settle_ns: 5 * SECOND,
            revise_after_ns: vec![60 * SECOND, 3 * 60 * SECOND, 7 * 60 * SECOND],
            skew_ns: SECOND / 10,
            active_timeout_ns: 60 * SECOND,
            propagation_ns: 10 * SECOND,
            threads: 1,
        }
    }
}

/// Which of a window's outputs is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// As soon as the watermark passed the window's end and the settle time.
    Provisional,
    /// Computed again some minutes later, when raw rows came that touch the window.
    Revised,
    /// When the allowed lateness is over: computed anew from raw rows, never revised again.
    Final,
}

impl Stage {
    /// Value of the column `stage`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Provisional => "P",
            Self::Revised => "R",
            Self::Final => "F",
        }
    }

    /// Value of the column `finality`.
    pub fn finality(self) -> &'static str {
        match self {
            Self::Provisional | Self::Revised => "provisional",
            Self::Final => "final",
        }
    }
}

/// The rows of one window, each table in its file order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowRows {
    /// Start of the window, seconds since the Unix epoch.
    pub win: i64,
    pub hops: Vec<tables::Hop>,
    pub ambiguous: Vec<tables::Ambiguous>,
    pub paths: Vec<tables::Path>,
    /// The rest sums the window up, and is there when the window is final.
    pub quality: Vec<tables::DataQuality>,
    pub clock_offsets: Vec<tables::ClockOffset>,
    pub edges: Vec<tables::EdgeMinute>,
    pub calibrations: Vec<tables::Calibration>,
}

/// Some of a window's paths and all their hops in Arrow columns. Texts may be dictionaries where the
/// table's contract says text.
#[derive(Clone, Debug, PartialEq)]
pub struct Batches {
    pub hops: RecordBatch,
    pub paths: RecordBatch,
}

/// Computes the windows that lie in `windows` (nanoseconds, start of the first to end of the last).
///
/// `observations` must hold the rows of [`window::read_range`] of the same windows, and for requests
/// longer than the guard those of [`window::furthest_range`]; more rows do no harm. Returns one entry
/// a window, in order, empty ones too.
pub fn correlate(
    windows: Range<i64>,
    stage: Stage,
    observations: &Observations,
    settings: &Settings,
) -> Vec<WindowRows> {
    // Rows of this release's types fit its columns.
    let columns = Columns::from_rows(observations)
        .unwrap_or_else(|e| panic!("rows do not fit the join's columns: {e}"));
    let range = window::read_range(windows.clone(), settings);
    let mut run = Run::new(stage, settings);
    run.add(columns.clone(), &(range.rows.start..range.long.end));
    let window = |window: Range<i64>| {
        while run.earlier(window.start).is_some() {
            run.reach_back(columns.clone());
        }
        run.window(window.start)
    };
    window::windows(windows, settings).map(window).collect()
}
