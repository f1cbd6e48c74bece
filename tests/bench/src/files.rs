//! Live files of tables on disk: which, how many rows, how many bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use store::Store;
use tables::{Layer, TableSpec};

/// The live files of one table.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Files {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    #[serde(skip)]
    pub(crate) paths: Vec<PathBuf>,
}

impl Files {
    pub(crate) fn bytes_a_row(&self) -> f64 {
        self.bytes as f64 / self.rows.max(1) as f64
    }
}

/// The newest version of each table that is there, by name.
pub(crate) async fn snapshot(tables: &Path) -> anyhow::Result<BTreeMap<&'static str, Files>> {
    let store = Store::open(&tables.to_string_lossy()).await?;
    let mut found = BTreeMap::new();
    for spec in tables::all() {
        if let Some(table) = store.existing(&spec).await? {
            let folder = tables.join(spec.name);
            let mut files = Files::default();
            for file in table.snapshot().await?.files {
                files.rows += file.rows;
                files.bytes += file.size;
                files.paths.push(folder.join(&file.path));
            }
            found.insert(spec.name, files);
        }
    }
    Ok(found)
}

/// Removes what the correlator has written, so that it can be measured again over the same input.
pub(crate) fn remove_derived(tables: &Path) -> anyhow::Result<()> {
    for spec in derived() {
        let folder = tables.join(spec.name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("remove {}", folder.display()))?;
        }
    }
    Ok(())
}

pub(crate) fn derived() -> impl Iterator<Item = TableSpec> {
    tables::all().into_iter().filter(|spec| spec.layer == Layer::Derived)
}
