//! What keeps tables small: files put together, files nobody needs removed, old hours dropped.
//!
//! None of it changes a row that is kept, and each of it can be killed at any moment: files are
//! staged before the one commit that names them, and a commit names exactly the files it removes.
//! Where another writer was faster the commit is a conflict and the next round looks anew. The clock
//! is always an argument.

mod compaction;
mod contents;
mod retention;
mod vacuum;

pub use compaction::{Limits, groups};
pub use retention::hour_number;
pub use vacuum::Unneeded;

use crate::StoreError;
use crate::table::{Progress, Table};

/// Name of the maintenance of a table in its progress, which counts what it committed.
const MAINTENANCE: &str = "maintenance";

impl Table {
    pub(crate) async fn next_maintenance(&self) -> Result<Progress, StoreError> {
        let done = self.progress(MAINTENANCE).await?.unwrap_or(0);
        Ok(Progress::new(MAINTENANCE, done + 1))
    }
}
