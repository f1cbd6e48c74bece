//! Data files that no version needs any more are removed from the store.
//!
//! A file stays as long as the newest version names it, as long as a version of the last days named
//! it (a reader may be at that version), and as long as it is young (a writer may be about to name
//! it). What the last days named is read from the log itself, entry by entry back to the moment in
//! question; where the log does not reach back that far nothing is removed.

use std::collections::HashSet;

use deltalake::kernel::Action;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};

use crate::StoreError;
use crate::error::Cause;
use crate::table::Table;

/// Entries read at once while looking back.
const ENTRIES_IN_FLIGHT: usize = 32;

/// Each writer stamps its entries with its own clock, so the log is not quite in order of time.
const CLOCKS_APART_MS: i64 = 3_600_000;

/// A file that no version needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unneeded {
    /// Relative to the table's root.
    pub path: String,
    pub bytes: u64,
}

impl Table {
    /// Data files that no version since `since_ms` names and that were written before it.
    ///
    /// # Errors
    /// When the log can't be read or the files can't be listed.
    pub async fn unneeded(&self, since_ms: i64) -> Result<Vec<Unneeded>, StoreError> {
        let found = self.list_unneeded(since_ms).await.map_err(|e| self.maintain_error(e))?;
        Ok(found.iter().map(unneeded).collect())
    }

    /// Removes the files of [`Table::unneeded`], and returns those that went.
    ///
    /// # Errors
    /// As there, and when a file can't be removed.
    pub async fn vacuum(&self, since_ms: i64) -> Result<Vec<Unneeded>, StoreError> {
        let found = self.list_unneeded(since_ms).await.map_err(|e| self.maintain_error(e))?;
        let mut removed = Vec::new();
        for file in found {
            if self.remove(&file, since_ms).await.map_err(|e| self.maintain_error(e))? {
                removed.push(unneeded(&file));
            }
        }
        Ok(removed)
    }

    async fn list_unneeded(&self, since_ms: i64) -> Result<Vec<ObjectMeta>, Cause> {
        // The log first: what is named later was written later, and is too young.
        let Some(needed) = self.needed(since_ms).await? else {
            tracing::warn!(table = self.spec().name, "the log is too short to tell what to remove");
            return Ok(Vec::new());
        };
        let is_unneeded = |file: &ObjectMeta| {
            is_data(&file.location)
                && file.last_modified.timestamp_millis() < since_ms
                && !needed.contains(file.location.as_ref())
        };
        let store = self.object_store();
        let all = store.list(None).try_filter(|file| std::future::ready(is_unneeded(file)));
        let mut found: Vec<ObjectMeta> = all.try_collect().await?;
        found.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }

    /// Paths that the newest version names, and those that were removed since the moment. None where
    /// the log does not reach back so far.
    async fn needed(&self, since_ms: i64) -> Result<Option<HashSet<String>>, Cause> {
        let snapshot = self.snapshot().await?;
        let mut needed: HashSet<String> =
            snapshot.files.into_iter().map(|file| file.path).collect();
        let entries = (0..=snapshot.version).rev().map(|version| self.actions(version));
        let mut entries = futures::stream::iter(entries).buffered(ENTRIES_IN_FLIGHT);
        while let Some(entry) = entries.next().await {
            let Some(actions) = entry? else {
                return Ok(None);
            };
            let written_ms = written_ms(&actions);
            if written_ms.is_some_and(|at| at < since_ms - CLOCKS_APART_MS) {
                break;
            }
            if written_ms.is_none_or(|at| at >= since_ms) {
                needed.extend(removed(&actions));
            }
        }
        Ok(Some(needed))
    }

    /// False where somebody has uploaded the file anew since it was listed, or removed it.
    async fn remove(&self, file: &ObjectMeta, since_ms: i64) -> Result<bool, Cause> {
        let store = self.object_store();
        let is_old = match store.head(&file.location).await {
            Ok(now) => now.last_modified.timestamp_millis() < since_ms,
            Err(object_store::Error::NotFound { .. }) => false,
            Err(e) => return Err(e.into()),
        };
        if !is_old {
            return Ok(false);
        }
        match store.delete(&file.location).await {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

fn unneeded(file: &ObjectMeta) -> Unneeded {
    Unneeded { path: file.location.to_string(), bytes: file.size }
}

fn removed(actions: &[Action]) -> impl Iterator<Item = String> {
    actions.iter().filter_map(|action| match action {
        Action::Remove(remove) => Some(remove.path.clone()),
        _ => None,
    })
}

fn written_ms(actions: &[Action]) -> Option<i64> {
    actions.iter().find_map(|action| match action {
        Action::CommitInfo(info) => info.timestamp,
        _ => None,
    })
}

/// Folders and files that begin with an underscore or a dot are no data of the table.
fn is_data(path: &Path) -> bool {
    let is_hidden = |part: &str| part.starts_with('_') || part.starts_with('.');
    path.as_ref().ends_with(".parquet") && !path.as_ref().split('/').any(is_hidden)
}
