//! Raw tables with requests in them, as a collector would have written them.

use std::path::Path;
use std::time::Duration;

use engine::Config;
use join::{SECOND, Settings};
use store::{Progress, Store, Table};
use tables::{AccessLog, ClusterObject, Exchange, Heartbeat, Micros, Origin, Row, cluster};

/// Start of the first window of every scene, seconds.
pub(crate) const T0: i64 = 1_795_262_400;

const INGRESS_IP: &str = "10.244.2.2";
const NODE_IP: &str = "10.89.0.11";

pub(crate) struct Scene {
    pub(crate) folder: tempfile::TempDir,
    store: Store,
    ingest_seq: i64,
}

impl Scene {
    /// A cluster with one node and an ingress, and nothing that happened yet.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).await.unwrap();
        let mut scene = Self { folder, store, ingest_seq: 0 };
        let pod = cluster::Pod {
            node_name: Some("node-1".into()),
            ips: vec![INGRESS_IP.into()],
            phase: "Running".into(),
            ..Default::default()
        };
        let node = cluster::Node { addresses: vec![NODE_IP.into()], ..Default::default() };
        let objects = [
            ("pod", "ingress-0", serde_json::to_string(&pod).unwrap()),
            ("node", "node-1", serde_json::to_string(&node).unwrap()),
        ];
        let rows = objects.map(|(kind, name, body)| ClusterObject {
            kind: kind.into(),
            uid: format!("uid-{name}"),
            namespace: "shop".into(),
            name: name.into(),
            change: "snapshot".into(),
            body,
            ..ClusterObject::from_origin(&scene.origin(-60 * SECOND))
        });
        scene.append(&rows).await;
        scene
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            tables: self.folder.path().to_str().unwrap().to_owned(),
            job: "live".to_owned(),
            settings: Settings { lateness_ns: 40 * SECOND, ..Settings::default() },
            poll: Duration::from_millis(20),
        }
    }

    /// A request that ends at this second after the start, as the ingress saw it.
    pub(crate) async fn request(&mut self, end_s: i64) {
        let end_ns = end_s * SECOND + SECOND / 2;
        let exchange = Exchange {
            role: "server".into(),
            pod_uid: Some("uid-ingress-0".into()),
            local_ip: INGRESS_IP.into(),
            local_port: 80,
            remote_ip: NODE_IP.into(),
            remote_port: 40_000 + end_s as i32,
            socket_cookie: end_s,
            tcp_seq_req: 1_000 + end_s,
            tcp_seq_resp: Some(2_000 + end_s),
            start_ns: (T0 * SECOND) + end_ns - 80_000_000,
            first_response_ns: Some(T0 * SECOND + end_ns),
            end_ns: T0 * SECOND + end_ns,
            bytes_request: 300,
            bytes_response: 1_000,
            ended_by: "turn".into(),
            ..Exchange::from_origin(&self.origin(end_ns))
        };
        let log = AccessLog {
            emitter_ip: Some(INGRESS_IP.into()),
            request_id: Some(format!("{end_s:032x}")),
            remote_ip: Some(NODE_IP.into()),
            method: Some("GET".into()),
            route: Some("/".into()),
            status: Some(200),
            bytes_received: Some(300),
            end_lo_ns: (T0 + end_s) * SECOND,
            end_hi_ns: (T0 + end_s + 1) * SECOND,
            duration_ns: Some(80_000_000),
            duration_error_ns: 1_000_000,
            ..AccessLog::from_origin(&self.origin((end_s + 1) * SECOND))
        };
        self.append(&[exchange]).await;
        self.append(&[log]).await;
    }

    /// The node says that it has shipped everything up to this second after the start.
    pub(crate) async fn covered_to(&mut self, second: i64) {
        let origin = self.origin(second * SECOND);
        let heartbeat = Heartbeat {
            covered_from_ns: (T0 - 60) * SECOND,
            covered_to_ns: origin.event_ns,
            received_at: Micros(origin.event_ns / 1_000),
            idle_after_ns: 30 * SECOND,
            ..Heartbeat::from_origin(&origin)
        };
        self.append(&[heartbeat]).await;
    }

    /// Runs the live correlator until path has come this far, then stops it.
    pub(crate) async fn run_until(&self, stage: &str, windows: i64) {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let config = self.config();
        let live =
            tokio::spawn(async move { engine::run::follow(&config, stopped).await.unwrap() });
        let wanted = T0 / 10 + windows - 1;
        for _ in 0..500 {
            if let Some(path) = self.store.existing(&tables::spec::<tables::Path>()).await.unwrap()
                && path.progress(&format!("live/{stage}")).await.unwrap() >= Some(wanted)
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.send(true).unwrap();
        live.await.unwrap();
        let path = self.table::<tables::Path>().await;
        let reached = path.progress(&format!("live/{stage}")).await.unwrap();
        assert!(reached >= Some(wanted), "{stage} reached {reached:?}, not {wanted}");
    }

    /// Every row of a table, sorted by its text.
    pub(crate) async fn rows<R: Row + std::fmt::Debug>(&self) -> Vec<R> {
        let table = self.table::<R>().await;
        let files = table.snapshot().await.unwrap().files;
        let mut rows = Vec::new();
        for batch in table.read(&files).await.unwrap() {
            rows.extend(tables::from_batch::<R>(&batch).unwrap());
        }
        rows.sort_by_key(|row| format!("{row:?}"));
        rows
    }

    /// (window after the start, stage) of each path, sorted.
    pub(crate) async fn stages(&self) -> Vec<(i64, String)> {
        let rows = self.rows::<tables::Path>().await;
        let mut stages: Vec<_> = rows.into_iter().map(|p| ((p.win - T0) / 10, p.stage)).collect();
        stages.sort();
        stages
    }

    pub(crate) fn log(&self, table: &str) -> std::path::PathBuf {
        self.folder.path().join(table).join("_delta_log")
    }

    pub(crate) fn versions(&self, table: &str) -> usize {
        std::fs::read_dir(self.log(table)).unwrap().count()
    }

    /// Takes back the newest commit with rows and what came after it, as if the process had died
    /// before. A table that never had rows stays as it is.
    pub(crate) fn undo(&self, table: &str) {
        let entry = |version: usize| self.log(table).join(format!("{version:020}.json"));
        let has_rows =
            |version: &usize| std::fs::read_to_string(entry(*version)).unwrap().contains("\"add\"");
        let versions = 0..self.versions(table);
        if let Some(newest) = versions.clone().rev().find(has_rows) {
            for version in newest..versions.end {
                std::fs::remove_file(entry(version)).unwrap();
            }
        }
    }

    /// Another process: nothing is remembered but the tables.
    pub(crate) async fn restart(&mut self) {
        self.store = open(self.folder.path()).await;
    }

    async fn table<R: Row>(&self) -> Table {
        let store = open(self.folder.path()).await;
        store.table(&tables::spec::<R>()).await.unwrap()
    }

    fn origin(&mut self, event_ns: i64) -> Origin {
        self.ingest_seq += 1;
        Origin {
            source: "agent".into(),
            node: "node-1".into(),
            event_ns: T0 * SECOND + event_ns,
            collector: "collector-1".into(),
            ingest_seq: self.ingest_seq,
            ..Default::default()
        }
    }

    async fn append<R: Row>(&self, rows: &[R]) {
        let table = self.store.table(&tables::spec::<R>()).await.unwrap();
        let prefix = format!("collector-1-{}", self.ingest_seq);
        let staged = table.stage_rows(rows, &prefix).await.unwrap();
        let progress = Progress::new("collector-1", self.ingest_seq);
        table.append(staged, progress).await.unwrap();
    }
}

async fn open(folder: &Path) -> Store {
    Store::open(folder.to_str().unwrap()).await.unwrap()
}
