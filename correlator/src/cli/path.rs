//! `throughline path`: the whole line of one request, hop by hop.

use query::{Id, PathFilter, Reader};
use tables::Path;

use super::line::{self, Known};
use super::progress::while_waiting;
use super::screen::Screen;
use super::text::{moment_seconds, safe, span};
use super::{
    EXIT_CODES, Format, Outcome, Place, Reply, When, json_line, limit, now_ns, open, with_remedy,
};

/// Draw the line of one request, hop by hop
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = EXIT_CODES,
    after_long_help = format!("\
Examples:
  throughline path 8f14e45f-ceea-467f-9b8a-1d2c3e4f5a6b
      the request with this x-request-id, in any spelling
  throughline path 4bf92f3577b34da6a3ce929d0e0e4736 --since -1h
      every request of this trace that started in the last hour
  throughline path 0af7651916cd43dd8448eb211c80319c -o json | jq .hops
      the same as data

{EXIT_CODES}")
)]
pub struct Args {
    /// A request id, a trace id or a path id
    #[arg(value_name = "REQUEST-ID|TRACE-ID|PATH-ID")]
    id: Id,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    when: When,
    /// `table` draws the line
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    /// Most lines to draw when several requests have this id
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = limit())]
    limit: u32,
}

/// Reads, prints, and says how it went.
///
/// # Errors
/// When the tables cannot be read or the answer cannot be printed.
pub async fn run(args: Args) -> anyhow::Result<Outcome> {
    let reader = open(&args.place).await?;
    let reply = reply(&reader, &args, Screen::of_stdout(), now_ns());
    while_waiting("reading the tables", reply).await?.print()
}

async fn reply(reader: &Reader, args: &Args, screen: Screen, now_ns: i64) -> anyhow::Result<Reply> {
    let started = match args.when.interval() {
        Ok(started) => started,
        Err(misuse) => return Ok(misuse),
    };
    let id = Some(args.id.clone());
    let filter = PathFilter { id, started, limit: args.limit as usize, ..PathFilter::default() };
    let found = reader.paths(&filter).await.map_err(with_remedy)?;
    if found.rows.is_empty() {
        let windows = reader.windows().await.map_err(with_remedy)?;
        return Ok(Reply::not_found(nothing(windows.newest_ns, now_ns)));
    }
    let mut said = String::new();
    for path in &found.rows {
        said.push_str(&match args.output {
            Format::Json => json_line(path)?,
            Format::Table => drawn(reader, path, screen, &said).await?,
        });
    }
    let noted = if found.is_cut {
        format!(
            "more requests have this id; --limit {} shows more\n",
            args.limit.saturating_mul(10)
        )
    } else {
        String::new()
    };
    let is_whole = found.rows.iter().all(is_whole);
    let outcome = if is_whole { Outcome::Found } else { Outcome::Incomplete };
    Ok(Reply { said, noted, outcome })
}

async fn drawn(
    reader: &Reader,
    path: &Path,
    screen: Screen,
    before: &str,
) -> anyhow::Result<String> {
    let hops = reader.hops_of(path).await.map_err(with_remedy)?;
    let undecided = reader.ambiguous_of(path).await.map_err(with_remedy)?;
    let drawing = line::draw(&Known { path, hops: &hops, undecided: &undecided }, screen);
    let rule =
        if before.is_empty() { String::new() } else { format!("\n{}\n\n", "─".repeat(80)) };
    Ok(format!("{rule}{drawing}"))
}

/// Whether the answer can no longer change and nothing that was expected is missing. A server that
/// was never called is not missing.
pub(super) fn is_whole(path: &Path) -> bool {
    let is_no_loss = |entry: &String| entry.ends_with("MISSING_UPSTREAM_NEVER_SENT");
    path.finality == "final" && path.missing.iter().all(is_no_loss)
}

fn nothing(newest_window_ns: Option<i64>, now_ns: i64) -> String {
    match newest_window_ns {
        None => {
            "no such path: the path table is still empty; see `throughline doctor`\n".to_owned()
        }
        Some(newest) => format!(
            "no such path. The newest window began at {} UTC, {} ago; a request can be found some \
             30 s after its end. `throughline paths --since -15m` lists recent ones\n",
            safe(&moment_seconds(newest)),
            span(now_ns - newest)
        ),
    }
}
