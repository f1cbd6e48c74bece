//! The same rows in the same bytes, whoever computes them: live over arrivals that come in any
//! order, or a backfill in runs of any length. Files are named by their content.

mod scene;

use engine::Config;
use engine::backfill::{Begin, backfill};
use join::SECOND;
use scene::{Scene, T0};
use tokio::sync::OnceCell;

/// Windows of the scene: more than the longest run.
const WINDOWS: i64 = 66;

static FOLLOWED: OnceCell<Scene> = OnceCell::const_new();

/// Requests and calls over all windows, some of them late, followed by a live correlator.
async fn followed() -> Scene {
    let mut scene = Scene::new().await;
    let mut held_back: Vec<i64> = Vec::new();
    for second in 0..WINDOWS * 10 {
        if second % 7 == 3 {
            // Every third comes a quarter of a minute late, after its provisional rows.
            if second % 3 == 0 { held_back.push(second) } else { scene.request(second).await }
        }
        if second % 31 == 5 {
            scene.call(second).await;
        }
        if second % 29 == 11 {
            scene.contradiction(second).await;
        }
        if second % 20 == 19 {
            scene.covered_to(second).await;
            let (due, later): (Vec<i64>, Vec<i64>) =
                held_back.into_iter().partition(|held| held + 15 < second);
            held_back = later;
            for second in due {
                scene.request(second).await;
            }
            if second % 120 == 119 {
                scene.run_until("P", second / 10 - 1).await;
            }
        }
    }
    scene.covered_to(WINDOWS * 10 + 60).await;
    scene.run_until("F", WINDOWS).await;
    scene
}

async fn filled(raw: &Scene, windows_per_run: u32) -> (Scene, Vec<String>) {
    let scene = raw.copy().await;
    scene.remove_derived();
    let config = Config { windows_per_run, ..scene.config() };
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let range = T0 * SECOND..(T0 + WINDOWS * 10) * SECOND;
    backfill(&config, range, Begin::Anew, &stopped, |_| {}).await.unwrap();
    let files = scene.derived_files().await;
    (scene, files)
}

#[tokio::test(flavor = "multi_thread")]
async fn live_and_backfill_in_runs_of_any_length_give_the_same_files() {
    let live = FOLLOWED.get_or_init(followed).await;
    let expected = live.derived_files().await;
    assert!(expected.iter().all(|name| name.contains("-F-")), "{expected:?}");
    for table in ["hop/", "ambiguous/", "data_quality/", "edge_minute/", "path/"] {
        assert!(expected.iter().filter(|name| name.starts_with(table)).count() > 10, "{table}");
    }
    for windows_per_run in [1, 6, 60] {
        let (scene, files) = filled(live, windows_per_run).await;
        assert_eq!(files, expected, "runs of {windows_per_run}");
        let rows = (live.rows::<tables::Path>().await, scene.rows::<tables::Path>().await);
        assert_eq!(rows.0, rows.1, "runs of {windows_per_run}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_that_was_stopped_goes_on_there_and_a_third_run_changes_nothing() {
    let live = FOLLOWED.get_or_init(followed).await;
    let expected = live.derived_files().await;
    let scene = live.copy().await;
    scene.remove_derived();
    let config = Config { windows_per_run: 6, ..scene.config() };
    let range = T0 * SECOND..(T0 + WINDOWS * 10) * SECOND;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let stop_in_the_middle = |progress: engine::backfill::Progress| {
        if progress.windows >= 30 {
            stop.send(true).unwrap();
        }
    };
    let begin = Begin::WhereItStopped;
    let first =
        backfill(&config, range.clone(), begin, &stopped, stop_in_the_middle).await.unwrap();
    assert_eq!((first.windows, first.left, first.generation), (30, 36, Some(1)));
    stop.send(false).unwrap();
    let second = backfill(&config, range.clone(), begin, &stopped, |_| {}).await.unwrap();
    assert_eq!((second.resumed, second.windows, second.left), (30, 36, 0));
    assert_eq!(second.generation, Some(1));
    assert_eq!(scene.derived_files().await, expected);
    let versions = scene.versions("path");
    let third = backfill(&config, range, begin, &stopped, |_| {}).await.unwrap();
    assert_eq!((third.windows, third.changed, third.commits), (66, 0, 0));
    assert_eq!(scene.versions("path"), versions);
}
