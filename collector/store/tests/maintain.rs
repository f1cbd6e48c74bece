//! Maintenance of a table through its front door, on a local folder.

use std::path::{Path, PathBuf};

use serde_json::Value;
use store::maintain::{Limits, groups, hour_number};
use store::{Acquired, Commit, FileRef, Progress, Store, Table};
use tables::{Exchange, Hop, Origin, Row};

const SECOND: i64 = 1_000_000_000;
const NOON: i64 = 1_795_262_400 * SECOND;
const HOUR_S: i64 = 3_600;
const DAY_MS: i64 = 24 * 3_600_000;

/// Two hops for each window of ten seconds that starts in the range.
fn hops(wins: impl IntoIterator<Item = i64>) -> Vec<Hop> {
    let hop = |(win, position)| Hop {
        hour: tables::hour_of_ns(NOON + win * SECOND),
        win: NOON / SECOND + win,
        stage: "F".into(),
        path_id: format!("{:032x}", (win * 7_919 + i64::from(position)) % 1_000),
        position,
        start_ns: NOON + win * SECOND,
        ..Hop::default()
    };
    wins.into_iter().flat_map(|win| [(win, 0), (win, 1)]).map(hop).collect()
}

fn window(win: i64) -> Vec<Hop> {
    hops([win])
}

fn exchanges(seconds: impl IntoIterator<Item = i64>) -> Vec<Exchange> {
    let exchange = |second| {
        let event_ns = NOON + second * SECOND;
        Exchange::from_origin(&Origin { event_ns, ingest_seq: second, ..Origin::default() })
    };
    seconds.into_iter().map(exchange).collect()
}

async fn open<R: Row>(folder: &Path) -> Table {
    let store = Store::open(folder.to_str().unwrap()).await.unwrap();
    store.table(&tables::spec::<R>()).await.unwrap()
}

/// One commit and one file a window, as the correlator writes them.
async fn write_windows(table: &Table, wins: impl IntoIterator<Item = i64>) {
    for win in wins {
        let prefix = format!("{}-F", NOON / SECOND + win);
        let staged = table.stage_rows(&window(win), &prefix).await.unwrap();
        let done = table.progress("live/F").await.unwrap().unwrap_or(0);
        table.append(staged, Progress::new("live/F", done + 1)).await.unwrap();
    }
}

async fn append(table: &Table, seconds: std::ops::Range<i64>) {
    let progress = Progress::new("collector", seconds.end);
    let staged = table.stage_rows(&exchanges(seconds), "collector-0").await.unwrap();
    table.append(staged, progress).await.unwrap();
}

async fn files(table: &Table) -> Vec<FileRef> {
    table.snapshot().await.unwrap().files
}

async fn rows<R: Row>(table: &Table) -> Vec<R> {
    let batches = table.read(&files(table).await).await.unwrap();
    batches.iter().flat_map(|batch| tables::from_batch::<R>(batch).unwrap()).collect()
}

async fn compact(table: &Table, column: &str) -> Vec<Commit> {
    let mut outcomes = Vec::new();
    for group in groups(files(table).await, column, Limits::default()) {
        let merged = table.merge(&group, column, "compacted").await.unwrap();
        outcomes.push(table.compact(group, merged).await.unwrap());
    }
    outcomes
}

fn data_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for hour in std::fs::read_dir(folder).unwrap().flatten() {
        let name = hour.file_name();
        if name.to_str().unwrap().starts_with("hour=") {
            found.extend(std::fs::read_dir(hour.path()).unwrap().flatten().map(|f| f.path()));
        }
    }
    found.sort();
    found
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_an_hour_become_one_file_with_the_same_rows_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let table = open::<Hop>(folder.path()).await;
    let wins = [40, 0, 10, 30, 20];
    write_windows(&table, wins).await;
    assert_eq!(compact(&table, "win").await, [Commit::Committed { version: 6 }]);
    let after = files(&table).await;
    assert_eq!(after.len(), 1);
    assert!(after[0].name().starts_with("compacted-"), "{}", after[0].path);
    assert_eq!((after[0].rows, after[0].stats["win"].max - after[0].stats["win"].min), (10, 40));
    assert_eq!(rows::<Hop>(&table).await, hops([0, 10, 20, 30, 40]));
    assert_eq!(rows::<Hop>(&open::<Hop>(folder.path()).await).await, hops([0, 10, 20, 30, 40]));
    assert_eq!(compact(&table, "win").await, [], "nothing is left to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_says_that_no_row_changed_and_names_what_it_removes() {
    let folder = tempfile::tempdir().unwrap();
    let table = open::<Hop>(folder.path()).await;
    write_windows(&table, [0, 10, 20, 30]).await;
    let before: Vec<String> = files(&table).await.into_iter().map(|file| file.path).collect();
    compact(&table, "win").await;
    let entry = folder.path().join("hop/_delta_log/00000000000000000005.json");
    let text = std::fs::read_to_string(entry).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut removed = Vec::new();
    for line in &lines {
        if let Some(action) = line.get("remove").or(line.get("add")) {
            assert_eq!(action["dataChange"], false);
        }
        if let Some(remove) = line.get("remove") {
            removed.push(remove["path"].as_str().unwrap().to_owned());
        }
    }
    removed.sort();
    assert_eq!(removed, before);
    assert_eq!(lines.iter().filter(|line| line.get("add").is_some()).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn follower_is_told_which_rows_are_new_and_which_only_moved() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, reader) =
        (open::<Exchange>(folder.path()).await, open::<Exchange>(folder.path()).await);
    for start in 0..4 {
        append(&writer, start..start + 1).await;
    }
    let before = files(&writer).await;
    compact(&writer, "event_ns").await;
    let versions = reader.follow(4).await.unwrap();
    assert_eq!(versions.len(), 1);
    assert!(versions[0].added.is_empty() && !versions[0].is_everything);
    assert_eq!(versions[0].rewritten, files(&writer).await);
    let mut removed = versions[0].removed.clone();
    removed.sort();
    assert_eq!(removed, before.into_iter().map(|file| file.path).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_rows_of_one_file_are_in_the_order_of_their_time_and_keep_their_position() {
    let folder = tempfile::tempdir().unwrap();
    let table = open::<Exchange>(folder.path()).await;
    let commits = [vec![5, 3, 9], vec![1, 8], vec![2], vec![7, 4]];
    for (number, seconds) in commits.iter().enumerate() {
        let staged = table.stage_rows(&exchanges(seconds.clone()), "collector-0").await.unwrap();
        table.append(staged, Progress::new("c", number as i64)).await.unwrap();
    }
    compact(&table, "event_ns").await;
    assert_eq!(rows::<Exchange>(&table).await, exchanges([1, 2, 3, 4, 5, 7, 8, 9]));
    let file = &files(&table).await[0];
    assert_eq!((file.stats["ingest_seq"].min, file.stats["ingest_seq"].max), (1, 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn group_that_another_writer_changed_is_a_conflict_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (open::<Hop>(folder.path()).await, open::<Hop>(folder.path()).await);
    write_windows(&first, [0, 10, 20, 30]).await;
    let group = groups(files(&second).await, "win", Limits::default()).remove(0);
    let other = first.stage_rows(&hops([0, 1]), &format!("{}-F", NOON / SECOND)).await.unwrap();
    first.swap(vec![group[0].clone()], other, Progress::new("backfill", 1)).await.unwrap();
    let before = files(&first).await;
    let merged = second.merge(&group, "win", "compacted").await.unwrap();
    assert_eq!(second.compact(group, merged).await.unwrap(), Commit::Conflict);
    assert_eq!(files(&first).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_killed_before_its_commit_leaves_the_table_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let table = open::<Hop>(folder.path()).await;
    write_windows(&table, [0, 10, 20, 30]).await;
    let before = files(&table).await;
    // All that a killed compaction leaves: the new file, staged and named by nobody.
    table.stage_rows(&hops([0, 10, 20, 30]), "compacted").await.unwrap();
    let anew = open::<Hop>(folder.path()).await;
    assert_eq!(files(&anew).await, before);
    assert_eq!(compact(&anew, "win").await, [Commit::Committed { version: 5 }]);
    assert_eq!(rows::<Hop>(&anew).await, hops([0, 10, 20, 30]));
}

#[tokio::test(flavor = "multi_thread")]
async fn file_taken_apart_gives_the_very_files_it_was_made_of() {
    let folder = tempfile::tempdir().unwrap();
    let table = open::<Hop>(folder.path()).await;
    write_windows(&table, [0, 10, 20, 30]).await;
    let before = files(&table).await;
    compact(&table, "win").await;
    let compacted = files(&table).await.remove(0);
    let win = NOON / SECOND + 10;
    let contents = table.contents(&compacted, "win", win..win + 1).await.unwrap();
    assert_eq!(contents.keys().copied().collect::<Vec<_>>(), [win]);
    let named = table.name(&contents[&win], &format!("{win}-F")).await.unwrap();
    assert_eq!(named, before[1], "named without being uploaded");
    let outcome = table.take_apart(&compacted, "win", |win| format!("{win}-F")).await.unwrap();
    assert_eq!(outcome, Commit::Committed { version: 6 });
    assert_eq!(files(&table).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_left_the_table_are_removed_when_no_reader_can_need_them() {
    let folder = tempfile::tempdir().unwrap();
    let table = open::<Hop>(folder.path()).await;
    write_windows(&table, [0, 10, 20, 30]).await;
    let old = data_files(&folder.path().join("hop"));
    compact(&table, "win").await;
    let at = |days: i64| now_ms() + days * DAY_MS;
    assert_eq!(table.vacuum(at(-2)).await.unwrap(), [], "all of them are young");
    assert_eq!(table.unneeded(at(1)).await.unwrap().len(), 4);
    assert_eq!(data_files(&folder.path().join("hop")).len(), 5, "asking removes nothing");
    assert_eq!(table.vacuum(at(1)).await.unwrap().len(), 4);
    let left = data_files(&folder.path().join("hop"));
    assert_eq!(left.len(), 1);
    assert!(!old.contains(&left[0]));
    assert_eq!(rows::<Hop>(&table).await, hops([0, 10, 20, 30]));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_file_that_left_the_table_just_now_stays_for_its_readers() {
    let folder = tempfile::tempdir().unwrap();
    let table = open::<Hop>(folder.path()).await;
    write_windows(&table, [0, 10, 20, 30]).await;
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(90 * 86_400);
    for path in data_files(&folder.path().join("hop")) {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    compact(&table, "win").await;
    assert_eq!(table.vacuum(now_ms() - 2 * DAY_MS).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn staged_file_stays_while_it_is_young_and_goes_when_nobody_named_it() {
    let folder = tempfile::tempdir().unwrap();
    let table = open::<Hop>(folder.path()).await;
    write_windows(&table, [0]).await;
    table.stage_rows(&window(10), "crashed").await.unwrap();
    std::fs::write(folder.path().join("hop/_delta_log/not_data.parquet"), "x").unwrap();
    assert_eq!(table.vacuum(now_ms() - DAY_MS).await.unwrap(), []);
    let removed = table.vacuum(now_ms() + DAY_MS).await.unwrap();
    let names: Vec<bool> = removed.iter().map(|file| file.path.contains("/crashed-")).collect();
    assert_eq!(names, [true]);
    assert!(folder.path().join("hop/_delta_log/not_data.parquet").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_before_the_retention_are_dropped_and_what_is_kept_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let table = open::<Exchange>(folder.path()).await;
    for hour in 0..4 {
        append(&table, hour * HOUR_S..hour * HOUR_S + 3).await;
    }
    let hour = hour_number(NOON) + 2;
    assert_eq!(table.kept_from().await.unwrap(), None);
    assert_eq!(table.expired(hour).await.unwrap().len(), 2);
    assert_eq!(table.keep_from(hour).await.unwrap().len(), 2);
    let kept = (2..4).flat_map(|hour| hour * HOUR_S..hour * HOUR_S + 3);
    assert_eq!(rows::<Exchange>(&table).await, exchanges(kept));
    assert_eq!(table.kept_from().await.unwrap(), Some(hour));
    let version = table.snapshot().await.unwrap().version;
    assert_eq!(table.keep_from(hour).await.unwrap(), [""; 0]);
    assert_eq!(table.snapshot().await.unwrap().version, version, "nothing to do is no commit");
    // A row of long ago that comes now goes with the next round.
    let staged = table.stage_rows(&exchanges([1]), "late").await.unwrap();
    table.append(staged, Progress::new("late", 1)).await.unwrap();
    assert_eq!(table.keep_from(hour).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_is_trimmed_behind_a_checkpoint_and_the_table_stays_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let table = open::<Hop>(folder.path()).await;
    write_windows(&table, [0, 10, 20, 30]).await;
    assert_eq!(table.checkpoint_due().await.unwrap(), None, "not yet worth one");
    for version in 1..254 {
        table.append(Vec::new(), Progress::new("other", version)).await.unwrap();
    }
    // The writer's own checkpoint of version 256 would be as good and comes when it comes.
    let written = loop {
        if let Some(version) = table.checkpoint_due().await.unwrap() {
            table.checkpoint(version).await.unwrap();
            break Some(version);
        }
        if folder.path().join("hop/_delta_log/_last_checkpoint").exists() {
            break None;
        }
        table.append(Vec::new(), Progress::new("other", 254)).await.unwrap();
    };
    assert!(written.is_none_or(|version| version >= 256), "{written:?}");
    write_windows(&table, [40]).await;
    let sleeper = open::<Hop>(folder.path()).await;
    let before = files(&table).await;
    assert_eq!(table.trim_log(now_ms()).await.unwrap(), 0, "all of it is young");
    assert!(table.trim_log(now_ms() + 3 * DAY_MS).await.unwrap() >= 256);
    let first = folder.path().join("hop/_delta_log/00000000000000000000.json");
    assert!(!first.exists());
    let anew = open::<Hop>(folder.path()).await;
    for handle in [&table, &sleeper, &anew] {
        assert_eq!(files(handle).await, before);
        assert_eq!(handle.progress("live/F").await.unwrap(), Some(5));
        assert_eq!(handle.progress("nobody").await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vacuum_that_cannot_look_back_far_enough_removes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let table = open::<Hop>(folder.path()).await;
    write_windows(&table, [0, 10, 20, 30]).await;
    table.stage_rows(&window(50), "crashed").await.unwrap();
    std::fs::remove_file(folder.path().join("hop/_delta_log/00000000000000000002.json")).unwrap();
    assert_eq!(table.vacuum(now_ms() - DAY_MS).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_that_remove_at_once_hinder_none_and_remove_each_thing_once() {
    let folder = tempfile::tempdir().unwrap();
    let table = open::<Hop>(folder.path()).await;
    for win in 0..60 {
        table.stage_rows(&window(win * 10), "crashed").await.unwrap();
        table.append(Vec::new(), Progress::new("other", win)).await.unwrap();
    }
    table.checkpoint(60).await.unwrap();
    let since_ms = now_ms() + 3 * DAY_MS;
    let all = [(); 4].map(|()| {
        let folder = folder.path().to_owned();
        tokio::spawn(async move {
            let table = open::<Hop>(&folder).await;
            (table.vacuum(since_ms).await, table.trim_log(since_ms).await)
        })
    });
    let mut removed = 0;
    for one in all {
        let (files, entries) = one.await.unwrap();
        removed += files.unwrap().len();
        entries.unwrap();
    }
    assert_eq!(removed, 60);
    // Those that met left some of the log to the next time.
    table.trim_log(since_ms).await.unwrap();
    assert!(!folder.path().join("hop/_delta_log/00000000000000000000.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_processes_gets_the_lease_until_its_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Store::open(folder.path().to_str().unwrap());
    let (first, second) = (open().await.unwrap(), open().await.unwrap());
    let held = |acquired: &Acquired| matches!(acquired, Acquired::Held { .. });
    let Acquired::Ours(lease) = first.lease("maintenance", 0).await.unwrap() else {
        panic!("nobody had it");
    };
    assert!(held(&second.lease("maintenance", 1_000).await.unwrap()));
    assert!(!held(&second.lease("other", 1_000).await.unwrap()));
    assert!(lease.renew(500_000).await.unwrap());
    assert!(held(&second.lease("maintenance", 700_000).await.unwrap()), "it was renewed");
    let Acquired::Ours(successor) = second.lease("maintenance", 1_200_000).await.unwrap() else {
        panic!("its time was over");
    };
    assert!(!lease.renew(1_200_001).await.unwrap(), "somebody else has taken over");
    successor.release().await.unwrap();
    assert!(!held(&first.lease("maintenance", 1_200_002).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_ask_at_once_one_gets_the_lease() {
    let folder = tempfile::tempdir().unwrap();
    let asked = (0..8).map(|_| async {
        let store = Store::open(folder.path().to_str().unwrap()).await.unwrap();
        store.lease("maintenance", 0).await.unwrap()
    });
    let outcomes = futures::future::join_all(asked).await;
    let won = outcomes.iter().filter(|o| matches!(o, Acquired::Ours(_))).count();
    assert_eq!(won, 1, "{outcomes:?}");
}
