//! `throughline doctor`: what state the data is in, and what to do about it.

mod advice;
mod report;

use query::{Reader, Refused, TableState, Windows};
use tables::{Capability, Heartbeat};

use super::progress::while_waiting;
use super::screen::Screen;
use super::{Format, Outcome, Place, Reply, json_line, now_ns, open, with_remedy};

/// Say what state the data is in, and what to do about it
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  throughline doctor --tables ./tables
  throughline doctor -o json | jq -r .advice[]

Exit codes: 0 nothing to do, 1 failed, 2 wrong usage, 4 something is missing, lost or behind")]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

/// What was read.
struct State {
    at: String,
    now_ns: i64,
    tables: Vec<TableState>,
    windows: Windows,
    sources: Vec<Source>,
    capabilities: Vec<Capability>,
    refused: Vec<Refused>,
}

/// One sender of heartbeats, over the last hour that has any.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    /// `agent node-1` or `kubernetes cluster`.
    name: String,
    covered_to_ns: i64,
    idle_after_ns: i64,
    lost_kernel: i64,
    lost_user: i64,
}

/// Reads, prints, and says how it went.
///
/// # Errors
/// When the tables cannot be read or the answer cannot be printed.
pub async fn run(args: Args) -> anyhow::Result<Outcome> {
    let reader = open(&args.place).await?;
    let state = while_waiting("reading the tables", read(&reader, now_ns())).await?;
    reply(&state, args.output, Screen::of_stdout())?.print()
}

async fn read(reader: &Reader, now_ns: i64) -> anyhow::Result<State> {
    let heartbeats = reader.heartbeats().await.map_err(with_remedy)?;
    Ok(State {
        at: reader.at().to_owned(),
        now_ns,
        tables: reader.tables().await.map_err(with_remedy)?,
        windows: reader.windows().await.map_err(with_remedy)?,
        sources: sources(&heartbeats),
        capabilities: reader.capabilities().await.map_err(with_remedy)?,
        refused: reader.refused().await.map_err(with_remedy)?,
    })
}

fn reply(state: &State, format: Format, screen: Screen) -> anyhow::Result<Reply> {
    let advice = advice::advice(state);
    let said = match format {
        Format::Table => report::report(state, &advice, screen),
        Format::Json => json_line(&report::json(state, &advice))?,
    };
    let outcome = if advice.is_empty() { Outcome::Found } else { Outcome::Incomplete };
    Ok(Reply { said, noted: String::new(), outcome })
}

/// Heartbeats by sender, in the order of their names.
fn sources(heartbeats: &[Heartbeat]) -> Vec<Source> {
    let mut by_name = std::collections::BTreeMap::<String, Source>::new();
    for heartbeat in heartbeats {
        let name = format!("{} {}", heartbeat.source, heartbeat.node);
        let source = by_name.entry(name.clone()).or_insert_with(|| Source {
            name,
            covered_to_ns: heartbeat.covered_to_ns,
            idle_after_ns: heartbeat.idle_after_ns,
            lost_kernel: 0,
            lost_user: 0,
        });
        if heartbeat.covered_to_ns >= source.covered_to_ns {
            source.covered_to_ns = heartbeat.covered_to_ns;
            source.idle_after_ns = heartbeat.idle_after_ns;
        }
        source.lost_kernel = source.lost_kernel.saturating_add(heartbeat.lost_kernel);
        source.lost_user = source.lost_user.saturating_add(heartbeat.lost_user);
    }
    by_name.into_values().collect()
}

#[cfg(test)]
mod tests;
