//! One stage of the correlator as it runs live, over tables that stand still, measured.
//!
//! The live correlator is started on the tables and stopped once the stage has done its last window.
//! For the provisional stage nothing is old enough to be final; for the final stage everything is.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::ValueEnum;
use engine::Config;
use serde::{Deserialize, Serialize};
use store::{Store, Table};

use crate::usage::{Meter, Usage};

/// How often it is looked whether the stage is through.
const LOOK: Duration = Duration::from_millis(20);

/// Later than this after the newest heartbeat the windows of a batch are final. The simulator's
/// heartbeats go on for longer than that after its traffic.
const FINAL_LATENESS_NS: i64 = 40_000_000_000;

/// A stage that takes longer than this is stuck.
const PATIENCE: Duration = Duration::from_secs(3 * 3_600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
pub(crate) enum Stage {
    #[value(name = "P")]
    #[serde(rename = "P")]
    Provisional,
    #[value(name = "F")]
    #[serde(rename = "F")]
    Final,
}

impl Stage {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Provisional => "P",
            Self::Final => "F",
        }
    }
}

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    tables: PathBuf,
    #[arg(long)]
    stage: Stage,
    /// End of the traffic, nanoseconds.
    #[arg(long)]
    end_ns: i64,
}

/// What a stage has cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    #[serde(flatten)]
    pub(crate) usage: Usage,
    pub(crate) windows: i64,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let mut config = Config::new(args.tables.to_string_lossy());
    config.poll = Duration::from_millis(100);
    // Raw rows that stand still are revised by nothing; what is measured is one stage.
    config.settings.revise_after_ns.clear();
    // Alone, a stage passes over its rows once.
    config.raw_bytes_max = 0;
    if args.stage == Stage::Final {
        config.settings.lateness_ns = FINAL_LATENESS_NS;
    }
    // Requests that began before the end of the traffic end in the window after it at the latest.
    let last = args.end_ns.div_euclid(config.settings.window_ns);
    let store = Store::open(&config.tables).await?;
    let app_id = format!("{}/{}", config.job, args.stage.code());
    let path = store.table(&tables::spec::<tables::Path>()).await?;

    let meter = Meter::start()?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let live = tokio::spawn(async move { engine::run::follow(&config, stopped).await });
    let reached = reach(&path, &app_id, last, || live.is_finished()).await?;
    let usage = meter.read()?;
    // The receiver is gone where the correlator has ended by itself, and that is reported below.
    let _ = stop.send(true);
    live.await??;
    ensure!(reached, "the correlator stopped before window {last} of stage {}", args.stage.code());
    let cost = Cost { usage, windows: last + 1 };
    crate::print(&serde_json::to_value(cost)?);
    Ok(())
}

/// Waits until the stage has done its last window. False when nothing will do it any more.
async fn reach(
    path: &Table,
    app_id: &str,
    last: i64,
    is_over: impl Fn() -> bool,
) -> anyhow::Result<bool> {
    let meter = Meter::start()?;
    while meter.read()?.wall_s < PATIENCE.as_secs_f64() {
        if path.progress(app_id).await?.is_some_and(|reached| reached >= last) {
            return Ok(true);
        }
        if is_over() {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(false)
}
