//! Rows become an uploaded file, named by its content, before any commit names it.

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use bytes::Bytes;
use deltalake::Path;
use deltalake::logstore::LogStoreRef;
use object_store::ObjectStoreExt as _;
use tables::{PARTITION, Row, TableSpec};

use crate::encode::Groups;
use crate::error::Cause;
use crate::file::{FileRef, StagedFile};
use crate::table::Table;
use crate::{StoreError, commit, durable, encode, statistics};

/// Hex digits of the content hash in a name: 128 bits.
const HASH_LENGTH: usize = 32;

/// Rows that happened this much before the newest beside them get a file of their own: one such row
/// would widen the range of a whole file, and every window in between would have to open it.
const LATE_NS: i64 = 60_000_000_000;

/// An encoded file that is nowhere but here.
pub(crate) struct Draft {
    staged: StagedFile,
    bytes: Bytes,
}

impl Table {
    /// Uploads rows of one hour as `hour=<hour>/<prefix>-<hash of content>.parquet`.
    ///
    /// # Errors
    /// When the rows are of several hours or none, the prefix is no file name, or the upload fails.
    pub async fn stage(
        &self,
        batches: &[RecordBatch],
        prefix: &str,
    ) -> Result<StagedFile, StoreError> {
        let draft = self.draft(batches, prefix, Groups::Whole).await?;
        self.upload(draft).await
    }

    /// The file that staging these rows would give, without uploading it.
    ///
    /// # Errors
    /// As [`Table::stage`].
    pub async fn name(&self, batches: &[RecordBatch], prefix: &str) -> Result<FileRef, StoreError> {
        Ok(self.draft(batches, prefix, Groups::Whole).await?.staged.file)
    }

    pub(crate) async fn draft(
        &self,
        batches: &[RecordBatch],
        prefix: &str,
        groups: Groups,
    ) -> Result<Draft, StoreError> {
        let spec = self.spec().clone();
        check_prefix(&spec, prefix)?;
        let batch = match batches {
            // Texts may be dictionaries: the file is the same.
            [only] if has_columns_of(&spec, only) => only.clone(),
            several => {
                concat_batches(&spec.schema, several).map_err(|e| self.stage_error(e.into()))?
            }
        };
        let hour = single_hour(&spec, &batch)?;
        let encoded = tokio::task::spawn_blocking(move || {
            let statistics = statistics::of_batch(&spec, &batch);
            encode::parquet(&spec, &batch, groups)
                .map(|bytes| (bytes, statistics, batch.num_rows()))
        });
        let (bytes, statistics, rows) =
            flatten(encoded.await).map_err(|cause| self.stage_error(cause))?;
        let hash = blake3::hash(&bytes).to_hex();
        let path = format!("{PARTITION}={hour}/{prefix}-{}.parquet", &hash[..HASH_LENGTH]);
        let size = bytes.len() as u64;
        let staged = StagedFile {
            file: FileRef { path, hour, size, rows: rows as u64, stats: statistics.ranges },
            stats_json: statistics.json,
            modified_at_ms: commit::now_ms(),
        };
        Ok(Draft { staged, bytes })
    }

    pub(crate) async fn upload(&self, draft: Draft) -> Result<StagedFile, StoreError> {
        let Draft { staged, bytes } = draft;
        upload(self.log_store(), &staged.file.path, bytes)
            .await
            .map_err(|cause| self.stage_error(cause))?;
        Ok(staged)
    }

    fn stage_error(&self, cause: Cause) -> StoreError {
        StoreError::Stage { table: self.spec().name.to_owned(), cause }
    }

    /// Uploads rows in their order, one file an hour and one more for an hour's late rows. No rows
    /// give no file.
    ///
    /// # Errors
    /// As [`Table::stage`].
    pub async fn stage_rows<R: Row>(
        &self,
        rows: &[R],
        prefix: &str,
    ) -> Result<Vec<StagedFile>, StoreError> {
        let newest_ns = rows.iter().filter_map(R::observed_ns).max().unwrap_or_default();
        let is_late = |row: &R| row.observed_ns().is_some_and(|at| newest_ns - at > LATE_NS);
        let mut files: Vec<((&str, bool), Vec<R>)> = Vec::new();
        for row in rows {
            let key = (row.hour(), is_late(row));
            match files.iter_mut().find(|(of, _)| *of == key) {
                Some((_, rows)) => rows.push(row.clone()),
                None => files.push((key, vec![row.clone()])),
            }
        }
        let mut staged = Vec::with_capacity(files.len());
        for (_, rows) in files {
            staged.push(self.stage(&[tables::to_batch(&rows)], prefix).await?);
        }
        Ok(staged)
    }
}

/// A prefix is part of a path in the store and in the log, so it holds nothing that either escapes.
fn check_prefix(spec: &TableSpec, prefix: &str) -> Result<(), StoreError> {
    let is_name = !prefix.is_empty()
        && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !prefix.starts_with('.');
    if is_name {
        return Ok(());
    }
    Err(StoreError::FileName { table: spec.name.to_owned(), prefix: prefix.to_owned() })
}

/// Whether a batch has the table's columns in their order, texts plain or as dictionaries.
fn has_columns_of(spec: &TableSpec, batch: &RecordBatch) -> bool {
    let (ours, theirs) = (spec.schema.fields(), batch.schema());
    ours.len() == theirs.fields().len()
        && ours.iter().zip(theirs.fields()).all(|(ours, theirs)| ours.name() == theirs.name())
}

fn single_hour(spec: &TableSpec, batch: &RecordBatch) -> Result<String, StoreError> {
    let hours = batch.column_by_name(PARTITION).and_then(|column| column.as_string_opt::<i32>());
    let mut hours = hours.into_iter().flatten();
    let first = hours.next().flatten();
    match first {
        Some(hour) if hours.all(|other| other == Some(hour)) => Ok(hour.to_owned()),
        _ => Err(StoreError::HourOfFile { table: spec.name.to_owned() }),
    }
}

fn flatten<T, E: Into<Cause>>(
    joined: Result<Result<T, E>, tokio::task::JoinError>,
) -> Result<T, Cause> {
    joined.map_err(Cause::from)?.map_err(Into::into)
}

async fn upload(log_store: &LogStoreRef, path: &str, bytes: Bytes) -> Result<(), Cause> {
    let path = Path::from(path);
    log_store.object_store(None).put(&path, bytes.into()).await?;
    durable::sync(log_store, &path)
}
