//! The exact stages as SQL in other engines, over the same files and on the same cores.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use crate::data::Data;
use crate::files::Files;
use crate::usage;

/// Engines that run the same SQL, each in a Python process of its own.
pub(crate) const PEERS: [&str; 2] = ["duckdb", "datafusion"];

/// Part of the rows that a peer may have more or less than the truth: where the nearest of several
/// lines or threads is not the right one, its rows say so.
const DIFFERENCE_MAX: f64 = 1e-3;

/// What a peer did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) engine: String,
    pub(crate) version: String,
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) peak_rss_mib: f64,
    pub(crate) hops: u64,
    pub(crate) paths: u64,
    pub(crate) bytes: u64,
}

/// Runs a peer over the raw files of a pinned version of each table.
pub(crate) fn run(
    engine: &str,
    python: &Path,
    data: &Data,
    raw: &BTreeMap<&'static str, Files>,
    scratch: &Path,
) -> anyhow::Result<Peer> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let out = scratch.join(engine);
    if out.exists() {
        std::fs::remove_dir_all(&out).context("remove older output of a peer")?;
    }
    std::fs::create_dir_all(&out).context("create a folder for a peer")?;
    let files: BTreeMap<&str, &Vec<PathBuf>> =
        raw.iter().map(|(table, files)| (*table, &files.paths)).collect();
    let list = scratch.join("files.json");
    std::fs::write(&list, serde_json::to_string(&files)?).context("write the list of files")?;
    let peer: Peer = usage::answer(
        usage::on_cores(python)
            .arg(scripts.join("run.py"))
            .arg(engine)
            .arg("--files")
            .arg(&list)
            .arg("--out")
            .arg(&out)
            .args(["--threads", &usage::CORES.to_string()]),
    )?;
    let is_close =
        |rows: u64, truth: u64| rows.abs_diff(truth) as f64 <= DIFFERENCE_MAX * truth as f64;
    ensure!(
        is_close(peer.paths, data.run.requests) && is_close(peer.hops, data.run.legs),
        "{engine} wrote {} hops and {} paths, not the {} and {} of the truth",
        peer.hops,
        peer.paths,
        data.run.legs,
        data.run.requests,
    );
    std::fs::remove_dir_all(&out).context("remove the output of a peer")?;
    Ok(peer)
}
