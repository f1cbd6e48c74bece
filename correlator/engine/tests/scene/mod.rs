//! Raw tables with requests in them, as a collector would have written them.

// Each test file uses a part of it.
#![allow(dead_code)]

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
const SECOND_NODE_IP: &str = "10.89.0.12";
const SHOP_IP: &str = "10.244.1.5";
const CART_IP: &str = "10.244.2.5";

/// When the nodes booted, after the epoch.
const BOOTED_NS: i64 = (T0 - 3_600) * SECOND;

/// Ports of an exchange tell which of the scene's connections it is on.
const REQUEST_PORT: i32 = 40_000;
const CALL_PORT: i32 = 50_000;
const LONG_PORT: i32 = 30_000;

/// A client outside the cluster that needs no translation.
const OUTSIDE: &str = "ext-00000000000000aa";

pub(crate) struct Scene {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) settings: Settings,
    store: Store,
    ingest_seq: i64,
    /// Those whose agents report.
    nodes: Vec<&'static str>,
}

/// The settings of every scene, without its tables.
pub(crate) fn config() -> Config {
    Config {
        settings: Settings {
            lateness_ns: 40 * SECOND,
            revise_after_ns: vec![20 * SECOND, 30 * SECOND],
            ..Settings::default()
        },
        poll: Duration::from_millis(20),
        ..Config::new("")
    }
}

impl Scene {
    /// A cluster with one node and an ingress, and nothing that happened yet.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).await.unwrap();
        let settings = config().settings;
        let mut scene = Self { folder, settings, store, ingest_seq: 0, nodes: vec!["node-1"] };
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
        let rows = objects.map(|(kind, name, body)| scene.object(kind, name, body));
        scene.append(&rows).await;
        scene
    }

    /// What the live files of the derived tables are, by their content.
    pub(crate) async fn derived_files(&self) -> Vec<String> {
        self.files_of(|spec| spec.layer == tables::Layer::Derived).await
    }

    /// The same of all tables.
    pub(crate) async fn files(&self) -> Vec<String> {
        self.files_of(|_| true).await
    }

    async fn files_of(&self, wanted: impl Fn(&tables::TableSpec) -> bool) -> Vec<String> {
        let mut names = Vec::new();
        let store = open(self.folder.path()).await;
        for spec in tables::all().into_iter().filter(wanted) {
            let Some(table) = store.existing(&spec).await.unwrap() else { continue };
            let files = table.snapshot().await.unwrap().files;
            names.extend(files.into_iter().map(|file| format!("{}/{}", spec.name, file.path)));
        }
        names.sort();
        names
    }

    /// Leaves only the raw tables.
    pub(crate) fn remove_derived(&self) {
        for spec in tables::all().into_iter().filter(|spec| spec.layer == tables::Layer::Derived) {
            let folder = self.folder.path().join(spec.name);
            if folder.exists() {
                std::fs::remove_dir_all(folder).unwrap();
            }
        }
    }

    /// The same tables, with what is written to them from now on apart.
    pub(crate) async fn copy(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(self.folder.path(), folder.path());
        let store = open(folder.path()).await;
        let (settings, nodes) = (self.settings.clone(), self.nodes.clone());
        Self { folder, settings, store, ingest_seq: self.ingest_seq, nodes }
    }

    pub(crate) fn config(&self) -> Config {
        let tables = self.folder.path().to_str().unwrap().to_owned();
        Config { tables, settings: self.settings.clone(), ..config() }
    }

    /// A request that ends at this second after the start, as the ingress saw it.
    pub(crate) async fn request(&mut self, end_s: i64) {
        let end_ns = end_s * SECOND + SECOND / 2;
        let exchange = Exchange {
            remote_ip: NODE_IP.into(),
            remote_port: REQUEST_PORT + end_s as i32,
            ..self.exchange("server", end_ns - 80_000_000..end_ns)
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

    /// A call that the ingress makes for the request that ends at this second.
    pub(crate) async fn call(&mut self, end_s: i64) {
        let end_ns = end_s * SECOND + SECOND / 2;
        let exchange = Exchange {
            remote_ip: "10.244.9.9".into(),
            remote_port: 8_080,
            local_port: CALL_PORT + end_s as i32,
            ..self.exchange("client", end_ns - 60_000_000..end_ns - 20_000_000)
        };
        self.append(&[exchange]).await;
    }

    /// What the agent reports at its last second of a request that goes on for long, on a connection
    /// of its own. A stream that is open is reported more than once.
    pub(crate) async fn long_request(&mut self, seconds: std::ops::Range<i64>, ended_by: &str) {
        let at = seconds.start * SECOND..seconds.end * SECOND;
        let exchange = self.exchange("server", at.clone());
        let exchange = Exchange {
            remote_ip: OUTSIDE.into(),
            remote_port: LONG_PORT + seconds.start as i32,
            first_response_ns: Some(exchange.start_ns + SECOND / 10),
            is_stream: Some(ended_by != "turn"),
            ended_by: ended_by.into(),
            ..exchange
        };
        self.append(&[exchange]).await;
    }

    /// A call that the ingress makes for a tenth of this second.
    pub(crate) async fn call_during(&mut self, second: i64) {
        let exchange = Exchange {
            remote_ip: "10.244.9.9".into(),
            remote_port: 8_080,
            local_port: CALL_PORT + second as i32,
            ..self.exchange("client", second * SECOND..second * SECOND + SECOND / 10)
        };
        self.append(&[exchange]).await;
    }

    /// An exchange at this second that contradicts itself.
    pub(crate) async fn contradiction(&mut self, end_s: i64) {
        let end_ns = end_s * SECOND + SECOND / 4;
        let exchange = Exchange { local_port: -1, ..self.exchange("server", end_ns..end_ns + 1) };
        self.append(&[exchange]).await;
    }

    /// The other end of the request that ends at this second, at a client on the node.
    pub(crate) async fn client_of_request(&mut self, end_s: i64) {
        let end_ns = end_s * SECOND + SECOND / 2;
        let exchange = Exchange {
            pod_uid: None,
            local_ip: NODE_IP.into(),
            local_port: REQUEST_PORT + end_s as i32,
            remote_ip: INGRESS_IP.into(),
            remote_port: 80,
            socket_cookie: 10_000 + end_s,
            ..self.exchange("client", end_ns - 81_000_000..end_ns + 1_000_000)
        };
        self.append(&[exchange]).await;
    }

    /// An exchange that ends before it starts.
    pub(crate) async fn malformed(&mut self, end_s: i64) {
        let mut exchange = self.exchange("server", end_s * SECOND..end_s * SECOND);
        exchange.start_ns += SECOND;
        self.append(&[exchange]).await;
    }

    /// A reset of a connection that nobody used.
    pub(crate) async fn failure(&mut self, at_s: i64) {
        let failure = tables::Failure {
            kind: "reset".into(),
            ..tables::Failure::from_origin(&self.origin(at_s * SECOND))
        };
        self.append(&[failure]).await;
    }

    fn exchange(&mut self, role: &str, at: std::ops::Range<i64>) -> Exchange {
        let number = at.start.div_euclid(SECOND);
        Exchange {
            role: role.into(),
            pod_uid: Some("uid-ingress-0".into()),
            local_ip: INGRESS_IP.into(),
            local_port: 80,
            socket_cookie: number,
            tcp_seq_req: 1_000 + number,
            tcp_seq_resp: Some(2_000 + number),
            start_ns: T0 * SECOND + at.start,
            first_response_ns: Some(T0 * SECOND + at.end),
            end_ns: T0 * SECOND + at.end,
            bytes_request: 300,
            bytes_response: 1_000,
            thread: 7,
            process: 7,
            response_thread: Some(7),
            ended_by: "turn".into(),
            ..Exchange::from_origin(&self.origin(at.end))
        }
    }

    /// Calls of a pod on the first node to a pod on the second, one each 40 ms from the first second
    /// on, with what both agents say of them.
    pub(crate) async fn pairs(&mut self, numbers: std::ops::Range<i64>) {
        let ends = numbers.flat_map(|number| self.ends(number, 1_000 + number * 40));
        let ends: Vec<Exchange> = ends.collect();
        self.append(&ends).await;
    }

    /// The same where neither agent saw a byte of it, through a masquerade without a record.
    pub(crate) async fn unnumbered_pair(&mut self, number: i64, at_ms: i64) {
        let mut ends = self.ends(number, at_ms);
        for end in &mut ends {
            (end.tcp_seq_req, end.tcp_seq_resp) = (-1, None);
        }
        ends[1].remote_ip = NODE_IP.into();
        ends[1].remote_port += 20_000;
        self.append(&ends).await;
    }

    fn ends(&mut self, number: i64, at_ms: i64) -> [Exchange; 2] {
        let (start_ns, ms) = (at_ms * SECOND / 1_000, SECOND / 1_000);
        // The network delays each by another time, there and back: by more than stamps may be late.
        let delay_ns = |salt: i64| ms / 10 + (number * salt).rem_euclid(900) * ms / 1_000;
        let port = 20_000 + i32::try_from(number).unwrap();
        let end = |exchange: Exchange, pod: &str, socket_cookie: i64| Exchange {
            pod_uid: Some(format!("uid-{pod}")),
            tcp_seq_req: 100_000 + number,
            tcp_seq_resp: Some(200_000 + number),
            socket_cookie,
            thread: 1,
            response_thread: Some(1),
            ..exchange
        };
        let client = Exchange {
            local_ip: SHOP_IP.into(),
            local_port: port,
            remote_ip: CART_IP.into(),
            remote_port: 8_080,
            ..self.exchange("client", start_ns..start_ns + 10 * ms)
        };
        let server = Exchange {
            node: "node-2".into(),
            local_ip: CART_IP.into(),
            local_port: 8_080,
            remote_ip: SHOP_IP.into(),
            remote_port: port,
            ..self.exchange("server", start_ns + delay_ns(37)..start_ns + 10 * ms - delay_ns(101))
        };
        [end(client, "shop-0", 30_000 + number), end(server, "cart-0", 40_000 + number)]
    }

    /// A second node, with the pods that [`Self::pairs`] is about.
    pub(crate) async fn second_node(&mut self) {
        let pod = |ip: &str, node: &str| cluster::Pod {
            node_name: Some(node.into()),
            ips: vec![ip.into()],
            phase: "Running".into(),
            ..Default::default()
        };
        let node = cluster::Node { addresses: vec![SECOND_NODE_IP.into()], ..Default::default() };
        let objects = [
            ("pod", "shop-0", serde_json::to_string(&pod(SHOP_IP, "node-1")).unwrap()),
            ("pod", "cart-0", serde_json::to_string(&pod(CART_IP, "node-2")).unwrap()),
            ("node", "node-2", serde_json::to_string(&node).unwrap()),
        ];
        let rows = objects.map(|(kind, name, body)| self.object(kind, name, body));
        self.append(&rows).await;
        self.nodes.push("node-2");
    }

    fn object(&mut self, kind: &str, name: &str, body: String) -> ClusterObject {
        ClusterObject {
            kind: kind.into(),
            uid: format!("uid-{name}"),
            namespace: "shop".into(),
            name: name.into(),
            change: "snapshot".into(),
            body,
            ..ClusterObject::from_origin(&self.origin(-60 * SECOND))
        }
    }

    /// The nodes say that they have shipped everything up to this second after the start.
    pub(crate) async fn covered_to(&mut self, second: i64) {
        for node in self.nodes.clone() {
            let heartbeat = Heartbeat { node: node.into(), ..self.heartbeat(second) };
            self.append(&[heartbeat]).await;
        }
    }

    fn heartbeat(&mut self, second: i64) -> Heartbeat {
        let origin = self.origin(second * SECOND);
        Heartbeat {
            covered_from_ns: (T0 - 60) * SECOND,
            covered_to_ns: origin.event_ns,
            received_at: Micros(origin.event_ns / 1_000),
            idle_after_ns: 30 * SECOND,
            clock_epoch_ns: BOOTED_NS,
            clock_boot_ns: origin.event_ns - BOOTED_NS,
            clock_wall_ns: origin.event_ns,
            ..Heartbeat::from_origin(&origin)
        }
    }

    /// Makes a table's log longer by versions that change nothing.
    pub(crate) fn lengthen_log(&self, table: &str, versions: usize) {
        let known = self.versions(table);
        for version in known..known + versions {
            let info = format!("{{\"commitInfo\":{{\"timestamp\":{}}}}}", T0 * 1_000);
            std::fs::write(self.log(table).join(format!("{version:020}.json")), info).unwrap();
        }
    }

    /// Runs the live correlator until it has come this far, then stops it.
    pub(crate) async fn run_until(&self, stage: &str, windows: i64) {
        follow_until(&self.config(), stage, windows).await;
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

    /// What the commits of a table say of themselves is as an earlier release wrote it.
    pub(crate) fn forget_metadata(&self, table: &str) {
        for entry in std::fs::read_dir(self.log(table)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text.replace("userMetadata", "otherMetadata")).unwrap();
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

/// Follows until a stage has come this far: path in windows, data_quality in commits of late rows.
pub(crate) async fn follow_until(config: &Config, stage: &str, count: i64) {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let own = config.clone();
    let live = tokio::spawn(async move { engine::run::follow(&own, stopped).await.unwrap() });
    let (spec, wanted) = match stage {
        "late" => (tables::spec::<tables::DataQuality>(), count),
        _ => (tables::spec::<tables::Path>(), T0 / 10 + count - 1),
    };
    let store = open(Path::new(&config.tables)).await;
    let reached = async || {
        let table = store.existing(&spec).await.unwrap()?;
        table.progress(&format!("live/{stage}")).await.unwrap()
    };
    for _ in 0..6_000 {
        if reached().await >= Some(wanted) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.send(true).unwrap();
    live.await.unwrap();
    let reached = reached().await;
    assert!(reached >= Some(wanted), "{stage} reached {reached:?}, not {wanted}");
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

async fn open(folder: &Path) -> Store {
    Store::open(folder.to_str().unwrap()).await.unwrap()
}
