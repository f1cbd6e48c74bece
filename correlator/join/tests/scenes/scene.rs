//! A small cluster in rows: two nodes, pods, Services, and what agents and proxies would report.
//!
//! Times are milliseconds since the scene's start. Every call is written from both ends, as the
//! kernel would stamp it; a test then takes away or changes what its situation is about.

use arrow::array::RecordBatch;
use arrow::compute::{cast, concat_batches};
use join::{Columns, Observations, Run, SECOND, Settings, Stage, WindowRows};
use tables::{AccessLog, Attempt, ClusterObject, Exchange, Heartbeat, NatBinding, Span, cluster};

use crate::calls::Call;

/// Start of the first window of every scene.
pub(crate) const T0: i64 = 1_700_000_000 * SECOND;

pub(crate) struct Pod {
    pub(crate) name: &'static str,
    pub(crate) ip: &'static str,
    pub(crate) node: &'static str,
}

pub(crate) const INGRESS: Pod = Pod { name: "ingress-0", ip: "10.244.2.2", node: "node-2" };
pub(crate) const FRONTEND_0: Pod = Pod { name: "frontend-0", ip: "10.244.1.3", node: "node-1" };
pub(crate) const FRONTEND_1: Pod = Pod { name: "frontend-1", ip: "10.244.2.3", node: "node-2" };
pub(crate) const CART_0: Pod = Pod { name: "cart-0", ip: "10.244.1.4", node: "node-1" };
pub(crate) const CART_1: Pod = Pod { name: "cart-1", ip: "10.244.2.4", node: "node-2" };
const PODS: [&Pod; 5] = [&INGRESS, &FRONTEND_0, &FRONTEND_1, &CART_0, &CART_1];

pub(crate) const CART_VIP: (&str, i32) = ("10.96.0.10", 80);
const NODE_1: &str = "10.89.0.11";
const CLIENT: &str = "ext-00000000000000aa";

#[derive(Default)]
pub(crate) struct Scene {
    pub(crate) seen: Observations,
    pub(crate) sequence: i64,
}

pub(crate) fn ns(ms: i64) -> i64 {
    T0 + ms * 1_000_000
}

impl Scene {
    /// The cluster with both agents alive from 60 s before the start to 60 s after it.
    pub(crate) fn new() -> Self {
        let mut scene = Self::default();
        for (kind, name, body) in objects() {
            scene.seen.cluster_objects.push(ClusterObject {
                kind: kind.into(),
                uid: format!("uid-{name}"),
                namespace: "shop".into(),
                name: name.into(),
                change: "snapshot".into(),
                event_ns: ns(-60_000),
                body,
                ..Default::default()
            });
        }
        scene.heartbeats("node-1", -60_000, 60_000);
        scene.heartbeats("node-2", -60_000, 60_000);
        scene
    }

    pub(crate) fn heartbeats(&mut self, node: &str, from: i64, to: i64) {
        let mut at = from;
        while at < to {
            let end = (at + 2_000).min(to);
            self.seen.heartbeats.push(Heartbeat {
                source: "agent".into(),
                node: node.into(),
                event_ns: ns(end),
                covered_from_ns: ns(at),
                covered_to_ns: ns(end),
                ..Default::default()
            });
            at = end;
        }
    }

    /// Both exchanges of a call; a microsecond each way on the network.
    pub(crate) fn call(&mut self, call: &Call<'_>) {
        self.sequence += 1;
        let seq = self.sequence * 1_000;
        let socket = call.from_port.into();
        let is_vip = call.to != (call.server.ip, 8080);
        let hairpin = is_vip && call.from.ip == call.server.ip;
        let seen_client = if hairpin {
            ("10.244.1.1", call.from_port + 1)
        } else {
            (call.from.ip, call.from_port)
        };
        let client = Exchange {
            role: "client".into(),
            local_ip: call.from.ip.into(),
            local_port: call.from_port,
            remote_ip: call.to.0.into(),
            remote_port: call.to.1,
            thread: call.client_thread,
            response_thread: Some(call.client_thread),
            ..exchange(call.from, socket, seq, ns(call.start), ns(call.end), call.bytes)
        };
        let (start, end) = (client.start_ns + 1_000, client.end_ns - 1_000);
        let server = Exchange {
            role: "server".into(),
            local_ip: call.server.ip.into(),
            local_port: 8080,
            remote_ip: seen_client.0.into(),
            remote_port: seen_client.1,
            thread: call.server_thread,
            response_thread: Some(call.server_thread),
            ..exchange(call.server, socket + 500_000, seq, start, end, call.bytes)
        };
        self.seen.exchanges.extend([client, server]);
        if is_vip {
            self.bind(
                call.from.node,
                ns(call.start),
                (call.from.ip, call.from_port),
                call.to,
                (call.server.ip, 8080),
                seen_client,
            );
        }
    }

    /// A request from outside through node-1's NodePort to the ingress pod.
    pub(crate) fn arrival(&mut self, client_port: i32, start: i64, end: i64, bytes: i64) {
        self.sequence += 1;
        let masqueraded = (NODE_1, client_port + 10_000);
        self.seen.exchanges.push(Exchange {
            role: "server".into(),
            local_ip: INGRESS.ip.into(),
            local_port: 80,
            remote_ip: masqueraded.0.into(),
            remote_port: masqueraded.1,
            thread: 77,
            response_thread: Some(77),
            ..exchange(
                &INGRESS,
                i64::from(client_port),
                self.sequence * 1_000,
                ns(start),
                ns(end),
                bytes,
            )
        });
        self.bind(
            "node-1",
            ns(start),
            (CLIENT, client_port),
            (NODE_1, 30080),
            (INGRESS.ip, 80),
            masqueraded,
        );
    }

    fn bind(
        &mut self,
        node: &str,
        at_ns: i64,
        source: (&str, i32),
        destination: (&str, i32),
        server: (&str, i32),
        seen_client: (&str, i32),
    ) {
        self.seen.nat_bindings.push(NatBinding {
            node: node.into(),
            event_ns: at_ns,
            protocol: 6,
            original_source_ip: source.0.into(),
            original_source_port: source.1,
            original_destination_ip: destination.0.into(),
            original_destination_port: destination.1,
            reply_source_ip: server.0.into(),
            reply_source_port: server.1,
            reply_destination_ip: seen_client.0.into(),
            reply_destination_port: seen_client.1,
            first_seen_ns: at_ns,
            last_seen_ns: at_ns,
            evidence: "xmit".into(),
            ..Default::default()
        });
    }

    /// The ingress's line of a request that ended at `end`, with its attempts' addresses.
    pub(crate) fn log(
        &mut self,
        id: &str,
        end: i64,
        lasted: i64,
        bytes: i64,
        attempts: &[(&Pod, i64, i32)],
    ) {
        let second = ns(end).div_euclid(SECOND) * SECOND;
        self.sequence += 1;
        self.seen.access_logs.push(AccessLog {
            emitter_ip: Some(INGRESS.ip.into()),
            ingest_seq: self.sequence,
            event_ns: second + SECOND,
            request_id: Some(id.into()),
            remote_ip: Some(NODE_1.into()),
            method: Some("GET".into()),
            route: Some("/checkout/{}".into()),
            status: attempts.last().map(|a| a.2),
            bytes_received: Some(bytes),
            end_lo_ns: second,
            end_hi_ns: second + SECOND,
            duration_ns: Some(lasted * 1_000_000),
            duration_error_ns: 1_000_000,
            attempts: attempts
                .iter()
                .map(|(pod, lasted, status)| Attempt {
                    ip: Some(pod.ip.into()),
                    port: Some(8080),
                    status: Some(*status),
                    duration_ns: Some(lasted * 1_000_000),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
    }

    pub(crate) fn server_span(
        &mut self,
        id: &str,
        parent: Option<&str>,
        pod: &Pod,
        peer: (&str, i32),
        start: i64,
        end: i64,
    ) -> &mut Span {
        self.span("server", id, parent, pod, start, end);
        let span = self.seen.spans.last_mut().unwrap();
        span.peer_ip = Some(peer.0.into());
        span.peer_port = Some(peer.1);
        span
    }

    pub(crate) fn span(
        &mut self,
        kind: &str,
        id: &str,
        parent: Option<&str>,
        pod: &Pod,
        start: i64,
        end: i64,
    ) {
        self.seen.spans.push(Span {
            trace_id: "t".repeat(32),
            span_id: id.into(),
            parent_span_id: parent.map(str::to_owned),
            kind: kind.into(),
            pod_uid: Some(format!("uid-{}", pod.name)),
            start_ns: ns(start),
            end_ns: ns(end),
            event_ns: ns(end),
            ..Default::default()
        });
    }

    /// Rows of the first window.
    pub(crate) fn rows(&self) -> WindowRows {
        self.windows(1).remove(0)
    }

    /// The same before what comes after the window is known.
    pub(crate) fn provisional(&self) -> WindowRows {
        let settings = Settings::default();
        let window = T0..T0 + settings.window_ns;
        join::correlate(window, Stage::Provisional, &self.seen, &settings).remove(0)
    }

    /// The pods whose names begin with that of a workload are its replicas.
    pub(crate) fn put_into_workload(&mut self, name: &str) {
        let pods = self.seen.cluster_objects.iter_mut().filter(|o| o.kind == "pod");
        for pod in pods.filter(|pod| pod.name.starts_with(name)) {
            let mut body: cluster::Pod = serde_json::from_str(&pod.body).unwrap();
            body.owner_name = Some(name.into());
            pod.body = serde_json::to_string(&body).unwrap();
        }
    }

    /// Nodes that say which addresses are their pods'.
    pub(crate) fn with_pod_ranges(&mut self) {
        for (node, range) in [("node-1", "10.244.1.0/24"), ("node-2", "10.244.2.0/24")] {
            for object in self.seen.cluster_objects.iter_mut().filter(|o| o.name == node) {
                let ranges = format!("\"pod_cidrs\":[\"{range}\"]");
                object.body = object.body.replace("\"pod_cidrs\":[]", &ranges);
            }
        }
    }

    pub(crate) fn windows(&self, count: i64) -> Vec<WindowRows> {
        let settings = Settings::default();
        let rows = join::correlate(
            T0..T0 + count * settings.window_ns,
            Stage::Final,
            &self.seen,
            &settings,
        );
        self.assert_columns_say_the_same(&rows, &settings);
        self.assert_kept_run_says_the_same(&rows, &settings);
        rows
    }

    /// Every scene also comes in two deliveries to a run that is kept: what it found of the first one
    /// must not show once the second is there, nor what it found of another window or stage.
    fn assert_kept_run_says_the_same(&self, rows: &[WindowRows], settings: &Settings) {
        let all = Columns::from_rows(&self.seen).unwrap();
        let mut run = Run::new(Stage::Provisional, settings);
        for part in 0..2 {
            let delivery = Columns::from_rows(&part_of(&self.seen, part)).unwrap();
            run.add(delivery, &(T0 - 600 * SECOND..T0 + 600 * SECOND));
            for (stage, window) in rows
                .iter()
                .rev()
                .flat_map(|window| [Stage::Provisional, Stage::Final].map(|stage| (stage, window)))
            {
                run.turn_to(stage);
                let start_ns = window.win * SECOND;
                while run.earlier(start_ns).is_some() {
                    run.reach_back(all.clone());
                }
                let found = run.window(start_ns);
                if part == 1 && stage == Stage::Final {
                    assert_eq!(found, *window, "a run that was kept");
                }
            }
        }
    }

    /// Every scene is also written as columns, window by window.
    fn assert_columns_say_the_same(&self, rows: &[WindowRows], settings: &Settings) {
        let mut run = Run::new(Stage::Final, settings);
        let columns = Columns::from_rows(&self.seen).unwrap();
        run.add(columns.clone(), &(T0 - 600 * SECOND..T0 + 600 * SECOND));
        for window in rows {
            while run.earlier(window.win * SECOND).is_some() {
                run.reach_back(columns.clone());
            }
            let (mut hops, mut paths) = (Vec::new(), Vec::new());
            let rest = run.batches(window.win * SECOND, |batches| {
                hops.push(batches.hops);
                paths.push(batches.paths);
            });
            let rest = rest.unwrap();
            assert_eq!(plain(&hops, &window.hops), tables::to_batch(&window.hops));
            assert_eq!(plain(&paths, &window.paths), tables::to_batch(&window.paths));
            assert_eq!(rest.ambiguous, window.ambiguous);
            assert_eq!(rest.edges, window.edges);
        }
    }
}

/// Every second row of each table.
fn part_of(seen: &Observations, part: usize) -> Observations {
    fn half<T: Clone>(rows: &[T], part: usize) -> Vec<T> {
        rows.iter().skip(part).step_by(2).cloned().collect()
    }
    Observations {
        exchanges: half(&seen.exchanges, part),
        connections: half(&seen.connections, part),
        nat_bindings: half(&seen.nat_bindings, part),
        spans: half(&seen.spans, part),
        access_logs: half(&seen.access_logs, part),
        heartbeats: half(&seen.heartbeats, part),
        cluster_objects: half(&seen.cluster_objects, part),
        quarantine: half(&seen.quarantine, part),
    }
}

/// All batches in the very types of their table's contract.
fn plain<R: tables::Row>(batches: &[RecordBatch], _: &[R]) -> RecordBatch {
    let schema = tables::spec::<R>().schema;
    let plain = batches.iter().map(|batch| {
        let columns = schema.fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, column)| cast(column, field.data_type()).unwrap());
        RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
    });
    concat_batches(&schema, &plain.collect::<Vec<_>>()).unwrap()
}

/// The line of a path as text: one leg a line, indented by depth.
pub(crate) fn line(rows: &WindowRows) -> String {
    let mut text = String::new();
    for path in &rows.paths {
        text += &format!("{} {}\n", path.verdict, path.missing.join(", "));
        for hop in &path.hops {
            let depth =
                std::iter::successors(hop.parent, |p| path.hops[*p as usize].parent).count();
            text += &format!(
                "{}{} {} -> {} [{}] {}\n",
                "  ".repeat(depth + 1),
                hop.kind,
                hop.source_pod.as_deref().unwrap_or("-"),
                hop.destination_pod.as_deref().unwrap_or("-"),
                hop.service.as_deref().unwrap_or("-"),
                hop.nat,
            );
        }
    }
    for row in &rows.ambiguous {
        text += &format!("? {}: {} ({})\n", row.segment, row.reason, row.candidates.len());
    }
    text
}

fn exchange(pod: &Pod, socket: i64, seq: i64, start_ns: i64, end_ns: i64, bytes: i64) -> Exchange {
    Exchange {
        node: pod.node.into(),
        event_ns: end_ns,
        netns_cookie: 1,
        pod_uid: Some(format!("uid-{}", pod.name)),
        attributed_by: Some("netns".into()),
        socket_cookie: socket,
        tcp_seq_req: seq,
        tcp_seq_resp: Some(seq + 500),
        start_ns,
        first_response_ns: Some(end_ns),
        end_ns,
        bytes_request: bytes,
        bytes_response: 1_000,
        process: 1,
        response_thread: Some(1),
        ended_by: "turn".into(),
        ..Default::default()
    }
}

fn objects() -> Vec<(&'static str, &'static str, String)> {
    let json = |v: &dyn erased::Json| v.json();
    let mut all: Vec<(&str, &str, String)> = PODS
        .iter()
        .map(|p| {
            let body = cluster::Pod {
                node_name: Some(p.node.into()),
                ips: vec![p.ip.into()],
                phase: "Running".into(),
                ..Default::default()
            };
            ("pod", p.name, json(&body))
        })
        .collect();
    for (name, ip) in [("node-1", NODE_1), ("node-2", "10.89.0.12")] {
        all.push((
            "node",
            name,
            json(&cluster::Node { addresses: vec![ip.into()], ..Default::default() }),
        ));
    }
    for (name, vip, port, node_port, pods) in [
        ("ingress", "10.96.0.5", 80, Some(30080), vec![&INGRESS]),
        ("frontend", "10.96.0.9", 80, None, vec![&FRONTEND_0, &FRONTEND_1]),
        ("cart", CART_VIP.0, 80, None, vec![&CART_0, &CART_1]),
    ] {
        let ports = vec![cluster::ServicePort {
            protocol: "TCP".into(),
            port,
            node_port,
            ..Default::default()
        }];
        all.push((
            "service",
            name,
            json(&cluster::Service { cluster_ips: vec![vip.into()], ports, ..Default::default() }),
        ));
        let endpoints = pods
            .iter()
            .map(|p| cluster::Endpoint {
                ip: p.ip.into(),
                ready: true,
                serving: true,
                ..Default::default()
            })
            .collect();
        let slice = cluster::EndpointSlice {
            service_name: Some(name.into()),
            endpoints,
            ..Default::default()
        };
        all.push((
            "endpointslice",
            Box::leak(format!("{name}-abc").into_boxed_str()),
            json(&slice),
        ));
    }
    all
}

mod erased {
    /// Serialisation behind a reference, so that bodies of all kinds go through one closure.
    pub(crate) trait Json {
        fn json(&self) -> String;
    }
    impl<T: serde::Serialize> Json for T {
        fn json(&self) -> String {
            serde_json::to_string(self).unwrap()
        }
    }
}
