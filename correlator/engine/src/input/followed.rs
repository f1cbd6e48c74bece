//! One raw table: its files as they come.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use store::{FileRef, Store, Table, VersionFiles};
use tables::Row;

use super::{InputError, Limit, Look, NO_LOOK};
use crate::pins::Pins;

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
    /// Event time of the newest row that maintenance put into another file by the newest look.
    rewritten_ns: Option<i64>,
    /// Rows of the files of small tables, which are read as structs.
    structs: BTreeMap<String, Arc<Vec<R>>>,
}

impl<R: Observed> Followed<R> {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            table: None,
            version: 0,
            files: BTreeMap::new(),
            came: BTreeMap::new(),
            rewritten_ns: None,
            structs: BTreeMap::new(),
        }
    }

    /// Takes note of what changed, and answers the files with new rows.
    pub(crate) async fn refresh(&mut self, look: Look) -> Result<Vec<FileRef>, InputError> {
        self.rewritten_ns = None;
        let new = self.new_files().await?;
        self.came.extend(new.iter().map(|file| (file.path.clone(), look)));
        self.came.retain(|path, _| self.files.contains_key(path));
        self.structs.retain(|path, _| self.files.contains_key(path));
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
            self.rewritten_ns = Some(i64::MAX);
        }
        for path in &version.removed {
            if let Some(file) = self.files.remove(path) {
                let newest_ns = file.stats.get("event_ns").map_or(i64::MAX, |events| events.max);
                self.rewritten_ns = self.rewritten_ns.max(Some(newest_ns));
            }
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

    /// Rows with event time in the range.
    pub(crate) async fn rows(
        &mut self,
        range: &Range<i64>,
        limit: Limit<'_>,
        pins: &mut Pins,
    ) -> Result<Vec<R>, InputError> {
        let wanted = self.overlapping(range, |_| true);
        self.rows_of(&wanted, range, limit, pins).await
    }

    /// Rows with event time in the range that came after a look.
    pub(super) async fn rows_since(
        &mut self,
        look: Look,
        range: &Range<i64>,
        pins: &mut Pins,
    ) -> Result<Vec<R>, InputError> {
        let wanted = self.since(look, range);
        self.rows_of(&wanted, range, None, pins).await
    }

    async fn rows_of(
        &mut self,
        files: &[FileRef],
        range: &Range<i64>,
        limit: Limit<'_>,
        pins: &mut Pins,
    ) -> Result<Vec<R>, InputError> {
        let mut rows = Vec::new();
        for file in self.structs(files).await? {
            for row in file.iter().filter(|row| range.contains(&row.event_ns())) {
                if limit.is_none_or(|pins| pins.admit(R::TABLE, row.collector(), row.ingest_seq()))
                {
                    pins.saw(R::TABLE, row.collector(), row.ingest_seq());
                    rows.push(row.clone());
                }
            }
        }
        Ok(rows)
    }

    /// How far each collector has come in this table.
    pub(crate) fn visible(&self, pins: &mut Pins) {
        for (collector, ingest_seq) in self.files.values().filter_map(reach) {
            pins.saw(R::TABLE, collector, ingest_seq);
        }
    }

    /// The look at which a file with new rows was first there.
    pub(super) fn came(&self, file: &FileRef) -> Option<Look> {
        self.came.get(&file.path).copied()
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    pub(super) fn table(&self) -> Option<Table> {
        self.table.clone()
    }

    /// Files with rows in a range that came after a look, and before the first one all of them.
    pub(super) fn since(&self, look: Look, events: &Range<i64>) -> Vec<FileRef> {
        self.overlapping(events, |file| look == NO_LOOK || self.came(file) > Some(look))
    }

    /// Whether rows from a moment on are in other files since the newest look, without being new.
    pub(super) fn was_rewritten(&self, from_ns: i64) -> bool {
        self.rewritten_ns.is_some_and(|newest_ns| newest_ns >= from_ns)
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
        let is_over = |_: &String, file: &mut FileRef| !file.may_overlap("event_ns", ns, i64::MAX);
        self.files.extract_if(.., is_over).for_each(drop);
        self.structs.retain(|path, _| self.files.contains_key(path));
    }

    async fn structs(&mut self, files: &[FileRef]) -> Result<Vec<Arc<Vec<R>>>, InputError> {
        let Some(table) = self.table.clone() else {
            return Ok(Vec::new());
        };
        let mut structs = Vec::with_capacity(files.len());
        for file in files {
            if let Some(rows) = self.structs.get(&file.path) {
                structs.push(rows.clone());
                continue;
            }
            let rows = Arc::new(rows_of(&table, file).await?);
            self.structs.insert(file.path.clone(), rows.clone());
            structs.push(rows);
        }
        Ok(structs)
    }
}

async fn rows_of<R: Observed>(table: &Table, file: &FileRef) -> Result<Vec<R>, InputError> {
    let mut rows = Vec::with_capacity(usize::try_from(file.rows).unwrap_or_default());
    for batch in table.read(std::slice::from_ref(file)).await? {
        rows.extend(tables::from_batch::<R>(&batch)?);
    }
    Ok(rows)
}

impl Followed<tables::Heartbeat> {
    /// Heartbeats of the newest of these files.
    pub(crate) async fn newest_of(
        &self,
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
        let Some(table) = &self.table else { return Ok(Vec::new()) };
        let mut rows = Vec::new();
        for file in &files {
            rows.append(&mut rows_of(table, file).await?);
        }
        Ok(rows)
    }
}

/// Raw files are named `<collector>-<first ingest_seq>-<hash>.parquet`.
pub(crate) fn collector_of(file: &FileRef) -> &str {
    file.name().rsplitn(3, '-').nth(2).unwrap_or_default()
}

/// The collector of a file, and its newest position in it.
pub(super) fn reach(file: &FileRef) -> Option<(&str, i64)> {
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
