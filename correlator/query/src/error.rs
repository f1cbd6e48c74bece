//! Why a question got no answer. An answer of no rows is no error.

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// Nothing is at the place where tables were looked for.
    #[error("there are no tables at {at}")]
    NoTables { at: String },
    /// The place has tables, but not yet this one.
    #[error("there is no table {table} at {at}")]
    NoTable { table: &'static str, at: String },
    #[error("open the tables")]
    Store(#[from] store::StoreError),
    #[error("read table {table}")]
    Read {
        table: &'static str,
        #[source]
        source: Box<datafusion::error::DataFusionError>,
    },
    #[error("read rows")]
    Decode(#[from] tables::DecodeError),
}
