//! Record batches to parquet bytes: the same rows give the same bytes within one release.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
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

/// Rows that are encoded at once: some 100 MB of the widest table, and so many that the dictionary
/// of a column stays in a core's cache for a while. Where its rows are cut shows in the bytes of a
/// file, so they are cut here, in whatever batches they come.
const ROWS_AT_ONCE: usize = 65_536;

/// One file without its partition column, encoded as its rows come.
pub(crate) struct Encoder {
    spec: TableSpec,
    groups: Groups,
    at_once: usize,
    /// Made when the first rows are encoded, of which it takes its types.
    writer: Option<ArrowWriter<Vec<u8>>>,
    /// Fewer rows than are encoded at once.
    held: Vec<RecordBatch>,
}

impl Encoder {
    pub(crate) fn new(spec: TableSpec, groups: Groups) -> Self {
        Self { spec, groups, at_once: ROWS_AT_ONCE, writer: None, held: Vec::new() }
    }

    /// Adds rows. All batches of a file have the same types, texts plain or as dictionaries.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        let batch = without_partition(batch)?;
        let mut from = 0;
        while from < batch.num_rows() {
            let held: usize = self.held.iter().map(RecordBatch::num_rows).sum();
            let count = (self.at_once - held).min(batch.num_rows() - from);
            self.held.push(batch.slice(from, count));
            if held + count == self.at_once {
                self.encode(GROUP_ROWS_MAX)?;
            }
            from += count;
        }
        Ok(())
    }

    /// The whole file.
    pub(crate) fn finish(mut self) -> Result<Bytes, ParquetError> {
        self.encode(self.at_once)?;
        let written = self.writer.map(ArrowWriter::into_inner).transpose()?;
        Ok(written.unwrap_or_default().into())
    }

    /// Encodes the rows that are held, into a file that has no more than `of` unless it is open.
    fn encode(&mut self, of: usize) -> Result<(), ParquetError> {
        let rows = match &self.held[..] {
            [] => return Ok(()),
            [only] => only.clone(),
            several => concat_batches(&several[0].schema(), several)?,
        };
        self.held.clear();
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(writer(&self.spec, rows.schema(), self.groups.rows(of))?),
        };
        writer.write(&rows)
    }
}

fn writer(
    spec: &TableSpec,
    schema: SchemaRef,
    group_rows: usize,
) -> Result<ArrowWriter<Vec<u8>>, ParquetError> {
    // The Arrow schema stays out of the file: parquet's own schema says all that readers need.
    let options = ArrowWriterOptions::new()
        .with_properties(properties(spec, group_rows))
        .with_skip_arrow_metadata(true);
    ArrowWriter::try_new_with_options(Vec::new(), schema, options)
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
    for (path, field) in leaves(&spec.schema) {
        let is_of =
            |columns: &[&str]| path.parts().len() == 1 && columns.contains(&field.name().as_str());
        // The least and the greatest of many texts cost two comparisons a value, and whoever looks
        // for one of them learns nothing from them.
        let is_text = field.data_type() == &DataType::Utf8;
        if path.parts().len() > 1 || is_text && !is_of(spec.statistics) {
            properties =
                properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        if differs_by_row(&field) || is_of(spec.bloom) {
            properties = properties.set_column_dictionary_enabled(path, false);
        }
    }
    for &column in spec.bloom {
        let distinct = group_rows as u64;
        properties = properties
            .set_column_bloom_filter_fpp(ColumnPath::from(column), BLOOM_FALSE_POSITIVE)
            .set_column_bloom_filter_max_ndv(ColumnPath::from(column), distinct);
    }
    properties.build()
}

/// Whether hardly any two rows hold one value: a dictionary of moments and durations is as long as
/// the column.
fn differs_by_row(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Timestamp(..)) || field.name().ends_with("_ns")
}

/// The columns that parquet has for a schema, with the fields that they hold.
fn leaves(schema: &Schema) -> Vec<(ColumnPath, FieldRef)> {
    let mut leaves = Vec::new();
    for field in schema.fields() {
        collect(field, &mut vec![field.name().clone()], &mut leaves);
    }
    leaves
}

fn collect(field: &FieldRef, path: &mut Vec<String>, leaves: &mut Vec<(ColumnPath, FieldRef)>) {
    match field.data_type() {
        DataType::List(element) => {
            // With types coerced, lists have the names that parquet's standard gives them.
            path.extend(["list".to_owned(), "element".to_owned()]);
            collect(element, path, leaves);
            path.truncate(path.len() - 2);
        }
        DataType::Struct(fields) => {
            for field in fields {
                path.push(field.name().clone());
                collect(field, path, leaves);
                path.pop();
            }
        }
        _ => leaves.push((ColumnPath::new(path.clone()), field.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use tables::{Origin, Path, PathHop, Row, Span};

    fn rows() -> Vec<Span> {
        (0..100)
            .map(|item| {
                let mut span = Span::from_origin(&Origin { item, ..Origin::default() });
                span.trace_id = format!("{item:032x}");
                span
            })
            .collect()
    }

    fn parquet(spec: &TableSpec, batches: &[RecordBatch], groups: Groups) -> Bytes {
        encoded(Encoder::new(spec.clone(), groups), batches)
    }

    fn encoded(mut encoder: Encoder, batches: &[RecordBatch]) -> Bytes {
        batches.iter().for_each(|batch| encoder.write(batch).unwrap());
        encoder.finish().unwrap()
    }

    #[test]
    fn the_same_rows_give_the_same_bytes_in_whatever_batches_they_come() {
        let spec = tables::spec::<Path>();
        let path = |n: i64| Path {
            path_id: format!("{n:032x}"),
            start_ns: n,
            pods: (0..n % 4).map(|pod| format!("pod-{pod}")).collect(),
            hops: vec![PathHop { start_ns: n, ..PathHop::default() }; 1 + n as usize % 3],
            ..Path::default()
        };
        const AT_ONCE: usize = 600;
        let encoder = || Encoder { at_once: AT_ONCE, ..Encoder::new(spec.clone(), Groups::Whole) };
        for count in [1, AT_ONCE - 1, AT_ONCE, 3 * AT_ONCE + 5] {
            let rows: Vec<Path> = (0..count as i64).map(path).collect();
            let whole = encoded(encoder(), &[tables::to_batch(&rows)]);
            for at_once in [99, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1] {
                let batches: Vec<_> = rows.chunks(at_once).map(tables::to_batch).collect();
                let parts = encoded(encoder(), &batches);
                assert!(parts == whole, "{count} rows, {at_once} at once");
            }
        }
    }

    #[test]
    fn a_file_has_blooms_for_the_named_columns_and_no_partition_column() {
        let spec = tables::spec::<Span>();
        let bytes = parquet(&spec, &[tables::to_batch(&rows())], Groups::Whole);
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

    #[test]
    fn texts_have_statistics_where_the_table_names_them_and_moments_and_ids_no_dictionary() {
        let spec = tables::spec::<Path>();
        let path = Path { path_id: "a".into(), hops: vec![PathHop::default()], ..Path::default() };
        let bytes = parquet(&spec, &[tables::to_batch(&[path])], Groups::Whole);
        let reader = SerializedFileReader::new(bytes).unwrap();
        let group = reader.metadata().row_group(0);
        let column = |name: &str| {
            let found = group.columns().iter().find(|c| c.column_path().string() == name);
            let column = found.unwrap_or_else(|| panic!("no column {name}"));
            (column.statistics().is_some(), column.dictionary_page_offset().is_some())
        };
        for (name, expected) in [
            ("verdict", (true, true)),
            ("start_time", (true, false)),
            ("end_ns", (true, false)),
            ("path_id", (false, false)),
            ("method", (false, true)),
            ("services.list.element", (false, true)),
            ("hops.list.element.kind", (false, true)),
            ("hops.list.element.start_ns", (false, false)),
        ] {
            assert_eq!(column(name), expected, "{name}");
        }
    }
}
