//! The recorded run: real raw tables in, derived tables out, compared with what they were when the
//! run was recorded. Needs no root, no eBPF and no lab; it is also what the README tells those to
//! try who only want to look. `UPDATE_GOLDEN=1` writes the golden lines anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

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

fn throughline(tables: &tempfile::TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_throughline"))
        .args(arguments)
        .args(["--tables", tables.path().to_str().unwrap()])
        .output()
        .unwrap()
}

fn backfill(tables: &tempfile::TempDir) -> String {
    let whole = ["backfill", "--from", "2020-01-01", "--to", "2100-01-01", "--lateness", LATENESS];
    let output = throughline(tables, &whole);
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
