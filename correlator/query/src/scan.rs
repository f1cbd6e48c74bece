//! A list of parquet files as a table that DataFusion can scan.
//!
//! The list comes from a pinned snapshot and has been pruned already. DataFusion's optimizer hands
//! the predicates above a scan down to the parquet reader, which skips row groups by statistics and
//! by bloom filter; nothing of that is done here.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::scalar::ScalarValue;

use store::FileRef;

/// The files, and where their table's folder is registered.
#[derive(Debug)]
pub(crate) struct FileList {
    schema: TableSchema,
    folder: ObjectStoreUrl,
    files: Vec<FileRef>,
}

impl FileList {
    pub(crate) fn new(table: &SchemaRef, folder: ObjectStoreUrl, files: Vec<FileRef>) -> Self {
        Self { schema: partitioned(table), folder, files }
    }
}

#[async_trait]
impl TableProvider for FileList {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema().project(columns)?),
                None => self.schema(),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let source = ParquetSource::new(self.schema.clone());
        let files = FileGroup::new(self.files.iter().map(partitioned_file).collect());
        let config = FileScanConfigBuilder::new(self.folder.clone(), Arc::new(source))
            .with_file_groups(files.split_files(state.config().target_partitions()))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// The partition column is in no file: its value comes from the snapshot.
fn partitioned(table: &SchemaRef) -> TableSchema {
    let (partition, columns): (Vec<_>, Vec<_>) = table
        .fields()
        .iter()
        .cloned()
        .partition(|field: &Arc<Field>| field.name() == tables::PARTITION);
    TableSchema::builder(Arc::new(Schema::new(columns)))
        .with_table_partition_cols(partition)
        .build()
}

fn partitioned_file(file: &FileRef) -> PartitionedFile {
    PartitionedFile::new(file.path.clone(), file.size)
        .with_partition_values(vec![ScalarValue::Utf8(Some(file.hour.clone()))])
}
