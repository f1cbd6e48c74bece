//! One table: commit, look, follow. Staging and reading are in `stage` and `read`.

use std::sync::Arc;

use deltalake::kernel::Action;
use deltalake::logstore::{LogStoreRef, get_actions};
use object_store::ObjectStore;
use tables::TableSpec;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::StoreError;
use crate::checkpoint;
use crate::commit::{self, Change, Rows};
use crate::error::Cause;
use crate::file::{FileRef, StagedFile};
use crate::log::{self, Log};

/// How far a writer has come: at `version` everything up to it is in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Name of the writer. Few per table, as each stays in every checkpoint.
    pub app_id: String,
    /// Grows with each commit of this writer.
    pub version: i64,
    /// Kept in the commit's `userMetadata`, such as the inputs it rests on.
    pub metadata: Option<String>,
}

impl Progress {
    pub fn new(app_id: impl Into<String>, version: i64) -> Self {
        Self { app_id: app_id.into(), version, metadata: None }
    }

    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<String>) -> Self {
        self.metadata = Some(metadata.into());
        self
    }
}

/// What became of a commit. Errors are only for what could not be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The change is this version of the table.
    Committed { version: u64 },
    /// The table already holds this progress; nothing was changed.
    AlreadyDone,
    /// A file to be removed is no longer there, or what the change was decided on has changed:
    /// somebody else rewrote it. Decide anew.
    Conflict,
}

/// A table at one version.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub version: u64,
    /// Live files, by path.
    pub files: Vec<FileRef>,
}

/// What one version changed. A follower's files are those it had, without `removed` (or without
/// any, where `is_everything`), and with `added` and `rewritten`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionFiles {
    pub version: u64,
    /// Files with rows that are new.
    pub added: Vec<FileRef>,
    /// Files with rows that were in removed files before: maintenance put them together.
    pub rewritten: Vec<FileRef>,
    /// Paths of files that left the table.
    pub removed: Vec<String>,
    /// `added` is every live file: the versions between are gone from the log.
    pub is_everything: bool,
}

/// A handle; clones share one view of the log and one right to commit.
#[derive(Clone)]
pub struct Table {
    shared: Arc<Shared>,
}

struct Shared {
    spec: TableSpec,
    log_store: LogStoreRef,
    /// Held during a commit: one committer a table in a process.
    log: Mutex<Log>,
    /// Checkpoints that are being written.
    background: Mutex<JoinSet<()>>,
}

impl Table {
    pub(crate) async fn load(spec: TableSpec, log_store: LogStoreRef) -> Result<Self, StoreError> {
        let log = Log::load(log_store.clone())
            .await
            .map_err(|cause| StoreError::Log { table: spec.name.to_owned(), cause })?;
        let (log, background) = (Mutex::new(log), Mutex::default());
        Ok(Self { shared: Arc::new(Shared { spec, log_store, log, background }) })
    }

    pub fn spec(&self) -> &TableSpec {
        &self.shared.spec
    }

    /// The table's folder: paths of [`FileRef`] are relative to it.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        self.shared.log_store.object_store(None)
    }

    /// Adds files, and records the progress they stand for. No files record progress alone.
    ///
    /// # Errors
    /// When the store did not confirm the commit for so long that its fate is unknown.
    pub async fn append(
        &self,
        add: Vec<StagedFile>,
        progress: Progress,
    ) -> Result<Commit, StoreError> {
        let remove = Vec::new();
        self.commit(Change { remove, add, progress, rows: Rows::Change, basis: None }).await
    }

    /// Replaces files by others in one commit. A file that is on both sides stays.
    ///
    /// # Errors
    /// As [`Table::append`].
    pub async fn swap(
        &self,
        remove: Vec<FileRef>,
        add: Vec<StagedFile>,
        progress: Progress,
    ) -> Result<Commit, StoreError> {
        self.replace(remove, add, progress, Rows::Change).await
    }

    /// As [`Table::swap`], of files that hold the same rows: whoever follows the table for new rows
    /// is told so.
    ///
    /// # Errors
    /// As [`Table::append`].
    pub async fn rewrite(
        &self,
        remove: Vec<FileRef>,
        add: Vec<StagedFile>,
        progress: Progress,
    ) -> Result<Commit, StoreError> {
        self.replace(remove, add, progress, Rows::Stay).await
    }

    async fn replace(
        &self,
        remove: Vec<FileRef>,
        add: Vec<StagedFile>,
        progress: Progress,
        rows: Rows,
    ) -> Result<Commit, StoreError> {
        let change = Change { remove, add, progress, rows, basis: None };
        self.commit(change.with_each_path_once()).await
    }

    /// How far a writer has come, if it ever wrote.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn progress(&self, app_id: &str) -> Result<Option<i64>, StoreError> {
        let mut log = self.shared.log.lock().await;
        log.refresh().await.map_err(|e| self.log_error(e))?;
        log.progress(app_id).await.map_err(|e| self.log_error(e))
    }

    /// The live files of the newest version.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.select(|_| true).await
    }

    /// Those live files of the newest version that `wanted` accepts.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn select(&self, wanted: impl Fn(&FileRef) -> bool) -> Result<Snapshot, StoreError> {
        let mut log = self.shared.log.lock().await;
        log.refresh().await.map_err(|e| self.log_error(e))?;
        let files = log.files.values().filter(|file| wanted(file)).cloned().collect();
        Ok(Snapshot { version: log.version, files })
    }

    /// The versions after `after`, each with the files it changed, in order.
    ///
    /// Where clean-up has removed an entry that was not followed yet, one answer stands for all of
    /// them: the newest version with every live file. A follower knows files by their path.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn follow(&self, after: u64) -> Result<Vec<VersionFiles>, StoreError> {
        let mut log = self.shared.log.lock().await;
        log.refresh().await.map_err(|e| self.log_error(e))?;
        let mut versions = Vec::new();
        for version in after + 1..=log.version {
            match self.actions(version).await.map_err(|e| self.log_error(e))? {
                Some(actions) => versions.push(files_of(version, &actions)),
                None => {
                    return Ok(vec![VersionFiles {
                        version: log.version,
                        added: log.files.values().cloned().collect(),
                        is_everything: true,
                        ..VersionFiles::default()
                    }]);
                }
            }
        }
        Ok(versions)
    }

    /// Waits for what is written beside commits.
    pub(crate) async fn settle(&self) {
        let mut background = self.shared.background.lock().await;
        while background.join_next().await.is_some() {}
    }

    pub(crate) fn log_store(&self) -> &LogStoreRef {
        &self.shared.log_store
    }

    pub(crate) async fn commit(&self, change: Change) -> Result<Commit, StoreError> {
        let Shared { spec, log_store, log, background } = self.shared.as_ref();
        let outcome = commit::commit(log_store, &mut *log.lock().await, &change).await;
        if let Ok(Commit::Committed { version }) = outcome {
            let background = &mut *background.lock().await;
            checkpoint::after_commit(log_store, spec.name, version, background);
        }
        outcome.map_err(|e| StoreError::Commit {
            table: spec.name.to_owned(),
            attempts: e.attempts,
            version: e.version,
            cause: e.cause,
        })
    }

    pub(crate) async fn actions(&self, version: u64) -> Result<Option<Vec<Action>>, Cause> {
        match self.shared.log_store.read_commit_entry(version).await? {
            Some(entry) => Ok(Some(get_actions(version, &entry)?)),
            None => Ok(None),
        }
    }

    pub(crate) fn log_error(&self, cause: Cause) -> StoreError {
        StoreError::Log { table: self.shared.spec.name.to_owned(), cause }
    }
}

fn files_of(version: u64, actions: &[Action]) -> VersionFiles {
    let mut files = VersionFiles { version, ..VersionFiles::default() };
    for action in actions {
        match action {
            Action::Add(add) if add.data_change => files.added.push(log::added(add)),
            Action::Add(add) => files.rewritten.push(log::added(add)),
            Action::Remove(remove) => files.removed.push(remove.path.clone()),
            _ => {}
        }
    }
    files
}
