//! Batches to Delta tables, as the collectors commit them, and the truth beside them.
//!
//! Encoding runs on other threads while the next rows are made; commits of one table stay in order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use serde::Serialize;
use store::{Store, StoreError};
use tokio::task::JoinSet;

use crate::columns::{Columns, Table};
use crate::dials::Dials;
use crate::engine::{SetUpError, Simulation};
use crate::names::Names;
use crate::truth::parquet::{TruthError, Writer};

/// Where and how a run is written.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Gets the folders `tables` and `truth`.
    pub out: PathBuf,
    /// Arrivals of so long a time make one commit a table.
    pub commit_every_ns: i64,
    /// Commits follow the wall clock: a row is there when it arrives.
    pub live: bool,
    /// Only requests whose key is divisible by this have a truth; 0 writes none.
    pub truth_every: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    SetUp(#[from] SetUpError),
    #[error("write the raw tables")]
    Store(#[from] StoreError),
    #[error("write the truth")]
    Truth(#[from] TruthError),
    #[error("write {file}", file = .0.display())]
    Summary(PathBuf, #[source] std::io::Error),
    #[error("write the raw tables: a thread that encodes has stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

/// What a run was and wrote: the content of `truth/run.json`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    pub seed: u64,
    pub shape: String,
    pub dials: serde_json::Value,
    /// Of the traffic, true time.
    pub start_ns: i64,
    pub end_ns: i64,
    pub nodes: usize,
    pub services: usize,
    pub pods: usize,
    pub requests: u64,
    pub legs: u64,
    /// Raw rows by table, and in all.
    pub rows: BTreeMap<&'static str, u64>,
    pub rows_total: u64,
    pub commits: u64,
    pub truth_every: u64,
}

/// Files of this many rows at most, so that several are encoded at once.
const FILE_ROWS_MAX: usize = 250_000;
/// Rounds of commits that may wait for their encoding.
const ROUNDS_MAX: usize = 2;
/// Name of the writer in the tables' progress.
const WRITER: &str = "collector-0";

/// Simulates a whole run and writes it.
///
/// # Errors
/// When the dials don't fit together, or a file or table can't be written.
pub async fn write(dials: Dials, plan: &Plan) -> Result<Summary, WriteError> {
    let mut simulation = Simulation::new(dials)?;
    let mut names = Names::of(simulation.cluster(), simulation.shape(), simulation.dials().seed);
    let store = Store::open(&plan.out.join("tables").to_string_lossy()).await?;
    let mut committer = Committer::open(&store).await?;
    let folder = plan.out.join("truth");
    let mut truth = Writer::create(&folder, plan.truth_every)?;
    let mut summary = summary(&simulation, plan);
    let mut columns = Columns::default();
    let mut commit_at_ns: Option<i64> = None;
    while let Some(batch) = simulation.next() {
        let due_ns = *commit_at_ns.get_or_insert_with(|| next(batch.received_ns, plan));
        if batch.received_ns >= due_ns {
            if plan.live {
                wait_until(due_ns).await;
            }
            committer.commit(columns.finish(), &mut summary).await?;
            account(&mut simulation, &mut truth, &mut names, plan, &mut summary)?;
            commit_at_ns = Some(next(batch.received_ns, plan));
        }
        names.follow(simulation.cluster());
        columns.take(&batch, &names);
    }
    if let Some(due_ns) = commit_at_ns.filter(|_| plan.live) {
        wait_until(due_ns).await;
    }
    committer.commit(columns.finish(), &mut summary).await?;
    committer.settle(0).await?;
    account(&mut simulation, &mut truth, &mut names, plan, &mut summary)?;
    truth.close()?;
    store.settle().await;
    summary.pods = simulation.cluster().pods.len();
    save(&summary, &folder.join("run.json"))?;
    Ok(summary)
}

fn next(received_ns: i64, plan: &Plan) -> i64 {
    (received_ns.div_euclid(plan.commit_every_ns) + 1) * plan.commit_every_ns
}

fn summary(simulation: &Simulation, plan: &Plan) -> Summary {
    let dials = simulation.dials();
    let shape = match &dials.traces {
        Some(_) => "traces".to_owned(),
        None => format!("{:?}", dials.shape).to_lowercase(),
    };
    let (start_ns, end_ns) = simulation.traffic_ns();
    Summary {
        seed: dials.seed,
        shape,
        dials: serde_json::to_value(dials).unwrap_or_default(),
        start_ns,
        end_ns,
        nodes: simulation.cluster().nodes.len(),
        services: simulation.cluster().services.len(),
        truth_every: plan.truth_every,
        ..Summary::default()
    }
}

fn account(
    simulation: &mut Simulation,
    truth: &mut Writer,
    names: &mut Names,
    plan: &Plan,
    summary: &mut Summary,
) -> Result<(), TruthError> {
    names.follow(simulation.cluster());
    let told = simulation.take_truth();
    summary.requests += told.requests.len() as u64;
    summary.legs += told.legs.len() as u64;
    if plan.truth_every > 0 { truth.write(&told, names) } else { Ok(()) }
}

fn save(summary: &Summary, path: &Path) -> Result<(), WriteError> {
    let text = serde_json::to_string_pretty(summary).unwrap_or_default();
    std::fs::write(path, text + "\n").map_err(|e| WriteError::Summary(path.to_owned(), e))
}

async fn wait_until(at_ns: i64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wait_ns = i128::from(at_ns) - now.as_nanos() as i128;
    if let Ok(wait_ns) = u64::try_from(wait_ns) {
        tokio::time::sleep(Duration::from_nanos(wait_ns)).await;
    }
}

/// Encodes and commits rounds of batches: each table's rounds one after the other.
struct Committer {
    tables: BTreeMap<Table, store::Table>,
    rounds: JoinSet<Result<(), StoreError>>,
    round: i64,
    before: Option<tokio::sync::oneshot::Receiver<()>>,
}

impl Committer {
    async fn open(store: &Store) -> Result<Self, StoreError> {
        for spec in tables::all().iter().filter(|spec| spec.layer == tables::Layer::Raw) {
            store.table(spec).await?;
        }
        let mut tables = BTreeMap::new();
        for table in Table::ALL {
            tables.insert(table, store.table(&table.spec()).await?);
        }
        Ok(Self { tables, rounds: JoinSet::new(), round: 0, before: None })
    }

    async fn commit(
        &mut self,
        batches: Vec<(Table, RecordBatch)>,
        summary: &mut Summary,
    ) -> Result<(), WriteError> {
        if batches.is_empty() {
            return Ok(());
        }
        for (table, batch) in &batches {
            let rows = batch.num_rows() as u64;
            *summary.rows.entry(self.tables[table].spec().name).or_default() += rows;
            summary.rows_total += rows;
        }
        self.settle(ROUNDS_MAX - 1).await?;
        self.round += 1;
        summary.commits += 1;
        let (done, after) = tokio::sync::oneshot::channel();
        let before = self.before.replace(after);
        let tables = self.tables.clone();
        let round = self.round;
        self.rounds.spawn(async move {
            let staged = stage(&tables, batches, round).await?;
            // The round before is in the tables first, so that versions grow as arrivals do.
            if let Some(before) = before {
                before.await.ok();
            }
            for (table, files) in staged {
                let progress = store::Progress::new(WRITER, round);
                tables[&table].append(files, progress).await?;
            }
            done.send(()).ok();
            Ok(())
        });
        Ok(())
    }

    /// Waits until at most this many rounds are under way.
    async fn settle(&mut self, at_most: usize) -> Result<(), WriteError> {
        while self.rounds.len() > at_most {
            match self.rounds.join_next().await {
                Some(done) => done??,
                None => break,
            }
        }
        Ok(())
    }
}

async fn stage(
    tables: &BTreeMap<Table, store::Table>,
    batches: Vec<(Table, RecordBatch)>,
    round: i64,
) -> Result<BTreeMap<Table, Vec<store::StagedFile>>, StoreError> {
    let mut staged: BTreeMap<Table, Vec<store::StagedFile>> = BTreeMap::new();
    for (table, batch) in batches {
        let mut from = 0;
        while from < batch.num_rows() {
            let count = FILE_ROWS_MAX.min(batch.num_rows() - from);
            let prefix = format!("{WRITER}-{round}-{from}");
            let file = tables[&table].stage(&[batch.slice(from, count)], &prefix).await?;
            staged.entry(table).or_default().push(file);
            from += count;
        }
    }
    Ok(staged)
}

/// Seconds since the Unix epoch from which live traffic starts: now, on a whole second.
pub fn live_start() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs() as i64 + LIVE_LEAD_S
}

/// The watch and the agents begin this long before the traffic.
const LIVE_LEAD_S: i64 = 5;
