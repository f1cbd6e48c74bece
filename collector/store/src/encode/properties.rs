//! How each column of a table is encoded: by what its values are, the same for all files.

use arrow::datatypes::{DataType, Field};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use tables::{Layer, PARTITION, TableSpec};

use super::leaf::{is_all_there, leaves, leaves_of};

/// Written into every file. The version of a library is not in it: a file's name is a hash of its
/// bytes, and must not change without a reason in this crate.
pub(super) const CREATED_BY: &str = "throughline";

/// One lookup in twenty thousand reads a file in vain, for two bytes a row and column.
const BLOOM_FALSE_POSITIVE: f64 = 0.001;

/// Whether a column of words has bounds in the file; none for other columns.
pub(super) type OfWords = Option<bool>;

/// For each of the columns that parquet has for a table without its partition column.
pub(super) fn words(spec: &TableSpec) -> Vec<OfWords> {
    let stored = spec.schema.fields().iter().filter(|field| field.name() != PARTITION);
    let of_words = stored.flat_map(|field| {
        let is_all_there = is_all_there(field);
        leaves_of(field).into_iter().map(move |(path, leaf)| {
            let is_word = is_all_there && is_word(spec, &path, &leaf);
            is_word.then(|| is_of(spec.statistics, &path))
        })
    });
    of_words.collect()
}

pub(super) fn properties(spec: &TableSpec, group_rows: usize) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(group_rows))
        .set_coerce_types(true);
    for (path, field) in leaves(&spec.schema) {
        // The least and the greatest of many texts cost two comparisons a value, and whoever looks
        // for one of them learns nothing from them.
        let is_text = field.data_type() == &DataType::Utf8;
        if path.parts().len() > 1 || is_text && !is_of(spec.statistics, &path) {
            properties =
                properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        if differs_by_row(&field) || is_of(spec.bloom, &path) {
            properties = properties.set_column_dictionary_enabled(path.clone(), false);
        }
        if spec.layer == Layer::Derived && is_number(&field) {
            // Rows follow each other in time: what lies between two moments takes three bytes,
            // packed as well as compressed, in a tenth of the time. Other numbers are small.
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED)
                .set_column_compression(path, Compression::UNCOMPRESSED);
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

fn is_of(columns: &[&str], path: &ColumnPath) -> bool {
    path.parts().len() == 1 && columns.contains(&path.parts()[0].as_str())
}

/// Whether hardly any two rows hold one value: a dictionary of moments and durations is as long as
/// the column.
fn differs_by_row(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Timestamp(..)) || field.name().ends_with("_ns")
}

fn is_number(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Int32 | DataType::Int64 | DataType::Timestamp(..))
}

/// Whether a column of the correlator's tables holds names and words. Of these a cluster has some
/// thousands; it has more addresses, and of tuples there are nearly as many as rows: those are
/// compressed.
fn is_word(spec: &TableSpec, path: &ColumnPath, field: &Field) -> bool {
    let name = field.name();
    let is_of_addresses = ["_ip", "_token", "_original", "_reply"].map(|end| name.ends_with(end));
    spec.layer == Layer::Derived
        && field.data_type() == &DataType::Utf8
        && !is_of(spec.bloom, path)
        && !is_of_addresses.contains(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_words_are_told_from_ids_addresses_and_tuples() {
        let texts = |spec: &TableSpec, are_words: bool| -> Vec<String> {
            let stored = leaves(&spec.schema).into_iter();
            let stored = stored.filter(|(path, _)| path.string() != PARTITION);
            let texts = stored.zip(words(spec)).filter(|((_, field), of)| {
                field.data_type() == &DataType::Utf8 && of.is_some() == are_words
            });
            texts.map(|((path, _), _)| path.string()).collect()
        };
        let path = tables::spec::<tables::Path>();
        let nested = ["source_ip", "requested_ip", "destination_ip", "nat_original", "nat_reply"];
        let nested = nested.map(|name| format!("hops.list.element.{name}"));
        let mut others =
            ["path_id", "request_id", "trace_id", "client_token"].map(str::to_owned).to_vec();
        others.extend(nested);
        assert_eq!(texts(&path, false), others);
        let of_path = texts(&path, true);
        for word in ["verdict", "missing.list.element", "hops.list.element.evidence.list.element"] {
            assert!(of_path.iter().any(|name| name == word), "{word} of {of_path:?}");
        }
        assert_eq!(texts(&tables::spec::<tables::Exchange>(), true), [""; 0]);
    }

    #[test]
    fn words_have_bounds_where_the_table_names_them() {
        let spec = tables::spec::<tables::Hop>();
        let bounded = words(&spec).into_iter().flatten().filter(|&has_bounds| has_bounds);
        // The workloads of both ends.
        assert_eq!(bounded.count(), 2);
    }
}
