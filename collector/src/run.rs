//! The collector as a whole: opens what is behind, then the doors, and closes in the same order.
//!
//! At the end: doors first, so that nothing new comes; then the spool, which answers what is under
//! way; then the tables, which take what is spooled. Whatever does not finish in time is on disk.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use store::{Store, StoreError};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};

use crate::admit::Admission;
use crate::append::{Appender, DeltaTables, RawTables};
use crate::cluster;
use crate::config::{Config, Kubernetes};
use crate::ledger::Ledger;
use crate::limits::{self, Limits};
use crate::receive::{self, Intake};
use crate::secret::{self, SecretError};
use crate::shutdown::{self, Shutdown, Stop};
use crate::spool::{self, Disk, OpenError, Spool};

/// How long doors may take to answer what they had accepted. With the spool's and the tables'
/// share the whole end stays below the 25 s before Kubernetes kills.
const DOORS_CLOSE: Duration = Duration::from_secs(8);
const LEDGER_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Tables(#[from] StoreError),
    #[error(transparent)]
    Spool(#[from] OpenError),
    #[error("listen on {address} for {door}")]
    Listen { door: &'static str, address: SocketAddr, source: io::Error },
    #[error("draw a life id")]
    Life(#[source] io::Error),
    #[error("watch Kubernetes")]
    Cluster(#[source] cluster::ConnectError),
    #[error("read the spool back")]
    ReadBack(#[source] io::Error),
    #[error("keep the door for {0} open")]
    Door(&'static str),
    #[error("sync the spool: nothing was acknowledged after the failure")]
    SpoolBroken,
}

/// Runs until a stop is requested, a door fails for good, or the spool breaks.
///
/// # Errors
/// When something could not be opened, or broke.
pub async fn run(config: Config, requested: Shutdown) -> Result<(), RunError> {
    let ledger = Arc::new(Ledger::default());
    let secret = secret::load(&config.hash_key_file)?;
    let store = Store::open(&config.tables).await?;
    let tables = DeltaTables::open(&store).await?;
    let progress = tables.progress(&config.name).await?;
    let floor = progress.values().max().map_or(0, |&position| position.unsigned_abs());
    let spool_config = spool::Config {
        directory: config.spool.clone(),
        segment_bytes: spool::SEGMENT_BYTES,
        bytes_max: config.spool_max,
    };
    let opened = spool::open(Disk, &spool_config, floor, Arc::clone(&ledger))?;
    tracing::info!(
        last_position = opened.recovery.last.max(floor),
        batches = opened.recovery.batches,
        damaged_bytes = opened.recovery.damaged_bytes,
        "spool recovered"
    );
    let appender = Appender {
        tables,
        reader: opened.reader,
        trim: opened.trim,
        ledger: Arc::clone(&ledger),
        collector: config.name.clone(),
        progress,
        commit_interval: config.commit_interval,
    };
    let intake = Arc::new(Intake {
        spool: opened.spool.clone(),
        admission: Admission::new(&secret, config.cluster_cidrs.clone()),
        limits: Limits::new(
            config.http_body_max,
            limits::BYTES_IN_FLIGHT_MAX,
            limits::CONNECTIONS_MAX,
            Arc::clone(&ledger),
        ),
        ledger: Arc::clone(&ledger),
        syslog_format: config.syslog_format,
        collector: config.name.clone(),
        life: secret::life_id().map_err(RunError::Life)?,
        now_ns,
    });
    let (stop, shutdown) = shutdown::channel();
    let mut doors = open_doors(&config, &intake, &shutdown).await?;
    let appending = tokio::spawn(appender.run());
    let logging = tokio::spawn(log_each_minute(Arc::clone(&ledger)));
    tracing::info!(name = config.name, "ready");

    let ended = wait(&requested, &mut doors, &opened.spool).await;
    let closed = close(stop, doors, opened.spool, opened.writer, appending).await;
    store.settle().await;
    logging.abort();
    ledger.log();
    ended.and(closed)
}

/// A task that serves one door. It ends with an error only when the door can't be kept open.
type Doors = JoinSet<Result<(), RunError>>;

async fn open_doors(
    config: &Config,
    intake: &Arc<Intake>,
    shutdown: &Shutdown,
) -> Result<Doors, RunError> {
    let limits = &intake.limits;
    let otlp_grpc = limits.listener(bind("OTLP/gRPC", config.otlp_grpc).await?);
    let otlp_http = limits.listener(bind("OTLP/HTTP", config.otlp_http).await?);
    let agent = limits.listener(bind("agents", config.agent).await?);
    let syslog_tcp = limits.listener(bind("syslog", config.syslog).await?);
    let syslog_udp = UdpSocket::bind(config.syslog).await.map_err(|source| RunError::Listen {
        door: "syslog",
        address: config.syslog,
        source,
    })?;
    let watch = match &config.kubernetes {
        Kubernetes::Off => None,
        Kubernetes::InCluster => Some(cluster::connect(None).await),
        Kubernetes::Kubeconfig(path) => Some(cluster::connect(Some(path)).await),
    };
    let watch = watch.transpose().map_err(RunError::Cluster)?;

    let mut doors = Doors::new();
    let own = || (Arc::clone(intake), shutdown.clone());
    let (intake, stop) = own();
    doors.spawn(named("OTLP/gRPC", receive::otlp_grpc::serve(intake, otlp_grpc, stop)));
    let (intake, stop) = own();
    doors.spawn(named("OTLP/HTTP", receive::otlp_http::serve(intake, otlp_http, stop)));
    let (intake, stop) = own();
    doors.spawn(named("agents", receive::agent::serve(intake, agent, stop)));
    let (intake, stop) = own();
    doors.spawn(named("syslog", receive::syslog::serve_udp(intake, syslog_udp, stop)));
    let (intake, stop) = own();
    doors.spawn(unfailing(receive::syslog::serve_tcp(intake, syslog_tcp, stop)));
    for tailed in config.tail.clone() {
        let (intake, stop) = own();
        doors.spawn(unfailing(receive::file::follow(intake, tailed, stop)));
    }
    if let Some(watch) = watch {
        let (intake, stop) = own();
        doors.spawn(unfailing(cluster::follow(intake, watch, config.heartbeat_interval, stop)));
    }
    Ok(doors)
}

async fn bind(door: &'static str, address: SocketAddr) -> Result<TcpListener, RunError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| RunError::Listen { door, address, source })
}

async fn named<E: std::error::Error>(
    door: &'static str,
    serving: impl Future<Output = Result<(), E>>,
) -> Result<(), RunError> {
    serving.await.map_err(|error| {
        tracing::error!(door, %error, "a door can't be kept open");
        RunError::Door(door)
    })
}

async fn unfailing(serving: impl Future<Output = ()>) -> Result<(), RunError> {
    serving.await;
    Ok(())
}

/// Until there is a reason to end.
async fn wait(requested: &Shutdown, doors: &mut Doors, spool: &Spool) -> Result<(), RunError> {
    loop {
        tokio::select! {
            () = requested.requested() => return Ok(()),
            () = spool.closed() => return Err(RunError::SpoolBroken),
            Some(ended) = doors.join_next() => match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(RunError::Door("one of its senders")),
            },
        }
    }
}

async fn close(
    stop: Stop,
    mut doors: Doors,
    spool: Spool,
    writer: std::thread::JoinHandle<bool>,
    appending: JoinHandle<io::Result<()>>,
) -> Result<(), RunError> {
    stop.request();
    let closing = async { while doors.join_next().await.is_some() {} };
    if tokio::time::timeout(DOORS_CLOSE, closing).await.is_err() {
        tracing::warn!("some connections were cut; what they sent was not acknowledged");
        doors.abort_all();
    }
    spool.close().await;
    let all_synced = tokio::task::spawn_blocking(move || writer.join()).await;
    if !matches!(all_synced, Ok(Ok(true))) {
        return Err(RunError::SpoolBroken);
    }
    match appending.await {
        Ok(appended) => appended.map_err(RunError::ReadBack),
        Err(_) => Err(RunError::Door("the raw tables")),
    }
}

async fn log_each_minute(ledger: Arc<Ledger>) {
    loop {
        tokio::time::sleep(LEDGER_INTERVAL).await;
        ledger.log();
    }
}

/// Nanoseconds since the Unix epoch. A clock before it counts as standing at it.
fn now_ns() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}
