//! Draws the line of one request as a tree: the client at the top, each call below its caller.
//!
//! Pure: rows and a screen in, text out. Enter through [`draw`]. What a path lacks or leaves open is
//! told at its end, with the reason and what would have decided it.

mod hop;
mod tree;

use tables::{Ambiguous, Hop, Path};

use super::explain::explain;
use super::screen::{Look, Screen};
use super::text::{moment_micros, safe, span, sureness, width, wrapped};
use super::undecided;

/// Text gets at least this much of a line, however deep it stands.
const ROOM_MIN: usize = 36;

/// Everything that is known of one request.
pub(super) struct Known<'a> {
    pub(super) path: &'a Path,
    /// More about the hops than the path row has; the row of a hop may be missing here.
    pub(super) hops: &'a [Hop],
    pub(super) undecided: &'a [Ambiguous],
}

pub(super) fn draw(known: &Known<'_>, screen: Screen) -> String {
    let mut drawing = Drawing { screen, text: String::new() };
    drawing.head(known.path);
    drawing.tree(known);
    drawing.missing(known.path);
    drawing.undecided(known.undecided);
    drawing.reasons(known.path);
    drawing.finality(known.path);
    drawing.text
}

struct Drawing {
    screen: Screen,
    text: String,
}

impl Drawing {
    /// What was asked, what became of it, how sure the line is, and its names.
    fn head(&mut self, path: &Path) {
        let request = [path.method.as_deref(), path.route.as_deref()];
        let request = request.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let request = if request.is_empty() { "request" } else { &request };
        let status = path.status.map_or_else(String::new, |status| format!("{status} "));
        let took = span(path.duration_ns);
        let is_well = path.outcome == "ok";
        let title = format!("{}  {status}{}  in {took}", safe(request), safe(&path.outcome));
        self.rows("", if is_well { Look::Strong } else { Look::Bad }, &title);

        let is_sure = path.verdict == "complete" && path.finality == "final";
        let verdict = format!(
            "{}, {}; confidence {} (weakest link), {} (all links)",
            safe(&path.verdict),
            safe(&path.finality),
            sureness(path.conf_min),
            sureness(path.conf_joint)
        );
        self.rows("", if is_sure { Look::Good } else { Look::Doubtful }, &verdict);
        self.rows("", Look::Faint, &format!("started  {} UTC", moment_micros(path.start_ns)));
        for (name, id) in [
            ("request", path.request_id.as_deref()),
            ("trace", path.trace_id.as_deref()),
            ("path", Some(path.path_id.as_str())),
        ] {
            if let Some(id) = id {
                self.rows("", Look::Faint, &format!("{name:<7}  {}", safe(id)));
            }
        }
        self.text.push('\n');
    }

    fn tree(&mut self, known: &Known<'_>) {
        let path = known.path;
        let client = path.hops.first().map_or_else(|| "no hop is known".into(), hop::client);
        self.rows("", Look::Strong, &client);
        for branch in tree::branches(&path.hops) {
            let this = &path.hops[branch.index];
            let more = known.hops.iter().find(|hop| hop.position == this.position);
            let fails = path.failing_hop == Some(this.position);
            self.hop_head(&branch, this, hop::times(this, path.start_ns), fails);
            for (look, detail) in hop::details(this, more, fails) {
                self.rows(&branch.below, look, &detail);
            }
        }
    }

    /// Where the hop goes, with its times at the right edge.
    fn hop_head(
        &mut self,
        branch: &tree::Branch,
        this: &tables::PathHop,
        times: String,
        fails: bool,
    ) {
        let (mark, look) = if fails { ("✗ ", Look::Bad) } else { ("▶ ", Look::Strong) };
        let first = format!("{}{mark}", branch.fork);
        let room = self.room(&first).saturating_sub(width(&times) + 2).max(ROOM_MIN);
        for (n, line) in wrapped(&hop::target(this), room).into_iter().enumerate() {
            let start = if n == 0 { &first } else { &branch.below };
            self.text.push_str(&self.screen.paint(Look::Faint, start));
            self.text.push_str(&self.screen.paint(look, &line));
            if n == 0 {
                let taken = width(start) + width(&line) + width(&times);
                let gap = self.screen.width.saturating_sub(taken).max(2);
                self.text.push_str(&" ".repeat(gap));
                self.text.push_str(&times);
            }
            self.text.push('\n');
        }
    }

    fn missing(&mut self, path: &Path) {
        if path.missing.is_empty() {
            return;
        }
        self.heading("Missing");
        let code = |entry: &'_ String| entry.rsplit(": ").next().unwrap_or_default().to_owned();
        let mut entries = path.missing.iter().peekable();
        while let Some(entry) = entries.next() {
            self.rows("  ", Look::Doubtful, &safe(entry));
            // Neighbours with the same reason share its explanation.
            if entries.peek().map(|next| code(next)) != Some(code(entry)) {
                self.explanation("    ", &code(entry));
            }
        }
    }

    fn undecided(&mut self, rows: &[Ambiguous]) {
        if rows.is_empty() {
            return;
        }
        self.heading("Undecided");
        for row in rows {
            self.text.push_str(&undecided::block(row, self.screen, 2));
        }
    }

    /// Reasons that hold for the path as a whole and were not told at a hop or at what is missing.
    fn reasons(&mut self, path: &Path) {
        let is_told = |code: &String| {
            path.hops.iter().any(|hop| hop.reasons.contains(code))
                || path.missing.iter().any(|entry| entry.ends_with(code.as_str()))
        };
        let untold: Vec<_> = path.reasons.iter().filter(|code| !is_told(code)).collect();
        if untold.is_empty() {
            return;
        }
        self.heading("Remarks");
        for code in untold {
            self.rows("  ", Look::Doubtful, &safe(code));
            self.explanation("    ", code);
        }
    }

    fn finality(&mut self, path: &Path) {
        if path.finality == "final" {
            return;
        }
        self.heading("Provisional");
        let why = "late telemetry may still change this line; ask again once its window is final, \
                   by default 15 minutes after its end";
        self.rows("  ", Look::Plain, why);
    }

    fn heading(&mut self, name: &str) {
        self.text.push('\n');
        self.rows("", Look::Strong, name);
    }

    fn explanation(&mut self, prefix: &str, code: &str) {
        let Some(explanation) = explain(code) else { return };
        self.rows(prefix, Look::Plain, explanation.meaning);
        if let Some(remedy) = explanation.remedy {
            self.rows(prefix, Look::Plain, &format!("what helps: {remedy}"));
        }
    }

    /// Text in as many lines as it takes, each after the prefix.
    fn rows(&mut self, prefix: &str, look: Look, text: &str) {
        for line in wrapped(text, self.room(prefix)) {
            self.text.push_str(&self.screen.paint(Look::Faint, prefix));
            self.text.push_str(&self.screen.paint(look, &line));
            self.text.push('\n');
        }
    }

    fn room(&self, prefix: &str) -> usize {
        self.screen.width.saturating_sub(width(prefix)).max(ROOM_MIN)
    }
}

#[cfg(test)]
mod tests;
