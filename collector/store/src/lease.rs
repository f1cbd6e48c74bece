//! A lease on the whole store: of several processes one does the work that needs doing once.
//!
//! The lease is the newest of a few numbered objects. The next number is taken by creating it, which
//! the store lets one process do; the holder alone writes to it after that. A holder that died is
//! followed by the next number once its time is over. The lease saves work and nothing rests on it:
//! two that hold it, one of them frozen for long, still commit safely.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::StoreError;
use crate::error::Cause;
use crate::store::Store;

/// The work is ours until this long after it was last said to go on.
const TERM: Duration = Duration::from_secs(600);

/// What became of asking for a lease.
#[derive(Debug)]
pub enum Acquired {
    Ours(Lease),
    /// Somebody else has it until then, milliseconds since the Unix epoch.
    Held {
        until_ms: i64,
    },
}

/// The right to do the work, until it is given back or its time is over.
pub struct Lease {
    uri: String,
    store: Arc<dyn ObjectStore>,
    folder: Path,
    number: u64,
    holder: String,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Store {
    /// Asks for the lease of this name.
    ///
    /// # Errors
    /// When the store can't be asked.
    pub async fn lease(&self, name: &str, now_ms: i64) -> Result<Acquired, StoreError> {
        let failed = |cause| StoreError::Lease { uri: self.root().to_owned(), cause };
        let store = self.root_store()?;
        let folder = Path::from(format!("_lease_{name}"));
        let newest = newest(store.as_ref(), &folder).await.map_err(failed)?;
        if let Some((number, _)) = &newest {
            let until_ms = until(store.as_ref(), &folder, *number).await.map_err(failed)?;
            if until_ms > now_ms {
                return Ok(Acquired::Held { until_ms });
            }
        }
        let number = newest.as_ref().map_or(0, |(number, _)| number + 1);
        let holder = Uuid::new_v4().to_string();
        let lease = Lease { uri: self.root().to_owned(), store, folder, number, holder };
        let is_first = lease.write(now_ms + term_ms(), PutMode::Create).await?;
        if !is_first {
            return Ok(Acquired::Held { until_ms: now_ms + term_ms() });
        }
        if let Some((_, older)) = newest {
            // Of no use any more; whoever finds one there goes by the newest.
            let _ = lease.store.delete(&older).await;
        }
        Ok(Acquired::Ours(lease))
    }
}

impl Lease {
    /// Says that the work goes on. False when somebody else has taken over.
    ///
    /// # Errors
    /// When the store can't be asked.
    pub async fn renew(&self, now_ms: i64) -> Result<bool, StoreError> {
        let newest = newest(self.store.as_ref(), &self.folder).await;
        let newest = newest.map_err(|cause| StoreError::Lease { uri: self.uri.clone(), cause })?;
        if newest.is_none_or(|(number, _)| number != self.number) {
            return Ok(false);
        }
        self.write(now_ms + term_ms(), PutMode::Overwrite).await
    }

    /// Gives the lease back.
    ///
    /// # Errors
    /// When the store can't be told; the lease then ends by itself.
    pub async fn release(self) -> Result<(), StoreError> {
        self.write(0, PutMode::Overwrite).await.map(drop)
    }

    async fn write(&self, until_ms: i64, mode: PutMode) -> Result<bool, StoreError> {
        let body = json!({"holder": self.holder, "until_ms": until_ms}).to_string();
        let how = PutOptions { mode, ..PutOptions::default() };
        let at = object(&self.folder, self.number);
        match self.store.put_opts(&at, Bytes::from(body).into(), how).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(e) => Err(StoreError::Lease { uri: self.uri.clone(), cause: e.into() }),
        }
    }
}

fn term_ms() -> i64 {
    TERM.as_millis() as i64
}

fn object(folder: &Path, number: u64) -> Path {
    folder.clone().join(format!("{number:020}.json"))
}

/// The highest number, and where it is.
async fn newest(store: &dyn ObjectStore, folder: &Path) -> Result<Option<(u64, Path)>, Cause> {
    let all: Vec<_> = store.list(Some(folder)).try_collect().await?;
    let number = |path: &Path| path.filename()?.strip_suffix(".json")?.parse().ok();
    Ok(all.into_iter().filter_map(|found| Some((number(&found.location)?, found.location))).max())
}

/// Until when a number is held. One that is being written or can't be read is held no longer than
/// its creator would say.
async fn until(store: &dyn ObjectStore, folder: &Path, number: u64) -> Result<i64, Cause> {
    match store.get(&object(folder, number)).await {
        Ok(found) => {
            let modified_ms = found.meta.last_modified.timestamp_millis();
            let body: Value = serde_json::from_slice(&found.bytes().await?).unwrap_or_default();
            Ok(body["until_ms"].as_i64().unwrap_or(modified_ms + term_ms()))
        }
        Err(object_store::Error::NotFound { .. }) => Ok(0),
        Err(e) => Err(e.into()),
    }
}
