//! Skew, drift, steps: rows carry the clock of their node.

use std::collections::{BTreeMap, BTreeSet};

use super::{dials, run};
use crate::Dials;
use crate::dials::SECOND;

#[test]
fn stamps_of_a_node_are_true_time_and_its_skew() {
    let run = run(Dials { skew: SECOND / 2, nodes: Some(4), ..dials() });
    let legs = run.legs_by_stream();
    let mut offsets: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
    for e in run.rows.exchanges.iter().filter(|e| e.role == "server") {
        let leg = legs[&(format!("{}:{}", e.local_ip, e.local_port), e.tcp_seq_req)];
        let true_ns = leg.true_server.unwrap().start_ns;
        assert_eq!(leg.server_stamps.unwrap().start_ns, e.start_ns);
        offsets.entry(&e.node).or_default().insert(e.start_ns - true_ns);
    }
    assert!(offsets.len() >= 3);
    assert!(offsets.values().all(|of_node| of_node.len() == 1), "{offsets:?}");
    let all: BTreeSet<i64> = offsets.into_values().flatten().collect();
    assert!(all.len() >= 3 && all.iter().all(|ns| ns.abs() <= SECOND / 2), "{all:?}");
}

#[test]
fn drift_moves_stamps_apart_over_the_run() {
    let run = run(Dials { drift: 50.0, ..dials() });
    let offset = |leg: &crate::truth::Leg| {
        leg.server_stamps.unwrap().start_ns - leg.true_server.unwrap().start_ns
    };
    let first = run.truth.legs.iter().take(50).map(offset).map(i64::abs).max().unwrap();
    let last = run.truth.legs.iter().rev().take(50).map(offset).map(i64::abs).max().unwrap();
    assert!(first < last && last <= 1_000_000, "{first} {last}");
}

#[test]
fn a_step_is_another_epoch_in_the_heartbeats_of_that_node() {
    let dials = Dials { clock_steps: 1, ..dials() };
    let run = run(dials.clone());
    let mut epochs: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
    for h in run.rows.heartbeats.iter().filter(|h| h.source == "agent") {
        epochs.entry(&h.node).or_default().insert(h.clock_epoch_ns);
    }
    let stepped: Vec<i64> = epochs["node-1"].iter().copied().collect();
    assert_eq!(stepped[1] - stepped[0], dials.step);
    assert_eq!(epochs["node-2"].len(), 1);
    // Every exchange carries one of the two stamps that the truth knows.
    let legs = run.legs_by_stream();
    let mut under_other = 0;
    for e in run.rows.exchanges.iter().filter(|e| e.role == "server") {
        let leg = legs[&(format!("{}:{}", e.local_ip, e.local_port), e.tcp_seq_req)];
        let is_regular = leg.server_stamps.unwrap().start_ns == e.start_ns;
        assert!(is_regular || leg.server_start_alt_ns == Some(e.start_ns));
        under_other += usize::from(!is_regular);
    }
    assert!(under_other > 0, "a batch that is closed after the step tells of what was before it");
}
