//! The live correlator: follows the raw tables and writes each window when the watermark allows it.

use std::time::Duration;

use store::Store;
use tokio::sync::watch;

use crate::{Config, EngineError};

mod due;
mod live;
mod report;
mod revise;

use live::Live;

/// Rounds in a row that may fail before the process gives up; each waits one poll interval longer.
const FAILURES_MAX: u32 = 10;

/// Runs until told to stop; the commit in hand is finished first.
///
/// # Errors
/// When the tables can't be opened, or can't be read or written for too long.
pub async fn follow(config: &Config, mut stop: watch::Receiver<bool>) -> Result<(), EngineError> {
    let store = Store::open(&config.tables).await?;
    let mut live = Live::open(&store, config).await?;
    tracing::info!(tables = store.root(), job = config.job, "correlator runs");
    let mut failures = 0;
    while !*stop.borrow() {
        let pause = match live.round(&stop).await {
            Ok(true) => Duration::ZERO,
            Ok(false) => config.poll,
            Err(error) if failures + 1 < FAILURES_MAX => {
                tracing::warn!(%error, "round failed and is repeated");
                failures += 1;
                tokio::time::sleep(config.poll * failures).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        failures = 0;
        // A stop during the pause ends it; an error means that nobody can stop us any more.
        let _ = tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await;
    }
    live.close().await?;
    store.settle().await;
    tracing::info!("correlator stopped");
    Ok(())
}
