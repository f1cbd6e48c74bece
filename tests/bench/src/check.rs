//! Whether the correlator's output is right: figures for wrong rows are not reported.
//!
//! Every request of the truth must have exactly one path, found by its request id, with as many hops
//! as the request had legs; and nothing else may be in the tables. A few may be open: told without
//! an id, by a path that does not say to be complete.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use crate::data::Data;
use crate::files::Files;

/// Of requests whose ids and both ends are recorded this part must be complete.
const COMPLETE_MIN: f64 = 0.999;

const ROWS_AT_ONCE: usize = 65_536;

/// How output compares with the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Comparison {
    pub(crate) requests: u64,
    /// Requests with one path of as many hops as there were legs.
    pub(crate) right: u64,
    /// Of these, paths whose verdict is `complete`.
    pub(crate) complete: u64,
    /// Requests without a path under their request id.
    pub(crate) missing: u64,
    /// Paths with another number of hops than the request had legs.
    pub(crate) other_hops: u64,
    /// Paths that say no request id, and say of themselves that they are not complete: each is
    /// that of a request which is missing above.
    pub(crate) open: u64,
    /// Paths beyond the first of a request, and paths of no request.
    pub(crate) excess: u64,
}

/// Refuses output that is not right.
pub(crate) fn check(
    data: &Data,
    derived: &BTreeMap<&'static str, Files>,
) -> anyhow::Result<Comparison> {
    let path = derived.get("path").context("no path table was written")?;
    let hop = derived.get("hop").context("no hop table was written")?;
    let compared = compare(&data.truth.join("requests.parquet"), &path.paths)?;
    let complete = compared.complete as f64 / compared.requests.max(1) as f64;
    ensure!(compared.requests > 0, "the truth is empty");
    ensure!(
        compared.excess == 0
            && compared.open <= compared.missing
            && complete >= COMPLETE_MIN
            && hop.rows <= data.run.legs,
        "output is wrong, no figures: {} hops for {} legs, {compared:?}",
        hop.rows,
        data.run.legs,
    );
    Ok(compared)
}

fn compare(truth: &Path, paths: &[PathBuf]) -> anyhow::Result<Comparison> {
    let mut requests: BTreeMap<u128, (i32, bool)> = BTreeMap::new();
    each_batch(truth, &["request_id", "legs"], |batch| {
        let (ids, legs) = (texts(batch, "request_id")?, integers(batch, "legs")?);
        for (id, legs) in ids.iter().zip(legs.iter()) {
            let id = id.as_deref().and_then(key).context("a request without an id in the truth")?;
            requests.insert(id, (legs.unwrap_or(0), false));
        }
        Ok(())
    })?;
    let mut found = Comparison { requests: requests.len() as u64, ..Comparison::default() };
    for path in paths {
        each_batch(path, &["request_id", "hop_count", "verdict"], |batch| {
            let (ids, hops) = (texts(batch, "request_id")?, integers(batch, "hop_count")?);
            let verdicts = texts(batch, "verdict")?;
            for ((id, hops), verdict) in ids.iter().zip(hops.iter()).zip(verdicts) {
                let is_complete = verdict.as_deref() == Some("complete");
                match id.as_deref().and_then(key).and_then(|id| requests.get_mut(&id)) {
                    Some((legs, is_seen)) if !*is_seen => {
                        *is_seen = true;
                        let is_right = hops == &Some(*legs);
                        found.right += u64::from(is_right);
                        found.complete += u64::from(is_right && is_complete);
                        found.other_hops += u64::from(!is_right);
                    }
                    None if id.is_none() && !is_complete => found.open += 1,
                    _ => found.excess += 1,
                }
            }
            Ok(())
        })?;
    }
    found.missing = found.requests - found.right - found.other_hops;
    Ok(found)
}

fn each_batch(
    path: &Path,
    columns: &[&str],
    mut each: impl FnMut(&RecordBatch) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let at = || format!("read {}", path.display());
    let file = File::open(path).with_context(at)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).with_context(at)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let reader = builder.with_projection(mask).with_batch_size(ROWS_AT_ONCE).build()?;
    for batch in reader {
        each(&batch.with_context(at)?)?;
    }
    Ok(())
}

fn texts(batch: &RecordBatch, name: &str) -> anyhow::Result<Vec<Option<String>>> {
    let column = batch.column_by_name(name).with_context(|| format!("no column {name}"))?;
    let column = column.as_string_opt::<i32>().with_context(|| format!("{name} is no text"))?;
    Ok(column.iter().map(|value| value.map(str::to_owned)).collect())
}

fn integers(batch: &RecordBatch, name: &str) -> anyhow::Result<Vec<Option<i32>>> {
    let column = batch.column_by_name(name).with_context(|| format!("no column {name}"))?;
    let column = column.as_primitive_opt::<Int32Type>();
    let column = column.with_context(|| format!("{name} is no integer"))?;
    Ok((0..column.len()).map(|row| column.is_valid(row).then(|| column.value(row))).collect())
}

/// Request ids are 32 hex digits here.
fn key(id: &str) -> Option<u128> {
    u128::from_str_radix(id, 16).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray};
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn write(folder: &Path, name: &str, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
        let path = folder.join(name);
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path
    }

    #[test]
    fn missing_excess_and_shortened_paths_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let texts = |values: &[&str]| -> ArrayRef {
            let value = |text: &&str| (*text != "-").then(|| (*text).to_owned());
            Arc::new(StringArray::from_iter(values.iter().map(value)))
        };
        let integers = |values: &[i32]| -> ArrayRef { Arc::new(Int32Array::from(values.to_vec())) };
        let truth = write(
            folder.path(),
            "truth",
            vec![("request_id", texts(&["a", "b", "c", "d"])), ("legs", integers(&[2, 2, 3, 1]))],
        );
        let paths = write(
            folder.path(),
            "paths",
            vec![
                ("request_id", texts(&["a", "b", "c", "c", "e", "-", "-"])),
                ("hop_count", integers(&[2, 2, 2, 3, 1, 1, 1])),
                (
                    "verdict",
                    texts(&[
                        "complete",
                        "partial",
                        "complete",
                        "complete",
                        "complete",
                        "ambiguous",
                        "complete",
                    ]),
                ),
            ],
        );
        let expected = Comparison {
            requests: 4,
            right: 2,
            complete: 1,
            missing: 1,
            other_hops: 1,
            open: 1,
            excess: 3,
        };
        assert_eq!(compare(&truth, &[paths]).unwrap(), expected);
    }
}
