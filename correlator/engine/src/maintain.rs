//! Maintenance of all tables: old hours dropped, settled hours put together, files and log entries
//! that nobody needs removed.
//!
//! One process does it at a time, by a lease; that saves work and nothing rests on it. Nothing waits
//! for it, it changes no row that is kept, and it can be killed at any moment. The clock is an
//! argument.

use std::time::{Duration, Instant};

use join::window::{furthest_range, window_start};
use store::maintain::{Limits, hour_number};
use store::{Acquired, Commit, Lease, Store, StoreError, Table};
use tables::Layer;
use tokio::sync::watch;

use crate::Config;
use crate::failpoint::{self, Step};

mod settled;
mod work;

pub use work::{Task, Work};

use settled::Settled;

const MS_NS: i64 = 1_000_000;
const DAY_NS: i64 = 24 * 3_600 * join::SECOND;

/// What is kept, for how long, and how hard maintenance may work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Raw rows are kept this long, by the hour of their event time.
    pub raw_days: u32,
    /// Derived rows are kept this long, by the hour of their window.
    pub derived_days: u32,
    /// Files and log entries stay this long after the table has done without them: longer than any
    /// reader or writer takes.
    pub keep: Duration,
    pub limits: Limits,
    /// How many times as long as it took compaction pauses after each group of files.
    pub rest: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            raw_days: 30,
            derived_days: 180,
            keep: Duration::from_secs(48 * 3_600),
            limits: Limits::default(),
            rest: 0,
        }
    }
}

/// What became of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done(Vec<Task>),
    /// Another process does it, and has said so until then, milliseconds since the Unix epoch.
    Elsewhere {
        until_ms: i64,
    },
}

/// Maintenance of the tables of one store.
pub struct Maintenance {
    store: Store,
    job: String,
    settings: join::Settings,
    policy: Policy,
}

impl Maintenance {
    /// Opens the tables of a correlator, on handles of its own: no commit waits for maintenance.
    ///
    /// # Errors
    /// When the location is no path or URL that can be used.
    pub async fn open(config: &Config, policy: Policy) -> Result<Self, StoreError> {
        Ok(Self {
            store: Store::open(&config.tables).await?,
            job: config.job.clone(),
            settings: config.settings.clone(),
            policy,
        })
    }

    /// A round each so often until told to stop. One that fails is told and left for the next.
    pub async fn now_and_then(
        &self,
        every: Duration,
        now_ns: impl Fn() -> i64,
        mut stop: watch::Receiver<bool>,
    ) {
        while !*stop.borrow() {
            if let Err(error) = self.round(now_ns(), &stop).await {
                tracing::warn!(%error, "maintenance failed and is repeated");
            }
            // A stop during the pause ends it; an error means that nobody can stop us any more.
            let _ = tokio::time::timeout(every, stop.wait_for(|stop| *stop)).await;
        }
    }

    /// What a round would do now, without doing it. Files that it would make superfluous itself are
    /// not among those to remove: they stay for a while.
    ///
    /// # Errors
    /// When a table can't be read.
    pub async fn plan(&self, now_ns: i64) -> Result<Vec<Task>, StoreError> {
        let settled = self.settled(now_ns).await?;
        let mut tasks = Vec::new();
        for table in self.tables().await? {
            let name = table.spec().name;
            let hour = self.first_kept(&table, now_ns);
            let expired = table.expired(hour).await?;
            tasks.extend(work::dropped(&expired).map(|work| Task { table: name, work }));
            for group in settled.groups(&table, hour, self.policy.limits).await? {
                tasks.push(Task { table: name, work: Work::compaction(&group.files) });
            }
            let unneeded = table.unneeded(self.since_ms(now_ns)).await?;
            tasks.extend(work::removed(&unneeded).map(|work| Task { table: name, work }));
        }
        Ok(tasks)
    }

    /// Does what is to be done, until told to stop: table by table, what expires first.
    ///
    /// # Errors
    /// When a table can't be read or written. What is done by then stays done.
    pub async fn round(
        &self,
        now_ns: i64,
        stop: &watch::Receiver<bool>,
    ) -> Result<Outcome, StoreError> {
        let lease = match self.store.lease("maintenance", now_ns / MS_NS).await? {
            Acquired::Ours(lease) => lease,
            Acquired::Held { until_ms } => return Ok(Outcome::Elsewhere { until_ms }),
        };
        let turn = Turn { now_ns, started: Instant::now(), lease: &lease, stop };
        let done = self.work(&turn).await;
        lease.release().await?;
        done.map(Outcome::Done)
    }

    async fn work(&self, turn: &Turn<'_>) -> Result<Vec<Task>, StoreError> {
        let settled = self.settled(turn.now_ns).await?;
        let mut done = Vec::new();
        for table in self.tables().await? {
            let name = table.spec().name;
            for work in self.maintain(&table, &settled, turn).await? {
                tracing::info!(table = name, "{work}");
                done.push(Task { table: name, work });
            }
        }
        Ok(done)
    }

    async fn maintain(
        &self,
        table: &Table,
        settled: &Settled,
        turn: &Turn<'_>,
    ) -> Result<Vec<Work>, StoreError> {
        let mut done = Vec::new();
        if !turn.goes_on().await? {
            return Ok(done);
        }
        let hour = self.first_kept(table, turn.now_ns);
        let layer = failpoint::layer(table.spec().layer);
        let reach = |work: failpoint::Work, step: fn(&'static str) -> Step| {
            failpoint::reach(work, step(layer));
        };
        let expired = table.expired(hour).await?;
        if !expired.is_empty() {
            reach(failpoint::Work::Retention, Step::Decided);
            if !table.keep_from(hour).await?.is_empty() {
                done.extend(work::dropped(&expired));
            }
            reach(failpoint::Work::Retention, Step::Committed);
        }
        for group in settled.groups(table, hour, self.policy.limits).await? {
            if !turn.goes_on().await? {
                return Ok(done);
            }
            let begun = Instant::now();
            let work = Work::compaction(&group.files);
            // Files that somebody else has replaced meanwhile are looked at anew in the next round.
            let (column, prefix) = (settled::column(table), &group.prefix);
            reach(failpoint::Work::Compaction, Step::Decided);
            let merged = table.merge(&group.files, column, prefix).await?;
            reach(failpoint::Work::Compaction, Step::Uploaded);
            let outcome = table.compact(group.files, merged).await?;
            if matches!(outcome, Commit::Committed { .. }) {
                done.push(work);
            }
            reach(failpoint::Work::Compaction, Step::Committed);
            self.pause(begun.elapsed(), turn).await;
        }
        let since_ms = self.since_ms(turn.now_ns);
        if !table.unneeded(since_ms).await?.is_empty() {
            reach(failpoint::Work::Vacuum, Step::Decided);
            done.extend(work::removed(&table.vacuum(since_ms).await?));
            reach(failpoint::Work::Vacuum, Step::Committed);
        }
        if let Some(version) = table.checkpoint_due().await? {
            reach(failpoint::Work::Checkpoint, Step::Decided);
            table.checkpoint(version).await?;
            done.push(Work::Checkpoint { version });
            reach(failpoint::Work::Checkpoint, Step::Committed);
        }
        reach(failpoint::Work::Trim, Step::Decided);
        let entries = table.trim_log(since_ms).await?;
        if entries > 0 {
            done.push(Work::Trimmed { entries });
            reach(failpoint::Work::Trim, Step::Committed);
        }
        Ok(done)
    }

    /// Leaves the machine to others for a while after this much work.
    async fn pause(&self, worked: Duration, turn: &Turn<'_>) {
        let pause = worked.saturating_mul(self.policy.rest);
        let mut stop = turn.stop.clone();
        // A stop ends the pause; an error means that nobody can stop us any more.
        let _ = tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await;
    }

    async fn settled(&self, now_ns: i64) -> Result<Settled, StoreError> {
        Settled::of(&self.store, &self.job, &self.settings, now_ns).await
    }

    /// Those tables that somebody has written.
    async fn tables(&self) -> Result<Vec<Table>, StoreError> {
        let mut found = Vec::new();
        for spec in tables::all() {
            found.extend(self.store.existing(&spec).await?);
        }
        Ok(found)
    }

    fn first_kept(&self, table: &Table, now_ns: i64) -> i64 {
        let days = match table.spec().layer {
            Layer::Raw => self.policy.raw_days,
            Layer::Derived => self.policy.derived_days,
        };
        hour_number(now_ns.saturating_sub(i64::from(days).saturating_mul(DAY_NS)))
    }

    fn since_ms(&self, now_ns: i64) -> i64 {
        now_ns / MS_NS - i64::try_from(self.policy.keep.as_millis()).unwrap_or(i64::MAX / 2)
    }
}

/// One round's right to work.
struct Turn<'a> {
    now_ns: i64,
    started: Instant,
    lease: &'a Lease,
    stop: &'a watch::Receiver<bool>,
}

impl Turn<'_> {
    /// Says that the work goes on. False when told to stop, or when somebody else took over.
    async fn goes_on(&self) -> Result<bool, StoreError> {
        let worked_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let now_ms = (self.now_ns / MS_NS).saturating_add(worked_ms);
        Ok(!*self.stop.borrow() && self.lease.renew(now_ms).await?)
    }
}

/// Start of the first window whose raw rows retention has left alone, nanoseconds. Windows before it
/// can't be computed any more: rows that they rest on are gone. None where nothing was ever dropped.
///
/// # Errors
/// When a table can't be read.
pub(crate) async fn first_window_kept(
    store: &Store,
    settings: &join::Settings,
) -> Result<Option<i64>, StoreError> {
    let mut first_hour = None;
    for spec in tables::all().into_iter().filter(|spec| spec.layer == Layer::Raw) {
        if let Some(table) = store.existing(&spec).await? {
            first_hour = first_hour.max(table.kept_from().await?);
        }
    }
    Ok(first_hour.map(|hour: i64| {
        let kept_ns = hour.saturating_mul(3_600 * join::SECOND);
        let reads_back_ns = -furthest_range(0..settings.window_ns, settings).connections.start;
        window_start(kept_ns + reads_back_ns + settings.window_ns - 1, settings)
    }))
}
