//! The first entry of a table's log: protocol, schema, partition column, properties.

use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::TransactionError;
use deltalake::logstore::{CommitOrBytes, LogStoreRef};
use serde_json::json;
use tables::{PARTITION, TableSpec};
use uuid::Uuid;

use crate::error::Cause;
use crate::{StoreError, commit, durable};

/// Writes version 0. Somebody else doing the same at the same moment is as good.
pub(crate) async fn create(spec: &TableSpec, log_store: &LogStoreRef) -> Result<(), StoreError> {
    let entry = first_entry(spec, commit::now_ms())
        .map_err(|cause| StoreError::Create { table: spec.name.to_owned(), cause })?;
    let bytes = CommitOrBytes::LogBytes(entry.into());
    match log_store.write_commit_entry(0, bytes, Uuid::new_v4()).await {
        Ok(()) => durable::sync_entry(log_store, 0),
        Err(TransactionError::VersionAlreadyExists(_)) => Ok(()),
        Err(e) => Err(Box::from(e)),
    }
    .map_err(|cause| StoreError::Create { table: spec.name.to_owned(), cause })
}

fn first_entry(spec: &TableSpec, now_ms: i64) -> Result<String, Cause> {
    let schema: StructType = spec.schema.as_ref().try_into_kernel()?;
    let actions = [
        json!({"commitInfo": {
            "timestamp": now_ms,
            "operation": "CREATE TABLE",
            "operationParameters": {"partitionBy": format!("[\"{PARTITION}\"]")},
            "engineInfo": commit::ENGINE,
        }}),
        json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}),
        json!({"metaData": {
            "id": Uuid::new_v4().to_string(),
            "name": spec.name,
            "format": {"provider": "parquet", "options": {}},
            "schemaString": serde_json::to_string(&schema)?,
            "partitionColumns": [PARTITION],
            "configuration": {"delta.dataSkippingStatsColumns": spec.statistics.join(",")},
            "createdTime": now_ms,
        }}),
    ];
    Ok(actions.map(|action| action.to_string()).join("\n"))
}
