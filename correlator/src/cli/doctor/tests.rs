//! Advice for states of the data, one finding a case.

use query::{Content, Refused, TableState, Windows};
use tables::{Capability, Heartbeat, Layer};

use super::{Format, Outcome, Source, State, advice::advice, reply, sources};
use crate::cli::screen::Screen;

const SECOND: i64 = 1_000_000_000;
const NOW: i64 = 1_795_264_496 * SECOND;

fn table(name: &'static str, newest_ns: i64) -> TableState {
    let content = Content { version: 3, files: 2, rows: 1_000, newest_ns: Some(newest_ns) };
    TableState { name, layer: Layer::Raw, content: Some(content) }
}

fn healthy() -> State {
    State {
        at: "tables".into(),
        now_ns: NOW,
        tables: vec![
            table("raw_heartbeat", NOW - SECOND),
            table("raw_exchange", NOW - 2 * SECOND),
            table("raw_cluster_object", NOW - 600 * SECOND),
            table("path", NOW - 20 * SECOND),
        ],
        windows: Windows {
            provisional: 4,
            fixed: 90,
            oldest_provisional_ns: Some(NOW - 60 * SECOND),
            newest_ns: Some(NOW - 20 * SECOND),
        },
        sources: vec![source("agent node-1", 1), source("kubernetes cluster", 3)],
        capabilities: Vec::new(),
        refused: Vec::new(),
    }
}

fn source(name: &str, age_s: i64) -> Source {
    Source {
        name: name.into(),
        covered_to_ns: NOW - age_s * SECOND,
        idle_after_ns: 30 * SECOND,
        lost_kernel: 0,
        lost_user: 0,
    }
}

#[track_caller]
fn check(state: &State, expected: &[&str]) {
    let found = advice(state);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (sentence, part) in found.iter().zip(expected) {
        assert!(sentence.contains(part), "{sentence:?} lacks {part:?}");
    }
}

#[test]
fn healthy_data_needs_nothing() {
    check(&healthy(), &[]);
    let screen = Screen { width: 80, has_colour: false };
    let said = reply(&healthy(), Format::Table, screen).unwrap();
    assert_eq!(said.outcome, Outcome::Found);
    assert!(said.said.lines().all(|line| line.chars().count() <= 80), "{}", said.said);
    assert!(said.said.contains("What to do\n  nothing\n"), "{}", said.said);
}

#[test]
fn the_first_missing_table_is_what_to_look_at() {
    for (count, expected) in
        [(0, "nothing has reported"), (1, "no requests"), (2, "--kubernetes"), (3, "no paths yet")]
    {
        let mut state = healthy();
        state.tables.truncate(count);
        check(&state, &[expected]);
    }
}

#[test]
fn a_source_that_stays_behind_is_named() {
    let mut state = healthy();
    state.sources.push(source("agent node-2", 200));
    check(&state, &["agent node-2 is 3m 19s behind"]);
    state.sources.retain(|source| source.name == "agent node-2");
    check(&state, &["newest heartbeat is 3m 20s old"]);
}

#[test]
fn lost_records_are_summed_by_sender_and_told() {
    let beat = |covered_to_ns, lost_kernel, lost_user| Heartbeat {
        source: "agent".into(),
        node: "node-1".into(),
        covered_to_ns,
        lost_kernel,
        lost_user,
        ..Heartbeat::default()
    };
    let found = sources(&[beat(20, 3, 0), beat(10, 4, 5)]);
    assert_eq!((found.len(), found[0].covered_to_ns), (1, 20));
    assert_eq!((found[0].lost_kernel, found[0].lost_user), (7, 5));
    let mut state = healthy();
    state.sources[0].lost_kernel = 7;
    state.sources[0].lost_user = 5;
    check(&state, &["agent node-1 lost 7 events in the kernel (a map or ring was full) and 5"]);
}

#[test]
fn only_the_manifest_in_force_counts() {
    let row = |manifest: &str, loaded| Capability {
        node: "node-1".into(),
        manifest_id: manifest.into(),
        feature: "nat_binding".into(),
        loaded,
        reason: Some("no BTF".into()),
        lost: "translations".into(),
        ..Capability::default()
    };
    let mut state = healthy();
    state.capabilities = vec![row("new", true), row("old", false)];
    check(&state, &[]);
    state.capabilities = vec![row("new", false), row("old", true)];
    check(&state, &["agent node-1 runs without nat_binding: no BTF"]);
}

#[test]
fn a_correlator_that_is_behind_or_never_finishes_is_told() {
    let mut state = healthy();
    state.tables[3] = table("path", NOW - 300 * SECOND);
    check(&state, &["paths are 4m 58s behind"]);
    let mut state = healthy();
    state.windows.oldest_provisional_ns = Some(NOW - 3_600 * SECOND);
    check(&state, &["provisional after 59m 40s"]);
}

#[test]
fn refused_input_is_told_and_cannot_steer_the_terminal() {
    let mut state = healthy();
    state.refused = vec![Refused {
        receiver: "syslog".into(),
        reason: "\u{1b}line_cut".into(),
        count: 12,
        newest_ns: NOW,
    }];
    check(&state, &["syslog refused 12 inputs"]);
    let screen = Screen { width: 80, has_colour: false };
    let said = reply(&state, Format::Table, screen).unwrap();
    assert_eq!(said.outcome, Outcome::Incomplete);
    assert!(!said.said.contains('\u{1b}'));
    let json = reply(&state, Format::Json, screen).unwrap().said;
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["advice"].as_array().unwrap().len(), 1);
    assert_eq!(value["windows"]["final"], 90);
}
