//! Files back to record batches: all columns in the table's schema, the partition column included,
//! or some columns of some rows, which is all that a reader of much data decodes.

mod rows;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use bytes::Bytes;
use deltalake::Path;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt as _;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowFilter,
};
use tables::{PARTITION, TableSpec};

use crate::StoreError;
use crate::error::Cause;
use crate::file::FileRef;
use crate::table::Table;

/// Files fetched and decoded at once: enough to hide latency, and a bound for memory.
const FILES_IN_FLIGHT: usize = 8;

/// Rows decoded at once: enough for long loops over columns, little enough for the cache.
const BATCH_ROWS: usize = 65_536;

/// Which columns, and of which rows.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Names of columns at the top level, in the order in which they are wanted.
    pub columns: Vec<String>,
    /// Those of them that say the same in many rows: they are decoded as dictionaries.
    pub repeated: Vec<&'static str>,
    /// Only rows in which each of these integer columns lies in its range.
    pub within: Vec<(&'static str, Range<i64>)>,
    /// Only rows in which one of these text columns has one of its texts; all rows where none is
    /// named.
    pub any_of: Vec<(&'static str, Arc<BTreeSet<String>>)>,
    /// Only rows in which the second of these integer columns is above the first by more than this.
    pub apart: Option<(&'static str, &'static str, i64)>,
}

impl Table {
    /// The rows of these files, file after file in the order given, in the table's schema.
    ///
    /// # Errors
    /// As [`Table::read_columns`].
    pub async fn read(&self, files: &[FileRef]) -> Result<Vec<RecordBatch>, StoreError> {
        let fields = self.spec().schema.fields();
        let columns = fields.iter().map(|field| field.name().clone()).collect();
        let wanted = Wanted { columns, ..Wanted::default() };
        let reads = files.iter().cloned().map(|file| {
            let wanted = wanted.clone();
            async move { self.read_columns(&file, &wanted).await }
        });
        let batches: Vec<Vec<RecordBatch>> =
            futures::stream::iter(reads).buffered(FILES_IN_FLIGHT).try_collect().await?;
        Ok(batches.into_iter().flatten().collect())
    }

    /// Reads some columns of one file. A nullable column that a file of an older release lacks is
    /// null.
    ///
    /// # Errors
    /// When the file can't be fetched or decoded, or lacks a column that can't be null.
    pub async fn read_columns(
        &self,
        file: &FileRef,
        wanted: &Wanted,
    ) -> Result<Vec<RecordBatch>, StoreError> {
        let failed = |cause: Cause| StoreError::Read {
            table: self.spec().name.to_owned(),
            path: file.path.clone(),
            cause,
        };
        let found = self.object_store().get(&Path::from(file.path.as_str())).await;
        let bytes = found.map_err(|e| failed(e.into()))?.bytes().await;
        let bytes = bytes.map_err(|e| failed(e.into()))?;
        let (spec, wanted, of) = (self.spec().clone(), wanted.clone(), file.clone());
        let decoded = tokio::task::spawn_blocking(move || decode(&spec, &of, bytes, &wanted));
        decoded.await.map_err(|e| failed(e.into()))?
    }
}

fn decode(
    spec: &TableSpec,
    file: &FileRef,
    bytes: Bytes,
    wanted: &Wanted,
) -> Result<Vec<RecordBatch>, StoreError> {
    let failed =
        |cause| StoreError::Read { table: spec.name.to_owned(), path: file.path.clone(), cause };
    let reader = open(file, bytes, wanted).map_err(failed)?;
    reader
        .map(|batch| with_all(spec, file, &batch.map_err(|e| failed(e.into()))?, wanted))
        .collect()
}

fn open(file: &FileRef, bytes: Bytes, wanted: &Wanted) -> Result<ParquetRecordBatchReader, Cause> {
    let found = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new())?;
    let fields = found.schema().fields().iter().map(|field| {
        let is_text = field.data_type() == &DataType::Utf8;
        if is_text && wanted.repeated.contains(&field.name().as_str()) {
            let text = Box::new(DataType::Utf8);
            let dictionary = DataType::Dictionary(Box::new(DataType::Int32), text);
            Field::new(field.name(), dictionary, field.is_nullable())
        } else {
            field.as_ref().clone()
        }
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = ArrowReaderOptions::new().with_schema(schema);
    let metadata = ArrowReaderMetadata::try_new(found.metadata().clone(), options)?;
    let root = metadata.parquet_schema().clone();
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata);
    let projection = ProjectionMask::columns(&root, wanted.columns.iter().map(String::as_str));
    let reader = builder
        .with_batch_size((file.rows as usize).clamp(1, BATCH_ROWS))
        .with_projection(projection)
        .with_row_filter(RowFilter::new(rows::predicates(file, &root, wanted)))
        .build()?;
    Ok(reader)
}

/// The wanted columns, those that the file lacks as null.
fn with_all(
    spec: &TableSpec,
    file: &FileRef,
    batch: &RecordBatch,
    wanted: &Wanted,
) -> Result<RecordBatch, StoreError> {
    let failed = |e: ArrowError| StoreError::Read {
        table: spec.name.to_owned(),
        path: file.path.clone(),
        cause: e.into(),
    };
    let mut fields = Vec::with_capacity(wanted.columns.len());
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(wanted.columns.len());
    for column in &wanted.columns {
        let field = spec.schema.field_with_name(column).map_err(failed)?;
        let array = match batch.column_by_name(column) {
            Some(array) if matches!(array.data_type(), DataType::Dictionary(_, _)) => array.clone(),
            Some(array) if array.data_type() == field.data_type() => array.clone(),
            Some(array) => cast(array, field.data_type()).map_err(failed)?,
            None if column == PARTITION => {
                Arc::new(StringArray::from(vec![file.hour.as_str(); batch.num_rows()]))
            }
            None if field.is_nullable() => new_null_array(field.data_type(), batch.num_rows()),
            None => {
                return Err(StoreError::MissingColumn {
                    table: spec.name.to_owned(),
                    path: file.path.clone(),
                    column: column.clone(),
                });
            }
        };
        fields.push(field.clone().with_data_type(array.data_type().clone()));
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(failed)
}
