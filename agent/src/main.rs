//! `throughline-agent run` and `throughline-agent check`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use agent::config::{Config, Settings, gather};
use agent::kernel::Kernel;
use agent::run::run;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(name = "throughline-agent", version, about = "Reports what a node's sockets did")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Follows this node and ships what it sees to the collector.
    Run {
        /// Settings as TOML; flags and THROUGHLINE_* variables go before it.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Prints records as JSON lines instead of shipping them.
        #[arg(long)]
        dump: bool,
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Loads every program once and prints what this node can see. Exits with 1 when the base tier
    /// cannot be had.
    Check {
        /// The kernel programs; by default looked for beside this binary.
        #[arg(long, value_name = "FILE")]
        programs: Option<PathBuf>,
    },
}

/// One thread drains and decides; blocking dumps get threads of their own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("THROUGHLINE_LOG")
                .unwrap_or_else(|_| "info".into()),
        )
        .init();
    let outcome = match Cli::parse().command {
        Command::Run { config, dump, settings } => match configured(config, &settings, !dump) {
            Ok(config) => start(config, dump).await,
            Err(error) => {
                tracing::error!("{error:#}");
                return ExitCode::from(2);
            }
        },
        Command::Check { programs } => check(programs),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn configured(file: Option<PathBuf>, flags: &Settings, exports: bool) -> anyhow::Result<Config> {
    Ok(gather(file.as_deref(), flags)?.check(exports)?)
}

async fn start(config: Config, print: bool) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    run(config, print, stop).await?;
    Ok(ExitCode::SUCCESS)
}

fn check(programs: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let kernel = Kernel::load(&programs.unwrap_or_else(agent::config::default_programs))?;
    print!("{}", kernel.manifest.render());
    let complete = kernel.manifest.base_tier_loaded();
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
