//! Tuples through translations, pools, protocols, threads.

use std::collections::{BTreeMap, BTreeSet};

use super::{Run, dials, run, within};
use crate::Dials;
use crate::dials::{Protocol, Threads};

type Tuple = (String, i32, String, i32);

fn tuple(e: &tables::Exchange) -> Tuple {
    (e.local_ip.clone(), e.local_port, e.remote_ip.clone(), e.remote_port)
}

/// Client and server exchange of each stream that has both.
fn pairs(run: &Run) -> Vec<(&tables::Exchange, &tables::Exchange)> {
    let of_role = |role: &str| -> BTreeMap<(i64, Option<i64>), &tables::Exchange> {
        let rows = run.rows.exchanges.iter().filter(|e| e.role == role);
        rows.map(|e| ((e.tcp_seq_req, e.tcp_seq_resp), e)).collect()
    };
    let servers = of_role("server");
    let clients = of_role("client").into_iter();
    clients.filter_map(|(key, client)| Some((client, *servers.get(&key)?))).collect()
}

#[test]
fn a_translation_leads_from_the_clients_tuple_to_the_servers() {
    let run = run(dials());
    let bindings: BTreeMap<Tuple, Tuple> = run
        .rows
        .nat_bindings
        .iter()
        .map(|n| {
            let original = (
                n.original_source_ip.clone(),
                n.original_source_port,
                n.original_destination_ip.clone(),
                n.original_destination_port,
            );
            let reply = (
                n.reply_source_ip.clone(),
                n.reply_source_port,
                n.reply_destination_ip.clone(),
                n.reply_destination_port,
            );
            (original, reply)
        })
        .collect();
    let pairs = pairs(&run);
    assert!(pairs.len() > 1_000);
    let mut translated = 0;
    for (client, server) in pairs {
        let seen = tuple(client);
        match bindings.get(&seen) {
            Some(reply) => {
                assert_eq!(*reply, tuple(server));
                translated += 1;
            }
            None => assert_eq!((seen.2, seen.3, seen.0, seen.1), tuple(server)),
        }
    }
    assert!(translated > 1_000);
}

#[test]
fn who_reaches_himself_is_masqueraded_behind_his_node() {
    let run = run(Dials { seconds: 40.0, ..dials() });
    let hairpins: Vec<_> =
        run.truth.legs.iter().filter(|leg| leg.client == crate::Client::Pod(leg.server)).collect();
    assert!(!hairpins.is_empty());
    for leg in hairpins {
        assert_eq!(leg.nat(), "dnat+snat");
        assert_eq!(leg.reply.1.ip.to_string(), format!("10.89.0.{}", leg.nat_node.unwrap() + 1));
    }
}

#[test]
fn an_outside_request_crosses_two_nodes_where_its_pod_is_elsewhere() {
    let run = run(dials());
    let entries = run.truth.legs.iter().filter(|leg| leg.leg == 0);
    let (near, far): (Vec<_>, Vec<_>) =
        entries.partition(|leg| Some(run.names.pod(leg.server).node) == leg.nat_node);
    assert!(!near.is_empty() && !far.is_empty());
    assert!(near.iter().chain(&far).all(|leg| leg.nat() == "dnat+snat"));
}

/// Exchanges of each client socket, by start.
fn by_socket(run: &Run) -> BTreeMap<(&str, i64), Vec<&tables::Exchange>> {
    let mut sockets: BTreeMap<(&str, i64), Vec<&tables::Exchange>> = BTreeMap::new();
    for e in run.rows.exchanges.iter().filter(|e| e.role == "client") {
        sockets.entry((&e.node, e.socket_cookie)).or_default().push(e);
    }
    for exchanges in sockets.values_mut() {
        exchanges.sort_by_key(|e| e.start_ns);
    }
    sockets
}

#[test]
fn kept_connections_carry_one_request_at_a_time_in_the_order_of_their_numbers() {
    let run = run(dials());
    let sockets = by_socket(&run);
    let most = sockets.values().map(Vec::len).max().unwrap();
    assert!(most > 20, "the last connection in is the first out: {most}");
    for exchanges in sockets.values() {
        for (number, pair) in exchanges.windows(2).enumerate() {
            assert_eq!(pair[0].ordinal, number as i64);
            assert!(pair[0].end_ns <= pair[1].start_ns);
            let next = pair[0].tcp_seq_req + pair[0].bytes_request;
            assert_eq!(next & 0xffff_ffff, pair[1].tcp_seq_req);
        }
    }
}

#[test]
fn without_keep_alive_each_request_has_its_connection() {
    let run =
        run(Dials { protocol: Protocol::Close, ingress: crate::dials::Ingress::None, ..dials() });
    assert!(by_socket(&run).values().all(|exchanges| exchanges.len() == 1));
    assert!(run.rows.connections.iter().any(|c| c.state == "closed"));
}

#[test]
fn streams_share_a_connection_and_are_told_apart_by_their_ids() {
    let busy = Dials { protocol: Protocol::Http2, rate: Some(400.0), seconds: 10.0, ..dials() };
    let told = run(busy.clone());
    let mut overlaps = 0;
    for exchanges in by_socket(&told).values().filter(|e| e[0].protocol.is_some()) {
        let ids: BTreeSet<i64> = exchanges.iter().map(|e| e.stream_id.unwrap()).collect();
        assert_eq!(ids.len(), exchanges.len());
        assert!(ids.iter().all(|id| id % 2 == 1));
        overlaps += exchanges.windows(2).filter(|w| w[1].start_ns < w[0].end_ns).count();
    }
    assert!(overlaps > 50, "{overlaps}");
    let mute = run(Dials { stream_ids: 0.0, ..busy });
    let streams = mute.rows.exchanges.iter().filter(|e| e.protocol.is_some());
    assert!(streams.clone().count() > 100);
    assert!(streams.clone().all(|e| e.stream_id.is_none() && e.tcp_seq_req == -1));
}

#[test]
fn ports_are_one_connections_at_a_time_and_come_back_into_use() {
    let few = Dials { nat_ports: 8, protocol: Protocol::Close, ..dials() };
    let run = run(few);
    let mut uses: BTreeMap<(String, i32, String), Vec<i64>> = BTreeMap::new();
    for n in &run.rows.nat_bindings {
        if n.reply_destination_ip != n.original_source_ip {
            let key = (
                n.reply_destination_ip.clone(),
                n.reply_destination_port,
                n.reply_source_ip.clone(),
            );
            uses.entry(key).or_default().push(n.first_seen_ns);
        }
    }
    let reused = uses.values().filter(|firsts| firsts.len() > 1).count();
    assert!(reused > 0);
    let mut open: BTreeMap<(&str, i32, &str, i32), i64> = BTreeMap::new();
    let mut servers: Vec<_> = run.rows.connections.iter().filter(|c| c.role == "server").collect();
    servers.sort_by_key(|c| (c.event_ns, c.socket_cookie));
    for c in servers {
        let key = (c.local_ip.as_str(), c.local_port, c.remote_ip.as_str(), c.remote_port);
        if c.state == "open" {
            let other = open.insert(key, c.socket_cookie);
            assert_eq!(other, None, "{key:?} is in use");
        } else if c.state == "closed" {
            open.remove(&key);
        }
    }
}

#[test]
fn threads_do_what_their_dial_says() {
    let serving = |threads| {
        let run = run(Dials { threads, rate: Some(150.0), seconds: 10.0, ..dials() });
        let names = run.names.clone();
        let mut of_pod: BTreeMap<String, Vec<tables::Exchange>> = BTreeMap::new();
        for e in run.rows.exchanges.into_iter().filter(|e| e.role == "server") {
            of_pod.entry(e.pod_uid.clone().unwrap()).or_default().push(e);
        }
        let cart = (0..9).map(|id| names.pod(id)).find(|pod| pod.name == "cart-0").unwrap();
        let mut exchanges = of_pod.remove(&cart.uid).unwrap();
        exchanges.sort_by_key(|e| e.start_ns);
        exchanges
    };
    let bound = serving(Threads::Bound);
    let mut busy: BTreeMap<i64, i64> = BTreeMap::new();
    for e in &bound {
        let until = busy.insert(e.thread, e.end_ns).unwrap_or(i64::MIN);
        assert!(until <= e.start_ns, "a thread serves one request");
        assert_eq!(e.response_thread, Some(e.thread));
    }
    assert!(busy.len() > 1);
    let one = serving(Threads::Loop);
    assert!(one.iter().all(|e| e.thread == e.process));
    let free = serving(Threads::Free);
    let crossed = free.iter().filter(|e| e.response_thread != Some(e.thread)).count();
    within(crossed as f64 / free.len() as f64, 0.6, 0.95);
}
