//! What can go wrong between a row and its table.

/// An error of the libraries below. They print their own causes, so it is part of the message and
/// not a source: a chain would say everything twice.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("open the store at {uri}: {cause}")]
    Open { uri: String, cause: Cause },
    #[error("probe the store at {uri}: {cause}")]
    Probe { uri: String, cause: Cause },
    #[error(
        "write to the store at {uri}: of several writers that create one object {winners} \
         succeed, so commits would be lost; its conditional writes must be fixed or another store \
         used"
    )]
    UnsafeStore { uri: String, winners: usize },
    #[error("create table {table}: {cause}")]
    Create { table: String, cause: Cause },
    #[error("add new columns to table {table}: {cause}")]
    Widen { table: String, cause: Cause },
    #[error("read the log of table {table}: {cause}")]
    Log { table: String, cause: Cause },
    #[error(
        "commit to table {table}: {attempts} attempts failed, the last at version {version}: {cause}"
    )]
    Commit { table: String, attempts: u32, version: u64, cause: Cause },
    #[error("stage rows of table {table}: {cause}")]
    Stage { table: String, cause: Cause },
    #[error("stage rows of table {table}: a file holds rows of exactly one hour")]
    HourOfFile { table: String },
    #[error("stage rows of table {table}: {prefix:?} can't begin a file name")]
    FileName { table: String, prefix: String },
    #[error("read file {path} of table {table}: {cause}")]
    Read { table: String, path: String, cause: Cause },
    #[error("read file {path} of table {table}: column {column} is missing")]
    MissingColumn { table: String, path: String, column: String },
    #[error("clean up table {table}: {cause}")]
    Maintain { table: String, cause: Cause },
    #[error("take the lease of the store at {uri}: {cause}")]
    Lease { uri: String, cause: Cause },
}
