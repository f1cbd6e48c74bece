//! Files back to record batches in the table's schema, the partition column included.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::compute::cast;
use bytes::Bytes;
use deltalake::Path;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tables::{PARTITION, TableSpec};

use crate::StoreError;
use crate::file::FileRef;
use crate::table::Table;

/// Files fetched and decoded at once: enough to hide latency, and a bound for memory.
const FILES_IN_FLIGHT: usize = 8;

impl Table {
    /// The rows of these files, file after file in the order given.
    ///
    /// A nullable column that a file of an older release lacks is null.
    ///
    /// # Errors
    /// When a file can't be fetched or decoded, or lacks a column that can't be null.
    pub async fn read(&self, files: &[FileRef]) -> Result<Vec<RecordBatch>, StoreError> {
        let reads = files.iter().cloned().map(|file| self.read_file(file));
        let batches: Vec<Vec<RecordBatch>> =
            futures::stream::iter(reads).buffered(FILES_IN_FLIGHT).try_collect().await?;
        Ok(batches.into_iter().flatten().collect())
    }

    async fn read_file(&self, file: FileRef) -> Result<Vec<RecordBatch>, StoreError> {
        let spec = self.spec().clone();
        let failed = |cause| StoreError::Read {
            table: self.spec().name.to_owned(),
            path: file.path.clone(),
            cause,
        };
        let bytes = match self.object_store().get(&Path::from(file.path.as_str())).await {
            Ok(found) => found.bytes().await.map_err(|e| failed(e.into()))?,
            Err(e) => return Err(failed(e.into())),
        };
        let path = file.path.clone();
        let decoded = tokio::task::spawn_blocking(move || decode(&spec, &file, bytes)).await;
        decoded.map_err(|e| StoreError::Read {
            table: self.spec().name.to_owned(),
            path,
            cause: e.into(),
        })?
    }
}

fn decode(spec: &TableSpec, file: &FileRef, bytes: Bytes) -> Result<Vec<RecordBatch>, StoreError> {
    let failed =
        |cause| StoreError::Read { table: spec.name.to_owned(), path: file.path.clone(), cause };
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(|builder| builder.with_batch_size(file.rows.clamp(1, 65_536) as usize).build())
        .map_err(|e| failed(e.into()))?;
    reader.map(|batch| in_schema(spec, file, &batch.map_err(|e| failed(e.into()))?)).collect()
}

fn in_schema(
    spec: &TableSpec,
    file: &FileRef,
    batch: &RecordBatch,
) -> Result<RecordBatch, StoreError> {
    let failed = |e: arrow::error::ArrowError| StoreError::Read {
        table: spec.name.to_owned(),
        path: file.path.clone(),
        cause: e.into(),
    };
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(spec.schema.fields().len());
    for field in spec.schema.fields() {
        let column = match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => column.clone(),
            Some(column) => cast(column, field.data_type()).map_err(failed)?,
            None if field.name() == PARTITION => {
                Arc::new(StringArray::from(vec![file.hour.as_str(); batch.num_rows()]))
            }
            None if field.is_nullable() => new_null_array(field.data_type(), batch.num_rows()),
            None => {
                return Err(StoreError::MissingColumn {
                    table: spec.name.to_owned(),
                    path: file.path.clone(),
                    column: field.name().clone(),
                });
            }
        };
        columns.push(column);
    }
    RecordBatch::try_new(spec.schema.clone(), columns).map_err(failed)
}
