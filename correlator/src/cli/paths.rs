//! `throughline paths`: requests that pass a filter, newest first, one a row.

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table};
use query::{Answer, PathFilter, Reader, ServiceName, StatusFilter, Verdict};
use tables::Path;

use super::path::is_whole;
use super::progress::while_waiting;
use super::screen::Screen;
use super::text::{moment_seconds, safe, span};
use super::{EXIT_CODES, Format, Outcome, Place, Reply, When, json_line, limit, open, with_remedy};

/// List requests, newest first
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = EXIT_CODES,
    after_long_help = format!("\
Examples:
  throughline paths --since -15m
      what came in during the last quarter of an hour
  throughline paths --since -1h --status 5xx --service shop/cart
      failed requests that went through the Service cart of the namespace shop
  throughline paths --verdict ambiguous -o json | jq -r .path_id
      ids of lines that could not be decided

{EXIT_CODES}")
)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    when: When,
    /// Passed through this Service
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    service: Option<ServiceName>,
    /// Passed through this pod
    #[arg(long, value_name = "NAME")]
    pod: Option<String>,
    /// Ended with this status: `502`, or a class such as `5xx`
    #[arg(long, value_name = "CODE")]
    status: Option<StatusFilter>,
    /// What is known of the line: complete, partial, ambiguous or failed
    #[arg(long)]
    verdict: Option<Verdict>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    /// Most rows
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = limit())]
    limit: u32,
}

/// From here on a row has room for an id beside the request.
const WIDE: usize = 110;

/// Reads, prints, and says how it went.
///
/// # Errors
/// When the tables cannot be read or the answer cannot be printed.
pub async fn run(args: Args) -> anyhow::Result<Outcome> {
    let reader = open(&args.place).await?;
    while_waiting("reading the tables", reply(&reader, args, Screen::of_stdout())).await?.print()
}

async fn reply(reader: &Reader, args: Args, screen: Screen) -> anyhow::Result<Reply> {
    let started = match args.when.interval() {
        Ok(started) => started,
        Err(misuse) => return Ok(misuse),
    };
    let filter = PathFilter {
        id: None,
        started,
        service: args.service,
        pod: args.pod,
        status: args.status,
        verdict: args.verdict,
        limit: args.limit as usize,
    };
    let found = reader.paths(&filter).await.map_err(with_remedy)?;
    if found.rows.is_empty() {
        let noted = "no path passes these filters; `throughline doctor` says what data is there\n";
        return Ok(Reply::not_found(noted));
    }
    let said = match args.output {
        Format::Json => found.rows.iter().map(json_line).collect::<anyhow::Result<String>>()?,
        Format::Table => table(&found.rows, screen),
    };
    let outcome =
        if found.rows.iter().all(is_whole) { Outcome::Found } else { Outcome::Incomplete };
    Ok(Reply { said, noted: notes(&found), outcome })
}

fn notes(found: &Answer<Path>) -> String {
    let count = found.rows.len();
    let mut notes = String::new();
    if found.is_cut {
        notes.push_str(&format!("the newest {count}; --limit, --since and --until show others\n"));
    }
    let provisional = found.rows.iter().filter(|path| path.finality != "final").count();
    if provisional > 0 {
        notes.push_str(&format!("{provisional} of {count} are provisional and may still change\n"));
    }
    notes
}

fn table(paths: &[Path], screen: Screen) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(screen.width).unwrap_or(u16::MAX));
    let is_wide = screen.width >= WIDE;
    let names: &[&str] = match is_wide {
        true => &["STARTED", "TOOK", "STATUS", "VERDICT", "REQUEST", "HOPS", "PATH"],
        false => &["STARTED", "TOOK", "STATUS", "VERDICT", "REQUEST"],
    };
    table.set_header(names);
    for path in paths {
        table.add_row(row(path, is_wide));
    }
    // Ids are there to be copied, so they are never broken; requests give way.
    for index in [0, 1, 2, 3, 5, 6] {
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    screen.print_table(&table)
}

/// The id has a column of its own, or stands below the request where the screen is narrow.
fn row(path: &Path, is_wide: bool) -> Vec<String> {
    let status = path.status.map_or_else(|| path.outcome.clone(), |status| status.to_string());
    let request = [path.method.as_deref(), path.route.as_deref(), path.entry_service.as_deref()];
    let request = safe(&request.into_iter().flatten().collect::<Vec<_>>().join(" "));
    let path_id = safe(&path.path_id);
    let started = moment_seconds(path.start_ns);
    let mut row = vec![
        // The year is what a narrow screen can do without.
        if is_wide { started } else { started.chars().skip(5).collect() },
        span(path.duration_ns),
        safe(&status),
        safe(&path.verdict),
    ];
    if is_wide {
        row.extend([request, path.hop_count.to_string(), path_id]);
    } else {
        row.push(format!("{request}\n{path_id}"));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(id: u128) -> Path {
        Path {
            path_id: format!("{id:032x}"),
            start_ns: 1_795_262_400_000_000_000,
            duration_ns: 12_345_678,
            status: Some(502),
            method: Some("GET".into()),
            route: Some("/checkout/{}".into()),
            entry_service: Some("ingress".into()),
            hop_count: 7,
            verdict: "complete".into(),
            finality: "final".into(),
            ..Path::default()
        }
    }

    #[test]
    fn a_table_fits_80_columns_and_keeps_ids_whole() {
        let screen = Screen { width: 80, has_colour: false };
        let long = || Path { route: Some("/a/very/long/route/template/{}".into()), ..path(7) };
        let text = table(&[long()], screen);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains(&format!("{:032x}", 7)), "{text}");
        let text = table(&[path(7)], Screen { width: 120, has_colour: false });
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn stored_text_cannot_steer_the_terminal() {
        let hostile = Path { route: Some("/\u{1b}]0;owned\u{7}".into()), ..path(1) };
        let text = table(&[hostile], Screen { width: 140, has_colour: false });
        assert!(text.contains("/\\u{1b}]0;owned\\u{7}"), "{text}");
    }

    #[test]
    fn what_may_change_and_what_is_cut_is_noted() {
        let provisional = Path { finality: "provisional".into(), ..path(1) };
        let found =
            Answer { rows: vec![path(2), provisional], is_cut: true, scanned: Default::default() };
        assert_eq!(
            notes(&found),
            "the newest 2; --limit, --since and --until show others\n\
             1 of 2 are provisional and may still change\n"
        );
    }
}
