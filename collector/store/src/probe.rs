//! Whether a store keeps the one promise that commits stand on: of many who create the same object
//! at once, one succeeds.
//!
//! Some S3-compatible servers let several succeed, and a commit is then lost without an error. The
//! probe races a few creations before anything is written; a local disk needs none.

use bytes::Bytes;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use uuid::Uuid;

use crate::error::Cause;

/// Servers that lose the race lose it in most rounds already with a few writers.
const WRITERS: usize = 16;
const ROUNDS: usize = 3;

/// The most creations of one object that the store let succeed: one, where it can be trusted.
pub(crate) async fn winners(store: &dyn ObjectStore) -> Result<usize, Cause> {
    let mut most = 0;
    for _ in 0..ROUNDS {
        // Folders that begin with an underscore are no part of a table.
        let path = Path::from(format!("_probe/{}", Uuid::new_v4()));
        let attempts = (0..WRITERS).map(|writer| create(store, &path, writer));
        let outcomes = join_all(attempts).await;
        store.delete(&path).await?;
        let mut won = 0;
        for outcome in outcomes {
            won += usize::from(outcome?);
        }
        most = most.max(won);
    }
    Ok(most)
}

async fn create(store: &dyn ObjectStore, path: &Path, writer: usize) -> Result<bool, Cause> {
    let body = Bytes::from(format!("writer {writer}"));
    let how = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match store.put_opts(path, body.into(), how).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
        Err(e) => Err(e.into()),
    }
}
