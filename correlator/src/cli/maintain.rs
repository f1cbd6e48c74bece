//! `throughline maintain`: old hours dropped, settled hours put together, what nobody needs removed.

use std::process::ExitCode;

use anyhow::Context as _;
use engine::Config;
use engine::maintain::{Maintenance, Outcome, Policy};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::now_ns;
use crate::settings::{self, Flags, Upkeep, UpkeepFlags};
use crate::shutdown;

/// Beside a live correlator compaction works a quarter of the time on one core.
const REST_BESIDE: u32 = 3;

/// Keep the tables small: drop old hours, put settled hours together, remove what nobody needs.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub flags: Flags,
    #[command(flatten)]
    pub upkeep: UpkeepFlags,
    /// Do what is to be done now, and end.
    #[arg(long)]
    pub once: bool,
    /// Print what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// # Errors
/// When settings are wrong, or tables can't be read or written.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (config, upkeep) = settings::read_with_upkeep(&args.flags, &args.upkeep)?;
    let maintenance = Maintenance::open(&config, upkeep.policy.clone()).await?;
    if args.dry_run {
        for task in maintenance.plan(now_ns()).await? {
            println!("{task}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let stop = shutdown::on_signal().context("listen for signals")?;
    if args.once {
        return once(&maintenance, &stop).await;
    }
    let every = upkeep.every.context("--maintain-every 0s is never: use --once for one round")?;
    maintenance.now_and_then(every, now_ns, stop).await;
    Ok(ExitCode::SUCCESS)
}

async fn once(maintenance: &Maintenance, stop: &watch::Receiver<bool>) -> anyhow::Result<ExitCode> {
    match maintenance.round(now_ns(), stop).await? {
        Outcome::Done(tasks) => {
            for task in tasks {
                println!("{task}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Elsewhere { until_ms } => {
            let until = engine::moment::show(until_ms.saturating_mul(1_000_000));
            anyhow::bail!("another process maintains these tables, or did until {until}")
        }
    }
}

/// Maintains the tables of a live correlator at a low rate.
///
/// # Errors
/// When the location of the tables can't be used.
pub(super) async fn beside(
    config: &Config,
    upkeep: &Upkeep,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<JoinHandle<()>> {
    let policy = Policy { rest: REST_BESIDE, ..upkeep.policy.clone() };
    let maintenance = Maintenance::open(config, policy).await?;
    let every = upkeep.every;
    Ok(tokio::spawn(async move {
        if let Some(every) = every {
            maintenance.now_and_then(every, now_ns, stop).await;
        }
    }))
}
