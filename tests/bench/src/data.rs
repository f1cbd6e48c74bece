//! The simulated traffic, written once and kept.
//!
//! A folder's name holds the dials and a hash of the sources that made it, so data of an older
//! simulator is never measured.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sim::Dials;
use sim::dials::Kind;
use sim::write::{Plan, live_start, write};

use crate::usage;

/// Raw commits of a collector are this far apart.
pub(crate) const COMMIT_NS: i64 = 2_000_000_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    out: PathBuf,
    #[arg(long)]
    rate: f64,
    #[arg(long)]
    seconds: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Traffic begins now and every commit waits for its moment.
    #[arg(long)]
    live: bool,
    /// Part of the rows that come late.
    #[arg(long, default_value_t = 0.0)]
    late: f64,
    /// Seconds between heartbeats.
    #[arg(long, default_value_t = 10.0)]
    heartbeat_s: f64,
}

/// Simulated traffic on disk.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) tables: PathBuf,
    pub(crate) truth: PathBuf,
    pub(crate) run: Run,
}

/// What the simulator says of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) start_ns: i64,
    pub(crate) end_ns: i64,
    pub(crate) requests: u64,
    pub(crate) legs: u64,
    pub(crate) rows_total: u64,
    pub(crate) commits: u64,
    pub(crate) nodes: u64,
    pub(crate) pods: u64,
    pub(crate) services: u64,
}

impl Data {
    /// Traffic at the peak's shape, from the cache or written into it.
    pub(crate) fn peak(cache: &Path, rate: f64, seconds: f64) -> anyhow::Result<Self> {
        let name = format!("peak-{rate}-{seconds}s-{}", sources()?);
        let folder = cache.join(name);
        if !folder.join("done").exists() {
            crate::note(&format!("simulating {seconds} s at {rate} requests/s"));
            if folder.exists() {
                std::fs::remove_dir_all(&folder).context("remove unfinished data")?;
            }
            let _: serde_json::Value = usage::answer(
                usage::of_ours()?
                    .arg("simulate")
                    .args(["--rate", &rate.to_string(), "--seconds", &seconds.to_string()])
                    .arg("--out")
                    .arg(&folder),
            )?;
            std::fs::write(folder.join("done"), "").context("say that data is complete")?;
        }
        Self::open(&folder)
    }

    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let truth = folder.join("truth");
        let run = std::fs::read_to_string(truth.join("run.json")).context("read run.json")?;
        let run = serde_json::from_str(&run).context("read run.json")?;
        Ok(Self { tables: folder.join("tables"), truth, run })
    }
}

/// Writes traffic, and prints what was written.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let mut dials = Dials {
        seed: args.seed,
        shape: Kind::Peak,
        rate: Some(args.rate),
        seconds: args.seconds,
        late: args.late,
        heartbeat: (args.heartbeat_s * 1e9) as i64,
        // Of the seed's peak: a client of its own for every hundred requests a second.
        clients: ((args.rate / 100.0) as usize).max(20),
        ..Dials::default()
    };
    if args.live {
        dials.start = live_start();
    }
    let plan =
        Plan { out: args.out.clone(), commit_every_ns: COMMIT_NS, live: args.live, truth_every: 1 };
    let summary = write(dials, &plan).await?;
    crate::print(&serde_json::to_value(&summary)?);
    Ok(())
}

/// A hash of everything that decides which bytes the simulator writes.
fn sources() -> anyhow::Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut hasher = blake3::Hasher::new();
    for folder in ["tests/sim/src", "collector/tables/src", "tests/bench/src/data.rs"] {
        hash(&root.join(folder), &mut hasher)?;
    }
    Ok(hasher.finalize().to_hex()[..12].to_owned())
}

fn hash(path: &Path, hasher: &mut blake3::Hasher) -> anyhow::Result<()> {
    if path.is_file() {
        hasher.update(&std::fs::read(path).with_context(|| format!("read {}", path.display()))?);
        return Ok(());
    }
    let entries: std::io::Result<Vec<_>> = std::fs::read_dir(path)
        .with_context(|| format!("read {}", path.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect();
    let mut entries = entries?;
    entries.sort();
    entries.iter().try_for_each(|entry| hash(entry, hasher))
}
