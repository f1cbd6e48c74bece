//! Exactly once, whatever fails between spool and tables.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::*;
use crate::batch::{Batch, Sender};
use crate::spool::{self, Disk, Opened, SEGMENT_BYTES};

const COLLECTOR: &str = "c0";

/// How far each table got, and its rows as text.
type Contents = BTreeMap<&'static str, (i64, Vec<String>)>;

/// Tables in memory that can fail before or after they take a commit.
#[derive(Clone, Default)]
struct Fake {
    tables: Arc<Mutex<Contents>>,
    /// Tables in the order in which they took rows.
    order: Arc<Mutex<Vec<&'static str>>>,
    failures_before: Arc<AtomicUsize>,
    failures_after: Arc<AtomicUsize>,
}

#[derive(Debug, thiserror::Error)]
#[error("store away")]
struct Away;

impl Fake {
    fn rows(&self, table: &str) -> usize {
        self.tables.lock().unwrap().get(table).map_or(0, |(_, rows)| rows.len())
    }

    fn forget(&self, table: &str) {
        self.tables.lock().unwrap().remove(table);
    }

    fn fails(counter: &AtomicUsize) -> bool {
        counter.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

impl RawTables for Fake {
    type Error = Away;

    async fn progress(&self, _: &str) -> Result<Progress, Away> {
        let tables = self.tables.lock().unwrap();
        Ok(tables.iter().map(|(&name, (position, _))| (name, *position)).collect())
    }

    async fn append<R: Row>(&self, rows: &[R], reach: &Reach<'_>) -> Result<(), Away> {
        if Self::fails(&self.failures_before) {
            return Err(Away);
        }
        {
            let mut tables = self.tables.lock().unwrap();
            let (position, stored) = tables.entry(R::TABLE).or_default();
            if *position < reach.last {
                *position = reach.last;
                self.order.lock().unwrap().push(R::TABLE);
                stored.extend(rows.iter().map(|row| serde_json::to_string(row).unwrap()));
            }
        }
        if Self::fails(&self.failures_after) { Err(Away) } else { Ok(()) }
    }
}

fn batch(sequence: u64) -> Batch {
    let sender = Sender { source: "agent".into(), node: "n".into(), boot_id: "b".into() };
    let origin = tables::Origin {
        sequence: sequence.cast_signed(),
        event_ns: 1_000,
        ..tables::Origin::default()
    };
    let rows = Rows {
        spans: vec![tables::Span::from_origin(&origin)],
        heartbeats: vec![tables::Heartbeat::from_origin(&origin); 2],
        ..Rows::default()
    };
    Batch { sender, sequence: Some(sequence), rows }
}

fn open(directory: &Path, segment_bytes: u64) -> Opened {
    let config = spool::Config { directory: directory.into(), segment_bytes, bytes_max: u64::MAX };
    spool::open(Disk, &config, 0, Arc::default()).unwrap()
}

/// Submits batches, ends the spool, and appends until the end.
async fn round<T: RawTables>(opened: Opened, tables: T, sequences: std::ops::Range<u64>) {
    for sequence in sequences {
        opened.spool.submit(&batch(sequence)).await.unwrap();
    }
    opened.spool.close().await;
    let progress = tables.progress(COLLECTOR).await.unwrap();
    let appender = Appender {
        tables,
        reader: opened.reader,
        trim: opened.trim,
        ledger: Arc::default(),
        collector: COLLECTOR.into(),
        progress,
        commit_interval: Duration::from_millis(10),
    };
    appender.run().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_commit_and_trim_writes_no_row_twice() {
    let folder = tempfile::tempdir().unwrap();
    let tables = Fake::default();
    for (sequences, expected) in [(0..3, 3), (0..3, 3), (3..5, 5)] {
        round(open(folder.path(), SEGMENT_BYTES), tables.clone(), sequences).await;
        assert_eq!(
            (tables.rows("raw_span"), tables.rows("raw_heartbeat")),
            (expected, 2 * expected)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_two_tables_completes_the_second_alone() {
    let folder = tempfile::tempdir().unwrap();
    let tables = Fake::default();
    round(open(folder.path(), SEGMENT_BYTES), tables.clone(), 0..3).await;
    tables.forget("raw_span");
    round(open(folder.path(), SEGMENT_BYTES), tables.clone(), 3..4).await;
    assert_eq!((tables.rows("raw_span"), tables.rows("raw_heartbeat")), (4, 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_landed_but_reported_failure_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let tables = Fake::default();
    tables.failures_before.store(1, SeqCst);
    tables.failures_after.store(1, SeqCst);
    round(open(folder.path(), SEGMENT_BYTES), tables.clone(), 0..3).await;
    assert_eq!((tables.rows("raw_span"), tables.rows("raw_heartbeat")), (3, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_is_committed_after_the_rows_it_covers() {
    let folder = tempfile::tempdir().unwrap();
    let tables = Fake::default();
    round(open(folder.path(), SEGMENT_BYTES), tables.clone(), 0..3).await;
    assert_eq!(*tables.order.lock().unwrap(), ["raw_span", "raw_heartbeat"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_tables_hold_leaves_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let tables = Fake::default();
    round(open(folder.path(), 1), tables.clone(), 0..10).await;
    let segments = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!((segments, tables.rows("raw_span")), (1, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn real_tables_hold_each_row_once_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let uri = folder.path().join("tables");
    for sequences in [0..3, 0..4] {
        let store = Store::open(uri.to_str().unwrap()).await.unwrap();
        let tables = DeltaTables::open(&store).await.unwrap();
        round(open(&folder.path().join("spool"), SEGMENT_BYTES), tables, sequences).await;
    }
    let store = Store::open(uri.to_str().unwrap()).await.unwrap();
    let tables = DeltaTables::open(&store).await.unwrap();
    let snapshot = tables.tables["raw_span"].snapshot().await.unwrap();
    let rows: u64 = snapshot.files.iter().map(|file| file.rows).sum();
    assert_eq!(rows, 4);
    assert!(snapshot.files.iter().all(|file| file.hour == "1970-01-01T00"));
    assert_eq!(tables.progress(COLLECTOR).await.unwrap()["raw_span"], 4);
}
