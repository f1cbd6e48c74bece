//! What is wrong with the data, and what to do about each thing. Pure.
//!
//! Tables are compared with each other and only the newest heartbeat with the present, so that a
//! recorded run gives the same advice on any day but for one line.

use std::collections::BTreeMap;

use tables::Capability;

use super::{Source, State};
use crate::cli::text::span;

const SECOND: i64 = 1_000_000_000;

/// A source that is this much behind the foremost one holds the windows back.
const BEHIND_NS: i64 = 30 * SECOND;

/// The time a request may take from its end until it can be found.
const QUERYABLE_NS: i64 = 60 * SECOND;

/// Older provisional windows are overdue: twice the default lateness.
const OVERDUE_NS: i64 = 30 * 60 * SECOND;

/// One sentence a finding, most important first.
pub(super) fn advice(state: &State) -> Vec<String> {
    let mut advice = Vec::new();
    advice.extend(missing_tables(state));
    advice.extend(silent_sources(state));
    advice.extend(state.sources.iter().filter_map(lost));
    advice.extend(features_off(&state.capabilities));
    advice.extend(correlator_behind(state));
    advice.extend(refused(state));
    advice
}

fn missing_tables(state: &State) -> Option<String> {
    let has = |name: &str| newest(state, name).is_some();
    if !has("raw_heartbeat") {
        Some(
            "nothing has reported yet: start throughline-collector with this folder as --tables, \
             and throughline-agent with --collector on each node"
                .to_owned(),
        )
    } else if !has("raw_exchange") {
        Some(
            "agents report and have seen no requests: `throughline-agent check` says what they \
             can see; is --cgroup-root that of the node's pods?"
                .to_owned(),
        )
    } else if !has("raw_cluster_object") {
        Some(
            "no cluster objects, so nothing has a name: start the collector with --kubernetes"
                .to_owned(),
        )
    } else if !has("path") {
        Some(
            "no paths yet: start `throughline run`, or make them from the raw tables with \
             `throughline backfill`"
                .to_owned(),
        )
    } else {
        None
    }
}

fn silent_sources(state: &State) -> Vec<String> {
    let Some(foremost) = state.sources.iter().map(|source| source.covered_to_ns).max() else {
        return Vec::new();
    };
    let age = state.now_ns - foremost;
    let mut advice = Vec::new();
    if age > BEHIND_NS {
        advice.push(format!(
            "the newest heartbeat is {} old: is the collector running? Of a recorded run this says \
             nothing",
            span(age)
        ));
    }
    for source in &state.sources {
        let behind = foremost - source.covered_to_ns;
        if behind > BEHIND_NS.max(source.idle_after_ns) {
            advice.push(format!(
                "{} is {} behind the others: is it running, and does it reach the collector? What \
                 it would have seen is missing",
                source.name,
                span(behind)
            ));
        }
    }
    advice
}

fn lost(source: &Source) -> Option<String> {
    let mut causes = Vec::new();
    if source.lost_kernel > 0 {
        causes
            .push(format!("{} events in the kernel (a map or ring was full)", source.lost_kernel));
    }
    if source.lost_user > 0 {
        causes.push(format!("{} records in user space (raise --memory-max)", source.lost_user));
    }
    let lost = causes.join(" and ");
    (!causes.is_empty())
        .then(|| format!("{} lost {lost}; lines of that time say MISSING_LOST_EVENTS", source.name))
}

/// Features that are off in the newest manifest of each node. The rows come newest first.
fn features_off(capabilities: &[Capability]) -> Vec<String> {
    let mut in_force = BTreeMap::new();
    for row in capabilities {
        in_force.entry(row.node.as_str()).or_insert((&row.boot_id, &row.manifest_id));
    }
    let is_in_force = |row: &&Capability| {
        in_force.get(row.node.as_str()) == Some(&(&row.boot_id, &row.manifest_id))
    };
    let off = capabilities.iter().filter(is_in_force).filter(|row| !row.loaded);
    let mut advice: Vec<_> = off
        .map(|row| {
            let reason = row.reason.as_deref().unwrap_or("no reason given");
            format!(
                "agent {} runs without {}: {reason}; not known without it: {}",
                row.node, row.feature, row.lost
            )
        })
        .collect();
    advice.sort();
    advice.dedup();
    advice
}

fn correlator_behind(state: &State) -> Vec<String> {
    let mut advice = Vec::new();
    if let (Some(seen), Some(told)) = (newest(state, "raw_exchange"), newest(state, "path"))
        && seen - told > QUERYABLE_NS
    {
        advice.push(format!(
            "paths are {} behind the newest request: is `throughline run` running? A source that \
             is behind holds it back; `throughline backfill` makes up for what was missed",
            span(seen - told)
        ));
    }
    if let (Some(oldest), Some(newest)) =
        (state.windows.oldest_provisional_ns, state.windows.newest_ns)
        && newest - oldest > OVERDUE_NS
    {
        advice.push(format!(
            "a window is provisional after {}: the watermark has not passed it by the allowed \
             lateness, or `throughline run` was stopped; `throughline backfill` makes it final",
            span(newest - oldest)
        ));
    }
    advice
}

fn refused(state: &State) -> Vec<String> {
    let each = state.refused.iter();
    each.map(|refused| {
        format!(
            "{} refused {} inputs as {}: look at what sends to it; raw_quarantine has lengths and \
             keyed hashes",
            refused.receiver, refused.count, refused.reason
        )
    })
    .collect()
}

fn newest(state: &State, table: &str) -> Option<i64> {
    let state = state.tables.iter().find(|state| state.name == table)?;
    state.content.as_ref()?.newest_ns
}
