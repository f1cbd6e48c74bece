//! `throughline maintain` as a program: the readers' verbs give the same answers before and after.

use std::path::Path as FilePath;
use std::process::{Command, Output};

use store::{Progress, Store};
use tables::{Hop, Path, PathHop, Row};

const SECOND: i64 = 1_000_000_000;
/// 2026-11-01T12:00:00Z.
const NOON_S: i64 = 1_793_534_400;

fn id(win: i64) -> String {
    format!("{:032x}", win * 7_919 % 100_003)
}

fn path(win: i64) -> Path {
    let start_ns = win * SECOND + 1_000;
    Path {
        hour: tables::hour_of_ns(win * SECOND),
        win,
        stage: "F".into(),
        finality: "final".into(),
        path_id: id(win),
        method: Some("GET".into()),
        status: Some(200 + (win / 10 % 4) as i32),
        outcome: "ok".into(),
        start_ns,
        start_time: tables::micros_of_ns(start_ns),
        duration_ns: 12_000_000,
        verdict: "complete".into(),
        hops: vec![PathHop { kind: "edge".into(), nat: "none".into(), ..PathHop::default() }],
        ..Path::default()
    }
}

fn hop(win: i64) -> Hop {
    Hop {
        hour: tables::hour_of_ns(win * SECOND),
        win,
        stage: "F".into(),
        finality: "final".into(),
        path_id: id(win),
        kind: "edge".into(),
        nat: "none".into(),
        start_ns: win * SECOND + 1_000,
        ..Hop::default()
    }
}

async fn write<R: Row>(at: &str, win: i64, row: R) {
    let table = Store::open(at).await.unwrap().table(&tables::spec::<R>()).await.unwrap();
    let staged = table.stage_rows(&[row], &format!("{win}-F")).await.unwrap();
    table.append(staged, Progress::new("test", win)).await.unwrap();
}

fn throughline(tables: &FilePath, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_throughline"))
        .args(arguments)
        .env("THROUGHLINE_TABLES", tables)
        .output()
        .unwrap()
}

fn said(tables: &FilePath, arguments: &[&str]) -> String {
    let output = throughline(tables, arguments);
    let noted = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {noted}");
    String::from_utf8(output.stdout).unwrap()
}

fn answers(tables: &FilePath) -> Vec<String> {
    vec![
        said(tables, &["paths", "--output", "json"]),
        said(tables, &["paths", "--output", "json", "--status", "203"]),
        said(tables, &["paths", "--output", "json", "--since", "2026-11-01T12:00:30Z"]),
        said(tables, &["path", &id(NOON_S + 20)]),
        said(tables, &["path", &id(NOON_S + 3_600)]),
    ]
}

#[tokio::test]
async fn answers_are_the_same_before_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    for win in (0..8).map(|i| NOON_S + i * 10).chain([NOON_S + 3_600]) {
        write(at, win, hop(win)).await;
        write(at, win, path(win)).await;
    }
    let before = answers(folder.path());
    assert_eq!(before[0].lines().count(), 9);

    let days = ["--raw-days", "100000", "--derived-days", "100000"];
    let run = |how: &'static str| {
        said(folder.path(), &[&["maintain", "--tables", at, how], &days[..]].concat())
    };
    let planned = run("--dry-run");
    assert!(
        planned.contains("path: compact hour 2026-11-01T12, 8 files to one, 8 rows"),
        "{planned}"
    );
    assert_eq!(run("--dry-run"), planned, "a plan changes nothing");
    assert_eq!(run("--once"), planned);
    assert_eq!(run("--once"), "", "nothing is left to do");
    assert_eq!(answers(folder.path()), before);
}
