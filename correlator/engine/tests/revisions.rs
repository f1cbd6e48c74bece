//! What is said of a window between provisional and final, and of rows that come after that.

mod scene;

use engine::backfill::{Begin, backfill};
use join::SECOND;
use scene::{Scene, T0};
use tables::{Ambiguous, DataQuality, Hop, Path};

/// Two requests, and what contradicts itself, all in the first two windows.
async fn two_requests() -> Scene {
    let mut scene = Scene::new().await;
    scene.request(3).await;
    scene.request(14).await;
    scene.malformed(6).await;
    scene.covered_to(26).await;
    scene.run_until("P", 2).await;
    scene
}

/// (window after the start, stage, revision, finality) of each path, sorted.
async fn paths(scene: &Scene) -> Vec<(i64, String, i32, String)> {
    let rows = scene.rows::<Path>().await;
    let mut paths: Vec<_> = rows
        .into_iter()
        .map(|path| ((path.win - T0) / 10, path.stage, path.revision, path.finality))
        .collect();
    paths.sort();
    paths
}

/// (second of the window, table, count) of rows that were told to be too late.
async fn too_late(scene: &Scene) -> Vec<(i64, String, i64)> {
    let rows = scene.rows::<DataQuality>().await.into_iter();
    let late = rows.filter(|row| row.check == "too_late");
    late.map(|row| (row.win - T0, row.subject, row.count)).collect()
}

fn path(window: i64, stage: &str, revision: i32, finality: &str) -> (i64, String, i32, String) {
    (window, stage.to_owned(), revision, finality.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late_is_added_and_nothing_else_is_written_again() {
    let mut scene = two_requests().await;
    scene.request(5).await;
    scene.malformed(7).await;
    scene.covered_to(41).await;
    scene.run_until("R", 4).await;
    let before = [path(0, "P", 0, "provisional"), path(1, "P", 0, "provisional")];
    let added = path(0, "R", 1, "provisional");
    assert_eq!(paths(&scene).await, [before[0].clone(), added, before[1].clone()]);
    let hops = scene.rows::<Hop>().await;
    assert_eq!(hops.iter().filter(|hop| hop.revision == 1).count(), 1);
    // What belongs to no path is revised together: the revision has both.
    let malformed = scene.rows::<Ambiguous>().await;
    let of = |revision: i32| malformed.iter().filter(|row| row.revision == revision).count();
    assert_eq!((of(0), of(1)), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn path_that_merges_into_another_is_withdrawn_and_final_rows_replace_all() {
    let mut scene = two_requests().await;
    scene.client_of_request(3).await;
    scene.covered_to(41).await;
    scene.run_until("R", 4).await;
    let revised = paths(&scene).await;
    assert!(revised.contains(&path(0, "R", 1, "withdrawn")), "{revised:?}");
    let gone: Vec<_> =
        scene.rows::<Hop>().await.into_iter().filter(|h| h.finality == "withdrawn").collect();
    assert_eq!(gone.len(), 1);
    scene.covered_to(75).await;
    scene.run_until("F", 3).await;
    assert!(paths(&scene).await.iter().all(|(_, stage, ..)| stage == "F"));
    assert!(scene.rows::<Hop>().await.iter().all(|hop| hop.finality == "final"));
}

#[tokio::test(flavor = "multi_thread")]
async fn window_that_comes_out_the_same_is_not_written_again() {
    let mut scene = two_requests().await;
    let versions = scene.versions("ambiguous");
    // It touches the first two windows and changes nothing in them.
    scene.failure(9).await;
    scene.request(24).await;
    scene.covered_to(41).await;
    scene.run_until("P", 3).await;
    let stages: Vec<_> = paths(&scene).await.into_iter().map(|(_, stage, ..)| stage).collect();
    assert_eq!(stages, ["P", "P", "P"]);
    assert_eq!(scene.versions("ambiguous"), versions);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_after_final_are_told_once_and_a_backfill_takes_them_up() {
    let mut scene = two_requests().await;
    scene.covered_to(75).await;
    scene.run_until("F", 3).await;
    assert_eq!(too_late(&scene).await, []);
    scene.request(4).await;
    scene.request(41).await;
    for _ in 0..2 {
        // A restart tells nothing twice.
        scene.run_until("late", 1).await;
        let of = |table: &str| (0, table.to_owned(), 1);
        assert_eq!(too_late(&scene).await, [of("raw_access_log"), of("raw_exchange")]);
    }
    let named = async |scene: &Scene| {
        let rows = scene.rows::<Ambiguous>().await;
        rows.iter().filter(|row| row.reason == "FAIL_TOO_LATE").count()
    };
    assert_eq!(named(&scene).await, 2);
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let range = T0 * SECOND..(T0 + 30) * SECOND;
    let fill = async || {
        backfill(&scene.config(), range.clone(), Begin::Anew, &stopped, |_| {}).await.unwrap()
    };
    assert_eq!(fill().await.generation, Some(1));
    assert_eq!((named(&scene).await, too_late(&scene).await), (0, Vec::new()));
    // The request of the fifth window is none of the backfill's: a revision may have told of it.
    let filled = paths(&scene).await.into_iter().filter(|(window, ..)| *window < 3);
    assert_eq!(filled.count(), 3);
    let again = fill().await;
    assert_eq!((again.changed, again.commits, again.generation), (0, 0, None));
}
