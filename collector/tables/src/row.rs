//! What every table has in common: a name, a schema, and rows that go to columns and back.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_arrow::schema::{SchemaLike, TracingOptions};

/// Microseconds since the Unix epoch, UTC: the unit of every timestamp column.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub i64);

/// Who writes a table and how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Written by the collector, one row an observation.
    Raw,
    /// Written by the correlator.
    Derived,
}

/// One row of one table.
pub trait Row: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Name of the table and of its folder below the store's root.
    const TABLE: &'static str;
    const LAYER: Layer;
    /// Columns that carry min/max statistics in the Delta log. Ids and client tokens never do.
    const STATISTICS: &'static [&'static str];
    /// Columns with a parquet bloom filter.
    const BLOOM: &'static [&'static str];
    /// Value of the partition column `hour` (`yyyy-MM-ddTHH`, event time, UTC).
    fn hour(&self) -> &str;
    /// When it happened, nanoseconds since the epoch by its observer's clock; none of derived rows.
    fn observed_ns(&self) -> Option<i64> {
        None
    }
}

/// What the store needs to know of a table without knowing its row type.
#[derive(Clone, Debug)]
pub struct TableSpec {
    pub name: &'static str,
    pub layer: Layer,
    pub schema: SchemaRef,
    pub statistics: &'static [&'static str],
    pub bloom: &'static [&'static str],
}

/// Every partitioned table has exactly this partition column.
pub const PARTITION: &str = "hour";

#[derive(Debug, thiserror::Error)]
#[error("decode rows of table {table}")]
pub struct DecodeError {
    pub table: &'static str,
    #[source]
    source: serde_arrow::Error,
}

/// The specification of one table.
pub fn spec<R: Row>() -> TableSpec {
    TableSpec {
        name: R::TABLE,
        layer: R::LAYER,
        schema: Arc::new(Schema::new(fields::<R>())),
        statistics: R::STATISTICS,
        bloom: R::BLOOM,
    }
}

/// Every table of the product.
pub fn all() -> Vec<TableSpec> {
    vec![
        spec::<crate::Connection>(),
        spec::<crate::NatBinding>(),
        spec::<crate::Exchange>(),
        spec::<crate::Failure>(),
        spec::<crate::Heartbeat>(),
        spec::<crate::Capability>(),
        spec::<crate::Span>(),
        spec::<crate::AccessLog>(),
        spec::<crate::ClusterObject>(),
        spec::<crate::Quarantine>(),
        spec::<crate::Hop>(),
        spec::<crate::Path>(),
        spec::<crate::Ambiguous>(),
        spec::<crate::DataQuality>(),
        spec::<crate::ClockOffset>(),
        spec::<crate::EdgeMinute>(),
        spec::<crate::Calibration>(),
    ]
}

/// Turns rows into one record batch in the table's schema, in the order given.
pub fn to_batch<R: Row>(rows: &[R]) -> RecordBatch {
    let fields = fields::<R>();
    // A row type and its own schema can only disagree through a bug in this crate, and the round
    // trip test of each table would show it.
    serde_arrow::to_record_batch(&fields, &rows)
        .unwrap_or_else(|e| panic!("rows of {} do not fit their schema: {e}", R::TABLE))
}

/// Reads rows back. Columns the row type does not know are ignored.
///
/// # Errors
/// When a column is missing or has another type than the row's field.
pub fn from_batch<R: Row>(batch: &RecordBatch) -> Result<Vec<R>, DecodeError> {
    serde_arrow::from_record_batch(batch).map_err(|source| DecodeError { table: R::TABLE, source })
}

/// The partition value of a moment in nanoseconds since the Unix epoch: `yyyy-MM-ddTHH`, UTC.
pub fn hour_of_ns(ns: i64) -> String {
    let hours = ns.div_euclid(3_600_000_000_000);
    let (days, hour) = (hours.div_euclid(24), hours.rem_euclid(24));
    let (y, m, d) = civil_from_days(days);
    format!("{y:04}-{m:02}-{d:02}T{hour:02}")
}

pub fn micros_of_ns(ns: i64) -> Micros {
    Micros(ns.div_euclid(1_000))
}

/// Days since 1970-01-01 to a proleptic Gregorian date (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn fields<R: Row>() -> Vec<FieldRef> {
    let options = TracingOptions::default()
        .allow_null_fields(true)
        .strings_as_large_utf8(false)
        .sequence_as_large_list(false);
    let traced = Vec::<FieldRef>::from_type::<R>(options)
        .unwrap_or_else(|e| panic!("schema of {} can't be traced: {e}", R::TABLE));
    traced.into_iter().map(timestamp_by_name).collect()
}

/// Columns named `*_at` and `*_time` hold [`Micros`]; serde sees only their integer.
fn timestamp_by_name(field: FieldRef) -> FieldRef {
    let name = field.name();
    let is_timestamp = name.ends_with("_at") || name.ends_with("_time");
    if !is_timestamp || field.data_type() != &DataType::Int64 {
        return field;
    }
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Field::new(name, micros, field.is_nullable()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hour_of_a_moment_is_utc_and_floors() {
        for (ns, expected) in [
            (0, "1970-01-01T00"),
            (-1, "1969-12-31T23"),
            (1_700_000_000_000_000_000, "2023-11-14T22"),
            (951_782_400_000_000_000, "2000-02-29T00"),
        ] {
            assert_eq!(hour_of_ns(ns), expected, "{ns}");
        }
    }

    #[test]
    fn every_table_has_the_partition_column_and_a_name_of_its_own() {
        let mut names = Vec::new();
        for table in all() {
            assert!(table.schema.field_with_name(PARTITION).is_ok(), "{}", table.name);
            for column in table.statistics.iter().chain(table.bloom) {
                assert!(table.schema.field_with_name(column).is_ok(), "{}.{column}", table.name);
            }
            names.push(table.name);
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
