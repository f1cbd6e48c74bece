//! The Kubernetes watch: versions of the objects that own addresses, as rows with a time.
//!
//! A full snapshot is written at the start and each hour, a change row on each event, and a
//! heartbeat while, and only while, all watches are known to be current. What a row says holds at
//! its event time; nothing here says what is true "now" to anyone else.

mod body;
mod history;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tables::{ClusterObject, Heartbeat, Origin};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::batch::{Batch, Rows, Sender};
use crate::receive::Intake;
use crate::shutdown::Shutdown;
use history::{Change, History, Observation};
pub use watch::{ConnectError, Watch, connect};

const SOURCE: &str = "kubernetes";
const NODE: &str = "cluster";
/// A window reads the snapshot before it and the changes since: an hour of a busy cluster's
/// changes is about as large as a snapshot of it.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(3_600);
/// Events that wait for the spool; a watch that finds no room simply reads more slowly.
const EVENTS_MAX: usize = 4_096;
/// Silent heartbeats after which the source is to be taken for idle.
const IDLE_AFTER_HEARTBEATS: i64 = 6;

/// Writes snapshots, changes and heartbeats until shutdown.
pub async fn follow(
    intake: Arc<Intake>,
    watch: Watch,
    heartbeat_interval: Duration,
    shutdown: Shutdown,
) {
    let (sender, mut observations) = mpsc::channel(EVENTS_MAX);
    let watching = watch.start(&sender);
    drop(sender);
    let mut follower = Follower {
        intake,
        shutdown: shutdown.clone(),
        history: History::default(),
        snapshot_due: None,
        covered_to_ns: None,
        heartbeat_interval,
    };
    let mut heartbeats = tokio::time::interval(heartbeat_interval);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut received = Vec::new();
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            count = observations.recv_many(&mut received, EVENTS_MAX) => {
                if count == 0 {
                    break;
                }
                follower.observe(received.drain(..)).await;
            }
            _ = heartbeats.tick() => {
                // The moment is taken before the question, so that the answer holds for it.
                let asked_ns = (follower.intake.now_ns)();
                if follower.history.is_current() && watch.answers().await {
                    while let Ok(observation) = observations.try_recv() {
                        received.push(observation);
                    }
                    follower.observe(received.drain(..)).await;
                    follower.heartbeat(asked_ns).await;
                }
            }
        }
    }
    drop(watching);
}

struct Follower {
    intake: Arc<Intake>,
    shutdown: Shutdown,
    history: History,
    /// `None` until every kind was listed once.
    snapshot_due: Option<Instant>,
    /// End of the time covered so far; `None` after a gap.
    covered_to_ns: Option<i64>,
    heartbeat_interval: Duration,
}

impl Follower {
    async fn observe(&mut self, observations: impl Iterator<Item = Observation>) {
        let mut changes = Vec::new();
        for observation in observations {
            changes.extend(self.history.observe(observation));
        }
        let is_due = self.snapshot_due.is_none_or(|due| Instant::now() >= due);
        if self.history.was_listed() && is_due {
            self.snapshot_due = Some(Instant::now() + SNAPSHOT_INTERVAL);
            changes = self.history.snapshot();
        } else if self.snapshot_due.is_none() {
            // What comes before the first snapshot is in it.
            return;
        }
        if !self.history.is_current() {
            self.covered_to_ns = None;
        }
        self.store(|origin| Rows {
            cluster_objects: changes.iter().zip(0..).map(|(c, i)| row(c, i, origin)).collect(),
            ..Rows::default()
        })
        .await;
    }

    async fn heartbeat(&mut self, asked_ns: i64) {
        // A watch may have failed, or the next snapshot be due, since the question was asked.
        self.observe(std::iter::empty()).await;
        if !self.history.is_current() {
            return;
        }
        let covered_from_ns = self.covered_to_ns.unwrap_or(asked_ns);
        let interval_ns = i64::try_from(self.heartbeat_interval.as_nanos()).unwrap_or(i64::MAX);
        self.covered_to_ns = Some(asked_ns);
        self.store(|origin| {
            let heartbeat = Heartbeat {
                covered_from_ns,
                covered_to_ns: asked_ns,
                clock_wall_ns: origin.received_ns,
                idle_after_ns: interval_ns.saturating_mul(IDLE_AFTER_HEARTBEATS),
                ..Heartbeat::from_origin(&Origin { event_ns: asked_ns, ..origin.clone() })
            };
            Rows { heartbeats: vec![heartbeat], ..Rows::default() }
        })
        .await;
    }

    async fn store(&self, rows: impl FnOnce(&Origin) -> Rows) {
        let sender = Sender {
            source: SOURCE.to_owned(),
            node: NODE.to_owned(),
            boot_id: self.intake.life.clone(),
        };
        let rows = rows(&self.intake.origin(&sender, None));
        if !rows.is_empty() {
            let batch = Batch { sender, sequence: None, rows };
            self.intake.store_patiently(batch, &self.shutdown).await;
        }
    }
}

fn row(change: &Change, item: i32, origin: &Origin) -> ClusterObject {
    let object = &change.object;
    ClusterObject {
        kind: object.kind.word().to_owned(),
        uid: object.uid.clone(),
        namespace: object.namespace.clone(),
        name: object.name.clone(),
        resource_version: object.resource_version.clone(),
        change: change.what.to_owned(),
        body: object.body.to_json(),
        ..ClusterObject::from_origin(&Origin { item, ..origin.clone() })
    }
}
