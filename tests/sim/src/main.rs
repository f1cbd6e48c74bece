//! `throughline-sim`: writes a simulated run's raw tables and its truth.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use sim::Dials;
use sim::dials::duration;
use sim::write::{Plan, live_start, write};

/// A seeded cluster that writes raw tables and knows the truth about them
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Simulate a run and write DIR/tables (raw Delta tables) and DIR/truth (what really happened)
    ///
    /// Prints what was written as one line of JSON. Each dial stands alone or with any others, such
    /// as: throughline-sim write --out DIR --rate 200 --loss-agents 0.02 --skew 500ms --late 0.01
    Write(Box<Write>),
}

#[derive(clap::Args)]
struct Write {
    /// Folder that gets `tables` and `truth`; neither may be there yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Arrivals of this time make one commit a table
    #[arg(long, default_value = "2s", value_parser = duration)]
    commit_every: i64,
    /// Traffic begins now, and every commit waits for its moment on the wall clock
    #[arg(long)]
    live: bool,
    /// Write the truth of each n-th request only; 0 writes none
    #[arg(long, default_value_t = 1, value_name = "N")]
    truth_every: u64,
    #[command(flatten)]
    dials: Dials,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Verb::Write(flags) = Cli::parse().verb;
    let Write { out, commit_every, live, truth_every, mut dials } = *flags;
    for folder in ["tables", "truth"].map(|name| out.join(name)) {
        anyhow::ensure!(!folder.exists(), "write to {}: it is there already", folder.display());
    }
    anyhow::ensure!(commit_every > 0, "--commit-every: more than 0");
    if live {
        dials.start = live_start();
    }
    let plan = Plan { out, commit_every_ns: commit_every, live, truth_every };
    let summary = write(dials, &plan).await?;
    print(&serde_json::to_string(&summary)?);
    Ok(())
}

/// The one line that a program which calls this one reads.
#[allow(clippy::print_stdout, reason = "the answer goes to standard output")]
fn print(line: &str) {
    println!("{line}");
}
