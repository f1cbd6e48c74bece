//! Syncing what was written to a local disk.
//!
//! The object store library renames local files into place without syncing them, and a writer
//! trims its own log once a commit is reported. Object stores are durable when they answer, so
//! for them there is nothing to do here.

use std::fs::File;
use std::path::{Path, PathBuf};

use deltalake::Path as ObjectPath;
use deltalake::logstore::{LogStoreRef, commit_uri_from_version};

use crate::error::Cause;

/// Syncs the entry of one version, and the name of it.
pub(crate) fn sync_entry(log_store: &LogStoreRef, version: u64) -> Result<(), Cause> {
    sync(log_store, &commit_uri_from_version(Some(version)))
}

/// Syncs a file of the table, and the names of it and of its folder.
pub(crate) fn sync(log_store: &LogStoreRef, path: &ObjectPath) -> Result<(), Cause> {
    let Some(path) = local_path(log_store, path) else {
        return Ok(());
    };
    File::open(&path)?.sync_all()?;
    for folder in path.ancestors().skip(1).take(2) {
        sync_folder(folder)?;
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

fn local_path(log_store: &LogStoreRef, path: &ObjectPath) -> Option<PathBuf> {
    let root = log_store.root_url();
    let is_local = root.scheme() == "file";
    is_local.then(|| root.to_file_path().ok()).flatten().map(|root| root.join(path.as_ref()))
}
