//! `throughline run`: follows the raw tables and writes each window when the watermark allows it.

use std::process::ExitCode;

use anyhow::Context as _;
use engine::run::follow;

use crate::cli::maintain;
use crate::settings::{self, Flags, LiveFlags, UpkeepFlags};
use crate::shutdown;

/// Follow the raw tables and write hop, path and ambiguous rows.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub flags: Flags,
    #[command(flatten)]
    pub live: LiveFlags,
    #[command(flatten)]
    pub upkeep: UpkeepFlags,
}

/// # Errors
/// When the tables can't be opened, or can't be read or written for too long.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (config, upkeep) = settings::read_live(&args.flags, &args.live, &args.upkeep)?;
    let stop = shutdown::on_signal().context("listen for signals")?;
    let beside = maintain::beside(&config, &upkeep, stop.clone()).await?;
    follow(&config, stop).await?;
    // What it is at can be left at any moment.
    beside.abort();
    Ok(ExitCode::SUCCESS)
}
