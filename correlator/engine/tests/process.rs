//! Correlators as processes: killed at every step of a commit or of maintenance, two at once, and one
//! that sleeps.
//!
//! Each process is this test binary again, with [`child`] as the only test. What it does stands in
//! its environment; the parent writes the raw rows, phase by phase.

mod scene;

use std::path::{Path as FilePath, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engine::Config;
use engine::backfill::{Begin, backfill};
use engine::failpoint::{self, Step, Work};
use engine::maintain::{Maintenance, Outcome, Policy};
use join::SECOND;
use scene::{Scene, T0, follow_until};
use store::maintain::Limits;
use tables::{Ambiguous, Calibration, ClockOffset, DataQuality, EdgeMinute, Hop, Path};

/// How long a process sleeps at least. Sixty seconds teach nothing that two do not: what another
/// process does meanwhile is waited for, and commits know no time that could run out. Only
/// maintenance does, by its lease; there the clock is an argument, and goes beyond it.
const FROZEN: Duration = Duration::from_secs(2);

/// What a process is started for: a stage and how far, a backfill to a second, or maintenance so many
/// hours after the start.
const PHASES: [(&str, i64); 7] = [
    ("P", 2),
    ("R", 4),
    ("F", 3),
    ("late", 1),
    ("backfill", 60),
    ("maintain", 3),
    ("maintain", 200 * 24),
];

/// Calls between two nodes that show how their clocks and the network are.
const PAIRS: i64 = 150;

/// Phases before maintenance.
const CORRELATING: usize = 5;

/// The phase in which work is done.
fn phase_of(work: Work) -> usize {
    match work {
        Work::Provisional => 0,
        Work::Revised | Work::Empty => 1,
        Work::Final => 2,
        Work::Late => 3,
        Work::Backfill | Work::Mark => 4,
        Work::Compaction | Work::Checkpoint => 5,
        Work::Retention | Work::Vacuum | Work::Trim => 6,
    }
}

/// Raw rows that a phase begins with.
async fn raw_rows(scene: &mut Scene, phase: usize) {
    match phase {
        0 => {
            scene.second_node().await;
            scene.covered_to(-10).await;
            scene.pairs(0..PAIRS).await;
            scene.unnumbered_pair(900, 8_000).await;
            scene.request(3).await;
            scene.request(14).await;
            scene.call(5).await;
            scene.call(15).await;
            scene.malformed(6).await;
            scene.covered_to(26).await;
        }
        1 => {
            scene.request(5).await;
            scene.client_of_request(3).await;
            scene.malformed(7).await;
            scene.covered_to(46).await;
        }
        2 => scene.covered_to(75).await,
        3 => {
            scene.request(4).await;
            scene.pairs(PAIRS..PAIRS + 1).await;
            scene.covered_to(76).await;
        }
        5 => {
            scene.lengthen_log("raw_exchange", 300);
            scene.lengthen_log("path", 300);
        }
        _ => {}
    }
}

/// How a process ends or waits at a point.
#[derive(Clone, Copy)]
enum At<'a> {
    Nothing,
    Abort(&'a str),
    /// Once: writes this file, and goes on when the other one is there.
    Freeze(&'a str, &'a FilePath),
}

fn spawn(config: &Config, phase: usize, at: At<'_>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--nocapture"]);
    command.env("CHILD_TABLES", &config.tables).env("CHILD_PHASE", phase.to_string());
    match at {
        At::Nothing => {}
        At::Abort(point) => {
            command.env("CHILD_POINT", point);
        }
        At::Freeze(point, marker) => {
            command.env("CHILD_POINT", point).env("CHILD_MARKER", marker);
        }
    }
    // A process that is to die would only say so.
    let stderr = if matches!(at, At::Abort(_)) { Stdio::null() } else { Stdio::inherit() };
    command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap()
}

/// Not a test: what a child process does.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the other tests in processes of their own"]
async fn child() {
    let variable = |name: &str| std::env::var(name).ok();
    let Some(tables) = variable("CHILD_TABLES") else { return };
    let phase: usize = variable("CHILD_PHASE").unwrap().parse().unwrap();
    if let Some(wanted) = variable("CHILD_POINT") {
        let marker = variable("CHILD_MARKER").map(PathBuf::from);
        let was_there = AtomicBool::new(false);
        failpoint::hook(move |point| {
            if point.to_string() != wanted {
                return;
            }
            let Some(marker) = &marker else { std::process::abort() };
            if !was_there.swap(true, Ordering::SeqCst) {
                std::fs::write(marker, "").unwrap();
                while !thawed(marker).exists() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
    }
    let config = Config { tables, ..scene::config() };
    work(&config, phase).await;
}

async fn work(config: &Config, phase: usize) {
    let (what, count) = PHASES[phase];
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    match what {
        "backfill" => {
            let range = T0 * SECOND..(T0 + count) * SECOND;
            backfill(config, range, Begin::WhereItStopped, &stopped, |_| {}).await.unwrap();
        }
        "maintain" => maintain(config, (T0 + count * 3_600) * SECOND).await,
        stage => follow_until(config, stage, count).await,
    }
}

/// One round of maintenance, as soon as a lease that somebody holds is over.
async fn maintain(config: &Config, mut now_ns: i64) {
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let limits = Limits { files_min: 2, ..Limits::default() };
    let policy = Policy { limits, ..Policy::default() };
    // Of another job, which has no say in when an hour is over.
    let config = Config { job: "maintenance".to_owned(), ..config.clone() };
    let maintenance = Maintenance::open(&config, policy).await.unwrap();
    while let Outcome::Elsewhere { until_ms } = maintenance.round(now_ns, &stopped).await.unwrap() {
        now_ns = now_ns.max(until_ms * (SECOND / 1_000));
    }
}

/// Rows and files of the derived tables, and files of the raw ones.
async fn derived(scene: &Scene) -> (Vec<String>, Vec<String>) {
    let mut rows: Vec<String> = Vec::new();
    rows.extend(scene.rows::<Hop>().await.iter().map(|row| format!("{row:?}")));
    rows.extend(scene.rows::<Ambiguous>().await.iter().map(|row| format!("{row:?}")));
    rows.extend(scene.rows::<Path>().await.iter().map(|row| format!("{row:?}")));
    rows.extend(scene.rows::<DataQuality>().await.iter().map(|row| format!("{row:?}")));
    rows.extend(scene.rows::<EdgeMinute>().await.iter().map(|row| format!("{row:?}")));
    rows.extend(scene.rows::<ClockOffset>().await.iter().map(|row| format!("{row:?}")));
    rows.extend(scene.rows::<Calibration>().await.iter().map(|row| format!("{row:?}")));
    (rows, scene.files().await)
}

/// The run that nobody disturbs: the tables before and after each phase.
struct Undisturbed {
    before: Vec<Scene>,
    after: Vec<(Vec<String>, Vec<String>)>,
}

impl Undisturbed {
    async fn run() -> Self {
        let mut scene = Scene::new().await;
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for phase in 0..PHASES.len() {
            raw_rows(&mut scene, phase).await;
            before.push(scene.copy().await);
            work(&scene.config(), phase).await;
            after.push(derived(&scene).await);
        }
        Self { before, after }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn process_killed_at_any_step_of_a_commit_and_restarted_leaves_equal_tables() {
    let undisturbed = Undisturbed::run().await;
    let mut wrong = Vec::new();
    let mut seen = 0;
    for point in failpoint::points() {
        let phase = phase_of(point.work);
        let scene = undisturbed.before[phase].copy().await;
        let name = point.to_string();
        let status = spawn(&scene.config(), phase, At::Abort(&name)).wait().unwrap();
        seen += 1;
        if status.success() {
            wrong.push(format!("{name}: never reached"));
            continue;
        }
        work(&scene.config(), phase).await;
        if derived(&scene).await != undisturbed.after[phase] {
            wrong.push(format!("{name}: other tables after the restart"));
        }
    }
    assert!(seen > 80, "{seen} points");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A process that went to sleep between its look at a table and its commit.
struct Frozen {
    process: Child,
    marker: PathBuf,
    since: Instant,
}

impl Frozen {
    async fn at(scene: &Scene, work: Work, table: &'static str) -> Self {
        let point = failpoint::Point { work, step: Step::Decided(table) }.to_string();
        let marker = scene.folder.path().join("marker");
        let process = spawn(&scene.config(), phase_of(work), At::Freeze(&point, &marker));
        wait_for(&marker).await;
        signal("-STOP", &process);
        Self { process, marker, since: Instant::now() }
    }

    /// Wakes it once it has slept for long enough, and waits for its end.
    async fn thaw(mut self) -> ExitStatus {
        tokio::time::sleep(FROZEN.saturating_sub(self.since.elapsed())).await;
        std::fs::write(thawed(&self.marker), "").unwrap();
        signal("-CONT", &self.process);
        self.process.wait().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn process_frozen_before_its_commit_disturbs_nothing_that_another_did_meanwhile() {
    let undisturbed = Undisturbed::run().await;
    let mut wrong = Vec::new();
    for (sleeps_in, table) in [
        (Work::Provisional, "hop"),
        (Work::Provisional, "path"),
        (Work::Revised, "hop"),
        (Work::Revised, "path"),
        (Work::Final, "hop"),
        (Work::Final, "ambiguous"),
        (Work::Final, "data_quality"),
        (Work::Final, "calibration"),
        (Work::Final, "path"),
        (Work::Late, "ambiguous"),
    ] {
        let first = phase_of(sleeps_in);
        let mut scene = undisturbed.before[first].copy().await;
        let frozen = Frozen::at(&scene, sleeps_in, table).await;
        // Another process does this phase and all that follow.
        work(&scene.config(), first).await;
        for phase in first + 1..CORRELATING {
            raw_rows(&mut scene, phase).await;
            work(&scene.config(), phase).await;
        }
        let ended = frozen.thaw().await;
        if !ended.success() || derived(&scene).await != undisturbed.after[CORRELATING - 1] {
            wrong.push(format!("{sleeps_in:?} {table}, {ended}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn process_frozen_before_its_commit_adds_nothing_to_windows_that_became_final_meanwhile() {
    let undisturbed = Undisturbed::run().await;
    let mut wrong = Vec::new();
    for (sleeps_in, table) in [
        (Work::Provisional, "hop"),
        (Work::Provisional, "ambiguous"),
        (Work::Provisional, "path"),
        (Work::Revised, "hop"),
        (Work::Revised, "ambiguous"),
        (Work::Revised, "path"),
    ] {
        let mut scene = undisturbed.before[phase_of(sleeps_in)].copy().await;
        let frozen = Frozen::at(&scene, sleeps_in, table).await;
        // Another process finds so much that it makes windows final at once, and dies of that: it
        // never said a word about the stage that the first one is in.
        for phase in phase_of(sleeps_in) + 1..=phase_of(Work::Final) {
            raw_rows(&mut scene, phase).await;
        }
        let point = At::Abort("Final path committed");
        let status = spawn(&scene.config(), phase_of(Work::Final), point).wait().unwrap();
        assert!(!status.success());
        let ended = frozen.thaw().await;
        if !ended.success() || derived(&scene).await != undisturbed.after[phase_of(Work::Final)] {
            wrong.push(format!("{sleeps_in:?} {table}, {ended}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_frozen_for_longer_than_its_lease_disturbs_nothing_that_another_did_meanwhile()
{
    let undisturbed = Undisturbed::run().await;
    let mut wrong = Vec::new();
    for (sleeps_in, layer) in [
        (Work::Compaction, failpoint::RAW),
        (Work::Compaction, failpoint::DERIVED),
        (Work::Checkpoint, failpoint::DERIVED),
        (Work::Retention, failpoint::RAW),
        (Work::Vacuum, failpoint::DERIVED),
        (Work::Trim, failpoint::DERIVED),
    ] {
        let phase = phase_of(sleeps_in);
        let scene = undisturbed.before[phase].copy().await;
        let frozen = Frozen::at(&scene, sleeps_in, layer).await;
        // Another process waits, by its clock, until the lease is over, and does all of it.
        work(&scene.config(), phase).await;
        let ended = frozen.thaw().await;
        if !ended.success() || derived(&scene).await != undisturbed.after[phase] {
            wrong.push(format!("{sleeps_in:?} {layer}, {ended}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_at_once_leave_the_tables_that_one_leaves() {
    let undisturbed = Undisturbed::run().await;
    for first in 0..PHASES.len() {
        let scene = undisturbed.before[first].copy().await;
        let config = scene.config();
        let mut both = [(); 2].map(|()| spawn(&config, first, At::Nothing));
        for process in &mut both {
            assert!(process.wait().unwrap().success(), "phase {first}");
        }
        assert!(derived(&scene).await == undisturbed.after[first], "phase {first}");
    }
}

async fn wait_for(marker: &FilePath) {
    for _ in 0..6_000 {
        if marker.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no process came to {}", marker.display());
}

/// Where a process looks whether it may go on.
fn thawed(marker: &FilePath) -> PathBuf {
    marker.with_extension("thawed")
}

fn signal(signal: &str, process: &Child) {
    let id = process.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success(), "{signal}");
}
