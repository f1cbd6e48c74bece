//! Rows as the text that transcripts expect, with the columns that are compared and no others.

use std::collections::BTreeMap;
use std::fmt::Write;

use join::{SECOND, WindowRows};
use tables::{Ambiguous, Hop, Path};

use crate::words::T0_NS;

/// Names for path ids in the order of their first appearance: `p1`, `p2`.
#[derive(Debug, Default)]
pub(crate) struct Labels(BTreeMap<String, usize>);

impl Labels {
    fn of(&mut self, path_id: &str) -> String {
        let next = self.0.len() + 1;
        format!("p{}", self.0.entry(path_id.to_owned()).or_insert(next))
    }
}

/// How rows are shown: each by itself, or equal ones counted without their times and labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Each,
    Counted,
}

/// The blocks of one window: a path with its hops, or one undecided row.
pub(crate) fn blocks(rows: &WindowRows, labels: &mut Labels, manner: Manner) -> Vec<String> {
    let mut blocks = Vec::new();
    for path in &rows.paths {
        let label = labels.of(&path.path_id);
        let mut block = path_line(path, &label, manner);
        for hop in rows.hops.iter().filter(|hop| hop.path_id == path.path_id) {
            block += &hop_line(rows, hop, manner);
        }
        blocks.push(block);
    }
    // Rows of one undecided call stand in the order of ids, which are hashes.
    let mut undecided: Vec<(&Ambiguous, Option<String>)> = rows
        .ambiguous
        .iter()
        .map(|row| (row, row.path_id.as_deref().map(|id| labels.of(id))))
        .collect();
    undecided.sort_by(|(a, a_label), (b, b_label)| {
        (a.start_ns, &a.segment, a_label).cmp(&(b.start_ns, &b.segment, b_label))
    });
    for (row, label) in undecided {
        blocks.push(ambiguous_line(row, label.as_deref(), manner));
    }
    blocks
}

/// Equal blocks once, with their number, in the order of the text.
pub(crate) fn counted(blocks: Vec<String>) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for block in blocks {
        *counts.entry(block).or_default() += 1;
    }
    counts.into_iter().map(|(block, count)| format!("{count} x {block}")).collect()
}

fn path_line(path: &Path, label: &str, manner: Manner) -> String {
    let mut line = "path ".to_owned();
    if manner == Manner::Each {
        let _ = write!(line, "{label} {} ", during(path.start_ns, path.end_ns));
    }
    let _ = write!(line, "{} {} {}", path.verdict, path.outcome, status(path.status));
    let _ = write!(line, " final={}", path.final_pod.as_deref().unwrap_or("-"));
    if path.revision > 0 {
        let _ = write!(line, " revision={}", path.revision);
    }
    if let Some(id) = path.request_id.as_deref().filter(|_| manner == Manner::Each) {
        let _ = write!(line, " id={}", &id[..id.len().min(8)]);
    }
    line += &list(&path.reasons);
    if !path.missing.is_empty() {
        let _ = write!(line, " missing {}", path.missing.join(", "));
    }
    line + "\n"
}

fn hop_line(rows: &WindowRows, hop: &Hop, manner: Manner) -> String {
    let parent = |hop: &Hop| {
        let position = hop.parent?;
        rows.hops.iter().find(|h| h.path_id == hop.path_id && h.position == position)
    };
    let mut depth = 1;
    let mut above = parent(hop);
    while let Some(next) = above {
        depth += 1;
        above = parent(next);
    }
    let mut line = "  ".repeat(depth) + &hop.kind;
    if hop.attempt > 1 {
        let _ = write!(line, "#{}", hop.attempt);
    }
    let source = hop.source_pod.clone().or_else(|| hop.source_ip.as_deref().map(place));
    let _ = write!(line, " {}", source.as_deref().unwrap_or("?"));
    let requested = end(hop.requested_ip.as_deref(), hop.requested_port);
    let destination = end(hop.destination_ip.as_deref(), hop.destination_port);
    let _ = write!(line, " -> {requested}");
    if destination != requested {
        let _ = write!(line, " => {destination}");
    }
    let _ = write!(line, " {}", hop.destination_pod.as_deref().unwrap_or("?"));
    if let Some(service) = &hop.service {
        let _ = write!(line, " of {service}");
    }
    let _ = write!(line, " {}", hop.nat);
    if manner == Manner::Each {
        let _ = write!(line, " {}", during(hop.start_ns, hop.end_ns));
    }
    let _ = write!(line, " {}", status(hop.status));
    if let Some(cause) = &hop.failure_cause {
        let _ = write!(line, " {cause}");
    }
    line + &list(&hop.reasons) + "\n"
}

fn ambiguous_line(row: &Ambiguous, label: Option<&str>, manner: Manner) -> String {
    let mut line = "ambiguous ".to_owned();
    match (manner, label) {
        (Manner::Each, Some(label)) => {
            let _ = write!(line, "{label} ");
        }
        (_, Some(_)) => line += "of a path ",
        (_, None) => {}
    }
    let _ = write!(line, "{}: {}", row.segment, row.reason);
    if !row.candidates.is_empty() {
        let whats: Vec<&str> = row.candidates.iter().map(|c| c.what.as_str()).collect();
        match manner {
            Manner::Each => {
                let _ = write!(line, " {{{}}}", whats.join("; "));
            }
            Manner::Counted => {
                let (listed, more) = match whats.split_last() {
                    Some((last, listed)) if last.starts_with("one of ") => (listed, Some(last)),
                    _ => (&whats[..], None),
                };
                let _ = write!(line, " of {} candidates", listed.len());
                if let Some(more) = more {
                    let _ = write!(line, " and {more}");
                }
            }
        }
    }
    line + "\n"
}

fn during(start_ns: i64, end_ns: i64) -> String {
    format!("{}..{}", moment(start_ns), moment(end_ns))
}

/// Seconds behind the transcript's start, to the millisecond.
fn moment(ns: i64) -> String {
    let ms = (ns - T0_NS).div_euclid(SECOND / 1_000);
    format!("{}{}.{:03}", if ms < 0 { "-" } else { "" }, ms.abs() / 1_000, ms.abs() % 1_000)
}

fn status(status: Option<i32>) -> String {
    status.map_or("-".into(), |status| status.to_string())
}

fn end(ip: Option<&str>, port: Option<i32>) -> String {
    match (ip, port) {
        (Some(ip), Some(port)) => format!("{}:{port}", place(ip)),
        _ => "?".into(),
    }
}

/// Tokens of addresses outside the cluster are keyed; the transcript says `outside`.
fn place(ip: &str) -> String {
    if ip.starts_with("ext-") { "outside".into() } else { ip.into() }
}

fn list(reasons: &[String]) -> String {
    if reasons.is_empty() { String::new() } else { format!(" [{}]", reasons.join(" ")) }
}

/// Rows of the raw tables that come of log lines.
pub(crate) fn raw(log: &tables::AccessLog) -> String {
    let id = log.request_id.as_deref().map_or("-", |id| &id[..id.len().min(8)]);
    let mut line = format!(
        "access_log {} id={id} {} {} {}",
        log.format,
        log.method.as_deref().unwrap_or("-"),
        log.route.as_deref().unwrap_or("-"),
        status(log.status),
    );
    for attempt in &log.attempts {
        let server = end(attempt.ip.as_deref(), attempt.port);
        let _ = write!(line, " ({server} {} group {})", status(attempt.status), attempt.group);
    }
    if log.attempts_malformed {
        line += " attempts malformed";
    }
    line + "\n"
}

pub(crate) fn quarantined(row: &tables::Quarantine) -> String {
    format!("quarantine {} {}\n", row.receiver, row.reason)
}
