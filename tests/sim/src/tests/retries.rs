//! Servers that drop requests, refuse them or answer with an error.

use super::{dials, run};
use crate::Dials;
use crate::truth::Kind;

#[test]
fn the_ingress_tries_another_pod_and_its_line_tells_every_try() {
    let run = run(Dials { failing: 0.1, refused: 0.1, ..dials() });
    let mut retried = 0;
    for line in &run.rows.access_logs {
        let id = line.request_id.clone().unwrap();
        let request = run
            .truth
            .requests
            .iter()
            .find(|r| r.request_id.map(|id| format!("{id:032x}")) == Some(id.clone()))
            .unwrap();
        let mut tries: Vec<_> = run
            .truth
            .legs
            .iter()
            .filter(|leg| leg.request == request.key && leg.kind == Kind::Ingress)
            .collect();
        tries.sort_by_key(|leg| leg.attempt);
        let told: Vec<String> = line
            .attempts
            .iter()
            .map(|a| format!("{}:{}", a.ip.as_ref().unwrap(), a.port.unwrap()))
            .collect();
        let made: Vec<String> = tries.iter().map(|leg| leg.original.1.to_string()).collect();
        assert_eq!(told, made);
        for (attempt, leg) in line.attempts.iter().zip(&tries) {
            assert_eq!(attempt.status, Some(leg.status.unwrap_or(502)));
        }
        retried += usize::from(tries.len() > 1);
    }
    assert!(retried > 50, "{retried}");
}

#[test]
fn a_dropped_request_is_an_exchange_without_an_answer_at_both_ends() {
    let run = run(Dials { failing: 0.1, ..dials() });
    let dropped: Vec<_> =
        run.truth.legs.iter().filter(|leg| leg.failure == Some("no_response")).collect();
    assert!(dropped.len() > 50);
    let unanswered = run.rows.exchanges.iter().filter(|e| e.first_response_ns.is_none());
    assert_eq!(unanswered.clone().count(), 2 * dropped.len());
    assert!(unanswered.clone().all(|e| e.tcp_seq_resp.is_none() && e.ended_by == "close"));
}

#[test]
fn a_refused_try_has_no_exchange() {
    let clean = run(dials());
    let run = run(Dials { refused: 0.2, ..dials() });
    let refused = run.truth.legs.iter().filter(|leg| leg.failure == Some("refused")).count();
    assert!(refused > 50);
    assert!(run.truth.legs.iter().all(|leg| leg.true_server.is_some() || leg.missing().is_none()));
    let sent = run.truth.legs.len() - refused;
    let edges = run.truth.requests.len();
    assert_eq!(run.rows.exchanges.len(), 2 * sent - edges);
    let told =
        run.rows.failures.iter().filter(|f| f.kind == "refused" && f.local_port == 8080).count();
    assert_eq!(told, refused);
    assert!(clean.truth.legs.iter().all(|leg| leg.failure.is_none()));
}
