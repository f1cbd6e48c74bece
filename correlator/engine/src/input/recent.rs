//! Raw files that were decoded lately, with all their rows: the runs of the live stages overlap, and
//! each reads what the runs before it read, and a little more.
//!
//! Files never change, so what is kept is what reading again would give. The newest rows are kept,
//! those that provisional windows read, and what there is memory for of older ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use store::FileRef;

/// A file's rows.
pub(crate) type Decoded = Arc<Vec<RecordBatch>>;

/// Shared by all raw tables.
#[derive(Clone)]
pub(crate) struct Recent(Arc<Mutex<Files>>);

struct Files {
    bytes_max: usize,
    bytes: usize,
    /// By their newest event.
    by_age: BTreeMap<Key, (Decoded, usize)>,
}

/// Newest event, table and path.
type Key = (i64, &'static str, String);

impl Recent {
    /// Keeps files of up to so many bytes together, as they are in memory.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Files { bytes_max, bytes: 0, by_age: BTreeMap::new() })))
    }

    pub(super) fn get(&self, table: &'static str, file: &FileRef) -> Option<Decoded> {
        self.files().by_age.get(&key(table, file)).map(|(rows, _)| rows.clone())
    }

    /// Keeps a file, and drops those with the oldest rows where that is too much.
    pub(super) fn keep(&self, table: &'static str, file: &FileRef, rows: &Decoded) {
        let bytes = rows.iter().map(RecordBatch::get_array_memory_size).sum();
        let mut files = self.files();
        files.drop_file(&key(table, file));
        files.bytes += bytes;
        files.by_age.insert(key(table, file), (rows.clone(), bytes));
        while files.bytes > files.bytes_max {
            let Some((_, (_, bytes))) = files.by_age.pop_first() else { return };
            files.bytes -= bytes;
        }
    }

    /// Drops a file that nobody reads any more.
    pub(super) fn forget(&self, table: &'static str, file: &FileRef) {
        self.files().drop_file(&key(table, file));
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn drop_file(&mut self, key: &Key) {
        self.bytes -= self.by_age.remove(key).map_or(0, |(_, bytes)| bytes);
    }
}

fn key(table: &'static str, file: &FileRef) -> Key {
    let newest_ns = file.stats.get("event_ns").map_or(i64::MAX, |events| events.max);
    (newest_ns, table, file.path.clone())
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use store::Range;

    use super::*;

    fn file(path: &str, newest_ns: i64) -> FileRef {
        let events = Range { min: 0, max: newest_ns };
        FileRef {
            path: path.into(),
            hour: "2026-11-21T12".into(),
            size: 1,
            rows: 1,
            stats: [("event_ns".to_owned(), events)].into(),
        }
    }

    fn rows() -> Decoded {
        let column = Arc::new(Int64Array::from(vec![0; 1_000])) as _;
        Arc::new(vec![RecordBatch::try_from_iter([("event_ns", column)]).unwrap()])
    }

    fn bytes(rows: &Decoded) -> usize {
        rows.iter().map(RecordBatch::get_array_memory_size).sum()
    }

    #[test]
    fn files_with_the_newest_rows_are_kept_up_to_the_limit() {
        let rows = rows();
        let recent = Recent::new(2 * bytes(&rows));
        let (old, middle, new) = (file("old", 10), file("middle", 20), file("new", 30));
        for file in [&new, &old, &middle] {
            recent.keep("a", file, &rows);
        }
        let is_kept = |file| recent.get("a", file).is_some();
        assert!(!is_kept(&old) && is_kept(&middle) && is_kept(&new));
        assert!(recent.get("b", &new).is_none());
        recent.forget("a", &new);
        recent.keep("a", &old, &rows);
        recent.keep("a", &old, &rows);
        assert!(is_kept(&old) && is_kept(&middle) && !is_kept(&new));
    }

    #[test]
    fn without_memory_nothing_is_kept() {
        let recent = Recent::new(0);
        recent.keep("a", &file("one", 10), &rows());
        assert!(recent.get("a", &file("one", 10)).is_none());
    }
}
