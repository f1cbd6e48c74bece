//! Rows become an uploaded file, named by its content, before any commit names it.

use arrow::array::{AsArray, RecordBatch};
use arrow::error::ArrowError;
use bytes::Bytes;
use deltalake::Path;
use deltalake::logstore::LogStoreRef;
use object_store::ObjectStoreExt as _;
use tables::{PARTITION, Row, TableSpec};

use crate::encode::{Encoder, Groups};
use crate::error::Cause;
use crate::file::{FileRef, StagedFile};
use crate::statistics::{self, Tally};
use crate::table::Table;
use crate::{StoreError, commit, durable};

/// Hex digits of the content hash in a name: 128 bits.
const HASH_LENGTH: usize = 32;

/// Rows that happened this much before the newest beside them get a file of their own: one such row
/// would widen the range of a whole file, and every window in between would have to open it.
const LATE_NS: i64 = 60_000_000_000;

/// A file that is written batch by batch, in memory. The same rows give the same file in whatever
/// batches they come.
pub struct Writing {
    spec: TableSpec,
    prefix: String,
    hour: Option<String>,
    encoder: Encoder,
    tally: Tally,
}

/// An encoded file that is nowhere but here.
pub struct Draft {
    staged: StagedFile,
    bytes: Bytes,
}

impl Writing {
    fn new(spec: TableSpec, prefix: &str, groups: Groups) -> Result<Self, StoreError> {
        check_prefix(&spec, prefix)?;
        let encoder = Encoder::new(spec.clone(), groups);
        Ok(Self { spec, prefix: prefix.to_owned(), hour: None, encoder, tally: Tally::default() })
    }

    /// Adds rows of one hour, the same for all of the file. Texts may be dictionaries in all of its
    /// batches: the file is the same.
    ///
    /// # Errors
    /// When the rows are of several hours, or their columns are not the table's.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let hour = single_hour(&self.spec, batch)?;
        if *self.hour.get_or_insert_with(|| hour.clone()) != hour {
            return Err(StoreError::HourOfFile { table: self.spec.name.to_owned() });
        }
        if !has_columns_of(&self.spec, batch) {
            let other = ArrowError::SchemaError(format!("{:?}", batch.schema()));
            return Err(stage_error(&self.spec, other.into()));
        }
        self.tally.add(&self.spec, batch);
        self.encoder.write(batch).map_err(|cause| stage_error(&self.spec, cause.into()))
    }

    /// The file.
    ///
    /// # Errors
    /// When it has no rows.
    pub fn finish(self) -> Result<Draft, StoreError> {
        let Self { spec, prefix, hour, encoder, tally } = self;
        let hour = hour.ok_or_else(|| StoreError::HourOfFile { table: spec.name.to_owned() })?;
        let bytes = encoder.finish().map_err(|cause| stage_error(&spec, cause.into()))?;
        let hash = blake3::hash(&bytes).to_hex();
        let path = format!("{PARTITION}={hour}/{prefix}-{}.parquet", &hash[..HASH_LENGTH]);
        let (size, rows, statistics) =
            (bytes.len() as u64, tally.rows() as u64, tally.statistics());
        let staged = StagedFile {
            file: FileRef { path, hour, size, rows, stats: statistics.ranges },
            stats_json: statistics.json,
            modified_at_ms: commit::now_ms(),
        };
        Ok(Draft { staged, bytes })
    }
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

    /// Begins a file `hour=<hour>/<prefix>-<hash of content>.parquet`.
    ///
    /// # Errors
    /// When the prefix is no file name.
    pub fn write(&self, prefix: &str) -> Result<Writing, StoreError> {
        Writing::new(self.spec().clone(), prefix, Groups::Whole)
    }

    pub(crate) async fn draft(
        &self,
        batches: &[RecordBatch],
        prefix: &str,
        groups: Groups,
    ) -> Result<Draft, StoreError> {
        let mut file = Writing::new(self.spec().clone(), prefix, groups)?;
        let batches = batches.to_vec();
        let encoded = tokio::task::spawn_blocking(move || {
            batches.iter().try_for_each(|batch| file.write(batch))?;
            file.finish()
        });
        encoded.await.map_err(|cause| stage_error(self.spec(), cause.into()))?
    }

    /// Uploads a file, for a commit to name it.
    ///
    /// # Errors
    /// When the upload fails.
    pub async fn upload(&self, draft: Draft) -> Result<StagedFile, StoreError> {
        let Draft { staged, bytes } = draft;
        upload(self.log_store(), &staged.file.path, bytes)
            .await
            .map_err(|cause| stage_error(self.spec(), cause))?;
        Ok(staged)
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
    let hours = batch.column_by_name(PARTITION).map(statistics::occurring);
    let mut hours = hours.iter().filter_map(|hours| hours.as_string_opt::<i32>()).flatten();
    let first = hours.next().flatten();
    match first {
        Some(hour) if hours.all(|other| other == Some(hour)) => Ok(hour.to_owned()),
        _ => Err(StoreError::HourOfFile { table: spec.name.to_owned() }),
    }
}

fn stage_error(spec: &TableSpec, cause: Cause) -> StoreError {
    StoreError::Stage { table: spec.name.to_owned(), cause }
}

async fn upload(log_store: &LogStoreRef, path: &str, bytes: Bytes) -> Result<(), Cause> {
    let path = Path::from(path);
    log_store.object_store(None).put(&path, bytes.into()).await?;
    durable::sync(log_store, &path)
}
