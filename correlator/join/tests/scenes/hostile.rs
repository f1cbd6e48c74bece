//! Rows that no honest source would send: ids that loop, times that can't be, and never a panic.

use crate::scene::{FRONTEND_0, INGRESS, Scene, line};

use crate::calls::{cart_call, request_from_outside, to_pod};

#[test]
fn span_that_is_its_own_ancestor_causes_nothing() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 100, 180, 5);
    scene.call(&to_pod(&FRONTEND_0, &FRONTEND_0, 52_000, 120, 130, (5, 6)));
    let peer = (FRONTEND_0.ip, 52_000);
    scene.server_span("a", Some("b"), &FRONTEND_0, peer, 121, 129);
    scene.span("client", "b", Some("a"), &FRONTEND_0, 120, 130);
    let rows = scene.rows();
    assert_eq!(rows.paths[0].hop_count, 3, "{}", line(&rows));
}

#[test]
fn spans_that_differ_under_one_id_give_the_same_rows_in_any_order() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 100, 180, 5);
    for (status, route) in [(200, "/a"), (500, "/a"), (500, "/b")] {
        let span = scene.server_span("a", None, &FRONTEND_0, (INGRESS.ip, 50_000), 103, 177);
        (span.status_code, span.route) = (Some(status), Some(route.into()));
        span.request_id = Some(format!("id-{status}"));
    }
    let rows = scene.rows();
    scene.seen.spans.reverse();
    assert_eq!(scene.rows(), rows);
}

#[test]
fn rows_that_contradict_themselves_are_told_and_never_panic() {
    type Spoil = fn(&mut tables::Exchange);
    let spoils: [Spoil; 6] = [
        |e| e.end_ns = e.start_ns - 1,
        |e| e.start_ns = i64::MIN,
        |e| e.first_response_ns = Some(i64::MAX),
        |e| e.remote_port = 70_000,
        |e| e.local_ip = String::new(),
        |e| e.role = "unknown".into(),
    ];
    for (i, spoil) in spoils.iter().enumerate() {
        let mut scene = Scene::new();
        scene.arrival(40_000, 100, 180, 300);
        spoil(&mut scene.seen.exchanges[0]);
        let rows = scene.rows();
        assert_eq!(
            line(&rows),
            "? exchange that node node-2 reported: FAIL_MALFORMED (0)\n",
            "{i}"
        );
    }
}

#[test]
fn times_at_the_edge_of_integers_in_other_rows_never_panic() {
    for extreme in [i64::MIN, -1, 0, i64::MAX] {
        let mut scene = Scene::new();
        request_from_outside(&mut scene, 0, 100, 180, 5);
        scene.call(&cart_call(120, 150, 5));
        scene.server_span("a", None, &FRONTEND_0, (INGRESS.ip, 50_000), 103, 177).start_ns =
            extreme;
        let log = &mut scene.seen.access_logs[0];
        (log.duration_ns, log.duration_error_ns) = (Some(extreme), extreme);
        log.attempts[0].duration_ns = Some(extreme);
        log.attempts[0].response_length = Some(extreme);
        for binding in &mut scene.seen.nat_bindings {
            binding.first_seen_ns = extreme;
        }
        for h in scene.seen.heartbeats.iter_mut().step_by(3) {
            h.covered_from_ns = extreme;
        }
        for object in &mut scene.seen.cluster_objects {
            object.body = object
                .body
                .replace("\"created_at_ns\":null", &format!("\"created_at_ns\":{extreme}"));
        }
        scene.windows(2);
    }
}
