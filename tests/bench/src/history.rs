//! Tables with a past: the same raw files under a log with many more commits.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use store::{Progress, Store};

/// Name under which the earlier commits are recorded.
const WRITER: &str = "earlier";

/// A copy of raw tables that shares their data files, with so many earlier commits in each table's
/// log, and derived tables with the same.
pub(crate) async fn with_history(
    tables: &Path,
    folder: &Path,
    commits: i64,
) -> anyhow::Result<PathBuf> {
    let copy = folder.join("tables");
    if folder.exists() {
        std::fs::remove_dir_all(folder).context("remove an older copy")?;
    }
    link(tables, &copy)?;
    crate::files::remove_derived(&copy)?;
    let store = Store::open(&copy.to_string_lossy()).await?;
    for spec in tables::all() {
        let table = store.table(&spec).await?;
        for version in 1..=commits {
            table.append(Vec::new(), Progress::new(WRITER, version)).await?;
        }
    }
    Ok(copy)
}

/// Folders anew, files as further names of the same files: neither is ever written to again.
fn link(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    let entries = std::fs::read_dir(from).with_context(|| format!("read {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let target = to.join(name);
        if path.is_dir() {
            link(&path, &target)?;
        } else {
            std::fs::hard_link(&path, &target)
                .with_context(|| format!("link {}", target.display()))?;
        }
    }
    Ok(())
}
