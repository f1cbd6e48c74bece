//! What a loss of events leaves sure, and what it does not: a proxy's line accounts for its
//! request's calls, a thread for those of what it serves, and a call of which one end was lost
//! puts the requests in doubt that may have made it.

use join::WindowRows;
use tables::Hop;

use crate::calls::{Call, cart_call, request_from_outside, to_pod};
use crate::clocks::sampled;
use crate::scene::{CART_0, FRONTEND_0, FRONTEND_1, INGRESS, Pod, Scene, line};

/// Agents lose two in a hundred rows, and say so.
fn lossy(scene: &mut Scene) {
    lose_of_hundred(scene, 2);
}

/// So many that both of two rows may well be lost.
fn very_lossy(scene: &mut Scene) {
    lose_of_hundred(scene, 8);
}

fn lose_of_hundred(scene: &mut Scene, lost: i64) {
    for beat in &mut scene.seen.heartbeats {
        (beat.lost_kernel, beat.shipped) = (lost, 100 - lost);
    }
}

/// Takes away the exchange of a role in a pod that has a port at its own or its other end.
fn lose(scene: &mut Scene, role: &str, pod: &Pod, port: i32) {
    let before = scene.seen.exchanges.len();
    scene.seen.exchanges.retain(|e| {
        let has_port = [e.local_port, e.remote_port].contains(&port);
        e.role != role || e.local_ip != pod.ip || !has_port
    });
    assert_eq!(scene.seen.exchanges.len() + 1, before);
}

fn hop_from(rows: &WindowRows, port: i32) -> Option<&Hop> {
    rows.hops.iter().find(|h| h.source_port == Some(port))
}

/// The verdict of the path of the client that has a port.
fn verdict(rows: &WindowRows, client_port: i32) -> &str {
    let root = rows.paths.iter().find(|p| p.hops[0].source_port == Some(client_port));
    &root.unwrap_or_else(|| panic!("{}", line(rows))).verdict
}

#[test]
fn call_that_the_line_of_its_request_tells_of_is_sure_although_events_are_lost() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 100, 180, 5);
    lossy(&mut scene);
    let rows = scene.rows();
    assert_eq!(line(&rows).lines().next(), Some("complete "), "{}", line(&rows));
    let hop = hop_from(&rows, 50_000).unwrap();
    assert!(hop.reasons.contains(&"OK_UPSTREAM_UNIQUE".to_owned()), "{:?}", hop.reasons);
    // Without a line there may have been another request.
    scene.seen.access_logs.clear();
    assert!(hop_from(&scene.rows(), 50_000).is_none());
}

#[test]
fn line_accounts_for_no_call_where_so_much_is_lost_that_both_may_be() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 100, 180, 5);
    very_lossy(&mut scene);
    let rows = scene.rows();
    assert!(hop_from(&rows, 50_000).is_none(), "{}", line(&rows));
    assert_eq!(rows.paths[0].verdict, "ambiguous");
}

#[test]
fn call_of_a_lost_request_is_not_given_to_one_whose_own_was_seen_by_its_server_only() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 100, 180, 5);
    request_from_outside(&mut scene, 1, 101, 178, 6);
    lossy(&mut scene);
    lose(&mut scene, "client", &INGRESS, 50_000);
    scene.seen.exchanges.retain(|e| e.bytes_request != 301 || e.role != "server");
    let rows = scene.rows();
    assert!(hop_from(&rows, 50_001).is_none(), "{}", line(&rows));
}

#[test]
fn only_call_that_fits_a_request_is_not_its_where_another_request_may_have_made_it() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 100, 180, 5);
    request_from_outside(&mut scene, 1, 101, 178, 6);
    lossy(&mut scene);
    // Both ends of the first one's own call, and the line of the second.
    lose(&mut scene, "client", &INGRESS, 50_000);
    lose(&mut scene, "server", &FRONTEND_0, 50_000);
    scene.seen.access_logs.retain(|l| l.bytes_received != Some(301));
    let rows = scene.rows();
    assert!(hop_from(&rows, 50_001).is_none(), "{}", line(&rows));
}

#[test]
fn line_that_names_a_call_made_after_its_request_does_not_take_it_from_another() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 100, 180, 5);
    request_from_outside(&mut scene, 1, 120, 200, 6);
    // Of streams that share a connection, one's span was taken for the other's.
    let span = scene.server_span("b1", None, &FRONTEND_0, (INGRESS.ip, 50_001), 123, 197);
    span.request_id = Some("id0".into());
    let rows = scene.rows();
    let first = rows.paths.iter().find(|p| p.hops[0].source_port == Some(40_000)).unwrap();
    assert!(first.hops.iter().all(|h| h.source_port != Some(50_001)), "{}", line(&rows));
}

#[test]
fn call_with_an_id_that_no_line_has_is_of_no_request_that_has_a_line() {
    let mut scene = Scene::new();
    for n in 0..6 {
        let start = 100 + 90 * i64::from(n);
        request_from_outside(&mut scene, n, start, start + 80, 5 + i64::from(n));
        let peer = (INGRESS.ip, 50_000 + n);
        let span =
            scene.server_span(&format!("s{n}"), None, &FRONTEND_0, peer, start + 3, start + 77);
        span.request_id = Some(format!("id{n}"));
    }
    // Of a request that was not seen, beside one whose own call was not.
    scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_020, 193, 267, (77, 30)));
    scene.server_span("s20", None, &FRONTEND_0, (INGRESS.ip, 50_020), 194, 266).request_id =
        Some("id20".into());
    lose(&mut scene, "client", &INGRESS, 50_001);
    lose(&mut scene, "server", &FRONTEND_0, 50_001);
    let rows = scene.rows();
    assert!(hop_from(&rows, 50_004).is_some(), "{}", line(&rows));
    assert!(hop_from(&rows, 50_020).is_none(), "{}", line(&rows));
}

#[test]
fn request_that_made_what_its_line_tells_of_may_have_made_more_where_much_is_lost() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 100, 180, 5);
    request_from_outside(&mut scene, 1, 101, 178, 6);
    scene.server_span("s0", None, &FRONTEND_0, (INGRESS.ip, 50_000), 103, 177).request_id =
        Some("id0".into());
    scene.seen.exchanges.retain(|e| e.bytes_request != 301 || e.role != "server");
    let candidates = |scene: &Scene| -> Vec<usize> {
        scene.rows().ambiguous.iter().map(|row| row.candidates.len()).collect()
    };
    lossy(&mut scene);
    assert_eq!(candidates(&scene), [0], "{}", line(&scene.rows()));
    very_lossy(&mut scene);
    assert_eq!(candidates(&scene), [1], "{}", line(&scene.rows()));
}

#[test]
fn line_that_only_fits_by_time_and_size_is_no_proof_where_much_is_lost() {
    for lost in [1, 0] {
        let mut scene = Scene::new();
        request_from_outside(&mut scene, 0, 100, 180, 5);
        lose(&mut scene, "client", &INGRESS, 50_000);
        scene.seen.heartbeats.iter_mut().for_each(|h| h.lost_kernel = lost);
        let rows = scene.rows();
        let told = rows.ambiguous.iter().find(|a| a.segment == "log line of ingress-0");
        if lost == 0 {
            assert_eq!(rows.paths[0].request_id.as_deref(), Some("id0"));
            assert!(told.is_none(), "{}", line(&rows));
        } else {
            let told = told.unwrap();
            assert_eq!(rows.paths[0].request_id, None, "{}", line(&rows));
            assert_eq!(told.reason, "MISSING_LOST_EVENTS");
            assert!((told.candidates[0].p - 0.5).abs() < 1e-9);
        }
    }
}

#[test]
fn one_lost_request_of_a_proxy_leaves_the_others_sure() {
    let mut scene = Scene::new();
    for n in 0..6 {
        let start = 100 + 60 * i64::from(n);
        request_from_outside(&mut scene, n, start, start + 80, 5 + i64::from(n));
    }
    lossy(&mut scene);
    scene.seen.exchanges.retain(|e| e.bytes_request != 302 || e.role != "server");
    let rows = scene.rows();
    let complete = rows.paths.iter().filter(|p| p.verdict == "complete").count();
    assert_eq!((complete, rows.paths.len()), (5, 5), "{}", line(&rows));
}

#[test]
fn refused_try_is_no_loss_where_events_are_lost_and_a_try_that_its_server_saw_is() {
    let mut scene = Scene::new();
    scene.arrival(40_000, 100, 180, 300);
    scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_000, 103, 178, (77, 5)));
    scene.log("aaaa", 180, 80, 300, &[(&FRONTEND_1, 0, 502), (&FRONTEND_0, 75, 200)]);
    lossy(&mut scene);
    assert_eq!(scene.rows().paths[0].verdict, "complete", "{}", line(&scene.rows()));
    scene.call(&to_pod(&INGRESS, &FRONTEND_1, 50_001, 101, 102, (77, 5)));
    lose(&mut scene, "client", &INGRESS, 50_001);
    let path = scene.rows().paths.remove(0);
    assert!(
        path.missing.contains(&"call of attempt 1: MISSING_LOST_EVENTS".to_owned()),
        "{path:?}"
    );
}

/// Requests of the ingress to frontend-0, served by two threads in turn, each with a call to cart.
fn bound(scene: &mut Scene, count: i32) {
    for n in 0..count {
        let (start, thread) = (i64::from(n) * 100, 5 + i64::from(n % 2));
        request_from_outside(scene, n, start, start + 90, thread);
        let call = cart_call(start + 10, start + 80, thread);
        scene.call(&on_port(51_000 + n, call));
    }
}

fn on_port(from_port: i32, call: Call<'static>) -> Call<'static> {
    Call { from_port, ..call }
}

#[test]
fn call_whose_client_end_was_lost_leaves_only_its_own_request_in_doubt() {
    let mut scene = Scene::new();
    bound(&mut scene, 20);
    lossy(&mut scene);
    assert!(scene.rows().paths.iter().all(|p| p.verdict == "complete"), "{}", line(&scene.rows()));
    lose(&mut scene, "client", &FRONTEND_0, 51_007);
    let rows = scene.rows();
    assert_eq!(verdict(&rows, 40_007), "partial", "{}", line(&rows));
    let missing = &rows.paths.iter().find(|p| p.verdict == "partial").unwrap().missing;
    assert_eq!(missing[..], ["calls of frontend-0: MISSING_LOST_EVENTS"]);
    assert_eq!(rows.paths.iter().filter(|p| p.verdict == "complete").count(), 19);
}

/// The same with one more request, on a thread, beside the one that makes its call on port 51_007.
fn two_at_once(thread: i64) -> Scene {
    let mut scene = Scene::new();
    bound(&mut scene, 20);
    request_from_outside(&mut scene, 30, 690, 785, thread);
    scene
}

#[track_caller]
fn assert_only_the_seventh_lacks_a_call(rows: &WindowRows) {
    assert_eq!(verdict(rows, 40_007), "partial", "{}", line(rows));
    assert_eq!(verdict(rows, 40_030), "complete", "{}", line(rows));
}

#[test]
fn request_that_did_all_that_others_do_is_not_suspected_of_a_half_seen_call() {
    let mut scene = two_at_once(9);
    // A request that has made its own call.
    scene.call(&on_port(51_030, cart_call(712, 750, 9)));
    lossy(&mut scene);
    lose(&mut scene, "client", &FRONTEND_0, 51_007);
    let rows = scene.rows();
    assert_only_the_seventh_lacks_a_call(&rows);
}

#[test]
fn request_whose_client_spans_are_all_seen_is_not_suspected_of_a_half_seen_call() {
    let mut scene = two_at_once(9);
    lossy(&mut scene);
    lose(&mut scene, "client", &FRONTEND_0, 51_007);
    assert_eq!(verdict(&scene.rows(), 40_030), "partial", "{}", line(&scene.rows()));
    // The pod writes a span for each of its calls, and this request has none.
    scene.server_span("s1", None, &FRONTEND_0, (INGRESS.ip, 50_001), 103, 187);
    scene.span("client", "c1", Some("s1"), &FRONTEND_0, 109, 181);
    scene.server_span("s30", None, &FRONTEND_0, (INGRESS.ip, 50_030), 693, 782);
    let rows = scene.rows();
    assert_only_the_seventh_lacks_a_call(&rows);
}

#[test]
fn half_seen_call_that_ids_give_to_a_request_leaves_no_other_in_doubt() {
    let mut scene = two_at_once(9);
    scene.server_span("s7", None, &FRONTEND_0, (INGRESS.ip, 50_007), 703, 787);
    scene.span("client", "c7", Some("s7"), &FRONTEND_0, 709, 781);
    scene.server_span("k7", Some("c7"), &CART_0, (FRONTEND_0.ip, 51_007), 711, 779);
    lossy(&mut scene);
    lose(&mut scene, "client", &FRONTEND_0, 51_007);
    let rows = scene.rows();
    assert_only_the_seventh_lacks_a_call(&rows);
}

#[test]
fn request_that_began_just_after_a_half_seen_call_is_not_suspected_under_one_epoch() {
    for (moved_ns, expected) in [(0, "complete"), (1, "partial")] {
        let mut scene = Scene::new();
        bound(&mut scene, 20);
        request_from_outside(&mut scene, 30, 709, 795, 9);
        // Half a millisecond after the call.
        let served = scene.seen.exchanges.iter_mut();
        let mut served = served.filter(|e| e.local_ip == FRONTEND_0.ip && e.remote_port == 50_030);
        served.next().unwrap().start_ns -= 500_000;
        lossy(&mut scene);
        lose(&mut scene, "client", &FRONTEND_0, 51_007);
        sampled(&mut scene, 0, 0);
        scene.seen.heartbeats[30].clock_epoch_ns += moved_ns;
        assert_eq!(verdict(&scene.rows(), 40_030), expected, "{}", line(&scene.rows()));
    }
}

#[test]
fn thread_that_serves_nothing_that_was_seen_calls_for_a_request_that_was_lost() {
    let mut scene = two_at_once(5);
    scene.call(&on_port(51_030, cart_call(712, 750, 5)));
    lossy(&mut scene);
    // The request on the other thread, which made a call meanwhile.
    lose(&mut scene, "server", &FRONTEND_0, 50_007);
    let rows = scene.rows();
    assert_eq!(verdict(&rows, 40_030), "complete", "{}", line(&rows));
    assert!(hop_from(&rows, 51_007).is_none());
    let told = rows.ambiguous.iter().find(|a| a.segment == "cause of a call by frontend-0");
    assert_eq!(told.unwrap().reason, "MISSING_LOST_EVENTS");
}

#[test]
fn calls_of_one_thread_that_never_serves_two_at_once_are_sure_but_for_those_near_a_lost_request() {
    let mut scene = Scene::new();
    for n in 0..400 {
        let start = i64::from(n) * 24;
        request_from_outside(&mut scene, n, start, start + 12, 5);
        scene.call(&on_port(51_000 + n, cart_call(start + 4, start + 8, 5)));
    }
    lossy(&mut scene);
    // Its call was made while nobody was seen to ask. The caller's end tells when, but for 100 ms
    // that the clocks of two nodes may be apart.
    lose(&mut scene, "server", &FRONTEND_0, 50_200);
    let rows = scene.rows();
    let complete = rows.paths.iter().filter(|p| p.verdict == "complete").count();
    assert_eq!(complete, 391, "{}", line(&rows));
    assert!(hop_from(&rows, 51_100).unwrap().reasons.contains(&"OK_CONTAINMENT".to_owned()));
    assert!(hop_from(&rows, 51_200).is_none());
}
