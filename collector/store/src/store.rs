//! A folder of tables, on a local path or any URL that the object store library knows.

use std::collections::HashMap;
use std::sync::Arc;

use deltalake::ensure_table_uri;
use deltalake::logstore::{LogStoreRef, StorageConfig, logstore_for};
use deltalake::table::builder::parse_table_uri;
use object_store::ObjectStore;
use tables::TableSpec;
use tokio::sync::{Mutex, OnceCell};

use crate::table::Table;
use crate::{StoreError, create, probe, widen};

/// Handles of one store are shared: a table has one committer in a process.
#[derive(Clone)]
pub struct Store {
    root: String,
    tables: Arc<Mutex<HashMap<&'static str, Table>>>,
    /// Set once the store has shown that it can be written to.
    probed: Arc<OnceCell<()>>,
}

impl Store {
    /// Opens the store at a path or URL. Nothing is created before the first table is.
    ///
    /// # Errors
    /// When the location is no path or URL that can be used.
    pub async fn open(uri: &str) -> Result<Self, StoreError> {
        let is_url = uri.contains("://");
        let root = if is_url { uri.to_owned() } else { absolute(uri)? };
        let root = root.trim_end_matches('/').to_owned();
        Ok(Self { root, tables: Arc::default(), probed: Arc::default() })
    }

    /// The location of the store, a path or a URL, without a slash at its end.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The table of this specification, created when missing, and given the columns it lacks.
    ///
    /// # Errors
    /// When the table can neither be read nor created, or the store would lose commits.
    pub async fn table(&self, spec: &TableSpec) -> Result<Table, StoreError> {
        let mut tables = self.tables.lock().await;
        if let Some(table) = tables.get(spec.name) {
            return Ok(table.clone());
        }
        let uri = self.uri_of(spec);
        let url = ensure_table_uri(&uri)
            .map_err(|e| StoreError::Open { uri: uri.clone(), cause: Box::new(e) })?;
        let log_store = logstore_for(&url, StorageConfig::default())
            .map_err(|e| StoreError::Open { uri, cause: Box::new(e) })?;
        self.probed.get_or_try_init(|| self.probe(&log_store)).await?;
        if is_table(spec, &log_store).await? {
            widen::widen(spec, &log_store).await?;
        } else {
            create::create(spec, &log_store).await?;
        }
        let table = Table::load(spec.clone(), log_store).await?;
        tables.insert(spec.name, table.clone());
        Ok(table)
    }

    /// The table of this specification, or none where nobody has written one.
    ///
    /// # Errors
    /// When the table is there and can't be read.
    pub async fn existing(&self, spec: &TableSpec) -> Result<Option<Table>, StoreError> {
        let mut tables = self.tables.lock().await;
        if let Some(table) = tables.get(spec.name) {
            return Ok(Some(table.clone()));
        }
        let uri = self.uri_of(spec);
        // A local folder that is not there is no table; any other fault shows when it is used.
        let Ok(url) = parse_table_uri(&uri) else {
            return Ok(None);
        };
        let log_store = logstore_for(&url, StorageConfig::default())
            .map_err(|e| StoreError::Open { uri, cause: Box::new(e) })?;
        if !is_table(spec, &log_store).await? {
            return Ok(None);
        }
        let table = Table::load(spec.clone(), log_store).await?;
        tables.insert(spec.name, table.clone());
        Ok(Some(table))
    }

    /// Waits for what its tables write beside commits: for who is about to end.
    pub async fn settle(&self) {
        for table in self.tables.lock().await.values() {
            table.settle().await;
        }
    }

    /// Refuses a store that lets several writers create the same object.
    async fn probe(&self, log_store: &LogStoreRef) -> Result<(), StoreError> {
        let uri = self.root.clone();
        if log_store.root_url().scheme() == "file" {
            return Ok(());
        }
        match probe::winners(&log_store.object_store(None)).await {
            Ok(1) => Ok(()),
            Ok(winners) => Err(StoreError::UnsafeStore { uri, winners }),
            Err(cause) => Err(StoreError::Probe { uri, cause }),
        }
    }

    /// The folder that the tables are in.
    pub(crate) fn root_store(&self) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let failed = |e: deltalake::DeltaTableError| StoreError::Open {
            uri: self.root.clone(),
            cause: Box::new(e),
        };
        let url = ensure_table_uri(&self.root).map_err(failed)?;
        let log_store = logstore_for(&url, StorageConfig::default()).map_err(failed)?;
        Ok(log_store.object_store(None))
    }

    fn uri_of(&self, spec: &TableSpec) -> String {
        format!("{}/{}", self.root, spec.name)
    }
}

/// The path as it stays when the working directory changes.
fn absolute(path: &str) -> Result<String, StoreError> {
    let failed = |cause| StoreError::Open { uri: path.to_owned(), cause };
    let absolute = std::path::absolute(path).map_err(|e| failed(e.into()))?;
    absolute.into_os_string().into_string().map_err(|_| failed("it is not UTF-8".into()))
}

async fn is_table(spec: &TableSpec, log_store: &LogStoreRef) -> Result<bool, StoreError> {
    log_store
        .is_delta_table_location()
        .await
        .map_err(|e| StoreError::Log { table: spec.name.to_owned(), cause: Box::new(e) })
}
