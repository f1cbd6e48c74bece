//! Undecided segments in words: candidates, and what would have decided.

use tables::{Ambiguous, Candidate};

use super::explain::explain;
use super::screen::{Look, Screen};
use super::text::{moment_micros, safe, wrapped};

/// One segment: what is undecided and why, then its candidates.
pub(super) fn block(row: &Ambiguous, screen: Screen, indent: usize) -> String {
    let mut lines = Lines { screen, indent, text: String::new() };
    lines.add(0, Look::Doubtful, &format!("{}: {}", safe(&row.segment), safe(&row.reason)));
    if let Some(explanation) = explain(&row.reason) {
        lines.add(2, Look::Plain, explanation.meaning);
    }
    for candidate in &row.candidates {
        lines.add(2, Look::Plain, &candidate_line(candidate));
    }
    if !row.decided_by.is_empty() {
        lines.add(2, Look::Plain, &format!("would have decided it: {}", safe(&row.decided_by)));
    }
    lines.text
}

/// One segment on its own: when it was, and whose it is.
pub(super) fn alone(row: &Ambiguous, screen: Screen) -> String {
    let owner = match &row.path_id {
        Some(path_id) => format!("path {}", safe(path_id)),
        None => "of no known path".to_owned(),
    };
    let finality = if row.finality == "final" { "" } else { "  provisional" };
    let head = format!("{}  {owner}{finality}", moment_micros(row.start_ns));
    format!("{}\n{}", screen.paint(Look::Strong, &head), block(row, screen, 2))
}

fn candidate_line(candidate: &Candidate) -> String {
    let mut line = format!("p {:.2}  {}", candidate.p, safe(&candidate.what));
    if let Some(path_id) = &candidate.path_id {
        line.push_str(&format!(", path {}", safe(path_id)));
    }
    if !candidate.evidence.is_empty() {
        line.push_str(&format!(", by {}", safe(&candidate.evidence.join(", "))));
    }
    line
}

struct Lines {
    screen: Screen,
    indent: usize,
    text: String,
}

impl Lines {
    fn add(&mut self, further: usize, look: Look, text: &str) {
        let indent = self.indent + further;
        for line in wrapped(text, self.screen.width - indent) {
            self.text.push_str(&" ".repeat(indent));
            self.text.push_str(&self.screen.paint(look, &line));
            self.text.push('\n');
        }
    }
}
