//! The state of the data as a page for people, and as one JSON object.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde_json::{Value, json};

use super::State;
use crate::cli::screen::{Look, Screen};
use crate::cli::text::{moment_seconds, safe, span, wrapped};

pub(super) fn report(state: &State, advice: &[String], screen: Screen) -> String {
    let mut page = String::new();
    heading(&mut page, screen, &format!("Tables at {}", state.at));
    page.push_str(&tables(state, screen));
    heading(&mut page, screen, "Windows");
    for line in wrapped(&windows(state), screen.width - 2) {
        page.push_str(&format!("  {line}\n"));
    }
    heading(&mut page, screen, "Sources, over the last hour that has heartbeats");
    page.push_str(&sources(state, screen));
    heading(&mut page, screen, "What to do");
    if advice.is_empty() {
        page.push_str(&format!("  {}\n", screen.paint(Look::Good, "nothing")));
    }
    for (n, sentence) in advice.iter().enumerate() {
        for (line, text) in wrapped(&safe(sentence), screen.width - 5).into_iter().enumerate() {
            let number = if line == 0 { format!("{:>2}.", n + 1) } else { "   ".to_owned() };
            page.push_str(&format!("{number} {}\n", screen.paint(Look::Doubtful, &text)));
        }
    }
    page
}

pub(super) fn json(state: &State, advice: &[String]) -> Value {
    let tables = state.tables.iter().map(|table| {
        let content = table.content.as_ref();
        json!({
            "name": table.name,
            "exists": content.is_some(),
            "version": content.map(|c| c.version),
            "files": content.map_or(0, |c| c.files),
            "rows": content.map_or(0, |c| c.rows),
            "newest_ns": content.and_then(|c| c.newest_ns),
        })
    });
    let sources = state.sources.iter().map(|source| {
        json!({
            "name": source.name,
            "covered_to_ns": source.covered_to_ns,
            "lost_kernel": source.lost_kernel,
            "lost_user": source.lost_user,
        })
    });
    json!({
        "at": state.at,
        "tables": tables.collect::<Vec<_>>(),
        "windows": { "provisional": state.windows.provisional, "final": state.windows.fixed },
        "sources": sources.collect::<Vec<_>>(),
        "advice": advice,
    })
}

fn heading(page: &mut String, screen: Screen, text: &str) {
    if !page.is_empty() {
        page.push('\n');
    }
    page.push_str(&screen.paint(Look::Strong, &safe(text)));
    page.push('\n');
}

fn tables(state: &State, screen: Screen) -> String {
    let mut table = columns(screen, ["TABLE", "ROWS", "FILES", "NEWEST (UTC)"]);
    for entry in &state.tables {
        table.add_row(match &entry.content {
            None => [entry.name.to_owned(), "-".into(), "-".into(), "not written yet".into()],
            Some(content) => [
                entry.name.to_owned(),
                content.rows.to_string(),
                content.files.to_string(),
                content.newest_ns.map_or_else(|| "-".to_owned(), |ns| aged(ns, state.now_ns)),
            ],
        });
    }
    for index in [1, 2] {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    screen.print_table(&table)
}

fn windows(state: &State) -> String {
    let windows = &state.windows;
    let mut text = format!("{} provisional, {} final", windows.provisional, windows.fixed);
    if let Some(newest) = windows.newest_ns {
        text.push_str(&format!("; newest from {}", aged(newest, state.now_ns)));
    }
    if let Some(oldest) = windows.oldest_provisional_ns {
        text.push_str(&format!("; oldest provisional from {}", moment_seconds(oldest)));
    }
    text
}

fn sources(state: &State, screen: Screen) -> String {
    if state.sources.is_empty() {
        return "  none\n".to_owned();
    }
    let mut table = columns(screen, ["SOURCE", "COVERED TO (UTC)", "LOST IN KERNEL", "IN AGENT"]);
    for source in &state.sources {
        table.add_row([
            safe(&source.name),
            aged(source.covered_to_ns, state.now_ns),
            source.lost_kernel.to_string(),
            source.lost_user.to_string(),
        ]);
    }
    screen.print_table(&table)
}

fn columns(screen: Screen, names: [&str; 4]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(screen.width).unwrap_or(u16::MAX));
    table.set_header(names);
    table
}

fn aged(ns: i64, now_ns: i64) -> String {
    format!("{} ({} ago)", moment_seconds(ns), span(now_ns - ns))
}
