//! `throughline ambiguous`: what could not be decided, with the candidates, newest first.

use query::{AmbiguousFilter, Reader};

use super::progress::while_waiting;
use super::screen::Screen;
use super::{
    EXIT_CODES, Format, Outcome, Place, Reply, When, json_line, limit, open, undecided, with_remedy,
};

/// List what could not be decided, with the candidates, newest first
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = EXIT_CODES,
    after_long_help = format!("\
Examples:
  throughline ambiguous --since -1h
      what the last hour left open
  throughline ambiguous --reason AMBIG_TIME_ONLY -o json | jq -r .decided_by | sort | uniq -c
      what would have decided it, counted

{EXIT_CODES}")
)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    when: When,
    /// Undecided for this reason, such as AMBIG_TIME_ONLY
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    /// Most rows
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = limit())]
    limit: u32,
}

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
    let filter = AmbiguousFilter { started, reason: args.reason, limit: args.limit as usize };
    let found = reader.ambiguous(&filter).await.map_err(with_remedy)?;
    if found.rows.is_empty() {
        return Ok(Reply::not_found("nothing undecided passes these filters\n"));
    }
    let said = match args.output {
        Format::Json => found.rows.iter().map(json_line).collect::<anyhow::Result<String>>()?,
        Format::Table => {
            let blocks: Vec<_> =
                found.rows.iter().map(|row| undecided::alone(row, screen)).collect();
            blocks.join("\n")
        }
    };
    let noted = match found.is_cut {
        true => "there are more; --limit, --since, --until and --reason show others\n",
        false => "",
    };
    let is_final = found.rows.iter().all(|row| row.finality == "final");
    let outcome = if is_final { Outcome::Found } else { Outcome::Incomplete };
    Ok(Reply { said, noted: noted.to_owned(), outcome })
}
