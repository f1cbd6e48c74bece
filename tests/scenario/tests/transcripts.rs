//! Every transcript by `cargo test`, as `make scenarios` plays them, and those of the reason codes
//! that no scenario is about.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn every_scenario_gives_exactly_its_rows() {
    assert_eq!(scenario::transcripts(&scenario::folder()).unwrap().len(), 26);
    check(&scenario::folder());
}

#[test]
fn every_other_reason_gives_exactly_its_rows() {
    check(&reasons());
}

/// A reason that no expected row has is one that nobody has seen produced: expected rows are those
/// that came, no more and no fewer.
#[test]
fn every_reason_is_in_the_rows_of_some_transcript() {
    let mut expected = BTreeSet::new();
    for folder in [scenario::folder(), reasons()] {
        for path in scenario::transcripts(&folder).unwrap() {
            let text = std::fs::read_to_string(path).unwrap();
            let rows = text.lines().filter(|line| line.starts_with("  "));
            let is_of_code = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            let words = rows.flat_map(|row| row.split(|c| !is_of_code(c)));
            expected.extend(words.map(str::to_owned));
        }
    }
    let codes = join::Reason::ALL.iter().map(|reason| reason.code());
    let missing: Vec<&str> = codes.filter(|code| !expected.contains(*code)).collect();
    assert!(missing.is_empty(), "no transcript expects {missing:?}");
}

fn reasons() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reasons")
}

#[track_caller]
fn check(folder: &Path) {
    let transcripts = scenario::transcripts(folder).unwrap();
    let mut failed = String::new();
    for path in transcripts {
        let outcome = scenario::run(&path).unwrap();
        if !outcome.failures.is_empty() {
            failed += &format!("{} {}\n", outcome.number, outcome.title);
            failed += &format!("{}\n", outcome.failures.join("\n"));
        }
    }
    assert!(failed.is_empty(), "\n{failed}");
}

const STORY: &str = "\
# 0. A call inside the cluster
node node-1 10.89.0.11
agent node-1
pod web-0 10.244.1.3 on=node-1
pod cart-0 10.244.1.4 on=node-1
call web-0:40001 -> cart-0:8080 1.000..1.100
watermark 15m20
";
const PROVISIONAL: &str = "\
expect P
  path p1 1.000..1.100 partial unknown - final=cart-0 missing cause of the first call: MISSING_LATE
    app web-0 -> 10.244.1.4:8080 cart-0 none 1.000..1.100 - [OK_TUPLE_SEQ]
";
const FINAL: &str = "\
expect F
  path p1 1.000..1.100 complete unknown - final=cart-0
    app web-0 -> 10.244.1.4:8080 cart-0 none 1.000..1.100 - [OK_TUPLE_SEQ]
";

/// Lines that say what is wrong with a story that ends like this.
fn failures(end: &str) -> Vec<String> {
    let failures = scenario::play(&format!("{STORY}{end}")).unwrap().failures;
    let lines = failures.iter().flat_map(|failure| failure.lines());
    lines.map(str::trim).map(str::to_owned).collect()
}

#[test]
fn rows_as_they_are_expected_pass() {
    assert!(failures(&format!("{PROVISIONAL}{FINAL}")).is_empty());
}

#[test]
fn a_row_that_is_not_expected_fails() {
    assert!(
        failures(&format!("{PROVISIONAL}expect F\n"))
            .iter()
            .any(|line| line.starts_with("+ path p1"))
    );
    // Also where the transcript asks for nothing.
    assert!(failures(PROVISIONAL).iter().any(|line| line.contains("not asked for in F: path p1")));
}

#[test]
fn an_expected_row_that_is_not_there_fails() {
    let more = format!("{FINAL}  path p2 2.000..2.100 complete ok 200 final=cart-0\n");
    assert!(
        failures(&format!("{PROVISIONAL}{more}")).iter().any(|line| line.starts_with("- path p2"))
    );
}

#[test]
fn a_column_that_differs_fails() {
    for (was, is) in [("1.100", "1.200"), ("complete", "partial"), ("OK_TUPLE_SEQ", "OK_EXACT_ID")]
    {
        let other = FINAL.replace(was, is);
        assert!(!failures(&format!("{PROVISIONAL}{other}")).is_empty(), "{was} {is}");
    }
}

#[test]
fn what_may_never_be_told_fails_where_it_is() {
    let told = failures(&format!("never cart-0\nwatermark 16m\n{PROVISIONAL}{FINAL}"));
    assert!(told.is_empty(), "only rows written from then on are looked at: {told:?}");
    let story = STORY.replace("watermark", "never cart-0\nwatermark");
    let failures = scenario::play(&format!("{story}{PROVISIONAL}{FINAL}")).unwrap().failures;
    assert!(failures.iter().any(|line| line.contains("a row tells cart-0")), "{failures:?}");
}

#[test]
fn a_line_that_cannot_be_read_is_an_error_with_its_number() {
    for (line, expected) in [("cal a -> b", "line 8: cal a -> b"), ("watermark soon", "line 8")] {
        let error = scenario::play(&format!("{STORY}{line}\n")).unwrap_err();
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    }
}
