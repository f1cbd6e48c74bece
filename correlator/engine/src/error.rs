//! Why windows could not be computed or written.

use store::StoreError;

use crate::input::InputError;
use crate::output::OutputError;

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Without heartbeats nothing says which windows are over.
    #[error("no heartbeat is recorded in {at}: nothing says how far the raw rows go")]
    NoHeartbeat { at: String },
    #[error("no raw row that a path could be made of is in {at}")]
    NoRows { at: String },
}
