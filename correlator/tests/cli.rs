//! The user's verbs as programs: exit codes, output and errors over tables that the store wrote.

use std::process::{Command, Output};

use store::{Progress, Store};
use tables::{Ambiguous, Origin, Path, PathHop, Quarantine, Row};

const SECOND: i64 = 1_000_000_000;
/// 2026-11-21T12:00:00Z.
const NOON_S: i64 = 1_795_262_400;
const FINAL: &str = "0af7651916cd43dd8448eb211c80319c";
const PROVISIONAL: &str = "1af7651916cd43dd8448eb211c80319c";
const LOSSY: &str = "2af7651916cd43dd8448eb211c80319c";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn path(win: i64, stage: &str, path_id: &str) -> Path {
    let start_ns = win * SECOND + 1_000;
    Path {
        hour: tables::hour_of_ns(win * SECOND),
        win,
        stage: stage.into(),
        finality: if stage == "F" { "final" } else { "provisional" }.into(),
        path_id: path_id.into(),
        trace_id: Some(TRACE.into()),
        method: Some("GET".into()),
        route: Some("/checkout/{}".into()),
        status: Some(200),
        outcome: "ok".into(),
        start_ns,
        start_time: tables::micros_of_ns(start_ns),
        duration_ns: 12_000_000,
        verdict: "complete".into(),
        hops: vec![PathHop { kind: "edge".into(), nat: "none".into(), ..PathHop::default() }],
        ..Path::default()
    }
}

async fn write<R: Row>(at: &str, win: i64, stage: &str, rows: &[R]) {
    let table = Store::open(at).await.unwrap().table(&tables::spec::<R>()).await.unwrap();
    let staged = table.stage_rows(rows, &format!("{win}-{stage}")).await.unwrap();
    table.append(staged, Progress::new(format!("test/{stage}"), win)).await.unwrap();
}

/// A final path, one that is provisional, one that lacks data, and one undecided segment.
async fn example() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    let lossy = Path {
        missing: vec!["server end in cart-0: MISSING_NO_COVERAGE".into()],
        verdict: "partial".into(),
        status: Some(503),
        ..path(NOON_S, "F", LOSSY)
    };
    write(at, NOON_S, "F", &[path(NOON_S, "F", FINAL), lossy]).await;
    write(at, NOON_S + 10, "P", &[path(NOON_S + 10, "P", PROVISIONAL)]).await;
    let undecided = Ambiguous {
        hour: tables::hour_of_ns(NOON_S * SECOND),
        win: NOON_S,
        stage: "F".into(),
        finality: "final".into(),
        path_id: Some(FINAL.into()),
        segment: "relay in frontend-0".into(),
        reason: "AMBIG_TIME_ONLY".into(),
        decided_by: "span ids".into(),
        ..Ambiguous::default()
    };
    write(at, NOON_S, "F", &[undecided]).await;
    let origin = Origin { event_ns: NOON_S * SECOND, ..Origin::default() };
    let refused = Quarantine {
        receiver: "syslog".into(),
        reason: "line_cut".into(),
        ..Quarantine::from_origin(&origin)
    };
    write(at, NOON_S, "collector", &[refused]).await;
    folder
}

fn throughline(tables: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_throughline"))
        .args(arguments)
        .env("THROUGHLINE_TABLES", tables)
        .env("COLUMNS", "100")
        .output()
        .unwrap()
}

/// Runs it, compares the exit code, and gives standard output and standard error.
#[track_caller]
fn check(tables: &std::path::Path, arguments: &[&str], code: i32) -> (String, String) {
    let output = throughline(tables, arguments);
    let said = String::from_utf8(output.stdout).unwrap();
    let noted = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}{noted}");
    (said, noted)
}

#[tokio::test]
async fn exit_codes_tell_found_from_missing_and_incomplete() {
    let folder = example().await;
    let at = folder.path();
    let (said, _) = check(at, &["path", FINAL], 0);
    assert!(said.starts_with("GET /checkout/{}  200 ok  in 12.0 ms\ncomplete, final"), "{said}");
    assert!(said.contains("relay in frontend-0: AMBIG_TIME_ONLY"), "{said}");
    assert!(said.contains("would have decided it: span ids"), "{said}");
    check(at, &["path", PROVISIONAL], 4);
    check(at, &["path", LOSSY], 4);
    let (said, noted) = check(at, &["path", "no-such-request"], 3);
    assert_eq!(said, "");
    assert!(noted.starts_with("no such path. The newest window began at"), "{noted}");

    check(at, &["paths", "--until", "2026-11-21T12:00:05Z", "--status", "200"], 0);
    let (said, noted) = check(at, &["paths"], 4);
    assert_eq!(said.matches(TRACE).count(), 0);
    assert!(noted.contains("1 of 3 are provisional"), "{noted}");
    check(at, &["paths", "--since", "2026-11-22T00:00:00Z"], 3);
    let (said, _) = check(at, &["ambiguous"], 0);
    assert!(said.contains(FINAL), "{said}");
    check(at, &["ambiguous", "--reason", "AMBIG_DENSE"], 3);
    let (said, _) = check(at, &["doctor"], 4);
    assert!(said.contains("nothing has reported yet"), "{said}");
    assert!(said.contains("syslog refused 1 inputs as line_cut"), "{said}");
}

#[tokio::test]
async fn wrong_usage_is_told_apart_from_failure() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for arguments in [
        &["paths", "--status", "6xx"][..],
        &["paths", "--verdict", "perhaps"],
        &["paths", "--since", "15m"],
        &["paths", "--limit", "0"],
        &["path"],
        &["path", ""],
    ] {
        check(at, arguments, 2);
    }
    for without_tables in [at, &at.join("missing")] {
        let (_, noted) = check(without_tables, &["paths"], 1);
        assert!(noted.starts_with("error: there are no tables at"), "{noted}");
        assert!(noted.contains("THROUGHLINE_TABLES"), "{noted}");
    }
    write(at.to_str().unwrap(), 0, "collector", &[Quarantine::from_origin(&Origin::default())])
        .await;
    let (_, noted) = check(at, &["path", FINAL], 1);
    assert!(noted.contains("there is no table path at"), "{noted}");
    assert!(noted.contains("throughline backfill"), "{noted}");
    let folder = example().await;
    let backwards = ["paths", "--since", "now", "--until", "-1h"];
    assert_eq!(check(folder.path(), &backwards, 2).1, "--since must be before --until\n");
}

#[tokio::test]
async fn every_request_of_a_trace_is_drawn_up_to_the_limit() {
    let folder = example().await;
    let (said, noted) = check(folder.path(), &["path", TRACE], 4);
    assert_eq!(said.matches("started  2026-11-21").count(), 3, "{said}");
    assert_eq!(noted, "");
    let (said, noted) = check(folder.path(), &["path", TRACE, "--limit", "1"], 4);
    assert_eq!(said.matches("started  2026-11-21").count(), 1, "{said}");
    assert!(said.contains(PROVISIONAL), "{said}");
    assert!(noted.starts_with("more requests have this id"), "{noted}");
}

#[tokio::test]
async fn json_is_the_row_as_it_is_stored() {
    let folder = example().await;
    let (said, _) = check(folder.path(), &["path", FINAL, "-o", "json"], 0);
    let row: Path = serde_json::from_str(&said).unwrap();
    assert_eq!(row, path(NOON_S, "F", FINAL));
    let (said, _) = check(folder.path(), &["paths", "-o", "json"], 4);
    assert_eq!(said.lines().count(), 3);
    let (said, _) = check(folder.path(), &["doctor", "-o", "json"], 4);
    let state: serde_json::Value = serde_json::from_str(&said).unwrap();
    let tables = state["tables"].as_array().unwrap();
    let rows = |name: &str| tables.iter().find(|t| t["name"] == name).unwrap()["rows"].clone();
    assert_eq!((rows("path"), rows("hop")), (3.into(), 0.into()));
}

#[tokio::test]
async fn asking_changes_nothing_in_the_folder() {
    let folder = example().await;
    let files = |at: &std::path::Path| {
        let mut files: Vec<_> =
            std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    };
    let before = files(folder.path());
    check(folder.path(), &["doctor"], 4);
    check(folder.path(), &["path", FINAL], 0);
    assert_eq!(files(folder.path()), before);
}

/// The help is a contract: scripts and people rely on flags and exit codes. `UPDATE_GOLDEN=1` writes
/// the files anew.
#[test]
fn help_is_as_written_down() {
    for verb in ["run", "backfill", "maintain", "path", "paths", "ambiguous", "doctor"] {
        let output = throughline(std::path::Path::new("unused"), &[verb, "--help"]);
        let help = String::from_utf8(output.stdout).unwrap();
        let file = format!("{}/tests/help/{verb}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &help).unwrap();
        }
        assert_eq!(help, std::fs::read_to_string(&file).unwrap_or_default(), "{verb}.txt");
    }
}
