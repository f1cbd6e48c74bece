//! What can go wrong between a row and its table.

/// Errors of the libraries below, kept as a source so that no caller names those libraries.
type Source = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("open the store at {uri}")]
    Open { uri: String, source: Source },
    #[error("create table {table}")]
    Create { table: String, source: Source },
    #[error("add new columns to table {table}")]
    Widen { table: String, source: Source },
    #[error("read the log of table {table}")]
    Log { table: String, source: Source },
    #[error("commit to table {table}: {attempts} attempts failed, the last at version {version}")]
    Commit { table: String, attempts: u32, version: u64, source: Source },
    #[error("stage rows of table {table}")]
    Stage { table: String, source: Source },
    #[error("stage rows of table {table}: a file holds rows of exactly one hour")]
    HourOfFile { table: String },
    #[error("stage rows of table {table}: {prefix:?} can't begin a file name")]
    FileName { table: String, prefix: String },
    #[error("read file {path} of table {table}")]
    Read { table: String, path: String, source: Source },
    #[error("read file {path} of table {table}: column {column} is missing")]
    MissingColumn { table: String, path: String, column: String },
}
