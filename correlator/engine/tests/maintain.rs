//! Maintenance under the correlator's feet: rows stay, windows can be written again, hours expire.

mod scene;

use std::collections::BTreeSet;
use std::time::Duration;

use engine::backfill::{Begin, Summary, backfill};
use engine::maintain::{Maintenance, Outcome, Policy, Task, Work};
use join::SECOND;
use scene::{Scene, T0};
use store::maintain::Limits;
use store::{Acquired, Store};
use tables::{Ambiguous, Exchange, Hop, Path, Row};

const HOUR_NS: i64 = 3_600 * SECOND;
const DAY_NS: i64 = 24 * HOUR_NS;

/// One request in each of five windows, final by backfill.
async fn five_windows() -> Scene {
    let mut scene = Scene::new().await;
    for end in [3, 13, 23, 33, 43] {
        scene.request(end).await;
    }
    scene.covered_to(120).await;
    assert_eq!(fill(&scene).await.changed, 5);
    scene
}

async fn fill(scene: &Scene) -> Summary {
    fill_to(scene, 60).await
}

async fn fill_to(scene: &Scene, second: i64) -> Summary {
    let (_keep, stop) = tokio::sync::watch::channel(false);
    let range = T0 * SECOND..(T0 + second) * SECOND;
    backfill(&scene.config(), range, Begin::Anew, &stop, |_| {}).await.unwrap()
}

async fn maintenance(scene: &Scene) -> Maintenance {
    let policy = Policy {
        limits: Limits { files_min: 2, ..Limits::default() },
        keep: Duration::from_secs(3_600),
        ..Policy::default()
    };
    Maintenance::open(&scene.config(), policy).await.unwrap()
}

/// One round, at this many nanoseconds after the first window.
async fn round(scene: &Scene, after_ns: i64) -> Vec<Task> {
    let (_keep, stop) = tokio::sync::watch::channel(false);
    let round = maintenance(scene).await;
    match round.round(T0 * SECOND + after_ns, &stop).await.unwrap() {
        Outcome::Done(tasks) => tasks,
        Outcome::Elsewhere { until_ms } => panic!("held until {until_ms}"),
    }
}

async fn files<R: Row>(scene: &Scene) -> Vec<String> {
    let store = Store::open(scene.folder.path().to_str().unwrap()).await.unwrap();
    let table = store.existing(&tables::spec::<R>()).await.unwrap().unwrap();
    let files = table.snapshot().await.unwrap().files;
    files.iter().map(|file| file.name().to_owned()).collect()
}

async fn derived(scene: &Scene) -> (Vec<Hop>, Vec<Ambiguous>, Vec<Path>) {
    (scene.rows().await, scene.rows().await, scene.rows().await)
}

/// Waits until live has done two windows.
async fn reach(scene: &Scene, stage: &str) {
    let store = Store::open(scene.folder.path().to_str().unwrap()).await.unwrap();
    for _ in 0..500 {
        if let Some(path) = store.existing(&tables::spec::<Path>()).await.unwrap()
            && path.progress(&format!("live/{stage}")).await.unwrap() > Some(T0 / 10)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{stage} is not reached");
}

/// What the commits of `path` say that their rows rest on, without repetition.
fn pins(scene: &Scene) -> BTreeSet<String> {
    let mut pins = BTreeSet::new();
    for version in 0..scene.versions("path") {
        let entry = scene.log("path").join(format!("{version:020}.json"));
        let text = std::fs::read_to_string(entry).unwrap();
        let info: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        pins.extend(info["commitInfo"]["userMetadata"].as_str().map(str::to_owned));
    }
    pins
}

fn compacted(tasks: &[Task]) -> Vec<&'static str> {
    let is_compaction = |task: &&Task| matches!(task.work, Work::Compacted { .. });
    tasks.iter().filter(is_compaction).map(|task| task.table).collect()
}

fn delete_derived(scene: &Scene) {
    for table in tables::all().into_iter().filter(|t| t.layer == tables::Layer::Derived) {
        // Not every scene gives rows to every table.
        let _ = std::fs::remove_dir_all(scene.folder.path().join(table.name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_a_settled_hour_are_one_file_and_a_second_round_finds_nothing() {
    let scene = five_windows().await;
    let before = derived(&scene).await;
    let planned = maintenance(&scene).await.plan(T0 * SECOND + 3 * HOUR_NS).await.unwrap();
    assert_eq!(files::<Path>(&scene).await.len(), 5, "a plan changes nothing");
    let tasks = round(&scene, 3 * HOUR_NS).await;
    assert_eq!(compacted(&tasks), compacted(&planned));
    assert!(compacted(&tasks).contains(&"path") && compacted(&tasks).contains(&"hop"));
    let names = files::<Path>(&scene).await;
    assert!(names.len() == 1 && names[0].starts_with("compacted-"), "{names:?}");
    assert_eq!(derived(&scene).await, before);
    assert_eq!(round(&scene, 3 * HOUR_NS).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn hour_is_left_alone_until_it_is_settled() {
    let scene = five_windows().await;
    assert_eq!(compacted(&round(&scene, HOUR_NS + 60 * SECOND).await), [""; 0]);
    // The live correlator has done two windows of the hour.
    let mut scene = Scene::new().await;
    scene.request(3).await;
    scene.request(13).await;
    scene.covered_to(70).await;
    scene.run_until("F", 2).await;
    assert_eq!(compacted(&round(&scene, 3 * HOUR_NS).await), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_over_a_compacted_hour_that_comes_out_the_same_commits_nothing() {
    let scene = five_windows().await;
    round(&scene, 3 * HOUR_NS).await;
    let versions = ["hop", "ambiguous", "path"].map(|table| scene.versions(table));
    let summary = fill(&scene).await;
    assert_eq!((summary.windows, summary.changed, summary.commits), (6, 0, 0));
    assert_eq!(["hop", "ambiguous", "path"].map(|table| scene.versions(table)), versions);
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_changes_one_window_of_a_compacted_hour() {
    let mut scene = five_windows().await;
    let windows = files::<Path>(&scene).await;
    round(&scene, 3 * HOUR_NS).await;
    scene.request(26).await;
    assert!(fill(&scene).await.changed > 0);
    let changed = files::<Path>(&scene).await;
    assert_eq!(changed.len(), 5);
    assert_eq!(changed[0], windows[0], "a window that stays has the file that it had");
    let after = derived(&scene).await;
    assert_eq!(after.2.len(), 6);
    assert_eq!(fill(&scene).await.changed, 0);
    round(&scene, 3 * HOUR_NS).await;
    assert_eq!(files::<Path>(&scene).await.len(), 1, "put together again");
    assert_eq!(derived(&scene).await, after);
    delete_derived(&scene);
    fill(&scene).await;
    assert_eq!(derived(&scene).await, after, "as if it had been there from the start");
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_rows_put_together_give_the_same_windows_from_the_same_inputs() {
    let scene = five_windows().await;
    let before = derived(&scene).await;
    let pinned = pins(&scene);
    let raw = scene.rows::<Exchange>().await;
    let tasks = round(&scene, 3 * HOUR_NS).await;
    assert!(compacted(&tasks).contains(&"raw_exchange"), "{tasks:?}");
    assert_eq!(files::<Exchange>(&scene).await.len(), 1);
    assert_eq!(scene.rows::<Exchange>().await, raw);
    delete_derived(&scene);
    assert_eq!(fill(&scene).await.changed, 5);
    assert_eq!(derived(&scene).await, before);
    assert_eq!((pinned.len(), pins(&scene)), (1, pinned));
}

#[tokio::test(flavor = "multi_thread")]
async fn live_correlator_sees_each_row_once_while_raw_rows_move() {
    let mut scene = Scene::new().await;
    for end in [3, 7, 14] {
        scene.request(end).await;
    }
    scene.covered_to(30).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let config = scene.config();
    let live = tokio::spawn(async move { engine::run::follow(&config, stopped).await.unwrap() });
    reach(&scene, "P").await;
    let store = Store::open(scene.folder.path().to_str().unwrap()).await.unwrap();
    let table = store.existing(&tables::spec::<Exchange>()).await.unwrap().unwrap();
    let group = table.snapshot().await.unwrap().files;
    let merged = table.merge(&group, "event_ns", "collector-1-3").await.unwrap();
    table.compact(group, merged).await.unwrap();
    scene.covered_to(60).await;
    reach(&scene, "F").await;
    stop.send(true).unwrap();
    live.await.unwrap();
    let live_rows = derived(&scene).await;
    assert_eq!(live_rows.2.len(), 3);
    delete_derived(&scene);
    fill_to(&scene, 20).await;
    assert_eq!(derived(&scene).await, live_rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_hours_expire_before_derived_ones_and_backfill_leaves_what_rests_on_them() {
    let scene = five_windows().await;
    let before = derived(&scene).await;
    let tasks = round(&scene, 32 * DAY_NS).await;
    let is_dropped = |task: &&Task| matches!(task.work, Work::Dropped { .. });
    let dropped: Vec<_> = tasks.iter().filter(is_dropped).map(|task| task.table).collect();
    assert!(dropped.contains(&"raw_exchange") && !dropped.contains(&"path"), "{dropped:?}");
    assert_eq!(files::<Exchange>(&scene).await, [""; 0]);
    assert_eq!(derived(&scene).await, before);
    // A row of that time which comes now must not replace what more rows had said.
    let mut scene = scene;
    scene.request(8).await;
    scene.covered_to(120).await;
    let summary = fill(&scene).await;
    assert_eq!((summary.windows, summary.changed), (0, 0));
    assert_eq!(derived(&scene).await, before);
    round(&scene, 182 * DAY_NS).await;
    assert_eq!(scene.rows::<Path>().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_process_maintains_the_tables() {
    let scene = five_windows().await;
    let store = Store::open(scene.folder.path().to_str().unwrap()).await.unwrap();
    let now_ns = T0 * SECOND + 3 * HOUR_NS;
    let Acquired::Ours(lease) = store.lease("maintenance", now_ns / 1_000_000).await.unwrap()
    else {
        panic!("nobody had it");
    };
    let (_keep, stop) = tokio::sync::watch::channel(false);
    let outcome = maintenance(&scene).await.round(now_ns, &stop).await.unwrap();
    assert!(matches!(outcome, Outcome::Elsewhere { .. }), "{outcome:?}");
    assert_eq!(files::<Path>(&scene).await.len(), 5);
    lease.release().await.unwrap();
    assert!(!round(&scene, 3 * HOUR_NS).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_leaves_the_rest_for_the_next_round() {
    let scene = five_windows().await;
    let (_keep, stop) = tokio::sync::watch::channel(true);
    let now_ns = T0 * SECOND + 3 * HOUR_NS;
    let outcome = maintenance(&scene).await.round(now_ns, &stop).await.unwrap();
    assert_eq!(outcome, Outcome::Done(Vec::new()));
    assert_eq!(files::<Path>(&scene).await.len(), 5);
}
