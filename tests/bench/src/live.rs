//! `throughline-bench live`: raw commits in real time, the live correlator beside them, and how soon
//! each path can be queried.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use engine::Config;
use serde::Serialize;
use serde_json::json;
use sim::write::live_start;
use store::{Store, Table};

use crate::data::Data;
use crate::usage::{self, Meter};
use crate::{check, files};

mod queryable;

/// After the end of the traffic its last window must be final within the lateness and this.
const PATIENCE: Duration = Duration::from_secs(180);

/// A stage that is further behind what is due than this does not keep up.
const BEHIND_MAX_S: f64 = 30.0;

const SECOND_NS: i64 = 1_000_000_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Requests a second
    #[arg(long, default_value_t = 10_000.0)]
    rate: f64,
    /// Seconds of traffic
    #[arg(long, default_value_t = 180.0)]
    seconds: f64,
    /// Part of the rows that come late, by up to 20 s
    #[arg(long, default_value_t = 0.01)]
    late: f64,
    /// Seconds after its end at which a window becomes final: short, so that it happens in the run
    #[arg(long, default_value_t = 60)]
    lateness_s: i64,
    /// Seconds after its end at which a window is revised
    #[arg(long, value_delimiter = ',', default_value = "20,40")]
    revise_s: Vec<i64>,
    /// Seconds between heartbeats, as agents are set
    #[arg(long, default_value_t = 2.0)]
    heartbeat_s: f64,
    /// Memory for the raw rows of the newest windows, MiB: those of all stages' windows of the default
    /// traffic
    #[arg(long, default_value_t = 4_096)]
    raw_memory: usize,
    /// Folder for the run; what it holds is removed at the end
    #[arg(long, default_value = "target/bench")]
    cache: PathBuf,
}

/// How far a stage was behind what was due, at its worst.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Behind {
    provisional_s: f64,
    revised_s: f64,
    final_s: f64,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let folder = args.cache.join("live");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).context("remove an older run")?;
    }
    let mut config = Config::new(folder.join("tables").to_string_lossy());
    config.settings.lateness_ns = args.lateness_s * SECOND_NS;
    config.settings.revise_after_ns = args.revise_s.iter().map(|s| s * SECOND_NS).collect();
    config.raw_bytes_max = args.raw_memory << 20;

    // Heartbeats go on after the traffic, so the simulator does too.
    let traffic_end_ns = live_start() * SECOND_NS + (args.seconds * SECOND_NS as f64) as i64;
    let mut simulator = simulator(args, &folder)?;
    let meter = Meter::start()?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let correlator = {
        let config = config.clone();
        tokio::spawn(async move { engine::run::follow(&config, stopped).await })
    };
    let behind =
        watch(&config, &mut simulator, traffic_end_ns, || correlator.is_finished()).await?;
    // The receiver is gone where the correlator has ended by itself, and that is reported below.
    let _ = stop.send(true);
    correlator.await??;
    let usage = meter.read()?;

    let data = Data::open(&folder)?;
    let derived = files::snapshot(&data.tables).await?;
    let truth = check::check(&data, &derived)?;
    let queryable = queryable::measure(&data)?;
    let kept_up = [behind.provisional_s, behind.revised_s, behind.final_s];
    let kept_up = kept_up.into_iter().all(|seconds| seconds <= BEHIND_MAX_S);
    crate::print(&json!({
        "run": &data.run, "correlator": usage, "truth": truth, "behind": behind,
        "queryable": &queryable,
    }));
    crate::print(&json!({
        "requests_per_s": data.run.requests as f64 / args.seconds,
        "queryable_p50_s": queryable.first.p50_s,
        "queryable_p99_s": queryable.first.p99_s,
        "kept_up": kept_up,
        "correlator_cores": usage.cpu_s / usage.wall_s,
    }));
    std::fs::remove_dir_all(&folder).context("remove the run")
}

/// A simulator whose raw commits follow the wall clock.
fn simulator(args: &Args, folder: &Path) -> anyhow::Result<Child> {
    usage::of_ours()?
        .arg("simulate")
        .arg("--live")
        .args(["--rate", &args.rate.to_string(), "--seconds", &args.seconds.to_string()])
        .args(["--late", &args.late.to_string()])
        .args(["--heartbeat-s", &args.heartbeat_s.to_string()])
        .arg("--out")
        .arg(folder)
        .stdout(Stdio::null())
        .spawn()
        .context("start the simulator")
}

/// Looks each second how far each stage has come, until the traffic's last window is final.
async fn watch(
    config: &Config,
    simulator: &mut Child,
    traffic_end_ns: i64,
    is_over: impl Fn() -> bool,
) -> anyhow::Result<Behind> {
    let mut behind = Behind::default();
    let mut ended: Option<Instant> = None;
    let store = Store::open(&config.tables).await?;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ensure!(!is_over(), "the correlator has ended by itself");
        if let Some(path) = store.existing(&tables::spec::<tables::Path>()).await? {
            let reached = Reached::of(config, &path).await?;
            reached.compare(config, traffic_end_ns, &mut behind);
            if reached.finals_ns >= Some(traffic_end_ns) && ended.is_some() {
                return Ok(behind);
            }
        }
        match ended {
            None => {
                if let Some(status) = simulator.try_wait().context("look at the simulator")? {
                    ensure!(status.success(), "the simulator ended with {status}");
                    ended = Some(Instant::now());
                }
            }
            Some(at) => {
                let lateness = Duration::from_nanos(config.settings.lateness_ns.unsigned_abs());
                if at.elapsed() > PATIENCE + lateness {
                    bail!("stage F did not reach the end of the traffic: {behind:?}");
                }
            }
        }
    }
}

/// The end of the newest window that each stage has done; for revisions the newest boundary.
struct Reached {
    provisional_ns: Option<i64>,
    revised_ns: Option<i64>,
    finals_ns: Option<i64>,
}

impl Reached {
    async fn of(config: &Config, path: &Table) -> anyhow::Result<Self> {
        let mut ends = Vec::new();
        for stage in ["P", "R", "F"] {
            let index = path.progress(&format!("{}/{stage}", config.job)).await?;
            ends.push(index.map(|index| (index + 1) * config.settings.window_ns));
        }
        Ok(Self { provisional_ns: ends[0], revised_ns: ends[1], finals_ns: ends[2] })
    }

    /// What is due by now lies a window's length and a heartbeat or two behind the clock; that much
    /// is part of the figures. After the traffic windows without rows are recorded together.
    fn compare(&self, config: &Config, traffic_end_ns: i64, behind: &mut Behind) {
        let settings = &config.settings;
        let seconds = |reached: Option<i64>, delay_ns: i64| {
            let due_ns = (now_ns() - delay_ns).min(traffic_end_ns);
            reached.map_or(0.0, |end_ns| (due_ns - end_ns) as f64 / SECOND_NS as f64)
        };
        behind.provisional_s =
            behind.provisional_s.max(seconds(self.provisional_ns, settings.settle_ns));
        behind.revised_s = behind.revised_s.max(seconds(self.revised_ns, 0));
        behind.final_s = behind.final_s.max(seconds(self.finals_ns, settings.lateness_ns));
    }
}

fn now_ns() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}
