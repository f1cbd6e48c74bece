//! What a final window says of itself as a whole: its edges, and what its data lacked.

use tables::{DataQuality, EdgeMinute};

use crate::calls::{cart_call, request_from_outside};
use crate::scene::{FRONTEND_0, Scene, ns};

fn quality(rows: &[DataQuality]) -> Vec<(&str, &str, i64)> {
    rows.iter().map(|q| (q.check.as_str(), q.subject.as_str(), q.count)).collect()
}

/// The edge to a Service.
fn edge<'a>(edges: &'a [EdgeMinute], service: &str) -> &'a EdgeMinute {
    edges.iter().find(|e| e.service.as_deref() == Some(service)).unwrap()
}

#[test]
fn hops_of_one_edge_and_minute_are_added_up() {
    let mut scene = Scene::new();
    scene.call(&cart_call(100, 300, 5));
    scene.call(&cart_call(400, 900, 6));
    let rows = scene.rows();
    assert_eq!(rows.edges.len(), 1);
    let cart = edge(&rows.edges, "cart");
    assert_eq!((cart.minute, cart.win), (rows.win.div_euclid(60) * 60, rows.win));
    assert_eq!((cart.requests, cart.latency_sum_ns), (2, 700_000_000));
    let latency: Vec<_> = cart.latency.iter().map(|b| (b.upper_ns, b.count)).collect();
    assert_eq!(latency, [(201_326_592, 1), (536_870_912, 1)]);
    assert_eq!((cart.bytes_request, cart.bytes_response), (400, 2_000));
    assert!(scene.provisional().edges.is_empty());
}

#[test]
fn hop_that_ended_in_the_minute_before_is_of_that_minute() {
    let mut scene = Scene::new();
    let minute_ms = 60_000 - (ns(0) / 1_000_000).rem_euclid(60_000);
    let settings = join::Settings::default();
    // A request of the first window of a minute, with a call that ended before it.
    request_from_outside(&mut scene, 0, minute_ms - 3_000, minute_ms + 500, 5);
    scene.call(&cart_call(minute_ms - 2_000, minute_ms - 1_000, 5));
    let windows = scene.windows(minute_ms * 1_000_000 / settings.window_ns + 1);
    let last = windows.last().unwrap();
    let minutes = |service| edge(&last.edges, service).minute - last.win;
    assert_eq!((minutes("cart"), minutes("frontend")), (-60, 0));
}

#[test]
fn failures_are_counted_by_what_ended_them() {
    let mut scene = Scene::new();
    for (start, status) in [(100, 200), (300, 404), (500, 503)] {
        scene.call(&cart_call(start, start + 100, 5));
        let port = scene.seen.exchanges.last().unwrap().remote_port;
        let id = format!("{start:016}");
        let span = scene.server_span(
            &id,
            None,
            &crate::scene::CART_0,
            (FRONTEND_0.ip, port),
            start + 1,
            start + 99,
        );
        span.status_code = Some(status);
        span.trace_id = format!("{start:032}");
    }
    scene.call(&cart_call(700, 800, 5));
    scene.seen.exchanges.pop();
    let lost = scene.seen.exchanges.last_mut().unwrap();
    (lost.first_response_ns, lost.tcp_seq_resp) = (None, None);
    let rows = scene.rows();
    let cart = edge(&rows.edges, "cart");
    let errors = (cart.errors_4xx, cart.errors_5xx, cart.errors_no_response, cart.errors_reset);
    assert_eq!((cart.requests, errors), (4, (1, 1, 1, 0)));
    assert!(quality(&rows.quality).iter().all(|q| q.0 != "reused_trace_id"));
}

#[test]
fn missing_segments_are_counted_by_reason() {
    let mut scene = Scene::new();
    for start in [100, 300] {
        scene.call(&cart_call(start, start + 100, 5));
        scene.seen.exchanges.pop();
    }
    assert_eq!(quality(&scene.rows().quality), [("missing_segment", "MISSING_LATE", 2)]);
    assert!(scene.provisional().quality.is_empty());
}

#[test]
fn copies_of_a_span_and_reuse_of_its_trace_are_told_apart() {
    let mut scene = Scene::new();
    for (id, start) in [("aaaaaaaaaaaaaaaa", 100), ("bbbbbbbbbbbbbbbb", 300)] {
        scene.span("server", id, None, &FRONTEND_0, start, start + 50);
    }
    let copy = scene.seen.spans[0].clone();
    scene.seen.spans.extend([copy.clone(), copy]);
    let trace = "t".repeat(32);
    let expected = [("duplicate_trace_id", trace.as_str(), 2), ("reused_trace_id", &trace, 2)];
    assert_eq!(quality(&scene.rows().quality), expected);
    scene.seen.spans.rotate_left(2);
    assert_eq!(quality(&scene.rows().quality), expected);
}

#[test]
fn different_spans_under_one_id_are_reuse() {
    let mut scene = Scene::new();
    for start in [100, 300, 500] {
        scene.span("client", "aaaaaaaaaaaaaaaa", Some("beef"), &FRONTEND_0, start, start + 50);
    }
    let trace = "t".repeat(32);
    assert_eq!(quality(&scene.rows().quality), [("reused_trace_id", trace.as_str(), 3)]);
}

#[test]
fn rows_that_contradict_themselves_are_drift_of_their_source() {
    let mut scene = Scene::new();
    scene.call(&cart_call(100, 300, 5));
    scene.seen.exchanges[0].start_ns = ns(400);
    let rows = scene.rows();
    let drift = rows.quality.iter().find(|q| q.check == "schema_drift").unwrap();
    assert_eq!((drift.subject.as_str(), drift.count), ("agent", 1));
    let detail = drift.detail.as_deref();
    assert_eq!(detail, Some("exchanges that contradict themselves, node-1: 1"));
}
