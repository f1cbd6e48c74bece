//! Some columns of some rows: what a reader of much data decodes, and nothing else.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::kernels::cmp::{gt_eq, lt};
use arrow::compute::{and, cast};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::error::ArrowError;
use bytes::Bytes;
use deltalake::Path;
use object_store::ObjectStoreExt as _;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicate, ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions,
    ParquetRecordBatchReaderBuilder, RowFilter,
};
use tables::TableSpec;

use crate::StoreError;
use crate::error::Cause;
use crate::file::FileRef;
use crate::table::Table;

/// Rows decoded at once: enough for long loops over columns, little enough for the cache.
const BATCH_ROWS: usize = 65_536;

/// Which columns, and of which rows.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Names of columns at the top level, in any order.
    pub columns: Vec<&'static str>,
    /// Those of them that say the same in many rows: they are decoded as dictionaries.
    pub repeated: Vec<&'static str>,
    /// Only rows in which each of these integer columns lies in its range.
    pub within: Vec<(&'static str, Range<i64>)>,
}

impl Table {
    /// Reads some columns of one file. A nullable column that the file lacks is null.
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
        decoded.await.map_err(|e| failed(e.into()))?.map_err(failed)
    }
}

fn decode(
    spec: &TableSpec,
    file: &FileRef,
    bytes: Bytes,
    wanted: &Wanted,
) -> Result<Vec<RecordBatch>, Cause> {
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
    let projection = ProjectionMask::columns(&root, wanted.columns.iter().copied());
    let reader = builder
        .with_batch_size((file.rows as usize).clamp(1, BATCH_ROWS))
        .with_projection(projection)
        .with_row_filter(RowFilter::new(predicates(file, &root, wanted)))
        .build()?;
    reader.map(|batch| with_all(spec, file, batch?, wanted)).collect()
}

/// What rows are left out by, as far as the file has rows to leave out.
fn predicates(
    file: &FileRef,
    root: &parquet::schema::types::SchemaDescriptor,
    wanted: &Wanted,
) -> Vec<Box<dyn ArrowPredicate>> {
    let mut predicates: Vec<Box<dyn ArrowPredicate>> = Vec::new();
    for (column, range) in &wanted.within {
        let holds_for_all = file
            .stats
            .get(*column)
            .is_some_and(|of_file| range.start <= of_file.min && of_file.max < range.end);
        if holds_for_all {
            continue;
        }
        let (mask, range) = (ProjectionMask::columns(root, [*column]), range.clone());
        predicates.push(Box::new(ArrowPredicateFn::new(mask, move |batch: RecordBatch| {
            is_within(&batch, &range)
        })));
    }
    predicates
}

fn is_within(batch: &RecordBatch, range: &Range<i64>) -> Result<BooleanArray, ArrowError> {
    let values = batch.column(0).as_primitive::<Int64Type>();
    let from = arrow::array::Int64Array::new_scalar(range.start);
    let to = arrow::array::Int64Array::new_scalar(range.end);
    and(&gt_eq(values, &from)?, &lt(values, &to)?)
}

/// The wanted columns, those that the file lacks as null.
fn with_all(
    spec: &TableSpec,
    file: &FileRef,
    batch: RecordBatch,
    wanted: &Wanted,
) -> Result<RecordBatch, Cause> {
    let mut fields = Vec::with_capacity(wanted.columns.len());
    let mut arrays = Vec::with_capacity(wanted.columns.len());
    for &column in &wanted.columns {
        let field = spec.schema.field_with_name(column)?;
        let array = match batch.column_by_name(column) {
            Some(array) if matches!(array.data_type(), DataType::Dictionary(_, _)) => array.clone(),
            Some(array) if array.data_type() == field.data_type() => array.clone(),
            Some(array) => cast(array, field.data_type())?,
            None if field.is_nullable() => new_null_array(field.data_type(), batch.num_rows()),
            None => {
                return Err(StoreError::MissingColumn {
                    table: spec.name.to_owned(),
                    path: file.path.clone(),
                    column: column.to_owned(),
                }
                .into());
            }
        };
        fields.push(Field::new(column, array.data_type().clone(), field.is_nullable()));
        arrays.push(array);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}
