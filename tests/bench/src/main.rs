//! `throughline-bench`: what the correlator costs at the simulated peak, and how late it is live.
//!
//! Each stage runs in a process of its own, so that its CPU time and its memory are its own. Figures
//! are reported only for output that is right.

mod batch;
mod check;
mod data;
mod files;
mod history;
mod live;
mod peer;
mod stage;
mod usage;

use clap::{Parser, Subcommand};

/// Measures the correlator over simulated traffic
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Stages P and F over the simulated peak, and the same joins in DuckDB and DataFusion
    Correlator(batch::Args),
    /// Live beside raw commits in real time: how soon paths can be queried
    Live(live::Args),
    /// One stage of the correlator, measured; what `correlator` and `live` call
    #[command(hide = true)]
    Stage(stage::Args),
    /// Simulated traffic, written; what `correlator` and `live` call
    #[command(hide = true)]
    Simulate(data::Args),
}

fn main() -> anyhow::Result<()> {
    // The bars are for two cores.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(usage::CORES)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match Cli::parse().verb {
            Verb::Correlator(args) => batch::run(&args).await,
            Verb::Live(args) => live::run(&args).await,
            Verb::Stage(args) => stage::run(&args).await,
            Verb::Simulate(args) => data::run(&args).await,
        }
    })
}

/// One line of the answer.
#[allow(clippy::print_stdout, reason = "the answer goes to standard output")]
fn print(line: &serde_json::Value) {
    println!("{line}");
}

/// What is going on, for whoever waits.
#[allow(clippy::print_stderr, reason = "progress goes to standard error")]
fn note(line: &str) {
    eprintln!("{line}");
}
