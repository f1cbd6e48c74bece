//! What keeps a table quick to open: a checkpoint now and then, and a log that does not grow for
//! ever. Never on the path of a commit.

use deltalake::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use deltalake::logstore::LogStoreRef;
use deltalake::{DeltaTable, DeltaTableError};
use object_store::ObjectStoreExt as _;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::StoreError;
use crate::error::Cause;
use crate::table::Table;

/// Versions from one checkpoint to the next: a reader replays at most this many small entries,
/// and a busy table writes one in about eight minutes.
const VERSIONS_PER_CHECKPOINT: u64 = 256;

/// Entries stay this much longer than asked for: vacuum has to find one that is older than the
/// moment it looks back to.
const TRIM_SLACK_MS: i64 = 24 * 3_600_000;

impl Table {
    /// The version of which a checkpoint is due; none where the newest one is not far behind.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn checkpoint_due(&self) -> Result<Option<u64>, StoreError> {
        let newest = self.snapshot().await?.version;
        let covered = covered(self.log_store()).await.map_err(|e| self.maintain_error(e))?;
        Ok((newest >= covered.unwrap_or(0) + VERSIONS_PER_CHECKPOINT).then_some(newest))
    }

    /// Writes a checkpoint of a version.
    ///
    /// # Errors
    /// When the log can't be read or the checkpoint can't be written.
    pub async fn checkpoint(&self, version: u64) -> Result<(), StoreError> {
        let written = write(self.log_store().clone(), version).await;
        written.map_err(|e| self.maintain_error(e.into()))
    }

    /// Removes entries of the log that were written a day or more before this moment and that a
    /// checkpoint covers. Every version since can still be read. Returns how many went; none where
    /// another process is at it, which leaves the rest for the next time.
    ///
    /// # Errors
    /// When the log can't be listed or an entry can't be removed.
    pub async fn trim_log(&self, before_ms: i64) -> Result<usize, StoreError> {
        let newest = self.snapshot().await?.version;
        let cutoff_ms = before_ms - TRIM_SLACK_MS;
        match cleanup_expired_logs_for(newest, self.log_store().as_ref(), cutoff_ms, None).await {
            Err(DeltaTableError::ObjectStore { source: object_store::Error::NotFound { .. } }) => {
                Ok(0)
            }
            trimmed => trimmed.map_err(|e| self.maintain_error(e.into())),
        }
    }

    pub(crate) fn maintain_error(&self, cause: Cause) -> StoreError {
        StoreError::Maintain { table: self.spec().name.to_owned(), cause }
    }
}

/// Writes a checkpoint where one is due at this version, beside the writer. It is only ever a help
/// for readers, so a failure is told and forgotten.
pub(crate) fn after_commit(
    log_store: &LogStoreRef,
    table: &'static str,
    version: u64,
    background: &mut JoinSet<()>,
) {
    if !version.is_multiple_of(VERSIONS_PER_CHECKPOINT) {
        return;
    }
    let log_store = log_store.clone();
    while background.try_join_next().is_some() {}
    background.spawn(async move {
        match write(log_store, version).await {
            Ok(()) => tracing::debug!(table, version, "checkpoint written"),
            Err(error) => tracing::warn!(table, version, %error, "no checkpoint written"),
        }
    });
}

async fn write(log_store: LogStoreRef, version: u64) -> Result<(), DeltaTableError> {
    let mut table = DeltaTable::new(log_store);
    table.load_version(version).await?;
    create_checkpoint(&table, None).await
}

/// The version of the newest checkpoint, if there is any. A hint that can't be read is none.
async fn covered(log_store: &LogStoreRef) -> Result<Option<u64>, Cause> {
    let hint = log_store.log_path().clone().join("_last_checkpoint");
    match log_store.object_store(None).get(&hint).await {
        Ok(found) => {
            let hint = serde_json::from_slice::<Value>(&found.bytes().await?).ok();
            Ok(hint.and_then(|hint| hint["version"].as_u64()))
        }
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(e.into()),
    }
}
