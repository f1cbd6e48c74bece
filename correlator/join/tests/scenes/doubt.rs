//! Situations in which a hop that looks right would be false: what must not be asserted, and the
//! reason that must be there instead.

use crate::calls::{Call, cart_call, request_from_outside, to_pod};
use crate::scene::{CART_0, CART_1, CART_VIP, FRONTEND_0, FRONTEND_1, INGRESS, Scene, line, ns};

/// A request from the ingress to frontend-0.
fn request(port: i32, start: i64, end: i64, thread: i64) -> Call<'static> {
    to_pod(&INGRESS, &FRONTEND_0, port, start, end, (77, thread))
}

#[track_caller]
fn assert_no_hop_to(scene: &Scene, pod: &str) {
    let rows = scene.rows();
    let asserted = rows.hops.iter().any(|h| h.destination_pod.as_deref() == Some(pod));
    assert!(!asserted, "{}", line(&rows));
    assert!(!rows.ambiguous.is_empty(), "silent about the call to {pod}");
}

#[test]
fn call_left_behind_by_an_ended_request_is_not_given_to_the_one_that_is_left() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 100, 150, 5);
    request_from_outside(&mut scene, 1, 110, 400, 5);
    // By its begin either request's; only the second one lasts long enough to await it.
    scene.call(&cart_call(120, 300, 5));
    assert_no_hop_to(&scene, "cart-0");
}

#[test]
fn call_that_outlives_its_request_begins_no_path_of_its_own() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 100, 150, 5);
    scene.call(&cart_call(120, 300, 5));
    assert_no_hop_to(&scene, "cart-0");
}

#[test]
fn call_is_not_given_to_a_request_while_another_is_known_by_its_client_only() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 100, 400, 5);
    scene.call(&request(50_900, 105, 390, 6));
    scene.seen.exchanges.pop();
    scene.call(&cart_call(120, 300, 5));
    let rows = scene.rows();
    assert!(rows.hops.iter().all(|h| h.destination_pod.as_deref() != Some("cart-0")));
    let relay = rows.ambiguous.iter().find(|a| a.segment.contains("frontend-0")).unwrap();
    assert_eq!(relay.reason, "MISSING_LATE");
}

#[test]
fn call_in_a_request_that_ends_windows_later_begins_no_path_of_its_own() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 9_000, 25_000, 5);
    scene.call(&cart_call(9_100, 9_300, 5));
    let windows = scene.windows(3);
    let paths: Vec<usize> = windows.iter().map(|w| w.paths.len()).collect();
    assert_eq!(paths, [0, 0, 1], "{}", line(&windows[0]));
    assert_eq!(windows[2].paths[0].hop_count, 3);
}

#[test]
fn provisional_row_does_not_say_that_a_call_had_no_cause() {
    let mut scene = Scene::new();
    scene.call(&cart_call(9_100, 9_300, 5));
    let path = scene.provisional().paths.remove(0);
    assert_eq!(path.verdict, "partial");
    assert_eq!(path.missing, ["cause of the first call: MISSING_LATE"]);
    assert_eq!(scene.rows().paths[0].verdict, "complete");
}

#[test]
fn request_that_goes_on_after_a_silence_is_final_in_one_window_only() {
    for resumed in [11_000, 15_000, 25_000, 34_000] {
        let mut scene = Scene::new();
        scene.arrival(40_000, 100, 9_900, 300);
        let mut later = scene.seen.exchanges[0].clone();
        scene.seen.exchanges[0].ended_by = "quiet".into();
        later.end_ns = ns(resumed);
        later.event_ns = later.end_ns;
        scene.seen.exchanges.push(later);
        let windows = scene.windows(4);
        let paths: usize = windows.iter().map(|w| w.paths.len()).sum();
        assert_eq!(paths, 1, "resumed at {resumed} ms");
    }
}

#[test]
fn call_to_another_server_than_the_line_lists_is_not_the_requests() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 100, 180, 5);
    // The call of the line is lost, and another request's arrival: its call remains.
    scene.seen.exchanges.truncate(1);
    scene.call(&to_pod(&INGRESS, &FRONTEND_1, 50_900, 110, 170, (77, 6)));
    let rows = scene.rows();
    let asserted = rows.hops.iter().any(|h| h.source_port == Some(50_900));
    assert!(!asserted, "{}", line(&rows));
}

#[test]
fn call_of_another_process_of_the_pod_is_not_the_proxys() {
    let mut scene = Scene::new();
    scene.arrival(40_000, 100, 180, 300);
    scene.log("line-of-another-time", 9_000, 10, 999, &[(&FRONTEND_0, 5, 200)]);
    scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_900, 110, 170, (78, 6)));
    let client = scene.seen.exchanges.len() - 2;
    scene.seen.exchanges[client].process = 2;
    assert_no_hop_to(&scene, "frontend-0");
}

#[test]
fn attempt_that_was_answered_but_not_seen_is_missing_and_not_refused() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 100, 180, 5);
    scene.seen.exchanges.truncate(1);
    let path = scene.rows().paths.remove(0);
    assert_eq!(path.verdict, "partial");
    assert_eq!(path.missing, ["call of attempt 1: MISSING_LATE"]);
    assert_eq!((path.failing_hop, path.hops[1].failure_cause.as_deref()), (None, None));
}

#[test]
fn refused_attempt_at_the_address_that_answered_next_is_the_first_of_two() {
    let mut scene = Scene::new();
    scene.arrival(40_000, 100, 180, 300);
    scene.call(&request(50_000, 102, 178, 5));
    scene.log("aaaa", 180, 80, 300, &[(&FRONTEND_0, 0, 502), (&FRONTEND_0, 76, 200)]);
    let path = scene.rows().paths.remove(0);
    let hops: Vec<_> =
        path.hops.iter().skip(1).map(|h| (h.attempt, h.status, h.source_port)).collect();
    assert_eq!(hops, [(1, Some(502), None), (2, Some(200), Some(50_000))]);
    assert_eq!(path.hops[1].failure_cause.as_deref(), Some("refused"));
    assert_eq!(path.hops[2].failure_cause, None);
}

#[test]
fn masquerade_to_a_port_that_is_also_a_node_port_hides_the_client() {
    let mut scene = Scene::new();
    scene.arrival(40_000, 100, 180, 300);
    scene.seen.nat_bindings.clear();
    scene.seen.exchanges[0].remote_port = 30_080;
    let path = scene.rows().paths.remove(0);
    assert_eq!(path.missing, ["client: SNAT_HIDDEN_CLIENT"]);
    assert_eq!(path.hops[0].source_ip, None);
}

#[test]
fn inner_translation_alone_does_not_make_a_node_the_client() {
    let mut scene = Scene::new();
    scene.arrival(40_000, 100, 180, 300);
    scene.seen.nat_bindings[0].original_source_ip = "10.89.0.12".into();
    let path = scene.rows().paths.remove(0);
    assert_eq!(path.missing, ["client: SNAT_HIDDEN_CLIENT"]);
    assert_eq!(
        (path.hops[0].source_ip.as_deref(), path.hops[0].nat_original.as_deref()),
        (None, None)
    );
}

#[test]
fn bridge_of_a_node_is_no_client() {
    let mut scene = Scene::new();
    scene.with_pod_ranges();
    scene.arrival(40_000, 100, 180, 300);
    scene.seen.nat_bindings.clear();
    scene.seen.exchanges[0].remote_ip = "10.244.2.1".into();
    let path = scene.rows().paths.remove(0);
    assert_eq!(path.missing, ["client: SNAT_HIDDEN_CLIENT"]);
    assert_eq!(path.hops[0].source_ip, None);
}

#[test]
fn server_in_a_pod_range_whose_pod_is_not_known_is_missing() {
    let mut scene = Scene::new();
    scene.with_pod_ranges();
    scene.call(&cart_call(120, 300, 5));
    scene.seen.exchanges.pop();
    scene.seen.cluster_objects.retain(|o| o.name != "cart-0");
    let path = scene.rows().paths.remove(0);
    assert_eq!(path.verdict, "partial");
    assert_eq!(path.missing, [format!("pod of {}: MISSING_LATE", CART_0.ip)]);
}

#[test]
fn pod_that_the_cluster_history_does_not_know_is_told() {
    let mut scene = Scene::new();
    scene.arrival(40_000, 100, 180, 300);
    scene.seen.cluster_objects.retain(|o| o.name != "ingress-0");
    let path = scene.rows().paths.remove(0);
    assert_eq!(path.verdict, "partial");
    assert_eq!(path.missing, ["name of pod uid-ingress-0: MISSING_LATE"]);
}

#[test]
fn next_connections_translation_is_not_taken_for_a_request_just_before_it() {
    let mut scene = Scene::new();
    scene.call(&cart_call(1_050, 1_090, 5));
    // The connection and its translation are older than the request.
    scene.seen.exchanges[0].ordinal = 7;
    scene.seen.exchanges.pop();
    scene.seen.nat_bindings[0].first_seen_ns = ns(100);
    let mut next = scene.seen.nat_bindings[0].clone();
    next.reply_source_ip = CART_1.ip.into();
    next.first_seen_ns = ns(1_100);
    scene.seen.nat_bindings.push(next);
    let path = scene.rows().paths.remove(0);
    assert_eq!(path.hops[0].destination_pod.as_deref(), Some("cart-0"));
}

#[test]
fn tuple_translated_to_a_then_b_then_a_again_is_known_at_each_time() {
    for (at, expected) in [(1_000, "cart-0"), (3_000, "cart-1"), (5_000, "cart-0")] {
        let mut scene = Scene::new();
        scene.call(&cart_call(at, at + 40, 5));
        scene.seen.exchanges.pop();
        let binding = scene.seen.nat_bindings.remove(0);
        for (ip, first) in [(CART_0.ip, 500), (CART_1.ip, 2_500), (CART_0.ip, 4_500)] {
            let mut life = binding.clone();
            life.reply_source_ip = ip.into();
            life.first_seen_ns = ns(first);
            scene.seen.nat_bindings.push(life);
        }
        let path = scene.rows().paths.remove(0);
        assert_eq!(path.hops[0].destination_pod.as_deref(), Some(expected), "at {at}");
    }
}

#[test]
fn service_created_again_with_the_address_of_one_whose_deletion_was_not_seen_is_the_owner() {
    let mut scene = Scene::new();
    scene.call(&cart_call(120, 300, 5));
    let is_cart = |o: &&tables::ClusterObject| o.kind == "service" && o.name == "cart";
    let mut newer = scene.seen.cluster_objects.iter().find(is_cart).unwrap().clone();
    newer.uid = "uid-of-a-later-basket".into();
    newer.name = "basket".into();
    newer.event_ns = ns(-20_000);
    scene.seen.cluster_objects.push(newer);
    let path = scene.rows().paths.remove(0);
    assert_eq!(path.hops[0].service.as_deref(), Some("basket"));
}

#[test]
fn call_while_the_agent_was_away_for_a_part_of_it_is_not_the_requests_that_is_left() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 100, 400, 5);
    scene.call(&cart_call(120, 300, 5));
    scene.seen.heartbeats.retain(|h| h.node != FRONTEND_0.node);
    scene.heartbeats(FRONTEND_0.node, -60_000, 110);
    scene.heartbeats(FRONTEND_0.node, 200, 60_000);
    assert_no_hop_to(&scene, "cart-0");
    assert_eq!(scene.rows().ambiguous[0].reason, "MISSING_NO_COVERAGE");
}

#[test]
fn call_that_a_pod_also_makes_unasked_is_not_the_only_open_requests() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 100, 400, 5);
    scene.call(&cart_call(150, 170, 5));
    assert_eq!(scene.rows().paths[0].hop_count, 3);
    // The same address is called on a timer, while nobody asks.
    scene.call(&cart_call(600, 620, 5));
    let rows = scene.rows();
    let asked = rows.paths.iter().find(|p| p.start_ns < ns(200)).unwrap();
    assert_eq!(asked.hop_count, 2, "{}", line(&rows));
    assert!(!rows.ambiguous.is_empty());
}

/// Both ends of the last call, as they are when it gets no answer.
fn leave_unanswered(scene: &mut Scene) {
    for exchange in scene.seen.exchanges.iter_mut().rev().take(2) {
        exchange.first_response_ns = None;
        exchange.tcp_seq_resp = None;
        exchange.response_thread = None;
        exchange.ended_by = "close".into();
    }
}

#[test]
fn request_that_a_thread_never_answered_ends_with_the_next_one_there() {
    let mut scene = Scene::new();
    for n in 0..12 {
        let start = 1_000 + 100 * i64::from(n);
        request_from_outside(&mut scene, n, start, start + 80, 5 + i64::from(n % 2));
        scene.call(&cart_call(start + 20, start + 40, 5 + i64::from(n % 2)));
    }
    let whole = |scene: &Scene| {
        let rows = scene.rows();
        rows.paths.iter().filter(|p| p.hop_count == 3).count()
    };
    assert_eq!(whole(&scene), 12);
    // Dropped without an answer, before the others came.
    request_from_outside(&mut scene, 20, 900, 990, 5);
    leave_unanswered(&mut scene);
    assert_eq!(whole(&scene), 12, "{}", line(&scene.rows()));
}

#[test]
fn request_that_was_never_answered_is_no_candidate_once_its_thread_serves_others() {
    let mut scene = Scene::new();
    for n in 0..12 {
        let start = 1_000 + 100 * i64::from(n);
        request_from_outside(&mut scene, n, start, start + 80, 5 + i64::from(n % 2));
        scene.call(&cart_call(start + 20, start + 40, 9));
    }
    request_from_outside(&mut scene, 20, 900, 990, 5);
    leave_unanswered(&mut scene);
    scene.seen.access_logs.last_mut().unwrap().attempts[0].status = Some(502);
    // Of a request that was lost.
    scene.seen.exchanges.retain(|e| e.role != "server" || e.remote_port != 50_010);
    for beat in &mut scene.seen.heartbeats {
        (beat.lost_kernel, beat.shipped) = (2, 98);
    }
    let rows = scene.rows();
    let dropped = rows.paths.iter().find(|p| p.hops[0].source_port == Some(40_020)).unwrap();
    assert_ne!(dropped.verdict, "ambiguous", "{}", line(&rows));
}

#[test]
fn unanswered_stream_without_a_number_takes_one_try_and_not_one_for_each_of_its_ends() {
    let mut scene = Scene::new();
    scene.arrival(40_000, 100, 185, 300);
    scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_000, 103, 183, (77, 5)));
    scene.log("first", 185, 85, 300, &[(&FRONTEND_1, 0, 502), (&FRONTEND_0, 80, 200)]);
    scene.arrival(40_001, 171, 223, 301);
    scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_002, 194, 222, (77, 6)));
    scene.log("second", 223, 52, 301, &[(&FRONTEND_1, 21, 502), (&FRONTEND_0, 28, 502)]);
    scene.call(&to_pod(&INGRESS, &FRONTEND_1, 50_001, 172, 193, (77, 6)));
    leave_unanswered(&mut scene);
    for exchange in scene.seen.exchanges.iter_mut().rev().take(2) {
        exchange.tcp_seq_req = -1;
        exchange.protocol = Some("http2".into());
        exchange.ended_by = "turn".into();
    }
    let rows = scene.rows();
    let first = rows.paths.iter().find(|p| p.hops[0].source_port == Some(40_000)).unwrap();
    assert!(first.hops.iter().all(|h| h.source_port != Some(50_001)), "{}", line(&rows));
}

#[test]
fn call_long_after_a_request_that_was_never_answered_is_not_given_to_it() {
    let mut scene = Scene::new();
    for n in 0..12 {
        let start = 1_000 + 100 * i64::from(n);
        request_from_outside(&mut scene, n, start, start + 80, 5 + i64::from(n % 2));
    }
    request_from_outside(&mut scene, 20, 2_500, 2_510, 5);
    leave_unanswered(&mut scene);
    // By the thread's next request, which was lost.
    scene.call(&cart_call(2_700, 2_720, 5));
    assert_no_hop_to(&scene, "cart-0");
}

#[test]
fn of_more_requests_than_are_listed_those_that_were_answered_are() {
    let mut scene = Scene::new();
    for n in 0..40 {
        let start = 10 + i64::from(n);
        scene.call(&to_pod(&INGRESS, &FRONTEND_0, 51_000 + n, start, start + 2, (77, 300)));
    }
    for e in &mut scene.seen.exchanges {
        (e.tcp_seq_resp, e.first_response_ns, e.response_thread) = (None, None, None);
        (e.bytes_response, e.ended_by) = (0, "close".into());
    }
    scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_000, 102, 178, (77, 5)));
    let to_cart = Call { to: CART_VIP, ..to_pod(&FRONTEND_0, &CART_1, 52_000, 110, 170, (7, 9)) };
    scene.call(&to_cart);
    let rows = scene.rows();
    let of_call = rows.ambiguous.iter().find(|row| row.segment.starts_with("relay in frontend-0"));
    let of_call = of_call.unwrap_or_else(|| panic!("{}", line(&rows)));
    let (last, listed) = of_call.candidates.split_last().unwrap();
    assert_eq!((listed.len(), last.what.as_str()), (32, "one of 9 more requests"));
    let sum: f64 = of_call.candidates.iter().map(|c| c.p).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{:?}", of_call.candidates);
    let answered = format!("request from {}:50000", INGRESS.ip);
    assert!(of_call.candidates.iter().any(|c| c.what == answered), "{:?}", of_call.candidates);
}
