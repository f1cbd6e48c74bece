//! The same rows in the same bytes, whoever computes them: live over arrivals that come in any
//! order, or a backfill in runs of any length on any number of threads. Files are named by their
//! content.

mod scene;

use engine::Config;
use engine::backfill::{Begin, backfill};
use join::{SECOND, SlowLimits};
use scene::{Scene, T0};
use tables::{Ambiguous, DataQuality, Path};
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

async fn filled(raw: &Scene, windows_per_run: u32, threads: usize) -> (Scene, Vec<String>) {
    let scene = raw.copy().await;
    scene.remove_derived();
    // Live keeps raw rows from run to run; this reads them anew.
    let mut config = Config { windows_per_run, raw_bytes_max: 0, ..scene.config() };
    config.settings.threads = threads;
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
        let (scene, files) = filled(live, windows_per_run, 1).await;
        assert_eq!(files, expected, "runs of {windows_per_run}");
        let rows = (live.rows::<tables::Path>().await, scene.rows::<tables::Path>().await);
        assert_eq!(rows.0, rows.1, "runs of {windows_per_run}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_two_and_four_threads_give_the_same_files() {
    let live = FOLLOWED.get_or_init(followed).await;
    let expected = live.derived_files().await;
    for threads in [1, 2, 4] {
        let (_, files) = filled(live, 60, threads).await;
        assert_eq!(files, expected, "{threads} threads");
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

/// Windows of the scene with long requests.
const SLOW_WINDOWS: i64 = 24;

/// A request of 85 s, which is longer than is read back, a stream of 60 s, and a request of 50 s; each
/// with an early call. The guard is one window.
async fn with_long_requests() -> Scene {
    let mut scene = Scene::new().await;
    scene.settings.guard_ns = 10 * SECOND;
    scene.settings.lateness_ns = 120 * SECOND;
    scene.settings.slow = SlowLimits { back_ns: 75 * SECOND, ..SlowLimits::default() };
    for second in 0..SLOW_WINDOWS * 10 {
        match second {
            16 => scene.call_during(15).await,
            85 => scene.long_request(0..85, "turn").await,
            101 => scene.long_request(100..101, "open").await,
            116 => scene.call_during(115).await,
            160 => scene.long_request(100..160, "close").await,
            183 => scene.call_during(182).await,
            230 => scene.long_request(180..230, "turn").await,
            _ => {}
        }
        if second % 40 == 39 {
            scene.covered_to(second).await;
            scene.run_until("P", second / 10 - 1).await;
        }
    }
    // Not one window more is final, so that the last commit is that of the last request.
    scene.covered_to(SLOW_WINDOWS * 10 + 125).await;
    scene.run_until("F", SLOW_WINDOWS).await;
    scene
}

async fn filled_slow(raw: &Scene, windows_per_run: u32) -> Vec<String> {
    let scene = raw.copy().await;
    scene.remove_derived();
    let config = Config { windows_per_run, ..scene.config() };
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let range = T0 * SECOND..(T0 + SLOW_WINDOWS * 10) * SECOND;
    backfill(&config, range, Begin::Anew, &stopped, |_| {}).await.unwrap();
    scene.derived_files().await
}

#[tokio::test(flavor = "multi_thread")]
async fn long_requests_and_streams_are_the_same_live_and_in_a_backfill_of_any_length() {
    let live = with_long_requests().await;
    let told = |path: &Path| {
        let seconds = (path.start_ns / SECOND - T0, path.end_ns / SECOND - T0);
        (path.win - T0, seconds, path.verdict.clone(), path.hop_count)
    };
    let mut paths: Vec<_> = live.rows::<Path>().await.iter().map(told).collect();
    paths.sort();
    let expected = [
        (80, (0, 85), "partial", 1),
        (100, (100, 101), "complete", 1),
        (160, (100, 160), "complete", 2),
        (230, (180, 230), "complete", 2),
    ];
    let owned = |(win, seconds, verdict, hops): (i64, (i64, i64), &str, i32)| {
        (win, seconds, verdict.to_owned(), hops)
    };
    assert_eq!(paths, expected.map(owned));
    let told: Vec<String> =
        live.rows::<Ambiguous>().await.iter().map(|row| row.reason.clone()).collect();
    assert_eq!(told, ["MISSING_BEYOND_GUARD"]);
    let limits: Vec<(i64, String, i64)> = live
        .rows::<DataQuality>()
        .await
        .into_iter()
        .filter(|row| row.check == "slow_lane")
        .map(|row| (row.win - T0, row.subject, row.count))
        .collect();
    assert_eq!(limits, [(80, "age".to_owned(), 1)]);

    let files = live.derived_files().await;
    assert!(files.iter().all(|name| name.contains("-F-")), "{files:?}");
    for windows_per_run in [1, 6, 60] {
        assert_eq!(filled_slow(&live, windows_per_run).await, files, "runs of {windows_per_run}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_of_a_long_request_is_completed_from_the_same_earlier_rows() {
    let live = with_long_requests().await;
    let paths = live.rows::<Path>().await;
    let mut scene = live.copy().await;
    scene.undo("path");
    // Another call at the beginning of the last request: it came after the rows were computed.
    scene.call_during(185).await;
    scene.restart().await;
    scene.run_until("F", SLOW_WINDOWS).await;
    assert_eq!(scene.rows::<Path>().await, paths);
}
