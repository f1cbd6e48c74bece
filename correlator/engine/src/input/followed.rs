//! One raw table: its files as they come, and the rows of those that were read lately.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use store::{FileRef, Store, Table, VersionFiles};
use tables::Row;

use super::{InputError, Limit, Look};
use crate::pins::Pins;

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
    fn node(&self) -> &str;
}

/// A raw row that came: which one, and when it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) table: &'static str,
    pub(crate) node: String,
    pub(crate) collector: String,
    pub(crate) ingest_seq: i64,
    pub(crate) event_ns: i64,
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
            fn node(&self) -> &str {
                &self.node
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
    tables::ClusterObject,
    tables::Quarantine
);

pub(crate) struct Followed<R> {
    store: Store,
    /// None until the collector has created it.
    table: Option<Table>,
    version: u64,
    files: BTreeMap<String, FileRef>,
    /// The look at which a file with new rows was first there.
    came: BTreeMap<String, Look>,
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
            came: BTreeMap::new(),
            decoded: BTreeMap::new(),
            row: PhantomData,
        }
    }

    /// Takes note of what changed, and answers the files with new rows.
    pub(crate) async fn refresh(&mut self, look: Look) -> Result<Vec<FileRef>, InputError> {
        let new = self.new_files().await?;
        self.came.extend(new.iter().map(|file| (file.path.clone(), look)));
        self.came.retain(|path, _| self.files.contains_key(path));
        self.decoded.retain(|path, _| self.files.contains_key(path));
        Ok(new)
    }

    async fn new_files(&mut self) -> Result<Vec<FileRef>, InputError> {
        let Some(table) = &self.table else {
            return self.first_look().await;
        };
        let mut new = Vec::new();
        for version in table.follow(self.version).await? {
            self.version = version.version;
            new.extend(self.apply(version));
        }
        Ok(new)
    }

    fn apply(&mut self, version: VersionFiles) -> Vec<FileRef> {
        let mut known = BTreeMap::new();
        if version.is_everything {
            known = std::mem::take(&mut self.files);
        }
        for path in &version.removed {
            self.files.remove(path);
        }
        // Maintenance moves rows to other files: they are to be read there, and are not new.
        for file in version.rewritten {
            self.files.insert(file.path.clone(), file);
        }
        let mut new = Vec::new();
        for file in version.added {
            let is_new = !known.contains_key(&file.path);
            if self.files.insert(file.path.clone(), file.clone()).is_none() && is_new {
                new.push(file);
            }
        }
        new
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

    /// Whether rows of the range came after a look.
    pub(crate) async fn touched_since(
        &mut self,
        look: Look,
        range: &Range<i64>,
    ) -> Result<bool, InputError> {
        let came_later = |file: &FileRef| self.came.get(&file.path).is_some_and(|at| *at > look);
        let wanted = self.overlapping(range, came_later);
        let decoded = self.decode(&wanted).await?;
        Ok(decoded.iter().any(|rows| rows.iter().any(|row| range.contains(&row.event_ns()))))
    }

    /// Rows with event time in the range.
    pub(crate) async fn rows(
        &mut self,
        range: &Range<i64>,
        limit: Limit<'_>,
        pins: &mut Pins,
    ) -> Result<Vec<R>, InputError> {
        let wanted = self.overlapping(range, |_| true);
        let mut rows = Vec::new();
        for file in self.decode(&wanted).await? {
            for row in file.iter().filter(|row| range.contains(&row.event_ns())) {
                if limit.is_none_or(|pins| pins.admit(R::TABLE, row.collector(), row.ingest_seq()))
                {
                    pins.saw(R::TABLE, row.collector(), row.ingest_seq());
                    rows.push(row.clone());
                }
            }
        }
        self.trim();
        Ok(rows)
    }

    /// How far each collector has come in this table.
    pub(crate) fn visible(&self, pins: &mut Pins) {
        for (collector, ingest_seq) in self.files.values().filter_map(reach) {
            pins.saw(R::TABLE, collector, ingest_seq);
        }
    }

    /// Rows about events before a moment that came in these looks and are not known.
    pub(crate) async fn arrived(
        &mut self,
        looks: &Range<Look>,
        before_ns: i64,
        known: &Pins,
    ) -> Result<Vec<Arrival>, InputError> {
        let came = |file: &FileRef| {
            self.came.get(&file.path).is_some_and(|at| (looks.start + 1..=looks.end).contains(at))
        };
        let is_known = |file: &FileRef| {
            reach(file).is_some_and(|(collector, seq)| known.admit(R::TABLE, collector, seq))
        };
        let before = i64::MIN..before_ns;
        let wanted = self.overlapping(&before, |file| came(file) && !is_known(file));
        let mut rows = Vec::new();
        for file in self.decode(&wanted).await? {
            let late = file.iter().filter(|row| {
                before.contains(&row.event_ns())
                    && !known.admit(R::TABLE, row.collector(), row.ingest_seq())
            });
            rows.extend(late.map(|row| Arrival {
                table: R::TABLE,
                node: row.node().to_owned(),
                collector: row.collector().to_owned(),
                ingest_seq: row.ingest_seq(),
                event_ns: row.event_ns(),
            }));
        }
        self.trim();
        Ok(rows)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    pub(super) fn table(&self) -> Option<Table> {
        self.table.clone()
    }

    pub(super) fn overlapping(
        &self,
        range: &Range<i64>,
        wanted: impl Fn(&FileRef) -> bool,
    ) -> Vec<FileRef> {
        let overlaps = |file: &&FileRef| file.may_overlap("event_ns", range.start, range.end);
        self.files.values().filter(overlaps).filter(|file| wanted(file)).cloned().collect()
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
pub(crate) fn collector_of(file: &FileRef) -> &str {
    file.name().rsplitn(3, '-').nth(2).unwrap_or_default()
}

/// The collector of a file, and its newest position in it.
fn reach(file: &FileRef) -> Option<(&str, i64)> {
    Some((collector_of(file), file.stats.get("ingest_seq")?.max))
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
