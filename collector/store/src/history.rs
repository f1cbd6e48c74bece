//! What a writer said with its newest commit.

use deltalake::kernel::Action;

use crate::StoreError;
use crate::table::{Progress, Table};

/// Versions looked through: far more than writers commit while one of them is at work.
const VERSIONS_MAX: u64 = 10_000;

impl Table {
    /// The newest commit of a writer, with its metadata. None where there is none among the newest
    /// versions, or clean-up has removed it.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn newest_of(&self, app_id: &str) -> Result<Option<Progress>, StoreError> {
        if self.progress(app_id).await?.is_none() {
            return Ok(None);
        }
        let newest = self.select(|_| false).await?.version;
        for version in (newest.saturating_sub(VERSIONS_MAX)..=newest).rev() {
            let Some(actions) = self.actions(version).await.map_err(|e| self.log_error(e))? else {
                return Ok(None);
            };
            let reached = actions.iter().find_map(|action| match action {
                Action::Txn(txn) if txn.app_id == app_id => Some(txn.version),
                _ => None,
            });
            if let Some(reached) = reached {
                let metadata = actions.into_iter().find_map(|action| match action {
                    Action::CommitInfo(info) => info.user_metadata,
                    _ => None,
                });
                return Ok(Some(Progress {
                    app_id: app_id.to_owned(),
                    version: reached,
                    metadata,
                }));
            }
        }
        Ok(None)
    }
}
