//! `throughline-collector`: configuration, signals, run, exit code.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use collector::config::{self, Written};
use collector::run::{RunError, run};
use collector::shutdown::{self, Stop};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// What is logged unless RUST_LOG says otherwise: the table library tells of each step it takes.
const LOG: &str = "info,buoyant_kernel=warn,delta_kernel=warn,deltalake=warn,deltalake_core=warn";
/// Wrong configuration.
const EXIT_USAGE: u8 = 2;
/// The disk under the spool failed (EX_IOERR): acknowledged data is safe, but a person is needed.
const EXIT_SPOOL_BROKEN: u8 = 74;

/// Receives telemetry and writes Throughline's raw tables.
///
/// A sender's ACK means that its records are on disk. Nothing but ids, times, addresses, names and
/// route templates is ever stored: bodies, headers, cookies and query strings never are.
#[derive(Parser)]
#[command(version, after_help = HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Receive until SIGTERM or Ctrl-C
    Run {
        /// TOML file with the same settings, named with `_` for `-`
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        written: Box<Written>,
    },
}

const HELP: &str = "\
Settings come from flags, then THROUGHLINE_* (as in THROUGHLINE_OTLP_GRPC), then --config.

Example:
  throughline-collector run --name c0 --spool /var/lib/throughline/spool \\
      --tables /var/lib/throughline/tables --kubernetes in-cluster

Point SDKs at port 4317 (gRPC) or 4318 (HTTP), agents at 4319, and nginx at 5514:
  access_log syslog:server=COLLECTOR:5514 upstreaminfo;

Exit codes: 0 stopped as asked, 1 failed, 2 usage, 74 the disk under the spool failed.
Log level: RUST_LOG, such as RUST_LOG=debug.";

fn main() -> ExitCode {
    // Two providers are in the dependency tree, so the choice has to be made before any TLS. Only
    // a second choice could fail, and there is none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();

    let Command::Run { config, written } = Cli::parse().command;
    let config = match config::load(config, &written) {
        Ok(config) => config,
        Err(mistakes) => {
            tracing::error!("{mistakes}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            match error.downcast_ref() {
                Some(RunError::SpoolBroken) => ExitCode::from(EXIT_SPOOL_BROKEN),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

#[tokio::main]
async fn serve(config: config::Config) -> anyhow::Result<()> {
    let (stop, requested) = shutdown::channel();
    tokio::spawn(stop_on_signal(stop));
    Ok(run(config, requested).await?)
}

async fn stop_on_signal(stop: Stop) {
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::error!(%error, "signals can't be received");
            return;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("stopping");
    stop.request();
}
