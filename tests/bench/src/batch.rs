//! `throughline-bench correlator`: stages P and F over the simulated peak, and the peers beside them.
//!
//! For each length of traffic both stages run over the same raw tables, each in its own process on
//! two cores; then the shortest once more over tables with a long history, and the peers over it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::json;

use crate::check::{self, Comparison};
use crate::data::Data;
use crate::files::{self, Files};
use crate::stage::{Cost, Stage};
use crate::usage;
use crate::{history, peer};

/// Earlier commits in each table's log, for the question whether history costs.
const EARLIER_COMMITS: i64 = 1_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Requests a second
    #[arg(long, default_value_t = 120_000.0)]
    rate: f64,
    /// Lengths of the traffic; the bars are for the one given first
    #[arg(long, value_delimiter = ',', default_value = "60,10,300")]
    seconds: Vec<f64>,
    /// Length of the traffic for the peers and for the long history [default: the shortest]
    #[arg(long)]
    peer_seconds: Option<f64>,
    /// Folder that keeps simulated traffic
    #[arg(long, default_value = "target/bench")]
    cache: PathBuf,
    /// Python with duckdb, datafusion and pyarrow; without it there are no peers
    #[arg(long)]
    python: Option<PathBuf>,
}

/// Both stages over one length of traffic.
#[derive(Clone, Debug, Serialize)]
struct Measured {
    seconds: f64,
    requests: u64,
    rows_in: u64,
    raw_bytes: u64,
    rows_out: BTreeMap<&'static str, u64>,
    bytes_a_hop: f64,
    bytes_a_path: f64,
    truth: Comparison,
    provisional: Pace,
    #[serde(rename = "final")]
    finals: Pace,
}

/// What one stage cost, by request and by row.
#[derive(Clone, Copy, Debug, Serialize)]
struct Pace {
    #[serde(flatten)]
    cost: Cost,
    requests_per_s: f64,
    rows_per_s: f64,
    rows_per_cpu_s: f64,
    cpu_us_per_row: f64,
}

impl Pace {
    fn of(cost: Cost, data: &Data) -> Self {
        let (requests, rows) = (data.run.requests as f64, data.run.rows_total as f64);
        Self {
            cost,
            requests_per_s: requests / cost.usage.wall_s,
            rows_per_s: rows / cost.usage.wall_s,
            rows_per_cpu_s: rows / cost.usage.cpu_s,
            cpu_us_per_row: 1e6 * cost.usage.cpu_s / rows,
        }
    }
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let first = *args.seconds.first().context("--seconds: at least one length")?;
    let mut measured = Vec::new();
    for &seconds in &args.seconds {
        let data = Data::peak(&args.cache, args.rate, seconds)?;
        files::remove_derived(&data.tables)?;
        let found = measure(&data, &data.tables, seconds).await?;
        crate::print(&json!({ "cores": usage::CORES, "rate": args.rate, "measured": &found }));
        files::remove_derived(&data.tables)?;
        measured.push(found);
    }
    let shortest = args.seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let seconds = args.peer_seconds.unwrap_or(shortest);
    let data = Data::peak(&args.cache, args.rate, seconds)?;
    let with_history = old_tables(&data, &args.cache, seconds).await?;
    crate::print(&json!({ "earlier_commits": EARLIER_COMMITS, "measured": &with_history }));

    let ours = measured.iter().find(|found| found.seconds == seconds);
    let ratios = match (&args.python, ours) {
        (Some(python), Some(ours)) => peers(&data, python, &args.cache, ours).await?,
        _ => BTreeMap::new(),
    };
    let of_bar = measured.iter().find(|found| found.seconds == first).context("not measured")?;
    crate::print(&evenness(&measured, &with_history));
    crate::print(&last_line(of_bar, &ratios));
    Ok(())
}

/// Stage P and then stage F, checked.
async fn measure(data: &Data, tables: &Path, seconds: f64) -> anyhow::Result<Measured> {
    let provisional = stage(data, tables, Stage::Provisional)?;
    let finals = stage(data, tables, Stage::Final)?;
    let all = files::snapshot(tables).await?;
    let truth = check::check(data, &all)?;
    let derived: Vec<_> = files::derived().map(|spec| spec.name).collect();
    let bytes_a_row = |table| all.get(table).map_or(0.0, Files::bytes_a_row);
    let is_raw = |entry: &(&&str, &Files)| !derived.contains(entry.0);
    Ok(Measured {
        seconds,
        requests: data.run.requests,
        rows_in: data.run.rows_total,
        raw_bytes: all.iter().filter(is_raw).map(|(_, files)| files.bytes).sum(),
        rows_out: derived.iter().filter_map(|name| Some((*name, all.get(name)?.rows))).collect(),
        bytes_a_hop: bytes_a_row("hop"),
        bytes_a_path: bytes_a_row("path"),
        truth,
        provisional: Pace::of(provisional, data),
        finals: Pace::of(finals, data),
    })
}

fn stage(data: &Data, tables: &Path, stage: Stage) -> anyhow::Result<Cost> {
    crate::note(&format!("stage {} over {} requests", stage.code(), data.run.requests));
    usage::answer(usage::of_ours()?.arg("stage").arg("--tables").arg(tables).args([
        "--stage",
        stage.code(),
        "--end-ns",
        &data.run.end_ns.to_string(),
    ]))
}

async fn old_tables(data: &Data, cache: &Path, seconds: f64) -> anyhow::Result<Measured> {
    let folder = cache.join("history");
    let tables = history::with_history(&data.tables, &folder, EARLIER_COMMITS).await?;
    let measured = measure(data, &tables, seconds).await?;
    std::fs::remove_dir_all(&folder).context("remove the copy with a history")?;
    Ok(measured)
}

async fn peers(
    data: &Data,
    python: &Path,
    cache: &Path,
    ours: &Measured,
) -> anyhow::Result<BTreeMap<&'static str, f64>> {
    let raw = files::snapshot(&data.tables).await?;
    let scratch = cache.join("peers");
    let mut ratios = BTreeMap::new();
    for engine in peer::PEERS {
        crate::note(&format!("the same in {engine}"));
        let peer = peer::run(engine, python, data, &raw, &scratch)?;
        let ratio = peer.cpu_s / ours.finals.cost.usage.cpu_s;
        crate::print(&json!({ "peer": &peer, "cpu_ratio": ratio }));
        ratios.insert(engine, ratio);
    }
    std::fs::remove_dir_all(&scratch).context("remove what the peers wrote")?;
    Ok(ratios)
}

/// How far cost per row differs between lengths of traffic, and with a long history: 0.1 is 10 %.
fn evenness(measured: &[Measured], with_history: &Measured) -> serde_json::Value {
    let spread = |cost: fn(&Measured) -> f64| {
        let costs: Vec<f64> = measured.iter().map(cost).collect();
        let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
        costs.iter().copied().fold(0.0, f64::max) / least - 1.0
    };
    let provisional = |found: &Measured| found.provisional.cpu_us_per_row;
    let finals = |found: &Measured| found.finals.cpu_us_per_row;
    let without = measured.iter().find(|found| found.seconds == with_history.seconds);
    let by_history = |cost: fn(&Measured) -> f64| {
        without.map(|without| cost(with_history) / cost(without) - 1.0)
    };
    json!({
        "cost_per_row_spread": { "provisional": spread(provisional), "final": spread(finals) },
        "cost_of_history": {
            "provisional": by_history(provisional),
            "final": by_history(finals),
        },
    })
}

/// Of the two stages the slower one counts: a correlator has to keep up with both.
fn last_line(of_bar: &Measured, ratios: &BTreeMap<&'static str, f64>) -> serde_json::Value {
    let least = |of: fn(&Pace) -> f64| of(&of_bar.provisional).min(of(&of_bar.finals));
    let most = |of: fn(&Pace) -> f64| of(&of_bar.provisional).max(of(&of_bar.finals));
    json!({
        "requests_per_s": least(|pace| pace.requests_per_s),
        "rows_per_cpu_s": least(|pace| pace.rows_per_cpu_s),
        "peak_rss_mib": most(|pace| pace.cost.usage.peak_rss_mib),
        "vs_duckdb": ratios.get("duckdb"),
        "vs_datafusion": ratios.get("datafusion"),
    })
}
