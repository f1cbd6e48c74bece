//! What is inside of a file that was put together: the rows of each value of its column.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use crate::StoreError;
use crate::file::{FileRef, StagedFile};
use crate::table::{Commit, Table};

impl Table {
    /// The rows of a file by their value of an integer column, for the values in the range, in the
    /// order of the file.
    ///
    /// # Errors
    /// When the file can't be read or has no such column.
    pub async fn contents(
        &self,
        file: &FileRef,
        column: &str,
        values: Range<i64>,
    ) -> Result<BTreeMap<i64, Vec<RecordBatch>>, StoreError> {
        let mut contents: BTreeMap<i64, Vec<RecordBatch>> = BTreeMap::new();
        for batch in self.read(std::slice::from_ref(file)).await? {
            let found = batch
                .column_by_name(column)
                .and_then(|found| found.as_primitive_opt::<Int64Type>())
                .ok_or_else(|| StoreError::MissingColumn {
                    table: self.spec().name.to_owned(),
                    path: file.path.clone(),
                    column: column.to_owned(),
                })?;
            let mut start = 0;
            for run in found.values().chunk_by(|a, b| a == b) {
                if values.contains(&run[0]) {
                    contents.entry(run[0]).or_default().push(batch.slice(start, run.len()));
                }
                start += run.len();
            }
        }
        Ok(contents)
    }

    /// Takes a file apart again, in one commit: a file for each value of the column, named by
    /// `prefix` of that value. The rows of the table stay as they are.
    ///
    /// # Errors
    /// As [`Table::contents`] and [`Table::append`].
    pub async fn take_apart(
        &self,
        file: &FileRef,
        column: &str,
        prefix: impl Fn(i64) -> String,
    ) -> Result<Commit, StoreError> {
        let mut parts: Vec<StagedFile> = Vec::new();
        for (value, rows) in self.contents(file, column, i64::MIN..i64::MAX).await? {
            parts.push(self.stage(&rows, &prefix(value)).await?);
        }
        let progress = self.next_maintenance().await?;
        self.rewrite(vec![file.clone()], parts, progress).await
    }
}
