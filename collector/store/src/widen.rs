//! Tables of an older release get the columns that came since.
//!
//! Columns are only ever added, and the rows written before have no value for them: a column that
//! is added can be null, whatever the row type says of rows to come.

use std::collections::HashSet;

use arrow::datatypes::{Field, Schema};
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::TransactionError;
use deltalake::kernel::{EagerSnapshot, StructField, StructType};
use deltalake::logstore::{CommitOrBytes, LogStoreRef};
use serde_json::{Value, json};
use tables::TableSpec;
use uuid::Uuid;

use crate::error::Cause;
use crate::{StoreError, commit, durable};

/// Rounds against another process that commits at the same time.
const ROUNDS: usize = 10;

/// Adds the columns that the table lacks, in one commit. Most often there are none.
pub(crate) async fn widen(spec: &TableSpec, log_store: &LogStoreRef) -> Result<(), StoreError> {
    for _ in 0..ROUNDS {
        match round(spec, log_store).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(cause) => {
                return Err(StoreError::Widen { table: spec.name.to_owned(), cause });
            }
        }
    }
    let cause = "another process commits all the time".into();
    Err(StoreError::Widen { table: spec.name.to_owned(), cause })
}

/// False when the version was taken by another process's entry.
async fn round(spec: &TableSpec, log_store: &LogStoreRef) -> Result<bool, Cause> {
    let snapshot = EagerSnapshot::try_new(log_store.as_ref(), None).await?;
    let present = snapshot.schema();
    let names: HashSet<&str> = present.fields().map(|field| field.name().as_str()).collect();
    let missing = missing_columns(spec, &names)?;
    if missing.is_empty() {
        return Ok(true);
    }
    let added: Vec<String> = missing.iter().map(|field| field.name().clone()).collect();
    let schema = StructType::try_new(present.fields().cloned().chain(missing))?;
    let mut metadata = serde_json::to_value(snapshot.metadata())?;
    metadata["schemaString"] = Value::String(serde_json::to_string(&schema)?);
    metadata["configuration"]["delta.dataSkippingStatsColumns"] =
        Value::String(spec.statistics.join(","));
    let info = json!({"commitInfo": {
        "timestamp": commit::now_ms(),
        "operation": "ADD COLUMN",
        "operationParameters": {"columns": added.join(",")},
        "engineInfo": commit::ENGINE,
    }});
    let entry = format!("{info}\n{}", json!({"metaData": metadata}));
    let target = snapshot.version() + 1;
    let bytes = CommitOrBytes::LogBytes(entry.into());
    match log_store.write_commit_entry(target, bytes, Uuid::new_v4()).await {
        Ok(()) => {
            durable::sync_entry(log_store, target)?;
            tracing::info!(table = spec.name, columns = added.join(","), "columns added");
            Ok(true)
        }
        Err(TransactionError::VersionAlreadyExists(_)) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn missing_columns(spec: &TableSpec, names: &HashSet<&str>) -> Result<Vec<StructField>, Cause> {
    let missing: Vec<Field> = spec
        .schema
        .fields()
        .iter()
        .filter(|field| !names.contains(field.name().as_str()))
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    let missing: StructType = (&Schema::new(missing)).try_into_kernel()?;
    Ok(missing.fields().cloned().collect())
}
