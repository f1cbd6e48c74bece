//! Column statistics of a data file, as Delta writes them and as this crate reads them back.
//!
//! Only the columns that a table names carry minimum and maximum: ids and client tokens must not
//! reach the log through them.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use serde_json::{Map, Value};
use tables::TableSpec;

use crate::file::Range;

/// Longer texts carry no minimum and maximum. The log stays small, and a value cut short would
/// have to be rounded up to be a true maximum.
const TEXT_LENGTH_MAX: usize = 64;

/// Statistics of one file.
pub(crate) struct Statistics {
    /// The `stats` text of an add action.
    pub(crate) json: String,
    pub(crate) ranges: BTreeMap<String, Range>,
}

/// Statistics of a file whose rows come batch by batch.
#[derive(Default)]
pub(crate) struct Tally {
    rows: usize,
    columns: BTreeMap<&'static str, Column>,
}

#[derive(Default)]
struct Column {
    nulls: usize,
    bounds: Option<Bounds>,
}

/// The least and the greatest value of a column.
enum Bounds {
    Integers(i64, i64),
    Micros(i64, i64),
    Texts(String, String),
}

impl Tally {
    pub(crate) fn add(&mut self, spec: &TableSpec, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        for &name in spec.statistics {
            let Some(array) = batch.column_by_name(name) else { continue };
            let column = self.columns.entry(name).or_default();
            column.nulls += array.null_count();
            let bounds = bounds(occurring(array).as_ref());
            column.bounds = match (column.bounds.take(), bounds) {
                (Some(known), Some(new)) => Some(known.and(new)),
                (known, new) => known.or(new),
            };
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let (mut minimum, mut maximum, mut nulls) = (Map::new(), Map::new(), Map::new());
        let mut ranges = BTreeMap::new();
        for (&name, column) in &self.columns {
            nulls.insert(name.to_owned(), column.nulls.into());
            let Some((min, max)) = column.bounds.as_ref().and_then(Bounds::written) else {
                continue;
            };
            if let (Some(min), Some(max)) = (min.as_i64(), max.as_i64()) {
                ranges.insert(name.to_owned(), Range { min, max });
            }
            minimum.insert(name.to_owned(), min);
            maximum.insert(name.to_owned(), max);
        }
        let json = serde_json::json!({
            "numRecords": self.rows,
            "minValues": minimum,
            "maxValues": maximum,
            "nullCount": nulls,
        });
        Statistics { json: json.to_string(), ranges }
    }
}

impl Bounds {
    /// Of both; a column has one type.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Integers(a, b), Self::Integers(c, d)) => Self::Integers(a.min(c), b.max(d)),
            (Self::Micros(a, b), Self::Micros(c, d)) => Self::Micros(a.min(c), b.max(d)),
            (Self::Texts(a, b), Self::Texts(c, d)) => Self::Texts(a.min(c), b.max(d)),
            (known, _) => known,
        }
    }

    /// Minimum and maximum as Delta has them.
    fn written(&self) -> Option<(Value, Value)> {
        match self {
            Self::Integers(min, max) => Some(((*min).into(), (*max).into())),
            Self::Micros(min, max) => {
                // Delta's statistics have milliseconds: the minimum goes down, the maximum up.
                let (min_ms, max_ms) = (min.div_euclid(1_000), max.div_euclid(1_000) + 1);
                Some((timestamp(min_ms).into(), timestamp(max_ms).into()))
            }
            Self::Texts(min, max) => {
                let is_short = min.len() <= TEXT_LENGTH_MAX && max.len() <= TEXT_LENGTH_MAX;
                is_short.then(|| (min.as_str().into(), max.as_str().into()))
            }
        }
    }
}

/// Row count and integer ranges from the `stats` text of an add action.
pub(crate) fn of_json(json: Option<&str>) -> (u64, BTreeMap<String, Range>) {
    let parsed: Value = json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    let rows = parsed["numRecords"].as_u64().unwrap_or_default();
    let mut ranges = BTreeMap::new();
    for (name, min) in parsed["minValues"].as_object().into_iter().flatten() {
        if let (Some(min), Some(max)) = (min.as_i64(), parsed["maxValues"][name].as_i64()) {
            ranges.insert(name.clone(), Range { min, max });
        }
    }
    (rows, ranges)
}

/// The values of a dictionary that occur, each once; other columns as they are.
pub(crate) fn occurring(column: &ArrayRef) -> ArrayRef {
    let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() else { return column.clone() };
    let mut occurs = vec![false; dictionary.values().len()];
    for key in dictionary.keys().iter().flatten() {
        occurs[key as usize] = true;
    }
    // A mask as long as the values always fits.
    compute::filter(dictionary.values(), &BooleanArray::from(occurs))
        .unwrap_or_else(|_| dictionary.values().clone())
}

fn bounds(column: &dyn Array) -> Option<Bounds> {
    match column.data_type() {
        DataType::Int32 => {
            let values = column.as_primitive::<Int32Type>();
            let (min, max) = (compute::min(values)?, compute::max(values)?);
            Some(Bounds::Integers(min.into(), max.into()))
        }
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>();
            Some(Bounds::Integers(compute::min(values)?, compute::max(values)?))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let values = column.as_primitive::<TimestampMicrosecondType>();
            Some(Bounds::Micros(compute::min(values)?, compute::max(values)?))
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            let (min, max) = (compute::min_string(values)?, compute::max_string(values)?);
            Some(Bounds::Texts(min.to_owned(), max.to_owned()))
        }
        _ => None,
    }
}

/// ISO 8601, UTC, milliseconds.
fn timestamp(ms: i64) -> String {
    let hour = tables::hour_of_ns(ms.saturating_mul(1_000_000));
    let in_hour = ms.rem_euclid(3_600_000);
    let (minute, second, fraction) = (in_hour / 60_000, in_hour / 1_000 % 60, in_hour % 1_000);
    format!("{hour}:{minute:02}:{second:02}.{fraction:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tables::{Exchange, Origin, Row};

    #[test]
    fn statistics_read_back_as_written_and_name_only_the_columns_of_the_table() {
        let rows: Vec<Exchange> = [1_763_726_400_123_456_789, 1_763_726_401_000_000_001]
            .map(|event_ns| Exchange::from_origin(&Origin { event_ns, ..Origin::default() }))
            .to_vec();
        let spec = tables::spec::<Exchange>();
        let mut tally = Tally::default();
        rows.chunks(1).for_each(|row| tally.add(&spec, &tables::to_batch(row)));
        let written = tally.statistics();
        let (count, ranges) = of_json(Some(&written.json));
        assert_eq!(count, 2);
        assert_eq!(ranges, written.ranges);
        assert_eq!(
            ranges["event_ns"],
            Range { min: 1_763_726_400_123_456_789, max: 1_763_726_401_000_000_001 }
        );
        let json: Value = serde_json::from_str(&written.json).unwrap();
        assert_eq!(json["minValues"]["event_time"], "2025-11-21T12:00:00.123Z");
        assert_eq!(json["maxValues"]["event_time"], "2025-11-21T12:00:01.001Z");
        for name in json["minValues"].as_object().unwrap().keys() {
            assert!(Exchange::STATISTICS.contains(&name.as_str()), "{name}");
        }
    }

    #[test]
    fn a_file_without_statistics_has_unknown_ranges() {
        assert_eq!(of_json(None), (0, BTreeMap::new()));
        assert_eq!(of_json(Some("not json")), (0, BTreeMap::new()));
    }
}
