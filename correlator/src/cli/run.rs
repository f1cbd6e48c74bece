//! `throughline run`: follows the raw tables and writes each window when the watermark allows it.

use std::process::ExitCode;

use anyhow::Context as _;
use engine::run::follow;

use crate::settings::{self, Flags};
use crate::shutdown;

/// Follow the raw tables and write hop, path and ambiguous rows.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub flags: Flags,
}

/// # Errors
/// When the tables can't be opened, or can't be read or written for too long.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = settings::read(&args.flags)?;
    let stop = shutdown::on_signal().context("listen for signals")?;
    follow(&config, stop).await?;
    Ok(ExitCode::SUCCESS)
}
