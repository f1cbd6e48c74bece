//! A store that does and says different things, for tests of the commit.
//!
//! Each fault is one that real object stores have shown: the answer is lost after the write
//! happened, the write did not happen, or another writer takes the version first.

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;

use deltalake::ensure_table_uri;
use deltalake::logstore::{StorageConfig, logstore_with};
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tables::{Exchange, Origin, TableSpec};

use crate::{Commit, FileRef, Progress, Table, create, probe};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The entry is written, the answer is an error.
    LandsAndReportsFailure,
    /// Nothing is written, the answer is an error.
    FailsAndReportsFailure,
    /// The condition is ignored: whoever comes last wins, and all are told that they did.
    IgnoresTheCondition,
}

/// Memory, with a list of faults for the next writes of log entries.
#[derive(Debug)]
struct FaultStore {
    inner: InMemory,
    faults: Mutex<Vec<Fault>>,
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultStore")
    }
}

fn unavailable() -> object_store::Error {
    object_store::Error::Generic { store: "FaultStore", source: "503 slow down".into() }
}

#[async_trait::async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, at: &Path, body: PutPayload, how: PutOptions) -> Result<PutResult> {
        let is_entry = at.as_ref().ends_with(".json") || at.as_ref().starts_with("_probe/");
        let fault = is_entry.then(|| self.faults.lock().unwrap().pop()).flatten();
        match fault {
            None => self.inner.put_opts(at, body, how).await,
            Some(Fault::LandsAndReportsFailure) => {
                self.inner.put_opts(at, body, how).await?;
                Err(unavailable())
            }
            Some(Fault::FailsAndReportsFailure) => Err(unavailable()),
            Some(Fault::IgnoresTheCondition) => {
                self.inner.put_opts(at, body, PutOptions::default()).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, how).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

fn spec() -> TableSpec {
    tables::spec::<Exchange>()
}

fn row(item: i32) -> Exchange {
    Exchange::from_origin(&Origin { item, ..Origin::default() })
}

/// Two handles of one table, as two processes would have.
async fn two_writers() -> (Arc<FaultStore>, Table, Table) {
    let store = Arc::new(FaultStore { inner: InMemory::new(), faults: Mutex::default() });
    let url = ensure_table_uri("memory:///t").unwrap();
    let handle = || logstore_with(store.clone(), &url, StorageConfig::default()).unwrap();
    create::create(&spec(), &handle()).await.unwrap();
    let first = Table::load(spec(), handle()).await.unwrap();
    let second = Table::load(spec(), handle()).await.unwrap();
    (store, first, second)
}

async fn append(table: &Table, item: i32, version: i64) -> Commit {
    let staged = table.stage_rows(&[row(item)], "c").await.unwrap();
    table.append(staged, Progress::new("c", version)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_that_landed_is_recognised_and_not_repeated() {
    let (store, table, _) = two_writers().await;
    store.faults.lock().unwrap().push(Fault::LandsAndReportsFailure);
    assert_eq!(append(&table, 0, 1).await, Commit::Committed { version: 1 });
    let snapshot = table.snapshot().await.unwrap();
    assert_eq!((snapshot.version, snapshot.files.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_that_did_not_land_is_repeated() {
    let (store, table, _) = two_writers().await;
    *store.faults.lock().unwrap() = vec![Fault::FailsAndReportsFailure; 3];
    assert_eq!(append(&table, 0, 1).await, Commit::Committed { version: 1 });
    assert_eq!(table.snapshot().await.unwrap().files.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn writer_that_starts_after_another_did_its_work_sees_that() {
    let (_, first, second) = two_writers().await;
    assert_eq!(append(&first, 0, 1).await, Commit::Committed { version: 1 });
    assert_eq!(append(&second, 0, 1).await, Commit::AlreadyDone);
    assert_eq!(second.snapshot().await.unwrap().files.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_at_once_commit_the_same_work_once() {
    let (_, first, second) = two_writers().await;
    for version in 1..=20 {
        let (a, b) = tokio::join!(
            append(&first, version as i32, version),
            append(&second, version as i32, version)
        );
        let done = [a, b].iter().filter(|c| matches!(c, Commit::Committed { .. })).count();
        assert_eq!(done, 1, "version {version}: {a:?} {b:?}");
    }
    assert_eq!(first.snapshot().await.unwrap().files.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn swap_of_a_file_that_another_writer_removed_is_a_conflict() {
    let (_, first, second) = two_writers().await;
    append(&first, 0, 1).await;
    let old = second.snapshot().await.unwrap().files;
    let add = first.stage_rows(&[row(1)], "c").await.unwrap();
    first.swap(old.clone(), add, Progress::new("f", 1)).await.unwrap();
    let add = second.stage_rows(&[row(2)], "c").await.unwrap();
    let outcome = second.swap(old, add, Progress::new("g", 1)).await.unwrap();
    assert_eq!(outcome, Commit::Conflict);
    assert_eq!(second.snapshot().await.unwrap().files.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_added_to_what_a_change_was_decided_on_are_a_conflict() {
    let (_, first, second) = two_writers().await;
    let of_c = |file: &FileRef| file.name().starts_with("c-");
    let basis = second.basis(of_c).await.unwrap();
    append(&first, 0, 1).await;
    let add = second.stage_rows(&[row(2)], "c").await.unwrap();
    let outcome = second.swap_on(basis, Vec::new(), add, Progress::new("d", 1)).await.unwrap();
    assert_eq!(outcome, Commit::Conflict);
    let basis = second.basis(of_c).await.unwrap();
    assert_eq!(basis.files().len(), 1);
    let others = first.stage_rows(&[row(3)], "other").await.unwrap();
    first.append(others, Progress::new("e", 1)).await.unwrap();
    let add = second.stage_rows(&[row(2)], "c").await.unwrap();
    let outcome = second.swap_on(basis, Vec::new(), add, Progress::new("d", 1)).await.unwrap();
    assert_eq!(outcome, Commit::Committed { version: 3 });
}

#[tokio::test(flavor = "multi_thread")]
async fn newest_commit_of_a_writer_is_found_behind_those_of_others() {
    let (_, first, second) = two_writers().await;
    for version in 1..=3 {
        let progress = Progress::new("a", version).with_metadata(format!("said {version}"));
        first.append(Vec::new(), progress).await.unwrap();
    }
    first.append(Vec::new(), Progress::new("b", 9)).await.unwrap();
    let newest = second.newest_of("a").await.unwrap();
    assert_eq!(newest, Some(Progress::new("a", 3).with_metadata("said 3")));
    assert_eq!(second.newest_of("c").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn store_that_lets_several_create_one_object_is_found_out() {
    let (store, _, _) = two_writers().await;
    assert_eq!(probe::winners(store.as_ref()).await.unwrap(), 1);
    store.faults.lock().unwrap().push(Fault::IgnoresTheCondition);
    assert_eq!(probe::winners(store.as_ref()).await.unwrap(), 1, "the first may always win");
    *store.faults.lock().unwrap() = vec![Fault::IgnoresTheCondition; 3];
    assert_eq!(probe::winners(store.as_ref()).await.unwrap(), 3);
}
