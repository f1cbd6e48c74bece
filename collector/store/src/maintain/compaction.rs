//! Many small files of one hour become few large ones with the same rows.
//!
//! Which files may go together is for the caller to say. Here they are taken in the order of one
//! integer column, up to a size that is read, sorted and written in memory, so that the ranges of
//! the new files overlap as little as those of the old ones did.

use arrow::array::{AsArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Int64Type;

use crate::StoreError;
use crate::encode::Groups;
use crate::error::Cause;
use crate::file::{FileRef, StagedFile};
use crate::table::{Commit, Table};

/// When files are put together, and how large what comes of it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fewer files than this are not worth a commit and their bytes once more.
    pub files_min: usize,
    /// Bytes on disk of the files of one group. In memory rows take about ten times as much.
    pub bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files_min: 4, bytes_max: 64 << 20 }
    }
}

/// Which of these files of one hour to put together, group by group, in the order of `column`.
///
/// A file that is at least half of what a group may hold stays as it is.
pub fn groups(mut files: Vec<FileRef>, column: &str, limits: Limits) -> Vec<Vec<FileRef>> {
    let first = |file: &FileRef| file.stats.get(column).map_or(i64::MIN, |range| range.min);
    files.retain(|file| file.size < limits.bytes_max / 2);
    files.sort_by(|a, b| (first(a), &a.path).cmp(&(first(b), &b.path)));
    let mut groups: Vec<Vec<FileRef>> = Vec::new();
    let mut bytes = 0;
    for file in files {
        match groups.last_mut() {
            Some(group) if bytes + file.size <= limits.bytes_max => {
                bytes += file.size;
                group.push(file);
            }
            _ => {
                bytes = file.size;
                groups.push(vec![file]);
            }
        }
    }
    groups.retain(|group| group.len() >= limits.files_min.max(2));
    groups
}

impl Table {
    /// Puts a file in the place of the group that it was merged from, in one commit.
    ///
    /// # Errors
    /// As [`Table::append`].
    pub async fn compact(
        &self,
        group: Vec<FileRef>,
        merged: StagedFile,
    ) -> Result<Commit, StoreError> {
        let progress = self.next_maintenance().await?;
        self.rewrite(group, vec![merged], progress).await
    }

    /// Uploads the rows of a group of files of one hour as one file, sorted by `column`; rows with the
    /// same value stay in the order of their files.
    ///
    /// # Errors
    /// When a file can't be read, or the new one can't be staged.
    pub async fn merge(
        &self,
        group: &[FileRef],
        column: &str,
        prefix: &str,
    ) -> Result<StagedFile, StoreError> {
        let batches = self.read(group).await?;
        let (schema, column) = (self.spec().schema.clone(), column.to_owned());
        let sort = move || -> Result<RecordBatch, Cause> {
            sorted(&concat_batches(&schema, &batches)?, &column)
        };
        let rows = tokio::task::spawn_blocking(sort)
            .await
            .map_err(Cause::from)
            .flatten()
            .map_err(|cause| self.maintain_error(cause))?;
        let draft = self.draft(&[rows], prefix, Groups::Small).await?;
        self.upload(draft).await
    }
}

fn sorted(rows: &RecordBatch, column: &str) -> Result<RecordBatch, Cause> {
    let values = rows
        .column_by_name(column)
        .and_then(|values| values.as_primitive_opt::<Int64Type>())
        .ok_or_else(|| format!("there is no column {column} of integers"))?;
    let values = values.values();
    if values.is_sorted() {
        return Ok(rows.clone());
    }
    let mut order: Vec<u64> = (0..values.len() as u64).collect();
    order.sort_by_key(|row| values[*row as usize]);
    Ok(take_record_batch(rows, &UInt64Array::from(order))?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::file::Range;

    fn file(win: i64, size: u64) -> FileRef {
        FileRef {
            path: format!("hour=2026-11-21T12/{win}-F-{size}.parquet"),
            hour: "2026-11-21T12".into(),
            size,
            rows: 1,
            stats: BTreeMap::from([("win".to_owned(), Range { min: win, max: win })]),
        }
    }

    fn check(files: &[(i64, u64)], expected: &[&[i64]]) {
        let files = files.iter().map(|(win, size)| file(*win, *size)).collect();
        let limits = Limits { files_min: 2, bytes_max: 100 };
        let found: Vec<Vec<i64>> = groups(files, "win", limits)
            .iter()
            .map(|group| group.iter().map(|file| file.stats["win"].min).collect())
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn files_go_together_in_order_up_to_the_size() {
        check(&[(30, 40), (10, 40), (20, 40), (40, 10), (50, 10)], &[&[10, 20], &[30, 40, 50]]);
    }

    #[test]
    fn a_large_file_and_a_lone_one_stay() {
        check(&[(10, 50), (20, 49)], &[]);
        check(&[(10, 1), (20, 60), (30, 1)], &[&[10, 30]]);
        check(&[], &[]);
    }
}
