//! Requests that a process serves at once: threads and spans tell their calls apart, or nothing does.

use join::WindowRows;

use crate::calls::{Call, cart_call, to_pod};
use crate::scene::{
    CART_0, CART_1, CART_VIP, FRONTEND_0, FRONTEND_1, INGRESS, Pod, Scene, line, ns,
};

/// Frontend-0 serves two requests at once and makes a call for each.
fn concurrent_calls(threads: [i64; 4]) -> Scene {
    let mut scene = Scene::new();
    for i in 0..2 {
        let (port, offset) = (i as i32, i * 5);
        scene.arrival(40_000 + port, 100 + offset, 180 + offset, 300 + i);
        scene.call(&to_pod(
            &INGRESS,
            &FRONTEND_0,
            50_000 + port,
            102 + offset,
            178 + offset,
            (77, threads[i as usize]),
        ));
        scene.call(&Call {
            from: &FRONTEND_0,
            from_port: 51_000 + port,
            to: CART_VIP,
            server: if i == 0 { &CART_0 } else { &CART_1 },
            start: 120 + offset,
            end: 150 + offset,
            client_thread: threads[2 + i as usize],
            server_thread: 20 + i,
            bytes: 200,
        });
        scene.log(
            if i == 0 { "aaaa" } else { "bbbb" },
            180 + offset,
            80,
            300 + i,
            &[(&FRONTEND_0, 76, 200)],
        );
    }
    scene
}

/// Eight earlier requests that show the process serving each on one thread.
pub(crate) fn with_history(scene: Scene, thread: impl Fn(i64) -> (i64, i64)) -> Scene {
    with_history_of(&FRONTEND_0, scene, thread)
}

fn with_history_of(pod: &Pod, mut scene: Scene, thread: impl Fn(i64) -> (i64, i64)) -> Scene {
    for i in 0..8 {
        let (server_thread, response_thread) = thread(i);
        scene.call(&to_pod(
            &INGRESS,
            pod,
            60_000 + i as i32,
            -5_000 + i * 10,
            -4_995 + i * 10,
            (77, server_thread),
        ));
        scene.seen.exchanges.last_mut().unwrap().response_thread = Some(response_thread);
    }
    scene
}

#[track_caller]
fn assert_each_has_its_cart(rows: &WindowRows) {
    let found: Vec<_> = rows
        .paths
        .iter()
        .map(|p| (p.verdict.as_str(), p.hops.get(2).and_then(|h| h.destination_pod.as_deref())))
        .collect();
    assert_eq!(found, [("complete", Some("cart-0")), ("complete", Some("cart-1"))]);
}

#[test]
fn threads_tell_concurrent_calls_apart_in_a_process_that_is_known_to_be_bound_to_them() {
    let scene = with_history(concurrent_calls([5, 6, 5, 6]), |i| (5 + i % 2, 5 + i % 2));
    let rows = scene.rows();
    assert_each_has_its_cart(&rows);
}

#[test]
fn process_of_few_requests_is_bound_to_threads_as_those_of_its_workload_are() {
    let bound: fn(i64) -> (i64, i64) = |i| (5 + i % 2, 5 + i % 2);
    let free: fn(i64) -> (i64, i64) = |i| (5 + i % 2, 6 - i % 2);
    for (is_workload, threads, is_told) in
        [(true, bound, true), (false, bound, false), (true, free, false)]
    {
        let mut scene = with_history_of(&FRONTEND_1, concurrent_calls([5, 6, 5, 6]), threads);
        if is_workload {
            scene.put_into_workload("frontend");
        }
        let rows = scene.rows();
        let by_thread = rows.hops.iter().filter(|h| h.reasons.iter().any(|r| r == "OK_THREAD"));
        assert_eq!(by_thread.count(), if is_told { 2 } else { 0 }, "{}", line(&rows));
    }
}

#[test]
fn process_that_answers_on_other_threads_is_not_told_by_threads() {
    let scene = with_history(concurrent_calls([5, 6, 5, 6]), |i| (5 + i % 2, 6 - i % 2));
    let rows = scene.rows();
    assert!(rows.paths.iter().all(|p| p.verdict == "ambiguous"), "{}", line(&rows));
    assert!(rows.ambiguous.iter().all(|a| a.reason == "AMBIG_TIME_ONLY"));
}

/// Both requests of an event loop with the spans of frontend and cart.
fn traced_event_loop() -> Scene {
    let mut scene = concurrent_calls([5, 5, 5, 5]);
    for (i, cart) in [(0, &CART_0), (1, &CART_1)] {
        let (port, offset) = (i as i32, i * 5);
        let id = |name: &str| format!("{name}{i}");
        scene.server_span(
            &id("f"),
            None,
            &FRONTEND_0,
            (INGRESS.ip, 50_000 + port),
            103 + offset,
            177 + offset,
        );
        scene.span("client", &id("c"), Some(&id("f")), &FRONTEND_0, 119 + offset, 151 + offset);
        scene.server_span(
            &id("s"),
            Some(&id("c")),
            cart,
            (FRONTEND_0.ip, 51_000 + port),
            121 + offset,
            149 + offset,
        );
    }
    scene
}

#[test]
fn span_parents_tell_concurrent_calls_apart_where_threads_can_not() {
    let scene = traced_event_loop();
    let rows = scene.rows();
    assert_each_has_its_cart(&rows);
    assert!(rows.paths[0].hops[2].reasons.contains(&"OK_EXACT_ID".to_owned()));
}

/// The same without the second request's exchange in frontend-0, but with an earlier one that came
/// on its connection.
fn without_second_request(is_connection_known: bool) -> Scene {
    let mut scene = traced_event_loop();
    let served = |e: &tables::Exchange| e.role == "server" && e.local_ip == FRONTEND_0.ip;
    scene.seen.exchanges.retain(|e| !served(e) || e.remote_port != 50_001);
    if is_connection_known {
        scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_001, -5_000, -4_990, (77, 5)));
    }
    scene
}

/// Whether the first request made no other call than its own, or may have made both.
#[track_caller]
fn assert_first_is(verdict: &str, scene: &Scene) {
    let rows = scene.rows();
    let first = rows.paths.iter().find(|p| p.hops[0].source_port == Some(40_000)).unwrap();
    assert_eq!((first.verdict.as_str(), first.hop_count), (verdict, 3), "{}", line(&rows));
}

#[test]
fn call_of_a_lost_request_is_of_none_that_came_on_another_connection_than_its_span_names() {
    assert_first_is("complete", &without_second_request(true));
    // A peer may be what a proxy before it told, and the socket that of the request that was seen.
    assert_first_is("ambiguous", &without_second_request(false));
    let mut scene = without_second_request(true);
    let span = scene.seen.spans.iter_mut().find(|s| s.span_id == "f1").unwrap();
    (span.peer_ip, span.peer_port) = (Some("203.0.113.9".into()), Some(4_000));
    assert_first_is("ambiguous", &scene);
}

#[test]
fn span_of_a_caller_names_the_request_of_the_only_call_that_it_may_be_of() {
    let with_own_spans = || {
        let mut scene = without_second_request(true);
        scene.seen.spans.retain(|s| s.span_id != "s1");
        for span in scene.seen.spans.iter_mut().filter(|s| s.span_id.starts_with('c')) {
            (span.peer_ip, span.peer_port) = (Some(CART_VIP.0.into()), Some(CART_VIP.1));
        }
        scene
    };
    let is_second_call_open = |scene: &Scene| {
        let calls = scene.rows().ambiguous.into_iter().filter(|a| !a.candidates.is_empty());
        calls.map(|a| a.start_ns).any(|start_ns| start_ns == ns(125))
    };
    assert!(!is_second_call_open(&with_own_spans()));
    assert_first_is("complete", &with_own_spans());
    let changes: [fn(&mut Scene); 4] = [
        |scene| {
            let of_caller = |s: &&mut tables::Span| s.kind == "client";
            let spans = scene.seen.spans.iter_mut().filter(of_caller);
            spans.for_each(|s| s.peer_port = Some(CART_VIP.1 + 1));
        },
        |scene| {
            let mut twin = scene.seen.spans.iter().find(|s| s.span_id == "c1").unwrap().clone();
            twin.span_id = "other".into();
            scene.seen.spans.push(twin);
        },
        |scene| {
            let mut twin = Call { from_port: 51_900, ..cart_call(125, 155, 5) };
            twin.server = &CART_1;
            scene.call(&twin);
        },
        // A request without spans may have made a call without one.
        |scene| scene.seen.spans.retain(|s| s.span_id != "f0"),
    ];
    for change in changes {
        let mut scene = with_own_spans();
        change(&mut scene);
        assert!(is_second_call_open(&scene));
    }
    // Requests without a span are so rare that this one would have had one if it had been answered.
    let mut scene = with_own_spans();
    scene.seen.spans.retain(|s| s.span_id != "f0");
    for n in 0..64 {
        let (port, start) = (52_000 + n, -9_000 + i64::from(n) * 100);
        scene.call(&to_pod(&INGRESS, &FRONTEND_0, port, start, start + 20, (77, 5)));
        let id = format!("earlier{n}");
        scene.server_span(&id, None, &FRONTEND_0, (INGRESS.ip, port), start + 1, start + 19);
    }
    assert!(!is_second_call_open(&scene));
}

/// Spans of an SDK that names no peer on server spans.
fn without_peers(mut scene: Scene) -> Scene {
    for span in
        scene.seen.spans.iter_mut().filter(|s| s.pod_uid.as_deref() == Some("uid-frontend-0"))
    {
        (span.peer_ip, span.peer_port) = (None, None);
    }
    scene
}

#[test]
fn spans_without_a_peer_belong_to_the_requests_that_alone_hold_them() {
    let rows = without_peers(traced_event_loop()).rows();
    assert_each_has_its_cart(&rows);
    assert!(rows.paths[0].hops[2].reasons.contains(&"OK_CONTAINMENT".to_owned()));
}

#[test]
fn spans_without_a_peer_that_two_requests_hold_decide_nothing() {
    let mut scene = without_peers(traced_event_loop());
    // Both spans now lie inside both requests.
    for span in scene.seen.spans.iter_mut().filter(|s| s.span_id.starts_with('f')) {
        (span.start_ns, span.end_ns) = (ns(115), ns(170));
    }
    let rows = scene.rows();
    assert!(rows.paths.iter().all(|p| p.verdict == "ambiguous"), "{}", line(&rows));
}
