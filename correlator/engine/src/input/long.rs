//! Requests longer than the guard, which the windows in which they began must know of.
//!
//! They are few, and far ahead of those windows in event time. So each file is looked through once,
//! by its times alone, and what was found in it is kept.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::{StreamExt as _, TryStreamExt as _};
use store::{FileRef, StoreError, Table, Wanted};
use tables::{Exchange, Row};

use super::columns::{Taken, decoded, of_join};
use super::followed::Followed;
use super::{InputError, Limit};

/// Files looked through at once.
const FILES_IN_FLIGHT: usize = 4;

/// Rows kept: some tens of megabytes. Files with more are looked through again.
const ROWS_KEPT: usize = 200_000;

#[derive(Default)]
pub(super) struct LongRequests {
    of_file: BTreeMap<String, Arc<Vec<RecordBatch>>>,
    kept: usize,
}

impl LongRequests {
    /// Takes requests received that ended in a range and lasted longer than this.
    pub(super) async fn take(
        &mut self,
        exchanges: &Followed<Exchange>,
        events: &Range<i64>,
        longer_than_ns: i64,
        limit: Limit<'_>,
        taken: &mut Taken,
    ) -> Result<(), InputError> {
        if events.is_empty() {
            return Ok(());
        }
        let Some(table) = exchanges.table() else { return Ok(()) };
        let files = exchanges.overlapping(events, |file| may_hold(file, longer_than_ns));
        let is_new = |file: &&FileRef| !self.of_file.contains_key(&file.path);
        let reads: Vec<_> = files
            .iter()
            .filter(is_new)
            .map(|file| look_through(table.clone(), file.clone(), longer_than_ns))
            .collect();
        let mut found: BTreeMap<String, Arc<Vec<RecordBatch>>> =
            futures::stream::iter(reads).buffered(FILES_IN_FLIGHT).try_collect().await?;
        for file in &files {
            let known = self.of_file.get(&file.path).or_else(|| found.get(&file.path));
            let Some(batches) = known else { continue };
            let (columns, pins, rows) = decoded(Exchange::TABLE, batches, limit)?;
            taken.parts.push(columns);
            taken.pins.merge(&pins);
            taken.rows += rows;
        }
        let rows = |batches: &Arc<Vec<RecordBatch>>| -> usize {
            batches.iter().map(RecordBatch::num_rows).sum()
        };
        found.retain(|_, batches| {
            let is_kept = self.kept + rows(batches) <= ROWS_KEPT;
            self.kept += if is_kept { rows(batches) } else { 0 };
            is_kept
        });
        self.of_file.append(&mut found);
        Ok(())
    }

    /// Drops what was found in files that are not wanted any more.
    pub(super) fn retain(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.of_file.retain(|path, _| is_wanted(path));
        let batches = self.of_file.values().flat_map(|batches| batches.iter());
        self.kept = batches.map(RecordBatch::num_rows).sum();
    }
}

/// Whether any exchange of a file can have lasted so long.
fn may_hold(file: &FileRef, longer_than_ns: i64) -> bool {
    match (file.stats.get("start_ns"), file.stats.get("event_ns")) {
        (Some(starts), Some(events)) => events.max - starts.min > longer_than_ns,
        _ => true,
    }
}

async fn look_through(
    table: Table,
    file: FileRef,
    longer_than_ns: i64,
) -> Result<(String, Arc<Vec<RecordBatch>>), StoreError> {
    let wanted = Wanted {
        apart: Some(("start_ns", "event_ns", longer_than_ns)),
        any_of: vec![("role", Arc::new(["server".to_owned()].into()))],
        ..of_join(Exchange::TABLE)
    };
    let batches = table.read_columns(&file, &wanted).await?;
    Ok((file.path, Arc::new(batches)))
}
