//! The agent's one loop: drain the ring buffer, sweep the sockets, dump conntrack, beat the heart.

use std::collections::HashSet;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use agent_ebpf::abi::{Tuple, counter};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{debug, info, warn};
use wire::{Heartbeat, Record, RecordKind};

use crate::attribution::Attributor;
use crate::batch::Outbox;
use crate::clock::Epoch;
use crate::config::Config;
use crate::coverage::Coverage;
use crate::export::{AddressError, Exporter, Shelf};
use crate::kernel::{self, Kernel, KernelError};
use crate::observer::Observer;
use crate::{clock, conntrack, dump, record};

/// Records taken from the ring buffer before the loop looks at its timers again: about 10 ms.
const DRAIN_BATCH: usize = 4_096;

/// Records drained at a sweep: more than the ring buffer holds, so that a producer that never
/// stops cannot hold the sweep for ever.
const DRAIN_SWEEP: usize = 65_536;

/// How long records wait for others before they are shipped.
const SEAL_INTERVAL: Duration = Duration::from_millis(500);

/// Silent heartbeats after which nobody waits for this node: longer than a batch that is sent twice
/// takes, shorter than a restart.
const IDLE_AFTER_HEARTBEATS: u64 = 5;

/// How long the last batches may take to reach the collector after the signal to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("failed to read the ring buffer")]
    Ring(#[source] io::Error),
    #[error("failed to print a record")]
    Print(#[source] io::Error),
    #[error("the base tier is not there:\n{0}")]
    BaseTier(String),
}

/// Where records go.
enum Sink {
    Collector(Shelf),
    Print,
}

struct Agent {
    config: Config,
    kernel: Kernel,
    observer: Observer,
    sink: Sink,
    fresh: Vec<Record>,
    /// Records handed to the sink since the last heartbeat.
    shipped: u64,
    coverage: Coverage,
    epoch: Epoch,
}

/// Runs until `stop` completes.
///
/// # Errors
/// When the base tier does not load, or the ring buffer fails. A collector that is away is none.
pub async fn run(
    config: Config,
    print: bool,
    stop: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let netns = kernel::own_netns_cookie()?;
    let kernel = Kernel::load(&config.programs)?;
    if !kernel.manifest.base_tier_loaded() {
        return Err(RunError::BaseTier(kernel.manifest.render()));
    }
    let start_ns = clock::boot_ns();
    info!(
        node = config.node, netns, programs = %config.programs.display(),
        digest = &kernel.programs_digest[..16], manifest = kernel.manifest.id(), "started"
    );
    let attributor = Attributor::new(netns, config.cgroup_root.clone());
    let active_timeout_ns = nanoseconds(config.active_timeout);
    let observer = Observer::new(attributor, config.excluded.clone(), netns, active_timeout_ns);
    let outbox = Outbox::new(config.node.clone(), kernel::life_id(start_ns), config.memory_max);
    let shelf = Shelf::new(outbox);
    let exporter = match (&config.collector, print) {
        (Some(collector), false) => Some(Exporter::new(collector, shelf.clone())?),
        _ => None,
    };
    let exporting = exporter.map(|exporter| tokio::spawn(exporter.run()));
    let sink = if exporting.is_some() { Sink::Collector(shelf.clone()) } else { Sink::Print };
    let sees_requests = kernel.manifest.sees_requests();
    let mut agent = Agent {
        fresh: kernel.manifest.records(start_ns),
        config,
        kernel,
        observer,
        sink,
        shipped: 0,
        coverage: Coverage::new(start_ns, sees_requests),
        epoch: Epoch::of(clock::sample()),
    };
    let outcome = agent.follow(stop).await;
    if let Some(exporting) = exporting {
        let emptied = tokio::time::timeout(STOP_TIMEOUT, emptied(&shelf)).await;
        if emptied.is_err() {
            warn!(totals = ?shelf.outbox().totals(), "stopped before the collector had everything");
        }
        exporting.abort();
    }
    outcome
}

async fn emptied(shelf: &Shelf) {
    while !shelf.outbox().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Agent {
    async fn follow(&mut self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let mut stop = std::pin::pin!(stop);
        let mut sweep = timer(self.config.sweep);
        let mut heartbeat = timer(self.config.heartbeat_interval);
        let mut tracked = timer(self.config.conntrack_interval);
        let mut seal = timer(SEAL_INTERVAL);
        self.dump_conntrack().await;
        self.ship()?;
        loop {
            let Self { kernel, observer, fresh, .. } = self;
            let offsets = Arc::clone(&kernel.offsets);
            tokio::select! {
                biased;
                () = &mut stop => return self.stop(),
                _ = heartbeat.tick() => self.heartbeat(self.config.sweep),
                _ = sweep.tick() => self.sweep(self.config.sweep),
                _ = tracked.tick() => self.dump_conntrack().await,
                _ = seal.tick() => self.seal(),
                outcome = kernel.next(DRAIN_BATCH, |bytes| observer.event(bytes, &offsets, fresh)) => {
                    outcome.map_err(RunError::Ring)?;
                }
            }
            self.ship()?;
        }
    }

    /// The last look: turns that have a response are shipped as they stand, and the heartbeat
    /// covers everything until now.
    fn stop(&mut self) -> Result<(), RunError> {
        self.heartbeat(Duration::ZERO);
        self.ship()?;
        self.seal();
        Ok(())
    }

    /// Ships the turns that were silent for `quiet`.
    fn sweep(&mut self, quiet: Duration) {
        let now_ns = clock::boot_ns();
        let silent_until_ns = now_ns.saturating_sub(nanoseconds(quiet));
        self.observer.attributor.rescan();
        let lost = self.lost();
        self.coverage.begin_sweep(now_ns, lost);
        self.observer.begin_walk();
        let Self { kernel, observer, fresh, .. } = self;
        kernel.sockets(|cookie, socket| {
            let read_again = || kernel.socket(cookie);
            observer.socket(cookie, &socket, (now_ns, silent_until_ns), read_again, fresh);
        });
        observer.end_walk(now_ns, fresh);
        // A turn that ended during the walk is in the ring buffer, and read before the heartbeat.
        let offsets = Arc::clone(&kernel.offsets);
        let count = kernel.drain(DRAIN_SWEEP, |bytes| observer.event(bytes, &offsets, fresh));
        if count < DRAIN_SWEEP {
            self.coverage.end_sweep(silent_until_ns);
        }
    }

    /// What the kernel half could not record or not make sense of, since the start. What is lost on
    /// the way to the collector the outbox adds to the heartbeats itself.
    fn lost(&mut self) -> u64 {
        let Self { kernel, observer, .. } = self;
        kernel.unfollowed(|owner, calls| observer.unfollowed(owner, calls));
        let skipped = observer.skipped();
        kernel.counters().lost() + skipped.unreadable + skipped.unfollowed
    }

    fn heartbeat(&mut self, quiet: Duration) {
        self.sweep(quiet);
        let interval = self.coverage.close();
        let counters = self.kernel.counters();
        let sample = clock::sample();
        let heartbeat = Heartbeat {
            covered_from_ns: interval.from_ns,
            covered_to_ns: interval.to_ns,
            lost_kernel: interval.lost,
            lost_user: 0,
            shipped: self.shipped + self.fresh.len() as u64,
            clock_boot_ns: sample.boot_ns,
            clock_wall_ns: sample.wall_ns,
            manifest_id: self.kernel.manifest.id(),
            idle_after_ns: nanoseconds(self.config.heartbeat_interval) * IDLE_AFTER_HEARTBEATS,
        };
        debug!(
            shipped = heartbeat.shipped,
            role_unknown = counters.get(counter::ROLE_UNKNOWN),
            resynchronised = counters.get(counter::RESYNCHRONISED),
            contended = counters.get(counter::CONTENDED),
            unreadable = counters.get(counter::UNREADABLE),
            skipped = ?self.observer.skipped(),
            "heartbeat"
        );
        if interval.lost > 0 {
            warn!(interval.lost, "not everything was recorded");
        }
        self.fresh.push(record::record(RecordKind::Heartbeat(heartbeat)));
        self.shipped = 0;
    }

    /// Seeds the roles of connections that are older than the agent, and sights translations.
    async fn dump_conntrack(&mut self) {
        let dumped = tokio::task::spawn_blocking(conntrack::dump).await;
        let entries = match dumped {
            Ok(Ok(entries)) => entries,
            Ok(Err(error)) => {
                warn!(%error, "no connection tracking dump");
                return;
            }
            Err(error) => {
                warn!(%error, "the connection tracking dump failed");
                return;
            }
        };
        let roles: Vec<(Tuple, u8)> = entries.iter().flat_map(conntrack::Entry::roles).collect();
        let current: HashSet<_> = roles.iter().map(|(tuple, _)| tuple.to_bytes()).collect();
        self.kernel.retain_seeds(|key| current.contains(key));
        let refused = roles.iter().filter(|(tuple, role)| !self.kernel.seed(tuple, *role)).count();
        if refused > 0 {
            warn!(refused, "no room for the roles of connections older than the agent");
        }
        self.observer.dump(&entries, clock::boot_ns(), &mut self.fresh);
    }

    fn seal(&mut self) {
        let epoch_ns = self.epoch.follow(clock::sample());
        if let Sink::Collector(shelf) = &self.sink {
            shelf.seal(epoch_ns);
        }
    }

    /// Moves fresh records to where they go.
    fn ship(&mut self) -> Result<(), RunError> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        self.shipped += self.fresh.len() as u64;
        let epoch_ns = self.epoch.follow(clock::sample());
        match &self.sink {
            Sink::Collector(shelf) => {
                let mut outbox = shelf.outbox();
                for record in self.fresh.drain(..) {
                    outbox.push(record, epoch_ns);
                }
            }
            Sink::Print => {
                let mut out = io::stdout().lock();
                for line in self.fresh.drain(..).filter_map(|record| dump::line(&record)) {
                    writeln!(out, "{line}").map_err(RunError::Print)?;
                }
                out.flush().map_err(RunError::Print)?;
            }
        }
        Ok(())
    }
}

fn timer(period: Duration) -> tokio::time::Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
