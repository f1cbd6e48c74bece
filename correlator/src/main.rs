//! `throughline`: the correlator and the user's commands in one binary.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use correlator::cli;
use correlator::settings::Mistakes;
use tracing_subscriber::EnvFilter;

/// The line that a request took through the cluster, with the evidence for each hop
#[derive(Debug, Parser)]
#[command(name = "throughline", version)]
struct Throughline {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(cli::run::Args),
    Backfill(cli::backfill::Args),
    Maintain(cli::maintain::Args),
    Path(cli::path::Args),
    Paths(cli::paths::Args),
    Ambiguous(cli::ambiguous::Args),
    Doctor(cli::doctor::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    let verb = Throughline::parse().verb;
    // Two providers are in the tree and neither is chosen by itself. An error means that one is
    // installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    start_log(&verb);
    let outcome = match verb {
        Verb::Run(args) => cli::run::run(args).await,
        Verb::Backfill(args) => cli::backfill::run(args).await,
        Verb::Maintain(args) => cli::maintain::run(args).await,
        Verb::Path(args) => cli::path::run(args).await.map(ExitCode::from),
        Verb::Paths(args) => cli::paths::run(args).await.map(ExitCode::from),
        Verb::Ambiguous(args) => cli::ambiguous::run(args).await.map(ExitCode::from),
        Verb::Doctor(args) => cli::doctor::run(args).await.map(ExitCode::from),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(if error.is::<Mistakes>() { 2 } else { 1 })
    })
}

/// Logs go to standard error: what our service does, and of everything else only what is wrong.
fn start_log(verb: &Verb) {
    let filter = match verb {
        Verb::Run(_) | Verb::Maintain(_) => "warn,engine=info",
        _ => "warn",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}
