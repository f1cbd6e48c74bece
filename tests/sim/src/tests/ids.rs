//! Sampling, tracing, stripped and reused ids.

use std::collections::{BTreeMap, BTreeSet};

use super::{dials, run, within};
use crate::Dials;
use crate::fate::Word;

#[test]
fn head_sampling_keeps_whole_traces() {
    let all = run(dials());
    let half = run(Dials { sampling: 0.5, ..dials() });
    let of_trace = |run: &super::Run| {
        let mut traces: BTreeMap<String, usize> = BTreeMap::new();
        for span in &run.rows.spans {
            *traces.entry(span.trace_id.clone()).or_default() += 1;
        }
        traces
    };
    let (all, kept) = (of_trace(&all), of_trace(&half));
    within(kept.len() as f64 / all.len() as f64, 0.45, 0.55);
    assert!(kept.iter().all(|(trace, spans)| all[trace] == *spans));
    let sampled = half.truth.requests.iter().filter(|r| r.sampled).count();
    assert_eq!(sampled, kept.len());
}

#[test]
fn spans_hang_together_as_the_truth_says() {
    let run = run(dials());
    let ids: BTreeSet<&str> = run.rows.spans.iter().map(|s| s.span_id.as_str()).collect();
    assert_eq!(ids.len(), run.rows.spans.len());
    let orphans = run.rows.spans.iter().filter_map(|s| s.parent_span_id.as_deref());
    assert!(orphans.clone().all(|parent| ids.contains(parent)));
    let told = run.truth.legs.iter().filter(|leg| leg.server_span.word == Word::Seen).count();
    assert_eq!(told, run.rows.spans.iter().filter(|s| s.kind == "server").count());
}

#[test]
fn an_untraced_service_breaks_the_trace() {
    let run = run(Dials {
        traced: 0.5,
        services: Some(12),
        shape: crate::dials::Kind::Layers,
        ..dials()
    });
    let services: BTreeSet<_> = run.rows.spans.iter().map(|s| s.service_name.clone()).collect();
    within(services.len() as f64, 2.0, 9.0);
    let mut traces: BTreeMap<u64, BTreeSet<u128>> = BTreeMap::new();
    for leg in &run.truth.legs {
        traces.entry(leg.request).or_default().extend(leg.spans.trace_id);
    }
    assert!(traces.values().any(|of_request| of_request.len() > 1));
}

#[test]
fn stripped_requests_leave_no_id_anywhere() {
    let all = run(Dials { ids_stripped: 1.0, ..dials() });
    assert!(all.rows.spans.is_empty());
    assert!(all.rows.access_logs.iter().all(|l| l.request_id.is_none()));
    assert!(!all.rows.exchanges.is_empty());
    let some = run(Dials { ids_stripped: 0.3, ..dials() });
    let stripped = some.truth.requests.iter().filter(|r| r.ids_stripped).count();
    within(stripped as f64 / some.truth.requests.len() as f64, 0.25, 0.35);
}

#[test]
fn reused_ids_are_shared_and_the_truth_says_by_whom() {
    let run = run(Dials { request_ids_reused: 0.2, trace_ids_reused: 0.1, ..dials() });
    let mut users: BTreeMap<u128, usize> = BTreeMap::new();
    for request in &run.truth.requests {
        *users.entry(request.request_id.unwrap()).or_default() += 1;
    }
    let reused = run.truth.requests.iter().filter(|r| r.request_id_reused).count();
    within(reused as f64 / run.truth.requests.len() as f64, 0.15, 0.25);
    for request in &run.truth.requests {
        if users[&request.request_id.unwrap()] > 1 {
            assert!(request.request_id_reused);
        }
    }
    assert!(users.values().any(|&count| count >= 3));
    let hot = run.truth.requests.iter().filter(|r| r.trace_id_reused);
    let traces: BTreeSet<_> = hot.clone().map(|r| r.trace_id).collect();
    assert!(hot.count() > 20 && traces.len() == 1);
}
