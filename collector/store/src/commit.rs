//! One entry of a table's log: what it holds, and how it gets there exactly once.
//!
//! The progress of the writer is read from the same version that the entry builds on. After any
//! error the log decides, not the error: the entry landed if the version it aimed at holds its
//! very bytes, and somebody else did the work if the progress is there.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use deltalake::kernel::{Action, Add, CommitInfo, Remove, Transaction};
use deltalake::logstore::{CommitOrBytes, LogStoreRef};
use serde_json::json;
use tables::PARTITION;
use uuid::Uuid;

use crate::basis::Basis;
use crate::durable;
use crate::error::Cause;
use crate::file::{FileRef, StagedFile};
use crate::log::Log;
use crate::table::{Commit, Progress};

pub(crate) const ENGINE: &str = concat!("throughline/", env!("CARGO_PKG_VERSION"));

/// With pauses that double from 20 ms this gives a store 20 s to come back.
const ATTEMPTS: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// What a commit changes.
pub(crate) struct Change {
    pub(crate) remove: Vec<FileRef>,
    pub(crate) add: Vec<StagedFile>,
    pub(crate) progress: Progress,
    /// Whether the table's rows are others afterwards, or the same rows in other files.
    pub(crate) rows: Rows,
    /// What the change was decided on, where that matters.
    pub(crate) basis: Option<Basis>,
}

impl Change {
    /// The protocol allows a path once per commit: a file that is on both sides stays.
    pub(crate) fn with_each_path_once(mut self) -> Self {
        let stays = |path: &str, add: &[StagedFile]| add.iter().any(|s| s.file.path == path);
        let both: Vec<String> = self
            .remove
            .iter()
            .filter(|file| stays(&file.path, &self.add))
            .map(|file| file.path.clone())
            .collect();
        self.remove.retain(|file| !both.contains(&file.path));
        self.add.retain(|staged| !both.contains(&staged.file.path));
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    Change,
    Stay,
}

/// A commit that the store refused or did not confirm, attempt after attempt.
pub(crate) struct Exhausted {
    pub(crate) attempts: u32,
    pub(crate) version: u64,
    pub(crate) cause: Cause,
}

/// Commits a change on top of whatever the log holds by now.
pub(crate) async fn commit(
    log_store: &LogStoreRef,
    log: &mut Log,
    change: &Change,
) -> Result<Commit, Exhausted> {
    let mut doubtful: Option<Attempt> = None;
    let mut last_error: Cause = "no attempt was made".into();
    for round in 0..ATTEMPTS {
        if round > 0 {
            tokio::time::sleep(pause(round)).await;
        }
        match attempt(log_store, log, change, &mut doubtful).await {
            Ok(Some(outcome)) => return Ok(outcome),
            Ok(None) => {}
            Err(e) => {
                tracing::warn!(error = %e, version = log.version + 1, "commit not confirmed");
                last_error = e;
            }
        }
    }
    Err(Exhausted { attempts: ATTEMPTS, version: log.version + 1, cause: last_error })
}

/// An entry whose fate is not known yet.
struct Attempt {
    version: u64,
    entry: Bytes,
}

/// One round: look, decide, write. None when the version was taken by somebody else's entry.
async fn attempt(
    log_store: &LogStoreRef,
    log: &mut Log,
    change: &Change,
    doubtful: &mut Option<Attempt>,
) -> Result<Option<Commit>, Cause> {
    log.refresh().await?;
    if let Some(tried) = doubtful.take() {
        let found = log_store.read_commit_entry(tried.version).await?;
        if found.as_ref() == Some(&tried.entry) {
            durable::sync_entry(log_store, tried.version)?;
            return Ok(Some(Commit::Committed { version: tried.version }));
        }
    }
    let Progress { app_id, version, .. } = &change.progress;
    if log.progress(app_id).await?.is_some_and(|reached| reached >= *version) {
        return Ok(Some(Commit::AlreadyDone));
    }
    if change.remove.iter().any(|file| !log.files.contains_key(&file.path)) {
        return Ok(Some(Commit::Conflict));
    }
    if change.basis.as_ref().is_some_and(|basis| !basis.holds(log)) {
        return Ok(Some(Commit::Conflict));
    }
    let target = log.version + 1;
    let actions = actions(change, log.version);
    let entry = encode(&actions)?;
    let bytes = CommitOrBytes::LogBytes(entry.clone());
    if let Err(e) = log_store.write_commit_entry(target, bytes, Uuid::new_v4()).await {
        *doubtful = Some(Attempt { version: target, entry });
        return Err(e.into());
    }
    durable::sync_entry(log_store, target)?;
    log.apply(target, &actions);
    Ok(Some(Commit::Committed { version: target }))
}

/// Doubles with each round, and differs between writers that collided.
fn pause(round: u32) -> Duration {
    let base = FIRST_PAUSE * 2u32.pow(round - 1);
    let jitter = u64::from(Uuid::new_v4().as_bytes()[0]) * base.as_millis() as u64 / 256;
    base + Duration::from_millis(jitter)
}

fn actions(change: &Change, read_version: u64) -> Vec<Action> {
    let now_ms = now_ms();
    let Progress { app_id, version, metadata } = &change.progress;
    let data_change = change.rows == Rows::Change;
    let (operation, parameters) = match change.rows {
        Rows::Change => (
            "WRITE",
            HashMap::from([
                ("mode".to_owned(), json!("Append")),
                ("partitionBy".to_owned(), json!(format!("[\"{PARTITION}\"]"))),
            ]),
        ),
        Rows::Stay => ("OPTIMIZE", HashMap::new()),
    };
    let mut actions = vec![Action::CommitInfo(CommitInfo {
        timestamp: Some(now_ms),
        operation: Some(operation.to_owned()),
        operation_parameters: Some(parameters),
        read_version: Some(read_version),
        is_blind_append: Some(change.remove.is_empty()),
        engine_info: Some(ENGINE.to_owned()),
        user_metadata: metadata.clone(),
        // Makes the bytes of each attempt its own, so that a doubtful one is recognised.
        info: HashMap::from([("attempt".to_owned(), json!(Uuid::new_v4().to_string()))]),
        ..CommitInfo::default()
    })];
    actions.push(Action::Txn(Transaction::new(app_id, *version)));
    let removes = change.remove.iter().map(|file| remove(file, now_ms, data_change));
    actions.extend(removes.map(Action::Remove));
    actions.extend(change.add.iter().map(|staged| Action::Add(add(staged, data_change))));
    actions
}

fn add(staged: &StagedFile, data_change: bool) -> Add {
    Add {
        path: staged.file.path.clone(),
        partition_values: partition_of(&staged.file),
        size: staged.file.size as i64,
        modification_time: staged.modified_at_ms,
        data_change,
        stats: Some(staged.stats_json.clone()),
        ..Add::default()
    }
}

fn remove(file: &FileRef, now_ms: i64, data_change: bool) -> Remove {
    Remove {
        path: file.path.clone(),
        data_change,
        deletion_timestamp: Some(now_ms),
        extended_file_metadata: Some(true),
        partition_values: Some(partition_of(file)),
        size: Some(file.size as i64),
        ..Remove::default()
    }
}

fn partition_of(file: &FileRef) -> HashMap<String, Option<String>> {
    HashMap::from([(PARTITION.to_owned(), Some(file.hour.clone()))])
}

fn encode(actions: &[Action]) -> Result<Bytes, serde_json::Error> {
    let lines: Result<Vec<String>, _> = actions.iter().map(serde_json::to_string).collect();
    Ok(lines?.join("\n").into())
}

pub(crate) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_epoch.as_millis() as i64
}
