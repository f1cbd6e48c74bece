//! A column of texts of which few differ: a dictionary of them, and the number of each row's text.
//!
//! Arrow's dictionaries become parquet's by their keys: each text is looked at once, not in every
//! row. The numbers are not compressed: packed to their bits they hardly get shorter.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{Array as _, ArrayRef, AsArray as _, DictionaryArray};
use arrow::datatypes::{DataType, Int32Type};
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType};
use parquet::column::page::{CompressedPage, Page, PageWriter as _};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::hybrid;
use super::leaf::Leaf;

/// Rows of a page: what a reader that looks for one row decodes.
const PAGE_ROWS: usize = 16_384;

/// With more texts than this, rows that follow have theirs written out.
const DICTIONARY_BYTES_MAX: usize = 1 << 20;

/// Longer texts carry no minimum and maximum.
const BOUND_LENGTH_MAX: usize = 64;

/// Number of no text.
const NULL: u32 = u32::MAX;

/// One column of one row group.
pub(super) struct Words {
    column: ColumnDescPtr,
    has_bounds: bool,
    texts: Texts,
    /// The values of the Arrow dictionary that came last, and their numbers here.
    known: Option<(ArrayRef, Vec<u32>)>,
    pages: Vec<(Page, usize)>,
    rows: usize,
    values: usize,
    nulls: usize,
}

/// Every text that was seen, by its number, as a dictionary page holds them.
#[derive(Default)]
struct Texts {
    numbers: HashMap<String, u32>,
    plain: Vec<u8>,
}

/// What one page holds: levels of all values, and numbers of those that are not null.
#[derive(Default)]
struct Levels {
    repetition: Vec<u32>,
    definition: Vec<u32>,
    present: Vec<usize>,
}

impl Words {
    pub(super) fn new(column: ColumnDescPtr, has_bounds: bool) -> Self {
        Self {
            column,
            has_bounds,
            texts: Texts::default(),
            known: None,
            pages: Vec::new(),
            rows: 0,
            values: 0,
            nulls: 0,
        }
    }

    /// Adds the texts of so many rows, plain or as a dictionary: the column is the same.
    pub(super) fn write(&mut self, leaf: &Leaf, rows: usize) {
        let range = leaf.range(rows);
        let is_full = self.texts.plain.len() > DICTIONARY_BYTES_MAX;
        let numbers = if is_full { Vec::new() } else { self.numbers(&leaf.values, range.clone()) };
        let mut from = 0;
        while from < rows {
            let to = rows.min(from + PAGE_ROWS);
            let levels = Levels::of(leaf, from..to, self.column.max_rep_level() > 0);
            let page = if is_full {
                self.page(&levels, Encoding::PLAIN, |out| {
                    levels.present.iter().for_each(|&at| plain(text(&leaf.values, at), out));
                })
            } else {
                let of = |at: &usize| numbers[at - range.start];
                let present: Vec<u32> = levels.present.iter().map(of).collect();
                let greatest = self.texts.numbers.len().saturating_sub(1) as u32;
                let width = hybrid::width(greatest).max(1);
                self.page(&levels, Encoding::RLE_DICTIONARY, |out| {
                    out.push(width as u8);
                    hybrid::encode(&present, width, out);
                })
            };
            self.pages.push((page, to - from));
            self.values += levels.definition.len();
            self.nulls += levels.definition.len() - levels.present.len();
            from = to;
        }
        self.rows += rows;
    }

    fn page(
        &self,
        levels: &Levels,
        encoding: Encoding,
        write_values: impl FnOnce(&mut Vec<u8>),
    ) -> Page {
        let mut out = Vec::new();
        let of_repetition = (self.column.max_rep_level(), &levels.repetition);
        let of_definition = (self.column.max_def_level(), &levels.definition);
        for (greatest, levels) in [of_repetition, of_definition] {
            if greatest > 0 {
                let length_at = out.len();
                out.extend_from_slice(&[0; 4]);
                hybrid::encode(levels, hybrid::width(greatest.unsigned_abs().into()), &mut out);
                let length = (out.len() - length_at - 4) as u32;
                out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
            }
        }
        write_values(&mut out);
        Page::DataPage {
            buf: out.into(),
            num_values: levels.definition.len() as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        }
    }

    /// The numbers of some of an array's texts.
    fn numbers(&mut self, array: &ArrayRef, range: Range<usize>) -> Vec<u32> {
        let Some(dictionary) = array.as_dictionary_opt::<Int32Type>() else {
            let texts = array.as_string::<i32>();
            let number = |at| match texts.is_null(at) {
                true => NULL,
                false => self.texts.number(texts.value(at)),
            };
            return range.map(number).collect();
        };
        let values = dictionary.values();
        let known = self.known.take().filter(|(of, _)| of.to_data().ptr_eq(&values.to_data()));
        let mut numbers = known.map_or_else(|| vec![NULL; values.len()], |(_, numbers)| numbers);
        let texts = values.as_string::<i32>();
        let keys = dictionary.keys();
        let of_rows = range.map(|at| {
            if keys.is_null(at) {
                return NULL;
            }
            let key = keys.value(at) as usize;
            if numbers[key] == NULL {
                numbers[key] = self.texts.number(texts.value(key));
            }
            numbers[key]
        });
        let of_rows = of_rows.collect();
        self.known = Some((values.clone(), numbers));
        of_rows
    }

    /// The encoded column, and what is told of it.
    pub(super) fn close(self) -> Result<(Bytes, ColumnCloseResult), ParquetError> {
        let statistics = self.has_bounds.then(|| self.statistics());
        let dictionary = Page::DictionaryPage {
            buf: self.texts.plain.into(),
            num_values: self.texts.numbers.len() as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let mut sink = TrackedWrite::new(Vec::new());
        let mut writer = SerializedPageWriter::new(&mut sink);
        let size = dictionary.buffer().len();
        let first = writer.write_page(CompressedPage::new(dictionary, size))?;
        let mut uncompressed = first.uncompressed_size;
        let mut places = OffsetIndexBuilder::new();
        let mut counts = [(Encoding::RLE_DICTIONARY, 0), (Encoding::PLAIN, 0)];
        for (page, rows) in self.pages {
            let (size, encoding) = (page.buffer().len(), page.encoding());
            let written = writer.write_page(CompressedPage::new(page, size))?;
            places.append_offset_and_size(written.offset as i64, written.compressed_size as i32);
            places.append_row_count(rows as i64);
            uncompressed += written.uncompressed_size;
            counts.iter_mut().filter(|(of, _)| *of == encoding).for_each(|(_, count)| *count += 1);
        }
        let bytes: Bytes = sink.into_inner()?.into();
        let stats = |page_type, encoding, count| PageEncodingStats { page_type, encoding, count };
        let of_data = counts.into_iter().filter(|&(_, count)| count > 0);
        let encodings = std::iter::once(stats(PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1))
            .chain(of_data.map(|(encoding, count)| stats(PageType::DATA_PAGE, encoding, count)));
        let mut metadata = ColumnChunkMetaData::builder(self.column)
            .set_compression(Compression::UNCOMPRESSED)
            .set_encodings(vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY])
            .set_page_encoding_stats(encodings.collect())
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(uncompressed as i64)
            .set_num_values(self.values as i64)
            .set_dictionary_page_offset(Some(0))
            .set_data_page_offset(first.bytes_written as i64);
        if let Some(statistics) = statistics {
            metadata = metadata.set_statistics(statistics);
        }
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(places.build()),
        };
        Ok((bytes, close))
    }

    /// The least and the greatest text, where all of them are known and short.
    fn statistics(&self) -> Statistics {
        let is_known = self.texts.plain.len() <= DICTIONARY_BYTES_MAX;
        let texts = || self.texts.numbers.keys().filter(|_| is_known);
        let is_short = |text: &&String| text.len() <= BOUND_LENGTH_MAX;
        let bounds = texts().min().filter(is_short).zip(texts().max().filter(is_short));
        let bound = |text: &String| ByteArray::from(text.as_str());
        let (least, greatest) = bounds.map(|(a, b)| (bound(a), bound(b))).unzip();
        Statistics::new(least, greatest, None, Some(self.nulls as u64), false)
    }
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.numbers.len() as u32;
        self.numbers.insert(text.to_owned(), number);
        plain(text, &mut self.plain);
        number
    }
}

impl Levels {
    fn of(leaf: &Leaf, rows: Range<usize>, is_repeated: bool) -> Self {
        let mut levels = Self::default();
        let is_null = |at: usize| leaf.values.is_null(at);
        if is_repeated {
            rows.for_each(|row| levels.add(leaf, &leaf.lists, row, 0, &is_null));
        } else {
            let greatest = u32::from(leaf.is_nullable);
            levels.definition.extend(rows.clone().map(|at| greatest - u32::from(is_null(at))));
            levels.present.extend(rows.filter(|&at| !is_null(at)));
        }
        levels
    }

    /// Adds what one list holds, or the value at the end of all lists. `above` is the level of the
    /// list that repeats with it.
    fn add(
        &mut self,
        leaf: &Leaf,
        lists: &[arrow::buffer::OffsetBuffer<i32>],
        at: usize,
        above: u32,
        is_null: &impl Fn(usize) -> bool,
    ) {
        let depth = (leaf.lists.len() - lists.len()) as u32;
        let Some((offsets, deeper)) = lists.split_first() else {
            self.repetition.push(above);
            let is_null = is_null(at);
            self.definition.push(depth + u32::from(leaf.is_nullable && !is_null));
            if !is_null {
                self.present.push(at);
            }
            return;
        };
        let (from, to) = (offsets[at] as usize, offsets[at + 1] as usize);
        if from == to {
            self.repetition.push(above);
            self.definition.push(depth);
        }
        for item in from..to {
            let above = if item == from { above } else { depth + 1 };
            self.add(leaf, deeper, item, above, is_null);
        }
    }
}

fn plain(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn text(array: &ArrayRef, at: usize) -> &str {
    match array.data_type() {
        DataType::Dictionary(_, _) => {
            let dictionary: &DictionaryArray<Int32Type> = array.as_dictionary();
            dictionary.values().as_string::<i32>().value(dictionary.keys().value(at) as usize)
        }
        _ => array.as_string::<i32>().value(at),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, StringArray};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use tables::{Hop, Path, PathHop, Row};

    use super::*;
    use crate::encode::{Encoder, Groups};

    fn file<R: Row>(rows: &[R]) -> Bytes {
        let mut encoder = Encoder::new(tables::spec::<R>(), Groups::Whole);
        encoder.write(&tables::to_batch(rows)).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: Bytes) -> Vec<arrow::array::RecordBatch> {
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes);
        let reader = reader.unwrap().with_batch_size(1_000).build().unwrap();
        reader.map(Result::unwrap).collect()
    }

    /// Some null, some lists empty, some values in long runs and some in none.
    fn path(n: usize) -> Path {
        let some = |text: String, one_in: usize| (n % one_in != 0).then_some(text);
        let hop = |at: usize| PathHop {
            position: at as i32,
            kind: ["edge", "service", "app"][(n / 700 + at) % 3].into(),
            source_pod: some(format!("pod-{}", (n * 31 + at) % 5_000), 3),
            service: some("cart".into(), 2_000),
            destination_ip: Some(format!("10.0.{}.{at}", n % 200)),
            evidence: (0..n % 4).map(|word| format!("evidence {word}")).collect(),
            start_ns: n as i64 * 1_000 + at as i64,
            ..PathHop::default()
        };
        Path {
            hour: "2026-11-22T04".into(),
            path_id: format!("{n:032x}"),
            verdict: if n < 30_000 { "complete" } else { "partial" }.into(),
            start_ns: n as i64 * 1_000,
            services: (0..n % 3).map(|service| format!("service-{}", service * n % 70)).collect(),
            hops: (0..n % 5).map(hop).collect(),
            ..Path::default()
        }
    }

    #[test]
    fn what_was_written_is_read_again_from_lists_and_lists_in_lists() {
        let paths: Vec<Path> = (0..40_000).map(path).collect();
        let batch = tables::to_batch(&paths);
        let schema = batch.schema();
        let mut from = 0;
        for read in read(file(&paths)) {
            let wanted = batch.slice(from, read.num_rows());
            for (name, found) in read.schema().fields().iter().zip(read.columns()) {
                let column = wanted.column(schema.index_of(name.name()).unwrap());
                let found = arrow::compute::cast(found, column.data_type()).unwrap();
                assert_eq!(&found, column, "{name} from row {from}");
            }
            from += read.num_rows();
        }
        assert_eq!(from, paths.len());
    }

    #[test]
    fn texts_are_written_out_once_the_dictionary_is_full() {
        let hop = |n: usize| Hop {
            route: (n % 10 != 0).then(|| format!("/a/route/of/its/own/{n:020}")),
            ..Hop::default()
        };
        let hops: Vec<Hop> = (0..200_000).map(hop).collect();
        let bytes = file(&hops);
        let mut routes = read(bytes.clone()).into_iter().flat_map(|batch| {
            let column = batch.column_by_name("route").unwrap().clone();
            let texts = column.as_string::<i32>().iter().map(|text| text.map(str::to_owned));
            texts.collect::<Vec<_>>()
        });
        assert!(hops.iter().all(|hop| routes.next() == Some(hop.route.clone())));
        let reader = SerializedFileReader::new(bytes).unwrap();
        let mut columns = reader.metadata().row_group(0).columns().iter();
        let route = columns.position(|c| c.column_path().string() == "route").unwrap();
        let group = reader.get_row_group(0).unwrap();
        let pages = group.get_column_page_reader(route).unwrap().map(Result::unwrap);
        let of_data: Vec<Encoding> =
            pages.filter(Page::is_data_page).map(|page| page.encoding()).collect();
        let pages = |encoding| of_data.iter().filter(|&&of| of == encoding).count();
        assert_eq!((pages(Encoding::RLE_DICTIONARY), pages(Encoding::PLAIN)), (4, 9));
    }

    #[test]
    fn dictionaries_and_plain_texts_give_the_same_column() {
        let texts = [Some("a"), None, Some("b"), Some("a"), None, Some("c")];
        let plain: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let keys = Int32Array::from(vec![Some(3), None, Some(0), Some(3), None, Some(1)]);
        let values: ArrayRef = Arc::new(StringArray::from(vec!["b", "c", "unused", "a"]));
        let dictionary: ArrayRef =
            Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values).unwrap());
        let bytes = file::<Hop>(&[Hop::default()]);
        let reader = SerializedFileReader::new(bytes).unwrap();
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let mut columns = schema.columns().iter();
        let route = columns.find(|c| c.path().string() == "route").unwrap();
        let column = |values: ArrayRef| {
            let mut words = Words::new(route.clone(), true);
            let leaf = Leaf { lists: Vec::new(), values, is_nullable: true };
            words.write(&leaf, texts.len());
            let (bytes, close) = words.close().unwrap();
            (bytes, close.metadata.statistics().cloned())
        };
        let (bytes, statistics) = column(plain);
        assert_eq!((bytes, statistics.clone()), column(dictionary));
        let statistics = statistics.unwrap();
        assert_eq!(statistics.null_count_opt(), Some(2));
        let bounds = (statistics.min_bytes_opt(), statistics.max_bytes_opt());
        assert_eq!(bounds, (Some(&b"a"[..]), Some(&b"c"[..])));
    }
}
