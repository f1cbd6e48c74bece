//! Transcripts of whole lines: what was observed, and exactly the rows that must come of it.

use crate::calls::{Call, to_pod};
use crate::scene::{CART_1, CART_VIP, FRONTEND_0, FRONTEND_1, INGRESS, Scene, line, ns};

/// client -> NodePort -> ingress -> frontend-0 -> Service cart -> cart-1, from 100 ms to 180 ms.
fn one_request() -> Scene {
    let mut scene = Scene::new();
    scene.arrival(40_000, 100, 180, 300);
    scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_000, 102, 178, (77, 5)));
    scene.call(&Call {
        from: &FRONTEND_0,
        from_port: 51_000,
        to: CART_VIP,
        server: &CART_1,
        start: 110,
        end: 170,
        client_thread: 5,
        server_thread: 9,
        bytes: 200,
    });
    scene.log("aaaa", 180, 80, 300, &[(&FRONTEND_0, 76, 200)]);
    scene
}

const WHOLE: &str = "\
complete 
  edge - -> ingress-0 [ingress] dnat+snat
    ingress ingress-0 -> frontend-0 [frontend] none
      service frontend-0 -> cart-1 [cart] dnat
";

#[track_caller]
fn check(scene: &Scene, expected: &str) {
    assert_eq!(line(&scene.rows()), expected);
}

#[test]
fn request_through_nodeport_ingress_and_service_is_one_complete_path() {
    let scene = one_request();
    check(&scene, WHOLE);
    let path = scene.rows().paths.remove(0);
    assert_eq!(path.request_id.as_deref(), Some("aaaa"));
    assert_eq!(path.status, Some(200));
    assert_eq!(path.final_pod.as_deref(), Some("frontend-0"));
    assert_eq!(path.entry_service.as_deref(), Some("ingress"));
    let nat = |i: usize| (path.hops[i].nat_original.as_deref(), path.hops[i].nat_reply.as_deref());
    assert_eq!(
        nat(0),
        (
            Some("ext-00000000000000aa:40000->10.89.0.11:30080"),
            Some("10.244.2.2:80->10.89.0.11:50000")
        )
    );
    assert_eq!(
        nat(2),
        (Some("10.244.1.3:51000->10.96.0.10:80"), Some("10.244.2.4:8080->10.244.1.3:51000"))
    );
    assert_eq!(path.hops[2].nat_node.as_deref(), Some("node-1"));
}

#[test]
fn call_to_itself_through_its_own_service_is_a_hairpin() {
    let mut scene = one_request();
    scene.call(&Call {
        from: &CART_1,
        from_port: 52_000,
        to: CART_VIP,
        server: &CART_1,
        start: 120,
        end: 130,
        client_thread: 9,
        server_thread: 10,
        bytes: 150,
    });
    check(&scene, &format!("{WHOLE}        service cart-1 -> cart-1 [cart] dnat+snat\n"));
    let path = scene.rows().paths.remove(0);
    assert!(path.hops[3].reasons.contains(&"HAIRPIN".to_owned()), "{:?}", path.hops[3].reasons);
}

#[test]
fn translation_without_its_record_follows_from_both_ends() {
    let mut scene = one_request();
    scene.seen.nat_bindings.retain(|b| b.original_destination_ip != CART_VIP.0);
    check(&scene, WHOLE);
    let path = scene.rows().paths.remove(0);
    assert!(!path.hops[2].evidence.contains(&"nat_binding".to_owned()));
    assert_eq!(path.hops[2].nat_reply.as_deref(), Some("10.244.2.4:8080->10.244.1.3:51000"));
}

#[test]
fn masquerade_without_its_record_hides_the_client_and_never_names_the_node() {
    let mut scene = one_request();
    scene.seen.nat_bindings.retain(|b| b.original_destination_port != 30080);
    let rows = scene.rows();
    assert_eq!(rows.paths[0].verdict, "partial");
    assert_eq!(rows.paths[0].missing, ["client: SNAT_HIDDEN_CLIENT"]);
    assert_eq!(rows.paths[0].hops[0].source_ip, None);
}

#[test]
fn server_on_a_node_without_agent_is_missing_for_want_of_coverage() {
    let mut scene = one_request();
    scene.seen.exchanges.retain(|e| e.node != "node-1");
    scene.seen.nat_bindings.retain(|b| b.node != "node-1");
    scene.seen.heartbeats.retain(|h| h.node != "node-1");
    check(
        &scene,
        "\
partial client: MISSING_NO_COVERAGE, server end in frontend-0: MISSING_NO_COVERAGE
  edge - -> ingress-0 [ingress] unknown
    ingress ingress-0 -> frontend-0 [frontend] unknown
? caller of cart-1 in frontend-0: MISSING_NO_COVERAGE (0)
",
    );
}

#[test]
fn lost_events_on_the_servers_node_leave_its_calls_in_doubt() {
    let mut scene = one_request();
    for h in scene.seen.heartbeats.iter_mut().filter(|h| h.node == "node-1") {
        h.lost_kernel = 1;
    }
    let rows = scene.rows();
    // The request that made the call may be among what was lost.
    assert_eq!(rows.paths[0].verdict, "ambiguous");
    assert_eq!(rows.paths[0].missing, ["calls of frontend-0: MISSING_LOST_EVENTS"]);
    assert_eq!(rows.paths[0].hop_count, 2);
    assert_eq!(rows.ambiguous[0].reason, "MISSING_LOST_EVENTS");
}

#[test]
fn backend_killed_in_the_middle_is_the_failing_hop_of_a_complete_path() {
    let mut scene = one_request();
    for e in &mut scene.seen.exchanges {
        let is_cart_call = e.remote_ip == CART_VIP.0 || e.local_ip == CART_1.ip;
        if is_cart_call {
            (e.tcp_seq_resp, e.first_response_ns, e.response_thread) = (None, None, None);
            e.end_ns = e.start_ns;
            e.event_ns = e.end_ns;
        }
    }
    scene.seen.access_logs[0].status = Some(502);
    scene.seen.access_logs[0].attempts[0].status = Some(502);
    check(&scene, WHOLE);
    let path = scene.rows().paths.remove(0);
    assert_eq!(path.outcome, "error");
    assert_eq!((path.failing_hop, path.failure_cause.as_deref()), (Some(2), Some("no_response")));
}

#[test]
fn refused_attempt_that_only_the_log_knows_is_a_hop_before_the_one_that_answered() {
    let mut scene = one_request();
    scene.seen.access_logs.clear();
    scene.log("aaaa", 180, 80, 300, &[(&FRONTEND_1, 0, 502), (&FRONTEND_0, 76, 200)]);
    check(
        &scene,
        "\
complete 
  edge - -> ingress-0 [ingress] dnat+snat
    ingress ingress-0 -> frontend-1 [frontend] unknown
    ingress ingress-0 -> frontend-0 [frontend] none
      service frontend-0 -> cart-1 [cart] dnat
",
    );
    let path = scene.rows().paths.remove(0);
    assert_eq!(path.hops[1].attempt, 1);
    assert_eq!(path.hops[2].attempt, 2);
    assert!(path.reasons.contains(&"RETRY_ATTEMPTS".to_owned()));
    assert_eq!(path.final_pod.as_deref(), Some("frontend-0"));
}

#[test]
fn call_that_ended_without_a_response_is_no_try_that_was_answered() {
    let mut scene = one_request();
    // Two tries of one server: the first was dropped, and of the second the client's end was lost.
    scene.seen.exchanges.retain(|e| !(e.local_ip == INGRESS.ip && e.remote_ip == FRONTEND_0.ip));
    let before = scene.seen.exchanges.len();
    scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_002, 102, 104, (77, 9)));
    for e in &mut scene.seen.exchanges[before..] {
        (e.tcp_seq_resp, e.first_response_ns, e.response_thread) = (None, None, None);
        (e.bytes_response, e.ended_by) = (0, "close".into());
    }
    scene.seen.access_logs.clear();
    scene.log("aaaa", 180, 80, 300, &[(&FRONTEND_0, 2, 502), (&FRONTEND_0, 74, 200)]);
    scene.seen.access_logs[0].attempts[1].response_length = Some(900);
    let path = scene.rows().paths.remove(0);
    let tries: Vec<_> = path.hops.iter().filter(|h| h.kind == "ingress").collect();
    assert_eq!(tries.len(), 2);
    assert_eq!(
        (tries[0].attempt, tries[0].status, tries[0].source_port),
        (1, Some(502), Some(50_002))
    );
    assert_eq!((tries[1].attempt, tries[1].status, tries[1].source_port), (2, Some(200), None));
}

#[test]
fn line_that_is_delivered_twice_is_one_line() {
    for (collector, later) in [("", 1), ("collector-1", 0), ("collector-1", 1)] {
        let mut scene = one_request();
        let mut copy = scene.seen.access_logs[0].clone();
        copy.collector = collector.into();
        copy.ingest_seq += later;
        scene.seen.access_logs.push(copy);
        check(&scene, WHOLE);
    }
}

/// Two requests that the ingress serves at once, over one worker thread.
pub(crate) fn two_requests(second: (i64, i64)) -> Scene {
    let mut scene = one_request();
    let (start, end) = second;
    scene.arrival(40_001, start, end, 301);
    scene.call(&to_pod(&INGRESS, &FRONTEND_1, 50_001, start + 2, end - 2, (77, 6)));
    scene.log("bbbb", end, end - start, 301, &[(&FRONTEND_1, end - start - 4, 200)]);
    if end < 180 {
        // The worker writes its lines in the order in which the requests end.
        let [first, second] = &mut scene.seen.access_logs[..] else { unreachable!() };
        std::mem::swap(&mut first.ingest_seq, &mut second.ingest_seq);
    }
    scene
}

#[test]
fn line_that_names_a_call_is_of_no_request_that_was_not_open_during_it() {
    // The first request was lost and the line of the second, which is like the first.
    let mut scene = two_requests((300, 380));
    scene.server_span("s1", None, &FRONTEND_0, (INGRESS.ip, 50_000), 103, 177).request_id =
        Some("aaaa".into());
    scene.seen.exchanges.retain(|e| e.local_port != 80 || e.start_ns != ns(100));
    scene.seen.access_logs.retain(|line| line.request_id.as_deref() == Some("aaaa"));
    scene.seen.access_logs[0].bytes_received = None;
    for h in &mut scene.seen.heartbeats {
        h.lost_kernel = 1;
    }
    let rows = scene.rows();
    let second = rows.paths.iter().find(|path| path.start_ns == ns(300)).unwrap();
    assert_eq!(second.request_id, None, "{}", line(&rows));
    assert!(second.hops.iter().all(|hop| hop.destination_pod.as_deref() != Some("frontend-0")));
}

#[test]
fn overlapping_requests_of_one_worker_are_told_apart_by_containment() {
    for second in [(90, 190), (110, 160), (120, 250), (50, 130)] {
        let rows = two_requests(second).rows();
        let upstreams: Vec<_> = rows
            .paths
            .iter()
            .map(|p| (p.request_id.as_deref(), p.verdict.as_str(), p.final_pod.as_deref()))
            .collect();
        assert!(
            upstreams.contains(&(Some("aaaa"), "complete", Some("frontend-0"))),
            "{upstreams:?}"
        );
        assert!(
            upstreams.contains(&(Some("bbbb"), "complete", Some("frontend-1"))),
            "{upstreams:?}"
        );
    }
}

#[test]
fn interchangeable_calls_of_one_worker_are_ambiguous_and_never_guessed() {
    let mut scene = two_requests((101, 181));
    scene.seen.access_logs.clear();
    // One line must be there for the pod to be known as a proxy; it is of neither request.
    scene.log("cccc", 9_000, 80, 999, &[(&FRONTEND_0, 76, 200)]);
    let rows = scene.rows();
    let verdicts: Vec<_> = rows.paths.iter().map(|p| p.verdict.as_str()).collect();
    assert_eq!(verdicts, ["ambiguous", "ambiguous"]);
    let undecided: Vec<_> = rows.ambiguous.iter().map(|a| a.reason.as_str()).collect();
    assert_eq!(undecided, ["AMBIG_TIME_ONLY"; 4]);
}

#[test]
fn copies_of_a_line_by_two_collectors_give_the_same_rows_in_any_order() {
    // Only the order of the lines tells these apart, and it is known where they came one way.
    let mut scene = two_requests((101, 181));
    for line in &mut scene.seen.access_logs {
        (line.collector, line.bytes_received) = ("collector-1".into(), None);
        line.attempts[0].ip = None;
    }
    let mut copy = scene.seen.access_logs[0].clone();
    copy.collector = "collector-2".into();
    scene.seen.access_logs.push(copy);
    let rows = scene.rows();
    scene.seen.access_logs.reverse();
    assert_eq!(scene.rows(), rows, "{}", line(&rows));
}

/// What may label two requests that one line fits; the other's was lost.
fn labels(id: Option<&str>) -> Vec<Vec<String>> {
    let mut scene = two_requests((101, 181));
    scene.seen.access_logs.truncate(1);
    let line = &mut scene.seen.access_logs[0];
    (line.request_id, line.bytes_received) = (id.map(Into::into), None);
    line.attempts[0].ip = None;
    let rows = scene.rows().ambiguous.into_iter();
    let rows = rows.filter(|row| row.reason == "AMBIG_COARSE_TIME");
    rows.map(|row| row.candidates.into_iter().map(|c| c.what).collect()).collect()
}

#[test]
fn a_line_that_fits_two_requests_lists_its_id_and_says_nothing_without() {
    assert_eq!(labels(Some("aaaa")), [["request id aaaa"], ["request id aaaa"]]);
    assert_eq!(labels(None), Vec::<Vec<String>>::new());
}

#[test]
fn request_bytes_in_the_log_decide_between_interchangeable_calls_when_ids_name_them() {
    let mut scene = two_requests((101, 181));
    scene.server_span("s1", None, &FRONTEND_0, (INGRESS.ip, 50_000), 103, 177).request_id =
        Some("aaaa".into());
    scene.server_span("s2", None, &FRONTEND_1, (INGRESS.ip, 50_001), 104, 178).request_id =
        Some("bbbb".into());
    let rows = scene.rows();
    let found: Vec<_> = rows
        .paths
        .iter()
        .map(|p| (p.request_id.as_deref(), p.verdict.as_str(), p.final_pod.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            (Some("aaaa"), "complete", Some("frontend-0")),
            (Some("bbbb"), "complete", Some("frontend-1")),
        ]
    );
    for hop in rows.paths.iter().flat_map(|p| &p.hops) {
        let distinct: std::collections::BTreeSet<_> = hop.evidence.iter().collect();
        assert_eq!(distinct.len(), hop.evidence.len(), "{:?}", hop.evidence);
    }
}

#[test]
fn exchange_that_comes_again_with_a_later_end_counts_once_with_the_later_end() {
    let mut scene = one_request();
    let mut early = scene.seen.exchanges[0].clone();
    early.end_ns -= 20_000_000;
    (early.event_ns, early.first_response_ns) = (early.end_ns, Some(early.end_ns));
    scene.seen.exchanges.push(early);
    check(&scene, WHOLE);
}

#[test]
fn request_belongs_to_the_window_of_its_end() {
    let mut scene = Scene::new();
    scene.arrival(40_000, 9_990, 10_010, 300);
    let windows = scene.windows(2);
    assert_eq!((windows[0].paths.len(), windows[1].paths.len()), (0, 1));
    assert_eq!(windows[1].paths[0].start_ns, ns(9_990));
}

#[test]
fn call_that_only_its_server_saw_takes_a_try_of_the_request_whose_id_came_with_it() {
    for (id, is_told) in [("aaaa", true), ("cccc", false)] {
        let mut scene = Scene::new();
        scene.arrival(40_000, 100, 180, 300);
        scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_000, 102, 178, (77, 5)));
        scene.seen.exchanges.remove(scene.seen.exchanges.len() - 2);
        scene.log("aaaa", 180, 80, 300, &[(&FRONTEND_0, 76, 200)]);
        let span = scene.server_span("f", None, &FRONTEND_0, (INGRESS.ip, 50_000), 103, 177);
        span.request_id = Some(id.into());
        // Beside it, one whose first try was dropped there: nothing names that call, nor tells when
        // it ended.
        scene.arrival(40_001, 105, 185, 301);
        let before = scene.seen.exchanges.len();
        scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_001, 107, 127, (77, 6)));
        for e in &mut scene.seen.exchanges[before..] {
            (e.tcp_seq_resp, e.first_response_ns, e.response_thread) = (None, None, None);
            (e.bytes_response, e.ended_by) = (0, "unknown".into());
        }
        scene.call(&to_pod(&INGRESS, &FRONTEND_1, 50_002, 130, 183, (77, 7)));
        scene.log("bbbb", 185, 80, 301, &[(&FRONTEND_0, 20, 502), (&FRONTEND_1, 53, 200)]);
        let rows = scene.rows();
        let dropped = rows.hops.iter().find(|hop| hop.source_port == Some(50_001));
        assert_eq!(dropped.is_some(), is_told, "{id}: {}", line(&rows));
    }
}

#[test]
fn tries_are_numbered_as_all_lines_say_that_may_be_the_requests() {
    let (dropped, answered) = ((&FRONTEND_0, 4, 502), (&FRONTEND_1, 66, 200));
    for (other, verdict, attempts) in [
        (&[dropped, answered][..], "complete", [1, 2]),
        (&[(&FRONTEND_0, 0, 502), dropped, answered], "partial", [1, 1]),
        (&[dropped, (&FRONTEND_1, 0, 502), answered], "partial", [1, 1]),
    ] {
        let mut scene = Scene::new();
        scene.arrival(40_000, 100, 180, 300);
        let before = scene.seen.exchanges.len();
        scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_001, 102, 106, (77, 6)));
        for e in &mut scene.seen.exchanges[before..] {
            (e.tcp_seq_resp, e.first_response_ns, e.response_thread) = (None, None, None);
            (e.bytes_response, e.ended_by) = (0, "close".into());
        }
        scene.call(&to_pod(&INGRESS, &FRONTEND_1, 50_002, 110, 176, (77, 7)));
        // One of the two is of a request that was lost.
        for tries in [&[dropped, answered], other] {
            scene.log("-", 180, 80, 300, tries);
            scene.seen.access_logs.last_mut().unwrap().request_id = None;
        }
        let rows = scene.rows();
        let path = &rows.paths[0];
        let told: Vec<i32> = path.hops.iter().skip(1).map(|hop| hop.attempt).collect();
        assert_eq!((path.verdict.as_str(), &told[..]), (verdict, &attempts[..]), "{}", line(&rows));
    }
}

#[test]
fn call_that_only_its_server_saw_takes_no_try_of_a_line_that_does_not_list_it() {
    let mut scene = Scene::new();
    scene.arrival(40_000, 100, 180, 300);
    scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_000, 110, 178, (77, 5)));
    scene.log("aaaa", 180, 80, 300, &[(&FRONTEND_0, 68, 200)]);
    // An authorisation, say.
    scene.call(&to_pod(&INGRESS, &FRONTEND_1, 50_001, 102, 108, (77, 6)));
    scene.seen.exchanges.remove(scene.seen.exchanges.len() - 2);
    let span = scene.server_span("f", None, &FRONTEND_1, (INGRESS.ip, 50_001), 103, 107);
    span.request_id = Some("aaaa".into());
    let rows = scene.rows();
    let own = rows.hops.iter().find(|hop| hop.source_port == Some(50_000));
    assert!(own.is_some(), "{}", line(&rows));
}
