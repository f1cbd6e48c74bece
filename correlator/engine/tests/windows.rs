//! Windows through the whole correlator: raw tables in, derived tables out, with crashes between.

mod scene;

use engine::backfill::{Begin, Summary, backfill};
use join::SECOND;
use scene::{Scene, T0};
use tables::{Ambiguous, Hop, Path};

/// Three requests in the first two windows, everything shipped up to the given second.
async fn three_requests(covered_to: i64) -> Scene {
    let mut scene = Scene::new().await;
    for end in [3, 7, 14] {
        scene.request(end).await;
    }
    scene.covered_to(covered_to).await;
    scene
}

fn of(windows: &[(i64, &str)]) -> Vec<(i64, String)> {
    windows.iter().map(|(window, stage)| (*window, (*stage).to_owned())).collect()
}

async fn fill(scene: &Scene, from: i64, to: i64) -> Summary {
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let range = (T0 + from) * SECOND..(T0 + to) * SECOND;
    backfill(&scene.config(), range, Begin::Anew, &stopped, |_| {}).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn provisional_rows_are_replaced_by_final_ones() {
    let mut scene = three_requests(30).await;
    scene.run_until("P", 2).await;
    assert_eq!(scene.stages().await, of(&[(0, "P"), (0, "P"), (1, "P")]));
    scene.covered_to(60).await;
    scene.run_until("F", 2).await;
    assert_eq!(scene.stages().await, of(&[(0, "F"), (0, "F"), (1, "F")]));
    let hops = scene.rows::<Hop>().await;
    assert!(!hops.is_empty() && hops.iter().all(|hop| hop.finality == "final"));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_that_comes_late_is_in_the_final_rows() {
    let mut scene = three_requests(30).await;
    scene.run_until("P", 2).await;
    scene.request(8).await;
    scene.covered_to(60).await;
    scene.run_until("F", 2).await;
    assert_eq!(scene.stages().await, of(&[(0, "F"), (0, "F"), (0, "F"), (1, "F")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_completes_what_a_crash_between_two_tables_left() {
    for stage in ["P", "F"] {
        for lost in [&["path"][..], &["path", "ambiguous"], &["path", "ambiguous", "hop"]] {
            let mut scene = three_requests(if stage == "P" { 30 } else { 60 }).await;
            scene.run_until(stage, 2).await;
            let whole = (
                scene.rows::<Hop>().await,
                scene.rows::<Ambiguous>().await,
                scene.rows::<Path>().await,
            );
            for table in lost {
                scene.undo(table);
            }
            scene.restart().await;
            scene.run_until(stage, 2).await;
            let again = (
                scene.rows::<Hop>().await,
                scene.rows::<Ambiguous>().await,
                scene.rows::<Path>().await,
            );
            assert_eq!(again, whole, "{stage}, lost {lost:?}");
        }
    }
}

/// The rows of the first stage; a revision may follow at once.
async fn provisional(scene: &Scene) -> (Vec<Hop>, Vec<Path>) {
    let (mut hops, mut paths) = (scene.rows::<Hop>().await, scene.rows::<Path>().await);
    hops.retain(|row| row.stage == "P");
    paths.retain(|row| row.stage == "P");
    (hops, paths)
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_completes_an_attempt_from_the_raw_rows_that_it_had_begun_with() {
    let mut scene = three_requests(30).await;
    scene.run_until("P", 2).await;
    let whole = provisional(&scene).await;
    scene.undo("path");
    scene.request(5).await;
    scene.restart().await;
    scene.run_until("P", 2).await;
    assert_eq!(provisional(&scene).await, whole);
    scene.covered_to(60).await;
    scene.run_until("F", 2).await;
    assert_eq!(scene.stages().await, of(&[(0, "F"), (0, "F"), (0, "F"), (1, "F")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn attempt_whose_inputs_nobody_can_read_any_more_is_done_anew() {
    let mut scene = three_requests(30).await;
    scene.run_until("P", 2).await;
    scene.undo("path");
    scene.forget_metadata("hop");
    scene.request(5).await;
    scene.restart().await;
    scene.run_until("P", 2).await;
    let paths = scene.rows::<Path>().await;
    assert_eq!(paths.len(), 4);
    let hops = scene.rows::<Hop>().await;
    assert_eq!(hops.len(), paths.iter().map(|path| path.hops.len()).sum::<usize>());
}

#[tokio::test(flavor = "multi_thread")]
async fn job_that_starts_on_a_long_past_takes_none_of_it_for_late() {
    let mut scene = Scene::new().await;
    scene.request(3).await;
    for second in (30..=9_000).step_by(25) {
        scene.covered_to(second).await;
    }
    scene.request(8_900).await;
    scene.run_until("P", 890).await;
    let quality = scene.rows::<tables::DataQuality>().await;
    assert!(quality.iter().all(|row| row.check != "too_late"), "{quality:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_that_comes_after_live_changes_nothing() {
    let mut scene = three_requests(30).await;
    scene.run_until("P", 2).await;
    scene.covered_to(60).await;
    scene.run_until("F", 2).await;
    let versions = ["hop", "ambiguous", "path"].map(|table| scene.versions(table));
    let summary = fill(&scene, 0, 20).await;
    assert_eq!((summary.windows, summary.changed, summary.commits), (2, 0, 0));
    assert_eq!(["hop", "ambiguous", "path"].map(|table| scene.versions(table)), versions);
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_after_the_derived_tables_were_deleted_gives_equal_rows() {
    let scene = three_requests(60).await;
    scene.run_until("F", 2).await;
    let whole = (scene.rows::<Hop>().await, scene.rows::<Path>().await);
    scene.remove_derived();
    let first = fill(&scene, 0, 20).await;
    assert_eq!((first.changed, scene.rows::<Path>().await.len()), (2, 3));
    assert_eq!((scene.rows::<Hop>().await, scene.rows::<Path>().await), whole);
    let second = fill(&scene, 0, 20).await;
    assert_eq!((second.changed, second.commits), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_takes_up_a_row_that_came_too_late_for_live() {
    let mut scene = three_requests(60).await;
    scene.run_until("F", 2).await;
    scene.request(6).await;
    assert!(fill(&scene, 0, 20).await.changed > 0);
    assert_eq!(scene.stages().await, of(&[(0, "F"), (0, "F"), (0, "F"), (1, "F")]));
    assert_eq!(fill(&scene, 0, 20).await.changed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_leaves_windows_that_may_still_change() {
    let scene = three_requests(55).await;
    let summary = fill(&scene, 0, 20).await;
    assert_eq!((summary.windows, summary.skipped), (1, 1));
    assert_eq!(scene.stages().await, of(&[(0, "F"), (0, "F")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn final_commit_says_how_far_each_collector_had_come() {
    let scene = three_requests(60).await;
    scene.run_until("F", 2).await;
    let mut pinned = None;
    for version in 0..scene.versions("path") {
        let entry = scene.log("path").join(format!("{version:020}.json"));
        let text = std::fs::read_to_string(entry).unwrap();
        let info: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let Some(metadata) = info["commitInfo"]["userMetadata"].as_str() else { continue };
        let metadata: serde_json::Value = serde_json::from_str(metadata).unwrap();
        pinned = metadata["inputs"]["raw_access_log"]["collector-1"].as_i64().or(pinned);
    }
    // Two objects, and six rows of requests of which a line is the last.
    assert_eq!(pinned, Some(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_hours_are_few_commits() {
    let mut scene = three_requests(30).await;
    for second in (30..=3_600).step_by(25) {
        scene.covered_to(second).await;
    }
    scene.run_until("F", 300).await;
    assert!(scene.versions("path") < 25, "{} versions", scene.versions("path"));
    assert_eq!(scene.stages().await, of(&[(0, "F"), (0, "F"), (1, "F")]));
}
