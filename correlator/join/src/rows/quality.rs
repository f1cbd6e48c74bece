//! Rows of `data_quality`: what the window's data lacked, and how often.

use std::collections::BTreeMap;

use tables::data_quality::{DataQuality, check};

use crate::id::Id;
use crate::rows::{Scope, Tally};
use crate::slab::Slab;

/// Trace ids of one check that get a row of their own; the rest is counted together.
const TRACE_IDS_MAX: usize = 100;

/// Subject of the row that counts what has none of its own.
const OTHERS: &str = "others";

/// What was found, in file order.
pub(super) fn rows(
    scope: &Scope<'_>,
    tally: &Tally,
    clock_offsets: &[tables::ClockOffset],
) -> Vec<DataQuality> {
    let mut rows = missing(scope, tally);
    rows.extend(not_read_back(scope));
    let quarantined = clock_offsets.iter().filter(|row| row.quarantined);
    rows.extend(quarantined.map(|pair| DataQuality {
        detail: Some("messages in both directions contradict each other".into()),
        ..row(scope, check::CLOCK_SKEW, &format!("{}|{}", pair.node_a, pair.node_b), pair.samples)
    }));
    if let Some(slab) = scope.sight.slabs.slab(scope.sight.window) {
        let copies = slab.copied_spans.iter().map(|(trace, count)| (*trace, *count)).collect();
        rows.extend(of_traces(scope, check::DUPLICATE_TRACE_ID, copies));
        rows.extend(of_traces(scope, check::REUSED_TRACE_ID, reused(slab)));
        rows.extend(drift(scope, slab));
    }
    rows.sort_unstable_by(|a, b| (&a.check, &a.subject).cmp(&(&b.check, &b.subject)));
    rows
}

/// Expected segments without evidence, of paths and of pieces that belong to none.
fn missing(scope: &Scope<'_>, tally: &Tally) -> Vec<DataQuality> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for (reason, count) in &tally.missing {
        *counts.entry(reason.code()).or_default() += count;
    }
    let of_no_path = tally.ambiguous.iter().map(|row| row.reason.as_str());
    for reason in of_no_path.filter(|reason| reason.starts_with("MISSING_")) {
        *counts.entry(reason).or_default() += 1;
    }
    let counted = counts.into_iter();
    counted.map(|(code, count)| row(scope, check::MISSING_SEGMENT, code, count)).collect()
}

/// What the limits of the slow lane left out.
fn not_read_back(scope: &Scope<'_>) -> impl Iterator<Item = DataQuality> {
    let over = scope.sight.reached.over;
    let found = [
        ("age", over.age, "requests that began longer ago than is read back"),
        ("exchanges", over.exchanges, "pods with more exchanges than are read back of one"),
        ("pods", over.pods, "pods beyond as many as are read back for a window"),
    ];
    let found = found.into_iter().filter(|(_, left_out, _)| *left_out > 0);
    found.map(|(limit, left_out, what)| DataQuality {
        detail: Some(what.to_owned()),
        ..row(scope, check::SLOW_LANE, limit, count(left_out))
    })
}

/// Trace ids under which several requests began, or several spans have one span id.
fn reused(slab: &Slab) -> BTreeMap<Id, i64> {
    let begins = |row: &&u32| slab.spans[**row as usize].parent.is_none();
    let roots = slab.server_spans().iter().filter(begins);
    let mut traces: Vec<Id> = roots.map(|&row| slab.spans[row as usize].trace).collect();
    traces.sort_unstable();
    let mut reused = BTreeMap::new();
    for requests in traces.chunk_by(|a, b| a == b).filter(|requests| requests.len() > 1) {
        reused.insert(requests[0], count(requests.len()));
    }
    let mut twins: BTreeMap<Id, i64> = BTreeMap::new();
    for trace in slab.traces_with_twin_spans() {
        *twins.entry(trace).or_insert(1) += 1;
    }
    for (trace, spans) in twins {
        let requests = reused.entry(trace).or_default();
        *requests = spans.max(*requests);
    }
    reused
}

/// A row each for the trace ids that were counted most, and one for all others.
fn of_traces(scope: &Scope<'_>, check: &str, counts: BTreeMap<Id, i64>) -> Vec<DataQuality> {
    let mut counts: Vec<(Id, i64)> = counts.into_iter().collect();
    counts.sort_by_key(|&(trace, count)| (std::cmp::Reverse(count), trace));
    let others = counts.split_off(counts.len().min(TRACE_IDS_MAX));
    let show = |trace| scope.sight.slabs.odd_ids.show(trace);
    let named = counts.into_iter().map(|(trace, count)| row(scope, check, &show(trace), count));
    let mut rows: Vec<DataQuality> = named.collect();
    if !others.is_empty() {
        let sum = others.iter().map(|(_, count)| count).sum();
        let detail = Some(format!("{} more trace ids", others.len()));
        rows.push(DataQuality { detail, ..row(scope, check, OTHERS, sum) });
    }
    rows
}

/// Rows that contradict themselves, by what they came from.
fn drift(scope: &Scope<'_>, slab: &Slab) -> Vec<DataQuality> {
    let mut rows = Vec::new();
    if !slab.malformed.is_empty() {
        let mut nodes: BTreeMap<&str, i64> = BTreeMap::new();
        for exchange in &slab.malformed {
            *nodes.entry(scope.text(exchange.node)).or_default() += 1;
        }
        let nodes: Vec<String> =
            nodes.into_iter().map(|(node, count)| format!("{node}: {count}")).collect();
        let detail = Some(format!("exchanges that contradict themselves, {}", nodes.join(", ")));
        let malformed = count(slab.malformed.len());
        rows.push(DataQuality { detail, ..row(scope, check::SCHEMA_DRIFT, "agent", malformed) });
    }
    let lines = slab.access_logs.iter().filter(|line| line.attempts_malformed).count();
    if lines > 0 {
        let detail = Some("lists of attempts that do not agree with each other".into());
        let row = row(scope, check::SCHEMA_DRIFT, "access_log", count(lines));
        rows.push(DataQuality { detail, ..row });
    }
    rows
}

fn row(scope: &Scope<'_>, check: &str, subject: &str, count: i64) -> DataQuality {
    let head = scope.head();
    DataQuality {
        hour: head.hour,
        win: head.win,
        stage: head.stage.into(),
        finality: head.finality.into(),
        check: check.into(),
        subject: subject.into(),
        count,
        ..DataQuality::default()
    }
}

fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
