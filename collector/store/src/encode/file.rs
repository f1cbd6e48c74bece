//! One parquet file in memory: words are encoded here, all other columns by the parquet library.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves,
};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnDescPtr;
use tables::TableSpec;

use super::leaf::{Leaf, leaves_of};
use super::properties::{self, OfWords};
use super::words::Words;

pub(super) struct File {
    writer: SerializedFileWriter<Vec<u8>>,
    factory: ArrowRowGroupWriterFactory,
    words: Vec<OfWords>,
    group_rows: usize,
    /// The row group that is open, and its rows.
    columns: Vec<Column>,
    rows: usize,
}

/// One of the columns that parquet has.
enum Column {
    Words(Words),
    Other(ArrowColumnWriter),
}

impl File {
    /// A file of groups of so many rows. Texts may be dictionaries in the schema.
    pub(super) fn new(
        spec: &TableSpec,
        schema: SchemaRef,
        group_rows: usize,
    ) -> Result<Self, ParquetError> {
        // The Arrow schema stays out of the file: parquet's own schema says all that readers need.
        let options = ArrowWriterOptions::new()
            .with_properties(properties::properties(spec, group_rows))
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options)?;
        let (writer, factory) = writer.into_serialized_writer()?;
        let words = properties::words(spec);
        Ok(Self { writer, factory, words, group_rows, columns: Vec::new(), rows: 0 })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        let mut from = 0;
        while from < batch.num_rows() {
            let count = (self.group_rows - self.rows).min(batch.num_rows() - from);
            self.write_to_group(&batch.slice(from, count))?;
            from += count;
            self.rows += count;
            if self.rows == self.group_rows {
                self.end_group()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, ParquetError> {
        self.end_group()?;
        self.writer.into_inner()
    }

    fn write_to_group(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        if self.columns.is_empty() {
            self.columns = self.begin_group()?;
        }
        let (mut columns, rows) = (self.columns.iter_mut(), batch.num_rows());
        let schema = batch.schema();
        for (field, array) in schema.fields().iter().zip(batch.columns()) {
            let mut of_field: Vec<&mut Column> =
                columns.by_ref().take(leaves_of(field).len()).collect();
            if of_field.iter().any(|column| matches!(column, Column::Words(_))) {
                for (column, leaf) in of_field.into_iter().zip(Leaf::of(field, array)) {
                    column.write(leaf, rows)?;
                }
            } else {
                for (column, leaf) in of_field.iter_mut().zip(&compute_leaves(field, array)?) {
                    if let Column::Other(writer) = column {
                        writer.write(leaf)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn begin_group(&self) -> Result<Vec<Column>, ParquetError> {
        let nth = self.writer.flushed_row_groups().len();
        let writers = self.factory.create_column_writers(nth)?.into_iter();
        let described = self.writer.schema_descr().columns().iter().zip(&self.words);
        let column =
            |(writer, (described, of_words)): (_, (&ColumnDescPtr, &OfWords))| match *of_words {
                Some(has_bounds) => Column::Words(Words::new(described.clone(), has_bounds)),
                None => Column::Other(writer),
            };
        Ok(writers.zip(described).map(column).collect())
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        self.rows = 0;
        if self.columns.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for column in self.columns.drain(..) {
            match column {
                Column::Words(words) => {
                    let (bytes, close) = words.close()?;
                    group.append_column(&bytes, close)?;
                }
                Column::Other(writer) => writer.close()?.append_to_row_group(&mut group)?,
            }
        }
        group.close()?;
        Ok(())
    }
}

impl Column {
    fn write(&mut self, leaf: Leaf, rows: usize) -> Result<(), ParquetError> {
        match self {
            Self::Words(words) => words.write(&leaf, rows),
            Self::Other(writer) => {
                let (field, array) = leaf.column();
                for leaf in compute_leaves(&field, &array)? {
                    writer.write(&leaf)?;
                }
            }
        }
        Ok(())
    }
}
