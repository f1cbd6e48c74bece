//! Each source's own resolution and time semantics.

use std::collections::BTreeMap;

use super::{Run, dials, run, within};
use crate::Dials;
use crate::dials::{Ingress, SECOND};

const MS: i64 = 1_000_000;

/// The loop of a proxy may take a moment for an earlier one by so much.
const HELD_UP_NS_MAX: i64 = 4 * MS + MS / 10;

/// True end of the proxy's part, by request id.
fn ends(run: &Run) -> BTreeMap<String, (i64, i64)> {
    let mut ends = BTreeMap::new();
    for leg in run.truth.legs.iter().filter(|leg| leg.leg == 0) {
        let request = run.truth.requests.iter().find(|r| r.key == leg.request).unwrap();
        let id = format!("{:032x}", request.request_id.unwrap());
        let stamps = leg.server_stamps.unwrap();
        ends.insert(id, (stamps.start_ns, stamps.end_ns));
    }
    ends
}

#[test]
fn a_line_of_nginx_tells_the_second_of_the_end_and_milliseconds_of_duration() {
    let run = run(Dials { skew: SECOND / 3, ..dials() });
    let ends = ends(&run);
    assert!(!run.rows.access_logs.is_empty());
    for line in &run.rows.access_logs {
        let (start_ns, end_ns) = ends[line.request_id.as_ref().unwrap()];
        assert_eq!((line.end_lo_ns % SECOND, line.end_hi_ns - line.end_lo_ns), (0, SECOND - 1));
        assert!((line.end_lo_ns..=line.end_hi_ns + HELD_UP_NS_MAX).contains(&end_ns));
        let duration_ns = line.duration_ns.unwrap();
        assert_eq!(duration_ns % MS, 0);
        let off_ns = (end_ns - start_ns - duration_ns).abs();
        assert!(off_ns <= line.duration_error_ns + HELD_UP_NS_MAX, "{off_ns}");
        assert_eq!((line.event_ns, line.duration_error_ns), (line.end_hi_ns, MS));
    }
}

#[test]
fn few_lines_of_nginx_are_off_by_more_than_they_round() {
    let run = run(Dials { seconds: 200.0, ..dials() });
    let ends = ends(&run);
    let is_off = |line: &&tables::AccessLog| {
        let (start_ns, end_ns) = ends[line.request_id.as_ref().unwrap()];
        let off_ns = (end_ns - start_ns - line.duration_ns.unwrap()).abs();
        off_ns > line.duration_error_ns + MS / 5
    };
    let off = run.rows.access_logs.iter().filter(is_off).count();
    within(off as f64 / run.rows.access_logs.len() as f64, 5e-4, 5e-3);
}

#[test]
fn a_line_of_envoy_tells_the_millisecond_of_the_start_and_both_ports() {
    let run = run(Dials { ingress: Ingress::Envoy, ..dials() });
    let ends = ends(&run);
    for line in &run.rows.access_logs {
        let (_, end_ns) = ends[line.request_id.as_ref().unwrap()];
        assert_eq!((line.end_lo_ns % MS, line.end_hi_ns - line.end_lo_ns), (0, 2 * MS - 1));
        assert!((line.end_lo_ns..=line.end_hi_ns).contains(&end_ns));
        assert!(line.remote_port.is_some() && line.upstream_local_port.is_some());
        assert!(line.attempts.len() <= 1);
    }
}

#[test]
fn spans_have_the_resolution_of_their_sdk_and_lie_in_their_exchange() {
    let fine = run(dials());
    let server_times: BTreeMap<u64, (i64, i64)> = fine
        .truth
        .legs
        .iter()
        .filter_map(|leg| Some((leg.spans.server?, leg.server_stamps?)))
        .map(|(id, stamps)| (id, (stamps.start_ns, stamps.end_ns)))
        .collect();
    for span in fine.rows.spans.iter().filter(|span| span.kind == "server") {
        let id = u64::from_str_radix(&span.span_id, 16).unwrap();
        let (start_ns, end_ns) = server_times[&id];
        assert!(start_ns <= span.start_ns && span.start_ns <= span.end_ns);
        assert!(span.end_ns <= end_ns);
    }
    let coarse = run(Dials { span_resolution: MS, ..dials() });
    assert!(coarse.rows.spans.iter().all(|s| s.start_ns % MS == 0 && s.end_ns % MS == 0));
}

#[test]
fn exchanges_have_nanoseconds_and_their_event_is_their_end() {
    let run = run(dials());
    assert!(run.rows.exchanges.iter().all(|e| e.event_ns == e.end_ns));
    let odd = run.rows.exchanges.iter().filter(|e| e.start_ns % 1_000 != 0).count();
    assert!(odd * 10 > run.rows.exchanges.len() * 9, "{odd}");
    assert!(run.rows.heartbeats.iter().all(|h| h.event_ns == h.covered_to_ns));
    assert!(run.rows.nat_bindings.iter().all(|n| n.event_ns == n.last_seen_ns));
    assert!(run.rows.spans.iter().all(|s| s.event_ns == s.end_ns));
}
