//! What keeps a table quick to open: a checkpoint now and then, off the path of commits.
//!
//! Old entries and removed files stay until a retention is asked for; nothing here deletes.

use deltalake::DeltaTable;
use deltalake::checkpoints::create_checkpoint;
use deltalake::logstore::LogStoreRef;

/// Versions from one checkpoint to the next: a reader replays at most this many small entries,
/// and a busy table writes one in about eight minutes.
const VERSIONS_PER_CHECKPOINT: u64 = 256;

/// Writes a checkpoint where one is due at this version. It is only ever a help for readers, so
/// a failure is told and forgotten.
pub(crate) fn after_commit(log_store: &LogStoreRef, table: &'static str, version: u64) {
    if !version.is_multiple_of(VERSIONS_PER_CHECKPOINT) {
        return;
    }
    let log_store = log_store.clone();
    tokio::spawn(async move {
        match checkpoint(log_store, version).await {
            Ok(()) => tracing::debug!(table, version, "checkpoint written"),
            Err(error) => tracing::warn!(table, version, %error, "no checkpoint written"),
        }
    });
}

async fn checkpoint(
    log_store: LogStoreRef,
    version: u64,
) -> Result<(), deltalake::DeltaTableError> {
    let mut table = DeltaTable::new(log_store);
    table.load_version(version).await?;
    create_checkpoint(&table, None).await
}
