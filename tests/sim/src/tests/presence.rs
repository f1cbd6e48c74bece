//! Agents that are off, blind or down, and pods that come and go.

use std::collections::{BTreeMap, BTreeSet};

use super::{dials, run, within};
use crate::Dials;
use crate::dials::SECOND;
use crate::fate::Word;

#[test]
fn a_node_without_an_agent_tells_nothing() {
    let run = run(Dials { agents_off: 0.5, nodes: Some(4), ..dials() });
    let nodes: BTreeSet<&str> = run.rows.exchanges.iter().map(|e| e.node.as_str()).collect();
    let beating: BTreeSet<&str> = run
        .rows
        .heartbeats
        .iter()
        .filter(|h| h.source == "agent")
        .map(|h| h.node.as_str())
        .collect();
    assert_eq!(beating.len(), 2);
    assert!(nodes.is_subset(&beating));
    assert!(run.truth.legs.iter().any(|leg| leg.missing() == Some(("no_coverage", "server"))));
}

#[test]
fn a_blind_agent_sees_connections_and_vouches_for_no_time() {
    let run = run(Dials { exchanges_off: 1.0, ..dials() });
    assert!(run.rows.exchanges.is_empty());
    assert!(!run.rows.connections.is_empty() && !run.rows.nat_bindings.is_empty());
    let of_agents = run.rows.heartbeats.iter().filter(|h| h.source == "agent");
    assert!(of_agents.clone().count() > 0);
    assert!(of_agents.clone().all(|h| h.covered_from_ns == h.covered_to_ns));
    assert!(run.rows.capabilities.iter().any(|c| c.feature == "exchange" && !c.loaded));
}

#[test]
fn an_agent_that_was_killed_comes_back_as_another_life_that_knows_no_numbers() {
    let run = run(Dials { agents_down: 1, down: 5 * SECOND, ..dials() });
    let lives: BTreeSet<&str> = run
        .rows
        .exchanges
        .iter()
        .filter(|e| e.node == "node-1")
        .map(|e| e.boot_id.as_str())
        .collect();
    assert_eq!(lives.len(), 2);
    let down: Vec<i64> = run
        .truth
        .legs
        .iter()
        .filter(|leg| leg.server_exchange.word == Word::Down)
        .map(|leg| leg.true_server.unwrap().end_ns)
        .collect();
    within((down.iter().max().unwrap() - down.iter().min().unwrap()) as f64, 5e9, 8e9);
    assert!(run.rows.exchanges.iter().any(|e| e.ordinal == -1));
    assert!(run.rows.nat_bindings.iter().any(|n| n.evidence == "dump"));
}

#[test]
fn what_a_heartbeat_covers_without_loss_was_told() {
    let dials = Dials { agents_down: 2, down: 5 * SECOND, loss_agents: 0.01, ..dials() };
    let run = run(dials);
    let mut checked = 0;
    for leg in run.truth.legs.iter().filter(|leg| leg.server_exchange.word == Word::Down) {
        let node = run.names.pod(leg.server).node;
        // What began before an agent did is in no life's coverage as a whole.
        let times = leg.true_server.unwrap();
        let mut of_node = run.truth.coverage.iter().filter(|c| c.node == node);
        let vouched = of_node.find(|c| c.from_ns <= times.start_ns && times.end_ns < c.to_ns);
        assert_eq!(vouched, None, "of {times:?}");
        checked += 1;
    }
    assert!(checked > 10);
    for leg in run.truth.legs.iter().filter(|leg| leg.server_exchange.word == Word::Lost) {
        let node = run.names.pod(leg.server).node;
        let ended_ns = leg.true_server.unwrap().end_ns;
        let mut of_node = run.truth.coverage.iter().filter(|c| c.node == node);
        let covering = of_node.find(|c| c.from_ns <= ended_ns && ended_ns < c.to_ns);
        assert!(covering.is_none_or(|c| c.lost > 0));
    }
}

#[test]
fn a_pods_address_is_another_services_pods_within_a_second() {
    let run = run(Dials { churn: 30.0, ..dials() });
    let mut holders: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for object in run.rows.cluster_objects.iter().filter(|o| o.kind == "pod") {
        let body: tables::cluster::Pod = serde_json::from_str(&object.body).unwrap();
        let workload = object.name.rsplit_once('-').unwrap().0;
        holders.entry(body.ips[0].clone()).or_default().insert(workload);
    }
    assert!(holders.values().any(|workloads| workloads.len() > 1));
    assert!(run.rows.cluster_objects.iter().any(|o| o.change == "deleted"));
    // The uid, not the address, says who answered.
    let uids: BTreeSet<_> = run.rows.exchanges.iter().map(|e| (&e.local_ip, &e.pod_uid)).collect();
    let addresses: BTreeSet<_> = uids.iter().map(|(ip, _)| *ip).collect();
    assert!(uids.len() > addresses.len());
}

#[test]
fn compressed_traffic_has_smaller_gaps_and_the_same_durations() {
    let (calm, dense) = (run(dials()), run(Dials { compress: 5.0, ..dials() }));
    let mean = |run: &super::Run| {
        let lasted = run.truth.requests.iter().map(|r| (r.end_ns - r.start_ns) as f64);
        lasted.sum::<f64>() / run.truth.requests.len() as f64
    };
    let more = dense.truth.requests.len() as f64 / calm.truth.requests.len() as f64;
    within(more, 4.5, 5.5);
    within(mean(&dense) / mean(&calm), 0.9, 1.1);
}
