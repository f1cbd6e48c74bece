//! A table through its front door, on a local folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use serde_json::Value;
use store::{Commit, Progress, Store, Table};
use tables::{Exchange, Origin, TableSpec};

const SECOND: i64 = 1_000_000_000;
const NOON: i64 = 1_795_262_400 * SECOND;

fn rows(range: std::ops::Range<i64>) -> Vec<Exchange> {
    range
        .map(|second| {
            let event_ns = NOON + second * SECOND;
            Exchange::from_origin(&Origin { event_ns, ingest_seq: second, ..Origin::default() })
        })
        .collect()
}

async fn open(folder: &Path) -> Table {
    let store = Store::open(folder.to_str().unwrap()).await.unwrap();
    store.table(&tables::spec::<Exchange>()).await.unwrap()
}

async fn append(table: &Table, seconds: std::ops::Range<i64>) -> Commit {
    let progress = Progress::new("collector-1", seconds.end);
    let staged = table.stage_rows(&rows(seconds), "collector-1-0").await.unwrap();
    table.append(staged, progress).await.unwrap()
}

async fn read(table: &Table) -> Vec<Exchange> {
    let files = table.snapshot().await.unwrap().files;
    let batches = table.read(&files).await.unwrap();
    batches.iter().flat_map(|batch| tables::from_batch::<Exchange>(batch).unwrap()).collect()
}

/// The log as another engine would see it: lines of JSON, version by version.
fn entries(folder: &Path) -> BTreeMap<String, Vec<Value>> {
    let log = folder.join("raw_exchange/_delta_log");
    let mut entries = BTreeMap::new();
    for entry in std::fs::read_dir(log).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        entries.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), lines);
    }
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_back_as_they_were_with_their_hour() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path()).await;
    assert_eq!(append(&table, 0..5).await, Commit::Committed { version: 1 });
    assert_eq!(read(&table).await, rows(0..5));
    assert_eq!(read(&open(folder.path()).await).await, rows(0..5));
}

#[tokio::test(flavor = "multi_thread")]
async fn late_rows_do_not_widen_the_range_of_the_others_file() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path()).await;
    let mixed = [rows(840..845), rows(0..1), rows(845..850), rows(100..101)].concat();
    let staged = table.stage_rows(&mixed, "collector-1-0").await.unwrap();
    let found = staged.iter().map(|staged| {
        let range = staged.file().stats["event_ns"];
        (staged.file().rows, (range.min - NOON) / SECOND, (range.max - NOON) / SECOND)
    });
    assert_eq!(found.collect::<Vec<_>>(), [(10, 840, 849), (2, 0, 100)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn same_progress_twice_is_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path()).await;
    append(&table, 0..5).await;
    assert_eq!(append(&table, 0..5).await, Commit::AlreadyDone);
    let other_process = open(folder.path()).await;
    assert_eq!(append(&other_process, 0..5).await, Commit::AlreadyDone);
    assert_eq!(append(&other_process, 0..4).await, Commit::AlreadyDone);
    assert_eq!(read(&table).await, rows(0..5));
    assert_eq!(table.progress("collector-1").await.unwrap(), Some(5));
    assert_eq!(table.progress("collector-2").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn same_rows_are_staged_under_the_same_name_and_other_rows_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path()).await;
    let first = table.stage_rows(&rows(0..5), "p").await.unwrap();
    let again = table.stage_rows(&rows(0..5), "p").await.unwrap();
    let other = table.stage_rows(&rows(0..6), "p").await.unwrap();
    assert_eq!(first[0].file().path, again[0].file().path);
    assert_ne!(first[0].file().path, other[0].file().path);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_two_hours_are_two_files() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path()).await;
    append(&table, 3_598..3_602).await;
    let files = table.snapshot().await.unwrap().files;
    let hours: Vec<_> = files.iter().map(|file| (file.hour.as_str(), file.rows)).collect();
    assert_eq!(hours, [("2026-11-21T12", 2), ("2026-11-21T13", 2)]);
    assert!(files[0].path.starts_with("hour=2026-11-21T12/collector-1-0-"));
    let mut read = read(&table).await;
    read.sort_by_key(|row| row.event_ns);
    assert_eq!(read, rows(3_598..3_602));
}

#[tokio::test(flavor = "multi_thread")]
async fn prefix_that_would_leave_its_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path()).await;
    for prefix in ["", "../x", "a/b", ".hidden", "a b"] {
        assert!(table.stage_rows(&rows(0..1), prefix).await.is_err(), "{prefix:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn follower_sees_each_version_once() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, reader) = (open(folder.path()).await, open(folder.path()).await);
    let (mut at, mut seen) = (0, Vec::new());
    for second in 0..4 {
        append(&writer, second..second + 1).await;
        if second == 1 {
            continue;
        }
        for version in reader.follow(at).await.unwrap() {
            at = version.version;
            seen.push((version.version, version.added[0].stats["ingest_seq"].min));
        }
    }
    assert_eq!(seen, [(1, 0), (2, 1), (3, 2), (4, 3)]);
    assert_eq!(reader.follow(at).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn follower_that_slept_through_a_clean_up_gets_every_live_file() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, reader) = (open(folder.path()).await, open(folder.path()).await);
    for second in 0..4 {
        append(&writer, second..second + 1).await;
    }
    let url = deltalake::ensure_table_uri(folder.path().join("raw_exchange").to_str().unwrap());
    let table = deltalake::DeltaTableBuilder::from_url(url.unwrap()).unwrap().load().await.unwrap();
    deltalake::checkpoints::create_checkpoint(&table, None).await.unwrap();
    let log = folder.path().join("raw_exchange/_delta_log");
    for version in 0..4 {
        std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    let versions = reader.follow(0).await.unwrap();
    assert_eq!(versions.len(), 1);
    assert_eq!((versions[0].version, versions[0].added.len()), (4, 4));
    let written = writer.snapshot().await.unwrap().files;
    assert_eq!(versions[0].added, written, "statistics survive the checkpoint");
    assert_eq!(reader.progress("collector-1").await.unwrap(), Some(4));
    assert_eq!(append(&reader, 3..4).await, Commit::AlreadyDone);
    assert_eq!(append(&reader, 4..5).await, Commit::Committed { version: 5 });
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_tell_which_files_a_range_needs() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path()).await;
    append(&table, 0..10).await;
    append(&table, 10..20).await;
    let files = open(folder.path()).await.snapshot().await.unwrap().files;
    let needed = |from: i64, to: i64| {
        let overlaps = |f: &&store::FileRef| {
            f.may_overlap("event_ns", NOON + from * SECOND, NOON + to * SECOND)
        };
        files.iter().filter(overlaps).count()
    };
    assert_eq!((needed(0, 10), needed(9, 11), needed(19, 30), needed(20, 30)), (1, 2, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn swap_replaces_in_one_version_and_keeps_what_is_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path()).await;
    append(&table, 0..5).await;
    append(&table, 5..6).await;
    let old = table.snapshot().await.unwrap().files;
    let mut add = table.stage_rows(&rows(0..5), "collector-1-0").await.unwrap();
    add.extend(table.stage_rows(&rows(7..9), "final").await.unwrap());
    let outcome = table.swap(old, add, Progress::new("job/F", 1)).await.unwrap();
    assert_eq!(outcome, Commit::Committed { version: 3 });
    let mut read = read(&table).await;
    read.sort_by_key(|row| row.event_ns);
    let mut expected = rows(0..5);
    expected.extend(rows(7..9));
    assert_eq!(read, expected);
    assert_eq!(entries(folder.path())["00000000000000000003.json"].len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn table_that_nobody_wrote_is_absent_and_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    let store = Store::open(absent.to_str().unwrap()).await.unwrap();
    assert!(store.existing(&tables::spec::<Exchange>()).await.unwrap().is_none());
    assert!(!absent.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn table_of_an_older_release_gets_the_columns_that_came_since() {
    let folder = tempfile::tempdir().unwrap();
    let older = without_column("process");
    let store = Store::open(folder.path().to_str().unwrap()).await.unwrap();
    let table = store.table(&older).await.unwrap();
    let staged = table.stage(&[in_schema(&older, &rows(0..2))], "old").await.unwrap();
    table.append(vec![staged], Progress::new("old", 1)).await.unwrap();

    let table = open(folder.path()).await;
    let columns = |version: &str| {
        let entries = entries(folder.path());
        let metadata = entries[version].iter().find_map(|line| line.get("metaData")).unwrap();
        let schema = metadata["schemaString"].as_str().unwrap();
        serde_json::from_str::<Value>(schema).unwrap()["fields"].as_array().unwrap().clone()
    };
    let (before, after) =
        (columns("00000000000000000000.json"), columns("00000000000000000002.json"));
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.len(), before.len() + 1);
    assert_eq!(
        (&after[before.len()]["name"], &after[before.len()]["nullable"]),
        (&"process".into(), &true.into())
    );
    assert_eq!(append(&table, 2..4).await, Commit::Committed { version: 3 });
    assert_eq!(open(folder.path()).await.snapshot().await.unwrap().version, 3, "added once");
}

#[tokio::test(flavor = "multi_thread")]
async fn nullable_column_that_an_old_file_lacks_is_null() {
    let folder = tempfile::tempdir().unwrap();
    let older = without_column("pod_uid");
    let store = Store::open(folder.path().to_str().unwrap()).await.unwrap();
    let table = store.table(&older).await.unwrap();
    let staged = table.stage(&[in_schema(&older, &rows(0..2))], "old").await.unwrap();
    table.append(vec![staged], Progress::new("old", 1)).await.unwrap();
    assert_eq!(read(&open(folder.path()).await).await, rows(0..2));
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoint_is_written_now_and_then_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).await.unwrap();
    let table = store.table(&tables::spec::<Exchange>()).await.unwrap();
    append(&table, 0..5).await;
    let mut written = 0;
    while table.snapshot().await.unwrap().version < 256 {
        written += 1;
        table.append(Vec::new(), Progress::new("other", written)).await.unwrap();
    }
    // It is written beside the commits; who ends waits for it.
    store.settle().await;
    let hint = folder.path().join("raw_exchange/_delta_log/_last_checkpoint");
    let hint: Value = serde_json::from_str(&std::fs::read_to_string(hint).unwrap()).unwrap();
    assert_eq!(hint["version"], 256);
    let anew = open(folder.path()).await;
    assert_eq!(anew.snapshot().await.unwrap().files, table.snapshot().await.unwrap().files);
    assert_eq!(anew.progress("other").await.unwrap(), Some(written));
    assert_eq!(anew.progress("collector-1").await.unwrap(), Some(5));
    assert_eq!(read(&anew).await, rows(0..5));
}

/// The table as a release without this column had it.
fn without_column(name: &str) -> TableSpec {
    let spec = tables::spec::<Exchange>();
    let kept: Vec<_> = spec.schema.fields().iter().filter(|f| f.name() != name).cloned().collect();
    TableSpec { schema: Arc::new(arrow::datatypes::Schema::new(kept)), ..spec }
}

fn in_schema(spec: &TableSpec, rows: &[Exchange]) -> RecordBatch {
    let batch = tables::to_batch(rows);
    let columns = spec.schema.fields().iter();
    let columns = columns.map(|f| batch.column_by_name(f.name()).unwrap().clone()).collect();
    RecordBatch::try_new(spec.schema.clone(), columns).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn log_keeps_to_the_protocol_that_every_engine_reads() {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path()).await;
    append(&table, 0..5).await;
    let entries = entries(folder.path());
    let first: BTreeMap<String, Value> = entries["00000000000000000000.json"]
        .iter()
        .flat_map(|line| line.as_object().unwrap().clone())
        .collect();
    assert_eq!(first["protocol"]["minReaderVersion"], 1);
    assert_eq!(first["protocol"]["minWriterVersion"], 2);
    let metadata = &first["metaData"];
    assert_eq!(metadata["partitionColumns"], serde_json::json!(["hour"]));
    assert_eq!(metadata["format"]["provider"], "parquet");
    let schema: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
    let columns: Vec<&str> =
        schema["fields"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    let spec = tables::spec::<Exchange>();
    assert_eq!(columns, spec.schema.fields().iter().map(|f| f.name()).collect::<Vec<_>>());

    let second = &entries["00000000000000000001.json"];
    let find = |name: &str| second.iter().find_map(|line| line.get(name)).unwrap();
    assert_eq!(find("txn")["appId"], "collector-1");
    assert_eq!(find("txn")["version"], 5);
    let add = find("add");
    assert_eq!(add["partitionValues"], serde_json::json!({"hour": "2026-11-21T12"}));
    assert_eq!(add["dataChange"], true);
    let file = folder.path().join("raw_exchange").join(add["path"].as_str().unwrap());
    assert_eq!(add["size"], std::fs::metadata(file).unwrap().len());
    let stats: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
    assert_eq!(stats["numRecords"], 5);
    assert_eq!(stats["minValues"]["event_ns"], NOON);
    assert!(add["modificationTime"].as_i64().unwrap() > 0);
}
