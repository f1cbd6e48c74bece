//! When each path became queryable: at the time of the first commit with a row of it.
//!
//! Read from the log of the `path` table and the files it names, those that later stages replaced
//! too; from the true end of each request.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use anyhow::Context as _;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;
use serde_json::Value;

use crate::data::Data;

/// Seconds from a request's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Delay {
    pub(super) requests: usize,
    pub(super) p50_s: f64,
    pub(super) p99_s: f64,
    pub(super) max_s: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Queryable {
    /// Until the first row of the path.
    pub(super) first: Delay,
    /// Until the first row with all of its hops.
    pub(super) whole: Delay,
}

/// Milliseconds since the epoch at which rows of a path came first.
#[derive(Clone, Copy, Default)]
struct Seen {
    first_ms: Option<i64>,
    whole_ms: Option<i64>,
}

pub(super) fn measure(data: &Data) -> anyhow::Result<Queryable> {
    let mut requests: HashMap<String, (i64, i32, Seen)> = HashMap::new();
    let columns = ["request_id", "end_ns", "legs"];
    each_row(&data.truth.join("requests.parquet"), columns, |id, end_ns, legs| {
        requests.insert(id.to_owned(), (end_ns, legs, Seen::default()));
    })?;
    let folder = data.tables.join("path");
    for (at_ms, path) in additions(&folder.join("_delta_log"))? {
        each_row(&folder.join(path), ["request_id", "end_ns", "hop_count"], |id, _, hops| {
            if let Some((_, legs, seen)) = requests.get_mut(id) {
                seen.first_ms.get_or_insert(at_ms);
                if hops == *legs {
                    seen.whole_ms.get_or_insert(at_ms);
                }
            }
        })?;
    }
    let delays = |of: fn(&Seen) -> Option<i64>| {
        let delay = |(end_ns, _, seen): &(i64, i32, Seen)| {
            Some((of(seen)? as f64 - *end_ns as f64 / 1e6) / 1e3)
        };
        of_delays(requests.values().filter_map(delay).collect())
    };
    Ok(Queryable { first: delays(|seen| seen.first_ms), whole: delays(|seen| seen.whole_ms) })
}

fn of_delays(mut delays: Vec<f64>) -> Delay {
    delays.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let index = (part * delays.len() as f64).ceil() as usize;
        delays.get(index.saturating_sub(1)).copied().unwrap_or_default()
    };
    Delay { requests: delays.len(), p50_s: at(0.5), p99_s: at(0.99), max_s: at(1.0) }
}

/// Time of commit and path of every file that a log ever added, in order.
fn additions(log: &Path) -> anyhow::Result<Vec<(i64, String)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(log).context("read the log of path")? {
        let path = entry?.path();
        entries.extend(path.extension().is_some_and(|end| end == "json").then_some(path));
    }
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        let text = std::fs::read_to_string(&path).context("read an entry of path's log")?;
        let actions: Vec<Value> =
            text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let at_ms = actions.iter().find_map(|action| action["commitInfo"]["timestamp"].as_i64());
        let at_ms = at_ms.with_context(|| format!("{} has no time", path.display()))?;
        let added = actions.iter().filter_map(|action| action["add"]["path"].as_str());
        found.extend(added.map(|file| (at_ms, file.to_owned())));
    }
    Ok(found)
}

fn each_row(
    path: &Path,
    columns: [&str; 3],
    mut each: impl FnMut(&str, i64, i32),
) -> anyhow::Result<()> {
    let at = || format!("read {}", path.display());
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).with_context(at)?)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    for batch in builder.with_projection(mask).build()? {
        let batch: RecordBatch = batch.with_context(at)?;
        let column = |name| batch.column_by_name(name).with_context(|| format!("no {name}"));
        let ids = column(columns[0])?.as_string_opt::<i32>().context("ids are no texts")?;
        let times = column(columns[1])?.as_primitive_opt::<Int64Type>().context("no times")?;
        let counts = column(columns[2])?.as_primitive_opt::<Int32Type>().context("no counts")?;
        for ((id, time), count) in ids.iter().zip(times.values()).zip(counts.values()) {
            if let Some(id) = id {
                each(id, *time, *count);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_delays_that_occurred() {
        let delay = of_delays((1..=200).rev().map(f64::from).collect());
        assert_eq!(delay, Delay { requests: 200, p50_s: 100.0, p99_s: 198.0, max_s: 200.0 });
        assert_eq!(of_delays(Vec::new()), Delay::default());
    }
}
