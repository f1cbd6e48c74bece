//! Places at which a test may stop the process, one at every step of a commit.
//!
//! A test process sets a hook that aborts or waits at a point of its choice. Nothing else does:
//! there is no environment variable and no flag that reaches the hook, so that what is tested is
//! what is shipped. Without a hook a point is one load of an atomic, a few times a commit.

use std::fmt;
use std::sync::OnceLock;

use tables::Layer;

/// What was being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    Provisional,
    Revised,
    Final,
    /// That windows without rows are done.
    Empty,
    Backfill,
    /// How far a backfill has come.
    Mark,
    /// Rows that came too late for their window.
    Late,
    /// Maintenance: hours that are not kept any more.
    Retention,
    /// Maintenance: files of one hour that become one.
    Compaction,
    /// Maintenance: files that no version needs.
    Vacuum,
    /// Maintenance: the log as one file, and entries that it covers.
    Checkpoint,
    Trim,
}

/// How far it was, in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Rows are computed and nothing is written.
    Computed,
    /// Files of a table are there, and no commit names them.
    Uploaded(&'static str),
    /// What to commit is decided by what the table held.
    Decided(&'static str),
    /// The commit is in the table's log.
    Committed(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    pub work: Work,
    pub step: Step,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ", self.work)?;
        match self.step {
            Step::Computed => f.write_str("computed"),
            Step::Uploaded(table) => write!(f, "{table} uploaded"),
            Step::Decided(table) => write!(f, "{table} decided"),
            Step::Committed(table) => write!(f, "{table} committed"),
        }
    }
}

/// What maintenance does to all tables of a layer stands for each of them.
pub const RAW: &str = "raw tables";
pub const DERIVED: &str = "derived tables";

/// Before a window is final.
const OF_OPEN_WINDOWS: &[Step] = &[
    Step::Computed,
    Step::Uploaded("hop"),
    Step::Uploaded("ambiguous"),
    Step::Uploaded("path"),
    Step::Decided("hop"),
    Step::Committed("hop"),
    Step::Decided("ambiguous"),
    Step::Committed("ambiguous"),
    Step::Decided("path"),
    Step::Committed("path"),
];

const OF_FINAL_WINDOWS: &[Step] = &[
    Step::Computed,
    Step::Uploaded("hop"),
    Step::Uploaded("ambiguous"),
    Step::Uploaded("data_quality"),
    Step::Uploaded("clock_offset"),
    Step::Uploaded("edge_minute"),
    Step::Uploaded("calibration"),
    Step::Uploaded("path"),
    Step::Decided("hop"),
    Step::Committed("hop"),
    Step::Decided("ambiguous"),
    Step::Committed("ambiguous"),
    Step::Decided("data_quality"),
    Step::Committed("data_quality"),
    Step::Decided("clock_offset"),
    Step::Committed("clock_offset"),
    Step::Decided("edge_minute"),
    Step::Committed("edge_minute"),
    Step::Decided("calibration"),
    Step::Committed("calibration"),
    Step::Decided("path"),
    Step::Committed("path"),
];

const OF_MAINTENANCE: &[Step] =
    &[Step::Decided(RAW), Step::Committed(RAW), Step::Decided(DERIVED), Step::Committed(DERIVED)];

/// Every point there is.
pub const REGISTRY: &[(Work, &[Step])] = &[
    (Work::Provisional, OF_OPEN_WINDOWS),
    (Work::Revised, OF_OPEN_WINDOWS),
    (Work::Final, OF_FINAL_WINDOWS),
    (
        Work::Empty,
        &[
            Step::Decided("hop"),
            Step::Committed("hop"),
            Step::Decided("path"),
            Step::Committed("path"),
        ],
    ),
    (Work::Backfill, OF_FINAL_WINDOWS),
    (Work::Mark, &[Step::Decided("path"), Step::Committed("path")]),
    (
        Work::Late,
        &[
            Step::Computed,
            Step::Uploaded("ambiguous"),
            Step::Uploaded("data_quality"),
            Step::Decided("ambiguous"),
            Step::Committed("ambiguous"),
            Step::Decided("data_quality"),
            Step::Committed("data_quality"),
        ],
    ),
    (Work::Retention, OF_MAINTENANCE),
    (
        Work::Compaction,
        &[
            Step::Uploaded(RAW),
            Step::Decided(RAW),
            Step::Committed(RAW),
            Step::Uploaded(DERIVED),
            Step::Decided(DERIVED),
            Step::Committed(DERIVED),
        ],
    ),
    (Work::Vacuum, OF_MAINTENANCE),
    (Work::Checkpoint, OF_MAINTENANCE),
    (Work::Trim, OF_MAINTENANCE),
];

/// The points of the registry, one by one.
pub fn points() -> impl Iterator<Item = Point> {
    REGISTRY
        .iter()
        .flat_map(|(work, steps)| steps.iter().map(|step| Point { work: *work, step: *step }))
}

/// What stands for a table in maintenance.
pub(crate) fn layer(layer: Layer) -> &'static str {
    match layer {
        Layer::Raw => RAW,
        Layer::Derived => DERIVED,
    }
}

type Hook = Box<dyn Fn(Point) + Send + Sync>;

static HOOK: OnceLock<Hook> = OnceLock::new();

/// Calls this at every point from now on. The first hook of a process stays.
pub fn hook(hook: impl Fn(Point) + Send + Sync + 'static) {
    let _ = HOOK.set(Box::new(hook));
}

pub(crate) fn reach(work: Work, step: Step) {
    if let Some(hook) = HOOK.get() {
        let point = Point { work, step };
        debug_assert!(points().any(|known| known == point), "{point} is not in the registry");
        hook(point);
    }
}
