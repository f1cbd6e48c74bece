//! Drawings compared with text files. `UPDATE_GOLDEN=1 cargo test` writes them anew.

use tables::{Ambiguous, Candidate, Hop, Path, PathHop};

use super::{Known, draw};
use crate::cli::screen::Screen;

const MS: i64 = 1_000_000;
/// 2026-11-21T12:34:56.789012Z.
const START: i64 = 1_795_264_496_789_012_000;

#[track_caller]
fn check(name: &str, width: usize, known: &Known<'_>) {
    let drawn = draw(known, Screen { width, has_colour: false });
    for line in drawn.lines() {
        assert!(line.chars().count() <= width, "wider than {width}: {line}");
    }
    let file = format!("{}/src/cli/line/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &drawn).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(drawn, golden, "{name}.txt");
}

fn hop(position: i32, parent: Option<i32>, kind: &str, start_ms: i64, took_ms: i64) -> PathHop {
    PathHop {
        position,
        parent,
        kind: kind.into(),
        attempt: 1,
        nat: "none".into(),
        start_ns: START + start_ms * MS,
        end_ns: START + (start_ms + took_ms) * MS,
        evidence: ["client_exchange", "server_exchange", "tcp_seq"].map(str::to_owned).to_vec(),
        confidence: 0.99999,
        reasons: vec!["OK_TUPLE_SEQ".into()],
        ..PathHop::default()
    }
}

fn from(mut hop: PathHop, pod: &str, node: &str, ip: &str, port: i32) -> PathHop {
    hop.source_pod = Some(pod.into());
    hop.source_node = Some(node.into());
    hop.source_ip = Some(ip.into());
    hop.source_port = Some(port);
    hop
}

fn to(mut hop: PathHop, service: &str, pod: &str, node: &str, ip: &str, port: i32) -> PathHop {
    hop.service = Some(service.into());
    hop.destination_pod = Some(pod.into());
    hop.destination_node = Some(node.into());
    hop.destination_ip = Some(ip.into());
    hop.destination_port = Some(port);
    if hop.requested_ip.is_none() {
        hop.requested_ip = Some(ip.into());
        hop.requested_port = Some(port);
    }
    hop
}

fn translated(mut hop: PathHop, nat: &str, node: &str, original: &str, reply: &str) -> PathHop {
    let (_, requested) = original.split_once("->").unwrap();
    let (ip, port) = requested.rsplit_once(':').unwrap();
    hop.requested_ip = Some(ip.into());
    hop.requested_port = Some(port.parse().unwrap());
    hop.nat = nat.into();
    hop.nat_node = Some(node.into());
    hop.nat_original = Some(original.into());
    hop.nat_reply = Some(reply.into());
    hop.evidence.push("nat_binding".into());
    hop.reasons.push("OK_NAT_CHAIN".into());
    hop
}

fn entry() -> PathHop {
    let mut entry = translated(
        hop(0, None, "edge", 0, 12),
        "dnat+snat",
        "node-1",
        "ext-1a2b3c4d5e6f7a8b:40112->10.89.0.11:30080",
        "10.244.2.4:80->10.89.0.11:61234",
    );
    entry.source_ip = Some("ext-1a2b3c4d5e6f7a8b".into());
    entry.source_port = Some(40_112);
    entry.status = Some(200);
    entry.evidence = ["server_exchange", "nat_binding", "access_log"].map(str::to_owned).to_vec();
    entry.reasons = vec!["OK_NAT_CHAIN".into()];
    entry.confidence = 0.999;
    to(entry, "ingress", "ingress-0", "node-2", "10.244.2.4", 80)
}

fn cart_call() -> PathHop {
    let call = translated(
        hop(2, Some(1), "service", 2, 7),
        "dnat",
        "node-1",
        "10.244.1.5:41234->10.96.0.10:80",
        "10.244.2.3:8080->10.244.1.5:41234",
    );
    let call = from(call, "frontend-0", "node-1", "10.244.1.5", 41_234);
    PathHop { status: Some(200), ..to(call, "cart", "cart-1", "node-2", "10.244.2.3", 8080) }
}

/// Client, ingress, frontend, cart, cart again through its own Service, and the store.
fn checkout() -> Path {
    let ingress =
        from(hop(1, Some(0), "ingress", 1, 10), "ingress-0", "node-2", "10.244.2.4", 50_002);
    let ingress = to(ingress, "frontend", "frontend-0", "node-1", "10.244.1.5", 8080);
    let hairpin = translated(
        hop(3, Some(2), "service", 3, 2),
        "dnat+snat",
        "node-2",
        "10.244.2.3:38000->10.96.0.10:80",
        "10.244.2.3:8080->10.244.2.1:38000",
    );
    let mut hairpin = from(hairpin, "cart-1", "node-2", "10.244.2.3", 38_000);
    hairpin.reasons.push("HAIRPIN".into());
    let store = translated(
        hop(4, Some(2), "service", 6, 1),
        "dnat",
        "node-2",
        "10.244.2.3:38010->10.96.0.12:6379",
        "10.244.2.6:6379->10.244.2.3:38010",
    );
    let store = from(store, "cart-1", "node-2", "10.244.2.3", 38_010);
    let hops = vec![
        entry(),
        PathHop { status: Some(200), ..ingress },
        cart_call(),
        PathHop {
            status: Some(200),
            ..to(hairpin, "cart", "cart-1", "node-2", "10.244.2.3", 8080)
        },
        to(store, "store", "store-0", "node-2", "10.244.2.6", 6379),
    ];
    Path {
        finality: "final".into(),
        path_id: "0af7651916cd43dd8448eb211c80319c".into(),
        request_id: Some("8f14e45fceea467f9b8a1d2c3e4f5a6b".into()),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        method: Some("GET".into()),
        route: Some("/checkout/{}".into()),
        status: Some(200),
        outcome: "ok".into(),
        start_ns: START,
        duration_ns: 12 * MS,
        verdict: "complete".into(),
        conf_min: 0.999,
        conf_joint: 0.99896,
        hops,
        ..Path::default()
    }
}

fn more(path: &Path) -> Vec<Hop> {
    let hop = |hop: &PathHop| Hop {
        position: hop.position,
        method: hop.status.map(|_| "GET".into()),
        route: hop.status.map(|_| "/step/{}".into()),
        network_ns: hop.source_pod.as_ref().map(|_| 400_000),
        server_ns: Some(hop.end_ns - hop.start_ns - 400_000),
        ..Hop::default()
    };
    path.hops.iter().map(hop).collect()
}

#[test]
fn a_complete_line_shows_every_station_and_what_translated() {
    let path = checkout();
    let hops = more(&path);
    let known = Known { path: &path, hops: &hops, undecided: &[] };
    check("complete", 100, &known);
    check("complete_80", 80, &known);
}

#[test]
fn a_failing_hop_is_marked_where_the_fault_began() {
    let mut path = checkout();
    path.hops.truncate(3);
    let failed = &mut path.hops[2];
    failed.status = None;
    failed.failure_cause = Some("reset".into());
    failed.evidence = vec!["client_exchange".into(), "nat_binding".into()];
    failed.reasons = vec!["OK_NAT_CHAIN".into()];
    path.hops[0].status = Some(502);
    path.hops[0].failure_cause = Some("status_5xx".into());
    path.hops[1].attempt = 2;
    path.hops[1].reasons.push("RETRY_ATTEMPTS".into());
    (path.status, path.outcome) = (Some(502), "error".into());
    path.failing_hop = Some(2);
    check("failed", 100, &Known { path: &path, hops: &[], undecided: &[] });
}

#[test]
fn what_is_missing_or_undecided_stands_at_the_end_with_its_remedy() {
    let mut path = checkout();
    path.hops.truncate(2);
    path.finality = "provisional".into();
    path.verdict = "ambiguous".into();
    path.missing = vec![
        "server of 10.96.0.11: MISSING_NO_COVERAGE".into(),
        "calls of cart-1: MISSING_NO_COVERAGE".into(),
        "client: MISSING_LATE".into(),
    ];
    path.reasons = vec!["CONFLICT_ID_VS_TUPLE".into(), "SOMETHING_NEWER".into()];
    path.hops.push(PathHop {
        requested_ip: Some("fd00::b".into()),
        requested_port: Some(80),
        nat: "unknown".into(),
        ..from(hop(2, Some(1), "app", 3, 1), "frontend-0", "node-1", "fd00::5", 40_000)
    });
    let candidate = |what: &str| Candidate {
        what: what.into(),
        p: 0.5,
        evidence: vec!["containment".into()],
        ..Candidate::default()
    };
    let undecided = Ambiguous {
        segment: "relay in frontend-0: call to 10.96.0.10:80".into(),
        reason: "AMBIG_TIME_ONLY".into(),
        candidates: vec![
            candidate("request from 10.244.2.4:50002"),
            candidate("request from 10.244.2.4:50004"),
        ],
        decided_by: "span ids, or one thread a request".into(),
        ..Ambiguous::default()
    };
    check("undecided", 100, &Known { path: &path, hops: &[], undecided: &[undecided] });
}

#[test]
fn stored_text_cannot_steer_the_terminal() {
    let hostile = || Some("\u{1b}[2J\u{202e}x\n".to_owned());
    let mut path = checkout();
    path.route = hostile();
    path.request_id = hostile();
    path.outcome = "\u{7}".into();
    path.missing = vec!["\u{1b}: \u{9b}".into()];
    path.reasons = vec!["\u{1b}".into()];
    let first = &mut path.hops[0];
    first.destination_pod = hostile();
    first.nat_node = hostile();
    first.nat_original = Some("\u{1b}->a".into());
    first.service = hostile();
    first.source_ip = hostile();
    first.kind = "\u{1b}".into();
    first.failure_cause = hostile();
    first.evidence = vec!["\u{1b}".into()];
    first.reasons = vec!["\u{1b}".into(), "OK_\u{1b}".into()];
    let undecided = Ambiguous {
        segment: "\u{1b}".into(),
        reason: "\u{1b}".into(),
        candidates: vec![Candidate {
            what: "\u{1b}".into(),
            path_id: hostile(),
            ..Default::default()
        }],
        decided_by: "\u{1b}".into(),
        ..Ambiguous::default()
    };
    let known = Known { path: &path, hops: &[], undecided: &[undecided] };
    let drawn = draw(&known, Screen { width: 100, has_colour: false });
    let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!drawn.contains(steers), "{drawn:?}");
}

#[test]
fn colours_change_nothing_but_the_looks() {
    let path = checkout();
    let known = Known { path: &path, hops: &[], undecided: &[] };
    let plain = draw(&known, Screen { width: 100, has_colour: false });
    let coloured = draw(&known, Screen { width: 100, has_colour: true });
    let stripped = console::strip_ansi_codes(&coloured);
    assert_eq!(stripped, plain);
    assert_ne!(coloured, plain);
}
