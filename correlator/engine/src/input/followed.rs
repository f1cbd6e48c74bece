//! One raw table: its files as they come, and the rows of those that were read lately.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use store::{FileRef, Store, Table};
use tables::Row;

use super::{InputError, Pins};

/// Decoded rows kept per table: a few minutes of a large cluster, some hundred megabytes at most.
const ROWS_KEPT: usize = 500_000;

/// Newest heartbeat files read at the start, per collector: an hour at one commit each 2 s.
/// Whoever sent none for so long is idle, and has no say in the watermark.
const HEARTBEAT_FILES: usize = 1_800;

/// What every raw row says of itself.
pub(crate) trait Observed: Row {
    fn event_ns(&self) -> i64;
    fn collector(&self) -> &str;
    fn ingest_seq(&self) -> i64;
}

macro_rules! observed {
    ($($row:ty),*) => {$(
        impl Observed for $row {
            fn event_ns(&self) -> i64 {
                self.event_ns
            }
            fn collector(&self) -> &str {
                &self.collector
            }
            fn ingest_seq(&self) -> i64 {
                self.ingest_seq
            }
        }
    )*};
}
observed!(
    tables::Exchange,
    tables::Connection,
    tables::NatBinding,
    tables::Failure,
    tables::Span,
    tables::AccessLog,
    tables::Heartbeat,
    tables::ClusterObject
);

pub(crate) struct Followed<R> {
    store: Store,
    /// None until the collector has created it.
    table: Option<Table>,
    version: u64,
    files: BTreeMap<String, FileRef>,
    decoded: BTreeMap<String, Arc<Vec<R>>>,
    row: PhantomData<R>,
}

impl<R: Observed> Followed<R> {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            table: None,
            version: 0,
            files: BTreeMap::new(),
            decoded: BTreeMap::new(),
            row: PhantomData,
        }
    }

    /// Takes note of new files, and answers them.
    pub(crate) async fn refresh(&mut self) -> Result<Vec<FileRef>, InputError> {
        let Some(table) = &self.table else {
            return self.first_look().await;
        };
        let mut new = Vec::new();
        for version in table.follow(self.version).await? {
            self.version = version.version;
            for file in version.added {
                if self.files.insert(file.path.clone(), file.clone()).is_none() {
                    new.push(file);
                }
            }
        }
        Ok(new)
    }

    async fn first_look(&mut self) -> Result<Vec<FileRef>, InputError> {
        let Some(table) = self.store.existing(&tables::spec::<R>()).await? else {
            return Ok(Vec::new());
        };
        let snapshot = table.snapshot().await?;
        self.version = snapshot.version;
        self.files = snapshot.files.iter().map(|f| (f.path.clone(), f.clone())).collect();
        self.table = Some(table);
        Ok(snapshot.files)
    }

    pub(crate) fn oldest_ns(&self) -> Option<i64> {
        self.files.values().filter_map(|file| Some(file.stats.get("event_ns")?.min)).min()
    }

    pub(crate) fn overlaps(&self, range: &Range<i64>) -> bool {
        self.files.values().any(|file| file.may_overlap("event_ns", range.start, range.end))
    }

    /// Rows with event time in the range.
    pub(crate) async fn rows(
        &mut self,
        range: &Range<i64>,
        pins: &mut Pins,
    ) -> Result<Vec<R>, InputError> {
        let wanted: Vec<FileRef> = self
            .files
            .values()
            .filter(|file| file.may_overlap("event_ns", range.start, range.end))
            .cloned()
            .collect();
        let mut rows = Vec::new();
        for file in self.decode(&wanted).await? {
            for row in file.iter().filter(|row| range.contains(&row.event_ns())) {
                pins.saw(row.collector(), row.ingest_seq());
                rows.push(row.clone());
            }
        }
        self.trim();
        Ok(rows)
    }

    /// Drops files that end before this moment, and their rows.
    pub(crate) fn forget_before(&mut self, ns: i64) {
        self.files.retain(|_, file| file.may_overlap("event_ns", ns, i64::MAX));
        self.decoded.retain(|path, _| self.files.contains_key(path));
    }

    async fn decode(&mut self, files: &[FileRef]) -> Result<Vec<Arc<Vec<R>>>, InputError> {
        let Some(table) = self.table.clone() else {
            return Ok(Vec::new());
        };
        let mut decoded = Vec::with_capacity(files.len());
        for file in files {
            if let Some(rows) = self.decoded.get(&file.path) {
                decoded.push(rows.clone());
                continue;
            }
            let mut rows = Vec::with_capacity(file.rows as usize);
            for batch in table.read(std::slice::from_ref(file)).await? {
                rows.extend(tables::from_batch::<R>(&batch)?);
            }
            let rows = Arc::new(rows);
            self.decoded.insert(file.path.clone(), rows.clone());
            decoded.push(rows);
        }
        Ok(decoded)
    }

    /// Keeps the newest rows, which the next windows read again.
    fn trim(&mut self) {
        let mut kept: usize = self.decoded.values().map(|rows| rows.len()).sum();
        let newest_ns = |rows: &Arc<Vec<R>>| rows.iter().map(R::event_ns).max();
        while kept > ROWS_KEPT {
            let oldest = self.decoded.iter().min_by_key(|(_, rows)| newest_ns(rows));
            let Some(path) = oldest.map(|(path, _)| path.clone()) else {
                return;
            };
            kept -= self.decoded.remove(&path).map_or(0, |rows| rows.len());
        }
    }
}

impl Followed<tables::Heartbeat> {
    /// Heartbeats of the newest of these files.
    pub(crate) async fn newest_of(
        &mut self,
        mut files: Vec<FileRef>,
    ) -> Result<Vec<tables::Heartbeat>, InputError> {
        let seq = |file: &FileRef| file.stats.get("ingest_seq").map_or(i64::MAX, |s| s.max);
        files.sort_by_key(|file| std::cmp::Reverse(seq(file)));
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        files.retain(|file| {
            let count = taken.entry(collector_of(file).to_owned()).or_default();
            *count += 1;
            *count <= HEARTBEAT_FILES
        });
        files.reverse();
        let decoded = self.decode(&files).await?;
        Ok(decoded.iter().flat_map(|rows| rows.iter().cloned()).collect())
    }
}

/// Raw files are named `<collector>-<first ingest_seq>-<hash>.parquet`.
fn collector_of(file: &FileRef) -> &str {
    file.name().rsplitn(3, '-').nth(2).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> FileRef {
        FileRef {
            path: format!("hour=2026-11-21T12/{name}.parquet"),
            hour: "2026-11-21T12".into(),
            size: 1,
            rows: 1,
            stats: BTreeMap::new(),
        }
    }

    #[test]
    fn collector_of_a_file_may_have_dashes_in_its_name() {
        assert_eq!(collector_of(&file("collector-1-42-00ff")), "collector-1");
        assert_eq!(collector_of(&file("a-0-00ff")), "a");
        assert_eq!(collector_of(&file("strange")), "");
    }
}
