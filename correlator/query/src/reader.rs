//! The door: opens a folder of tables and answers questions with rows.
//!
//! Each answer rests on one snapshot per table, taken when the question is asked. Nothing here
//! creates, changes or locks anything.

use std::path::Path as FilePath;

use datafusion::common::Result as Planned;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::SortExpr;
use datafusion::prelude::{DataFrame, SessionContext, col};
use store::Store;
use tables::{Ambiguous, Hop, Path, Row, TableSpec};

use crate::current::{Pinned, Scanned, current};
use crate::error::QueryError;
use crate::filter::{AmbiguousFilter, PathFilter};
use crate::newest::{Answer, Search};
use crate::predicate;

/// Rows of `hop` and of `ambiguous` that are read for one path: far more than a line has hops, so
/// that a broken table cannot fill memory.
const ROWS_OF_PATH_MAX: usize = 1_000;

/// Reads the tables of one store.
pub struct Reader {
    at: String,
    store: Store,
    pub(crate) ctx: SessionContext,
}

impl Reader {
    /// Opens the tables at a path or URL.
    ///
    /// # Errors
    /// When nothing is there, or it cannot be read.
    pub async fn open(at: &str) -> Result<Self, QueryError> {
        let is_local = !at.contains("://");
        // The store would create a local folder; a reader must not.
        if is_local && !FilePath::new(at).is_dir() {
            return Err(QueryError::NoTables { at: at.to_owned() });
        }
        let store = Store::open(at).await?;
        Ok(Self { at: at.to_owned(), store, ctx: SessionContext::new() })
    }

    /// Where the tables are, as it was given.
    pub fn at(&self) -> &str {
        &self.at
    }

    /// Paths that pass the filter, newest first.
    ///
    /// # Errors
    /// When there is no `path` table, or it cannot be read.
    pub async fn paths(&self, filter: &PathFilter) -> Result<Answer<Path>, QueryError> {
        let table = self.pin(tables::spec::<Path>()).await?;
        let mut found = Answer { rows: Vec::new(), is_cut: false, scanned: Scanned::default() };
        let hops = self.in_namespace(filter).await?;
        for question in predicate::paths(filter) {
            let hops = hops.as_ref();
            let search =
                Search { ctx: &self.ctx, table: &table, question, hops, limit: filter.limit };
            // An id has few rows, wherever they are.
            let answer = match filter.id {
                Some(_) => search.all::<Path>().await?,
                None => search.newest::<Path>().await?,
            };
            found.rows.extend(answer.rows);
            found.is_cut |= answer.is_cut;
            found.scanned.files = found.scanned.files.max(answer.scanned.files);
            found.scanned.of = answer.scanned.of;
        }
        // One text can be read as several ids, and a row can be found by more than one of them.
        found.rows.sort_by(|a, b| (b.start_ns, &a.path_id).cmp(&(a.start_ns, &b.path_id)));
        found.rows.dedup_by(|a, b| a.path_id == b.path_id);
        found.is_cut |= found.rows.len() > filter.limit;
        found.rows.truncate(filter.limit);
        Ok(found)
    }

    /// Undecided segments that pass the filter, newest first.
    ///
    /// # Errors
    /// When there is no `ambiguous` table, or it cannot be read.
    pub async fn ambiguous(
        &self,
        filter: &AmbiguousFilter,
    ) -> Result<Answer<Ambiguous>, QueryError> {
        let table = self.pin(tables::spec::<Ambiguous>()).await?;
        let question = predicate::ambiguous(filter);
        let limit = filter.limit;
        Search { ctx: &self.ctx, table: &table, question, hops: None, limit }.newest().await
    }

    /// The hops of one path, in order. None where nobody has written the table: the path row has
    /// what is needed to draw a line.
    ///
    /// # Errors
    /// When the table is there and cannot be read.
    pub async fn hops_of(&self, path: &Path) -> Result<Vec<Hop>, QueryError> {
        self.of_path(path, &[col("position").sort(true, false)]).await
    }

    /// What is undecided about one path, in order of time.
    ///
    /// # Errors
    /// When the table is there and cannot be read.
    pub async fn ambiguous_of(&self, path: &Path) -> Result<Vec<Ambiguous>, QueryError> {
        let order = [col("start_ns").sort(true, false), col("segment").sort(true, false)];
        self.of_path(path, &order).await
    }

    async fn of_path<R: Row>(&self, path: &Path, order: &[SortExpr]) -> Result<Vec<R>, QueryError> {
        let Some(table) = self.pin_existing(tables::spec::<R>()).await? else {
            return Ok(Vec::new());
        };
        let question = predicate::of_path(&path.path_id, path.win);
        let (rows, _) = current(&self.ctx, &table, question).map_err(read_error::<R>)?;
        collect(rows.sort(order.to_vec()), ROWS_OF_PATH_MAX).await
    }

    /// Hops to the Service that is asked for, where its namespace matters.
    async fn in_namespace(&self, filter: &PathFilter) -> Result<Option<DataFrame>, QueryError> {
        let service = filter.service.as_ref();
        let Some((service, namespace)) = service.and_then(|s| Some((s, s.namespace.as_deref()?)))
        else {
            return Ok(None);
        };
        let hops = self.pin(tables::spec::<Hop>()).await?;
        let question = predicate::hops_to(namespace, &service.name, filter.started);
        let (rows, _) = current(&self.ctx, &hops, question).map_err(read_error::<Hop>)?;
        Ok(Some(rows))
    }

    /// The files of a table as they are now.
    pub(crate) async fn pin(&self, spec: TableSpec) -> Result<Pinned, QueryError> {
        let table = spec.name;
        if let Some(pinned) = self.pin_existing(spec).await? {
            return Ok(pinned);
        }
        // A folder without a single table is the wrong folder, which is another mistake.
        for other in tables::all() {
            if self.store.existing(&other).await?.is_some() {
                return Err(QueryError::NoTable { table, at: self.at.clone() });
            }
        }
        Err(QueryError::NoTables { at: self.at.clone() })
    }

    pub(crate) async fn pin_existing(&self, spec: TableSpec) -> Result<Option<Pinned>, QueryError> {
        let Some(table) = self.store.existing(&spec).await? else {
            return Ok(None);
        };
        let snapshot = table.snapshot().await?;
        let folder = ObjectStoreUrl::parse(format!("table://{}", spec.name))
            .map_err(|e| QueryError::Read { table: spec.name, source: Box::new(e) })?;
        self.ctx.register_object_store(folder.as_ref(), table.object_store());
        Ok(Some(Pinned { spec, folder, version: snapshot.version, files: snapshot.files }))
    }
}

/// Runs a plan and decodes at most `limit` rows of it.
pub(crate) async fn collect<R: Row>(
    rows: Planned<DataFrame>,
    limit: usize,
) -> Result<Vec<R>, QueryError> {
    let batches = async { rows?.limit(0, Some(limit))?.collect().await }.await;
    let mut decoded = Vec::new();
    for batch in batches.map_err(read_error::<R>)? {
        decoded.extend(tables::from_batch::<R>(&batch)?);
    }
    Ok(decoded)
}

pub(crate) fn read_error<R: Row>(source: datafusion::error::DataFusionError) -> QueryError {
    QueryError::Read { table: R::TABLE, source: Box::new(source) }
}
