//! Spool to raw tables: one commit a table and interval, exactly once, also across a crash.
//!
//! A commit carries the collector's name and the position it reaches, in the same log entry as the
//! rows. After a crash each table says what it holds, and only later positions are written to it.
//! A commit whose fate is unknown is repeated as it was until the table says what became of it:
//! added to, it could write rows twice.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use store::{Store, StoreError, Table};
use tables::{Layer, Row};
use tokio::time::Instant;

use crate::batch::{Progress, Rows, each_table};
use crate::ledger::Ledger;
use crate::spool::{Portion, Reader, Trim};

/// Rows of one round over all tables: about 100 MiB in memory, and a few seconds of a busy
/// collector, so that a backlog is worked off in files of a useful size.
const ROWS_MAX: usize = 100_000;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// At shutdown the tables get this long; what they don't take stays in the spool.
const FAREWELL: Duration = Duration::from_secs(12);

/// What the appender asks of the raw tables.
pub trait RawTables: Send + Sync + 'static {
    type Error: std::error::Error + Send + Sync;

    /// Highest position of this collector in each table that has any.
    fn progress(
        &self,
        collector: &str,
    ) -> impl Future<Output = Result<Progress, Self::Error>> + Send;

    /// Adds rows that reach up to a position, unless the table has reached it already.
    fn append<R: Row>(
        &self,
        rows: &[R],
        reach: &Reach<'_>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Whose rows these are and between which positions.
#[derive(Clone, Copy, Debug)]
pub struct Reach<'a> {
    pub collector: &'a str,
    pub first: i64,
    pub last: i64,
}

/// Moves batches from the spool to the tables until the spool ends.
pub struct Appender<T> {
    pub tables: T,
    pub reader: Reader,
    pub trim: Trim,
    pub ledger: Arc<Ledger>,
    pub collector: String,
    pub progress: Progress,
    pub commit_interval: Duration,
}

impl<T: RawTables> Appender<T> {
    /// # Errors
    /// When the spool can't be read. Tables that fail are tried again for as long as it takes.
    pub async fn run(mut self) -> io::Result<()> {
        let mut patience = Patience::Endless;
        loop {
            // Asked before reading: what is read after the end is all there is.
            let is_ended = self.reader.is_ended();
            if is_ended && matches!(patience, Patience::Endless) {
                patience = Patience::Until(Instant::now() + FAREWELL);
            }
            let portion = tokio::task::block_in_place(|| self.reader.read(ROWS_MAX))?;
            let has_more = portion.has_more;
            if !self.commit(portion, &patience).await {
                return Ok(());
            }
            if has_more {
                continue;
            }
            if is_ended {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(self.commit_interval) => {}
                () = self.reader.ended() => {}
            }
        }
    }

    /// Returns whether all of it is in the tables now.
    async fn commit(&mut self, portion: Portion, patience: &Patience) -> bool {
        let first = portion.batches.first().map(|(position, _)| *position);
        let through = portion.through;
        let mut rows = Rows::default();
        for (position, mut batch) in portion.batches {
            let position = signed(position);
            batch.rows.stamp(position, batch.sequence.is_some());
            rows.take_uncommitted(batch.rows, position, &self.progress);
        }
        let collector = self.collector.clone();
        let reach = Reach {
            collector: &collector,
            first: signed(first.unwrap_or(through)),
            last: signed(through),
        };
        macro_rules! append_each {
            ($($field:ident: $row:ident),*) => {
                $(
                    if !self.append(&rows.$field, &reach, patience).await {
                        return false;
                    }
                )*
            };
        }
        each_table!(append_each);
        if let Err(source) = self.trim.through(through) {
            tracing::warn!(error = %source, "a segment of the spool can't be removed");
        }
        true
    }

    async fn append<R: Row>(&mut self, rows: &[R], reach: &Reach<'_>, patience: &Patience) -> bool {
        if rows.is_empty() {
            return true;
        }
        let mut pause = FIRST_PAUSE;
        loop {
            match self.tables.append(rows, reach).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(table = R::TABLE, error = %chain(&error), "rows wait in the spool");
                    if patience.is_over() {
                        return false;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
        self.progress.insert(R::TABLE, reach.last);
        self.ledger.committed(rows.len());
        true
    }
}

/// How long tables that fail are waited for.
enum Patience {
    Endless,
    Until(Instant),
}

impl Patience {
    fn is_over(&self) -> bool {
        matches!(self, Self::Until(end) if Instant::now() >= *end)
    }
}

/// The raw tables of a store.
pub struct DeltaTables {
    tables: BTreeMap<&'static str, Table>,
}

impl DeltaTables {
    /// Opens every raw table; those that are missing are created, so that readers find them.
    ///
    /// # Errors
    /// When a table can't be opened or created.
    pub async fn open(store: &Store) -> Result<Self, StoreError> {
        let mut tables = BTreeMap::new();
        for spec in tables::all().iter().filter(|spec| spec.layer == Layer::Raw) {
            tables.insert(spec.name, store.table(spec).await?);
        }
        Ok(Self { tables })
    }
}

impl RawTables for DeltaTables {
    type Error = StoreError;

    async fn progress(&self, collector: &str) -> Result<Progress, StoreError> {
        let mut progress = Progress::new();
        for (&name, table) in &self.tables {
            if let Some(position) = table.progress(collector).await? {
                progress.insert(name, position);
            }
        }
        Ok(progress)
    }

    async fn append<R: Row>(&self, rows: &[R], reach: &Reach<'_>) -> Result<(), StoreError> {
        let table = &self.tables[R::TABLE];
        let prefix = format!("{}-{}", reach.collector, reach.first);
        let staged = table.stage_rows(rows, &prefix).await?;
        match table.append(staged, store::Progress::new(reach.collector, reach.last)).await? {
            // An append removes nothing, so it can't be in conflict with anyone.
            store::Commit::Committed { .. }
            | store::Commit::AlreadyDone
            | store::Commit::Conflict => Ok(()),
        }
    }
}

/// Positions count batches from one, so the sign is out of reach.
fn signed(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
#[path = "append_tests.rs"]
mod tests;
