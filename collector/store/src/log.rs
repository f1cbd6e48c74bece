//! A table's log in memory: which files live, and how far each writer has come.
//!
//! Loading goes through the library, which knows checkpoints. After that each new entry is read
//! and applied here, which costs one small read a version instead of a replay.

use std::collections::{BTreeMap, HashMap};

use deltalake::kernel::{Action, Add, EagerSnapshot};
use deltalake::logstore::{LogStoreRef, get_actions};
use object_store::ObjectStoreExt as _;
use tables::PARTITION;

use crate::error::Cause;
use crate::file::FileRef;
use crate::statistics;

pub(crate) struct Log {
    log_store: LogStoreRef,
    pub(crate) version: u64,
    pub(crate) files: BTreeMap<String, FileRef>,
    /// The snapshot that loading began with: it knows the progress written before it.
    base: EagerSnapshot,
    /// Progress seen or looked up since. None: there was none when it was looked up.
    progress: HashMap<String, Option<i64>>,
}

impl Log {
    pub(crate) async fn load(log_store: LogStoreRef) -> Result<Self, Cause> {
        let base = EagerSnapshot::try_new(log_store.as_ref(), None).await?;
        let mut files = BTreeMap::new();
        for view in base.try_log_data()?.iter() {
            let path = view.path().into_owned();
            let hour = view.partition_values_map().remove(PARTITION).flatten();
            let file = file_ref(path, hour, view.size(), view.stats().as_deref());
            files.insert(file.path.clone(), file);
        }
        Ok(Self { version: base.version(), log_store, files, base, progress: HashMap::new() })
    }

    /// Applies the entries that were written since.
    pub(crate) async fn refresh(&mut self) -> Result<(), Cause> {
        let before = self.version;
        while let Some(entry) = self.log_store.read_commit_entry(self.version + 1).await? {
            self.apply(self.version + 1, &get_actions(self.version + 1, &entry)?);
        }
        if self.version == before && self.was_cleaned_up().await? {
            *self = Self::load(self.log_store.clone()).await?;
        }
        Ok(())
    }

    /// Clean-up removes old entries once a checkpoint covers them. A handle that slept meanwhile
    /// finds neither its own version nor the next, and has to load anew.
    async fn was_cleaned_up(&self) -> Result<bool, Cause> {
        let path = deltalake::logstore::commit_uri_from_version(Some(self.version));
        match self.log_store.object_store(None).head(&path).await {
            Ok(_) => Ok(false),
            Err(object_store::Error::NotFound { .. }) => Ok(true),
            Err(e) => Err(e.into()),
        }
    }

    pub(crate) fn apply(&mut self, version: u64, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Add(add) => {
                    let file = added(add);
                    self.files.insert(file.path.clone(), file);
                }
                Action::Remove(remove) => {
                    self.files.remove(&remove.path);
                }
                Action::Txn(txn) => {
                    self.progress.insert(txn.app_id.clone(), Some(txn.version));
                }
                _ => {}
            }
        }
        self.version = version;
    }

    /// How far this writer has come, in the version this log is at.
    pub(crate) async fn progress(&mut self, app_id: &str) -> Result<Option<i64>, Cause> {
        if let Some(known) = self.progress.get(app_id) {
            return Ok(*known);
        }
        let found = match self.base.transaction_version(self.log_store.as_ref(), app_id).await {
            Ok(found) => found,
            // Clean-up may have removed what the first look rested on, but not the newest version.
            Err(_) => {
                *self = Self::load(self.log_store.clone()).await?;
                self.base.transaction_version(self.log_store.as_ref(), app_id).await?
            }
        };
        self.progress.insert(app_id.to_owned(), found);
        Ok(found)
    }
}

/// The file that an add action names.
pub(crate) fn added(add: &Add) -> FileRef {
    let hour = add.partition_values.get(PARTITION).cloned().flatten();
    file_ref(add.path.clone(), hour, add.size, add.stats.as_deref())
}

fn file_ref(path: String, hour: Option<String>, size: i64, stats: Option<&str>) -> FileRef {
    let (rows, stats) = statistics::of_json(stats);
    let size = u64::try_from(size).unwrap_or_default();
    FileRef { path, hour: hour.unwrap_or_default(), size, rows, stats }
}
