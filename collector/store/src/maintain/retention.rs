//! Hours that are older than a table is kept are dropped by their partition, without reading a row.

use tables::hour_of_ns;

use crate::StoreError;
use crate::table::{Commit, Progress, Table};

/// Name in the progress under which a table says from which hour on it is kept.
const RETENTION: &str = "retention";

const HOUR_NS: i64 = 3_600_000_000_000;

/// Hours from the Unix epoch to the hour that holds a moment.
pub fn hour_number(ns: i64) -> i64 {
    ns.div_euclid(HOUR_NS)
}

impl Table {
    /// Drops every hour before this one, given as [`hour_number`]. Returns the files that went; what
    /// another writer changes meanwhile is left for the next time.
    ///
    /// That the hours are not kept any more is recorded before the first of them goes.
    ///
    /// # Errors
    /// As [`Table::append`].
    pub async fn keep_from(&self, hour: i64) -> Result<Vec<String>, StoreError> {
        let expired = self.expired(hour).await?;
        if expired.is_empty() {
            return Ok(Vec::new());
        }
        self.append(Vec::new(), Progress::new(RETENTION, hour)).await?;
        let mut dropped = Vec::new();
        for hour in expired.chunk_by(|a, b| a.hour == b.hour) {
            let progress = self.next_maintenance().await?;
            let outcome = self.swap(hour.to_vec(), Vec::new(), progress).await?;
            if matches!(outcome, Commit::Committed { .. }) {
                dropped.extend(hour.iter().map(|file| file.path.clone()));
            }
        }
        Ok(dropped)
    }

    /// The files of all hours before this one, hour after hour.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn expired(&self, hour: i64) -> Result<Vec<crate::FileRef>, StoreError> {
        let first_kept = hour_of_ns(hour.saturating_mul(HOUR_NS));
        let mut files = self.select(|file| file.hour < first_kept).await?.files;
        files.sort_by(|a, b| (&a.hour, &a.path).cmp(&(&b.hour, &b.path)));
        Ok(files)
    }

    /// The first hour that retention has left, as [`hour_number`]; none where it never dropped any.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn kept_from(&self) -> Result<Option<i64>, StoreError> {
        self.progress(RETENTION).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_counted_from_the_epoch_and_floor() {
        for (ns, expected) in [(0, 0), (-1, -1), (HOUR_NS - 1, 0), (HOUR_NS, 1)] {
            assert_eq!(hour_number(ns), expected, "{ns}");
            assert_eq!(hour_of_ns(hour_number(ns) * HOUR_NS), hour_of_ns(ns));
        }
    }
}
