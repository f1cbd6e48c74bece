//! Record batches to parquet bytes: the same rows give the same bytes within one release.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use tables::{PARTITION, TableSpec};

/// Written into every file. The version of a library is not in it: a file's name is a hash of its
/// bytes, and must not change without a reason in this crate.
const CREATED_BY: &str = "throughline";

/// One lookup in twenty thousand reads a file in vain, for two bytes a row and column.
const BLOOM_FALSE_POSITIVE: f64 = 0.001;

/// Rows of a row group of a file that holds much: what one lookup decodes.
const SMALL_GROUP_ROWS: usize = 65_536;

/// The parquet writer's own limit, which bounds what it holds in memory.
const GROUP_ROWS_MAX: usize = 1 << 20;

/// How the rows of a file are cut into row groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Groups {
    /// Rows that a writer has at once are read at once.
    Whole,
    /// Rows that maintenance has put together are looked up: a bloom filter for each group.
    Small,
}

impl Groups {
    fn rows(self, of: usize) -> usize {
        match self {
            Self::Whole => of.clamp(1, GROUP_ROWS_MAX),
            Self::Small => of.clamp(1, SMALL_GROUP_ROWS),
        }
    }
}

/// Encodes one batch as one file without its partition column.
pub(crate) fn parquet(
    spec: &TableSpec,
    batch: &RecordBatch,
    groups: Groups,
) -> Result<Bytes, ParquetError> {
    let batch = without_partition(batch)?;
    // The Arrow schema stays out of the file: parquet's own schema says all that readers need.
    let options = ArrowWriterOptions::new()
        .with_properties(properties(spec, groups.rows(batch.num_rows())))
        .with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options)?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?.into())
}

fn without_partition(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let kept: Vec<usize> =
        (0..batch.num_columns()).filter(|&index| schema.field(index).name() != PARTITION).collect();
    batch.project(&kept)
}

fn properties(spec: &TableSpec, group_rows: usize) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(group_rows))
        .set_coerce_types(true);
    for &column in spec.bloom {
        let distinct = group_rows as u64;
        properties = properties
            .set_column_bloom_filter_fpp(ColumnPath::from(column), BLOOM_FALSE_POSITIVE)
            .set_column_bloom_filter_max_ndv(ColumnPath::from(column), distinct);
    }
    properties.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use tables::{Origin, Row, Span};

    fn rows() -> Vec<Span> {
        (0..100)
            .map(|item| {
                let mut span = Span::from_origin(&Origin { item, ..Origin::default() });
                span.trace_id = format!("{item:032x}");
                span
            })
            .collect()
    }

    #[test]
    fn the_same_rows_give_the_same_bytes() {
        let spec = tables::spec::<Span>();
        let batch = tables::to_batch(&rows());
        let encoded = || parquet(&spec, &batch, Groups::Whole).unwrap();
        assert_eq!(encoded(), encoded());
    }

    #[test]
    fn a_file_has_blooms_for_the_named_columns_and_no_partition_column() {
        let spec = tables::spec::<Span>();
        let bytes = parquet(&spec, &tables::to_batch(&rows()), Groups::Whole).unwrap();
        let reader = SerializedFileReader::new(bytes).unwrap();
        let metadata = reader.metadata();
        assert_eq!(metadata.file_metadata().created_by(), Some(CREATED_BY));
        assert!(metadata.file_metadata().key_value_metadata().is_none());
        let group = metadata.row_group(0);
        for column in group.columns() {
            let name = column.column_path().string();
            assert_ne!(name, PARTITION);
            let is_bloomed = column.bloom_filter_offset().is_some();
            assert_eq!(is_bloomed, Span::BLOOM.contains(&name.as_str()), "{name}");
        }
    }
}
