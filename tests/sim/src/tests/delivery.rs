//! Loss, duplicates, lateness and order.

use std::collections::{BTreeMap, BTreeSet};

use super::{dials, run, within};
use crate::Dials;
use crate::dials::SECOND;
use crate::fate::Word;

#[test]
fn every_row_that_an_agent_loses_is_counted_in_a_heartbeat() {
    let clean = run(dials());
    let lossy = run(Dials { loss_agents: 0.1, ..dials() });
    let missing = clean.agent_rows() - lossy.agent_rows();
    within(missing as f64 / clean.agent_rows() as f64, 0.08, 0.12);
    let counted: i64 = lossy.rows.heartbeats.iter().map(|h| h.lost_kernel).sum();
    // What the last heartbeat does not cover is not told yet.
    within(counted as f64 / missing as f64, 0.97, 1.0);
    let told: i64 = lossy.truth.coverage.iter().map(|c| c.lost).sum();
    assert_eq!(told, counted);
    assert_eq!(clean.rows.heartbeats.iter().map(|h| h.lost_kernel).sum::<i64>(), 0);
}

#[test]
fn a_dial_of_loss_touches_its_own_source_alone() {
    let clean = run(dials());
    let spans = run(Dials { loss_spans: 0.2, ..dials() });
    assert_eq!(spans.rows.exchanges, clean.rows.exchanges);
    within(spans.rows.spans.len() as f64 / clean.rows.spans.len() as f64, 0.77, 0.83);
    let logs = run(Dials { loss_logs: 0.2, ..dials() });
    let part = logs.rows.access_logs.len() as f64 / clean.rows.access_logs.len() as f64;
    within(part, 0.75, 0.85);
    let lost = logs.truth.legs.iter().filter(|leg| leg.access_log.word == Word::Lost).count();
    assert_eq!(lost, clean.rows.access_logs.len() - logs.rows.access_logs.len());
}

#[test]
fn a_duplicate_is_the_same_row_by_another_collector() {
    let clean = run(dials());
    let doubled = run(Dials { duplicates: 0.05, ..dials() });
    let part = doubled.rows.exchanges.len() as f64 / clean.rows.exchanges.len() as f64;
    within(part, 1.04, 1.06);
    let mut seen: BTreeMap<(&str, &str, i64, i32), Vec<_>> = BTreeMap::new();
    for e in &doubled.rows.exchanges {
        let key = (e.node.as_str(), e.boot_id.as_str(), e.sequence, e.item);
        seen.entry(key).or_default().push(e);
    }
    for rows in seen.values() {
        assert!(rows.len() <= 2);
        if let [first, again] = rows[..] {
            assert_ne!(first.collector, again.collector);
            assert_eq!((first.start_ns, first.tcp_seq_req), (again.start_ns, again.tcp_seq_req));
        }
    }
}

#[test]
fn late_rows_arrive_within_their_delay_and_are_late_only_beyond_the_lateness() {
    let run = run(Dials { late: 0.1, delay: 1_200 * SECOND, lateness: 600 * SECOND, ..dials() });
    let delay_ns = |e: &tables::Exchange| e.received_at.0 * 1_000 - e.event_ns;
    let delayed: Vec<i64> =
        run.rows.exchanges.iter().map(delay_ns).filter(|&ns| ns > 6 * SECOND).collect();
    within(delayed.len() as f64 / run.rows.exchanges.len() as f64, 0.08, 0.12);
    assert!(delayed.iter().all(|&ns| ns < 1_202 * SECOND));
    let late = delayed.iter().filter(|&&ns| ns > 601 * SECOND).count();
    let legs = &run.truth.legs;
    let words = legs.iter().flat_map(|leg| [leg.client_exchange.word, leg.server_exchange.word]);
    let told = words.filter(|&word| word == Word::Late).count();
    within(late as f64, told as f64 * 0.98 - 2.0, told as f64);
}

#[test]
fn a_late_row_keeps_its_place_in_its_senders_counting() {
    let late = run(Dials { late: 0.1, ..dials() });
    let names: BTreeSet<_> = late
        .rows
        .exchanges
        .iter()
        .map(|e| (e.node.as_str(), e.boot_id.as_str(), e.sequence, e.item))
        .collect();
    assert_eq!(names.len(), late.rows.exchanges.len());
}

#[test]
fn reordered_rows_come_a_little_later_and_none_is_missing() {
    let clean = run(dials());
    let mixed = run(Dials { reorder: 0.2, ..dials() });
    assert_eq!(mixed.rows.access_logs.len(), clean.rows.access_logs.len());
    let ends = |rows: &[tables::AccessLog]| -> Vec<i64> {
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort_by_key(|l| (l.received_at, l.ingest_seq, l.item));
        rows.iter().map(|l| l.end_lo_ns).collect()
    };
    assert!(ends(&clean.rows.access_logs).is_sorted());
    assert!(!ends(&mixed.rows.access_logs).is_sorted());
}
