//! The recorded run: real raw tables in, derived tables out, compared with what they were when the
//! run was recorded. Needs no root, no eBPF and no lab; it is also what the README tells those to
//! try who only want to look. `UPDATE_GOLDEN=1` writes the golden lines anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use store::{Progress, Store};
use tables::{Heartbeat, Micros};

/// The lateness that the run was recorded with; its heartbeats end soon after its traffic.
const LATENESS: &str = "20s";

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/recorded")
}

/// A copy of the raw tables that a test may write beside.
fn tables() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&recorded().join("tables"), folder.path());
    folder
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

fn command(tables: &tempfile::TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throughline"));
    command.args(arguments).args(["--tables", tables.path().to_str().unwrap()]);
    command
}

fn throughline(tables: &tempfile::TempDir, arguments: &[&str]) -> Output {
    command(tables, arguments).output().unwrap()
}

const BACKFILL: [&str; 7] =
    ["backfill", "--from", "2020-01-01", "--to", "2100-01-01", "--lateness", LATENESS];

fn backfill(tables: &tempfile::TempDir) -> String {
    let output = throughline(tables, &BACKFILL);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn paths(tables: &tempfile::TempDir) -> Vec<Value> {
    let all = ["paths", "-o", "json", "--limit", "10000", "--since", "2020-01-01T00:00:00Z"];
    let output = throughline(tables, &all);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A path as lines: what would be false if any of it changed.
fn golden(path: &Value) -> String {
    let show = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let list = |of: &Value, names: &[&str]| {
        names.iter().map(|name| show(&of[*name])).collect::<Vec<_>>().join(" ")
    };
    let mut text = list(
        path,
        &["path_id", "request_id", "method", "route", "status", "outcome", "verdict", "conf_min"],
    );
    writeln!(text, " {}", list(path, &["missing", "reasons", "failing_hop"])).unwrap();
    for hop in path["hops"].as_array().unwrap() {
        let ends = ["position", "parent", "kind", "attempt", "source_pod", "service"];
        let rest = ["destination_pod", "destination_node", "nat", "nat_original", "nat_reply"];
        let known = ["status", "failure_cause", "evidence", "reasons"];
        writeln!(text, "  {} {} {}", list(hop, &ends), list(hop, &rest), list(hop, &known))
            .unwrap();
    }
    text
}

#[test]
fn raw_tables_of_the_recorded_run_give_the_golden_paths() {
    let tables = tables();
    backfill(&tables);
    let mut found: Vec<String> = paths(&tables).iter().map(golden).collect();
    found.sort();
    let found = found.concat();
    let file = recorded().join("golden.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap();
    let differs = found.lines().zip(expected.lines()).find(|(a, b)| a != b);
    assert_eq!(differs, None, "(found, golden)");
    assert_eq!(found.lines().count(), expected.lines().count());
}

#[test]
fn second_backfill_changes_nothing_and_says_so() {
    let tables = tables();
    backfill(&tables);
    let said = backfill(&tables);
    assert!(said.contains("0 windows changed, 0 commits"), "{said}");
}

#[test]
fn request_of_the_recorded_run_is_found_by_its_id_and_complete() {
    let tables = tables();
    backfill(&tables);
    let any = paths(&tables).into_iter().find(|p| p["request_id"].is_string()).unwrap();
    let output = throughline(&tables, &["path", any["request_id"].as_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for word in ["DNAT", "Service ingress", "frontend", "cart", "price"] {
        assert!(text.contains(word), "{word} is missing in\n{text}");
    }
}

#[test]
fn line_drawn_in_the_readme_is_what_the_product_prints() {
    let tables = tables();
    backfill(&tables);
    let readme = recorded().join("../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (command, rest) =
        readme.split_once("$ throughline path ").and_then(|(_, r)| r.split_once('\n')).unwrap();
    let (drawn, _) = rest.split_once("```").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_throughline"))
        .args(["path", command, "--tables", tables.path().to_str().unwrap()])
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), drawn);
}

const HOUR_NS: i64 = 3_600_000_000_000;

/// Every source goes on for an hour without traffic, so that a backfill takes many commits.
async fn quiet_hour(tables: &tempfile::TempDir) {
    let store = Store::open(tables.path().to_str().unwrap()).await.unwrap();
    let table = store.table(&tables::spec::<Heartbeat>()).await.unwrap();
    let files = table.snapshot().await.unwrap().files;
    let mut newest: BTreeMap<(String, String), Heartbeat> = BTreeMap::new();
    for batch in table.read(&files).await.unwrap() {
        for beat in tables::from_batch::<Heartbeat>(&batch).unwrap() {
            let source = (beat.source.clone(), beat.node.clone());
            let known = newest.entry(source).or_insert_with(|| beat.clone());
            if known.covered_to_ns < beat.covered_to_ns {
                *known = beat;
            }
        }
    }
    for (at, beat) in (1..).zip(newest.into_values()) {
        let covered_to_ns = beat.covered_to_ns + HOUR_NS;
        let beat = Heartbeat {
            covered_from_ns: beat.covered_to_ns,
            covered_to_ns,
            event_ns: covered_to_ns,
            received_at: Micros(beat.received_at.0 + HOUR_NS / 1_000),
            ingest_seq: beat.ingest_seq + 1_000_000 + at,
            ..beat
        };
        let prefix = format!("{}-{}", beat.collector, beat.ingest_seq);
        let staged = table.stage_rows(&[beat], &prefix).await.unwrap();
        table.append(staged, Progress::new("test", at)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn backfill_that_is_interrupted_says_so_and_the_same_command_goes_on_there() {
    let (whole, tables) = (tables(), tables());
    quiet_hour(&whole).await;
    quiet_hour(&tables).await;
    backfill(&whole);
    let mut process = command(&tables, &BACKFILL);
    let mut process = process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let first_commit = tables.path().join("path/_delta_log/00000000000000000001.json");
    while !first_commit.exists() {
        assert_eq!(process.try_wait().unwrap(), None, "it ended before it committed anything");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let signal = Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap();
    assert!(signal.success());
    let stopped = process.wait_with_output().unwrap();
    let told = String::from_utf8(stopped.stderr).unwrap();
    assert_eq!(stopped.status.code(), Some(1), "{told}");
    assert!(told.contains("windows left: the same command goes on there"), "{told}");
    let rest = backfill(&tables);
    assert!(rest.contains(" done before, "), "{rest}");
    assert_eq!(paths(&tables), paths(&whole));
}
