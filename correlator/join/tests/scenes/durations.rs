//! What the durations in a proxy's lines tell, once many of its lines show how exact they are; and
//! which calls are of requests that only a line tells of.

use crate::calls::{request_from_outside, to_pod};
use crate::scene::{FRONTEND_0, FRONTEND_1, INGRESS, Pod, Scene, line};

/// Enough requests for all that is learned from a proxy's lines.
const MANY: i32 = 70;

/// A proxy after so many requests, one after the other; agents lose two rows in a hundred.
fn after(requests: i32) -> Scene {
    let mut scene = Scene::new();
    for n in 0..requests {
        let start = 100 + 50 * i64::from(n);
        request_from_outside(&mut scene, 100 + n, start, start + 20, 5);
    }
    for beat in &mut scene.seen.heartbeats {
        (beat.lost_kernel, beat.shipped) = (2, 98);
    }
    scene
}

/// Two requests at once, of the first of which the line was lost.
fn two_at_once(scene: &mut Scene) {
    request_from_outside(scene, 0, 9_000, 9_024, 6);
    scene.seen.access_logs.pop();
    request_from_outside(scene, 1, 9_001, 9_018, 7);
}

/// The line of a request that was not seen, whose try lasted so many milliseconds.
fn line_of_unseen(scene: &mut Scene, lasted: i64) {
    let id = format!("unseen-{}", scene.seen.access_logs.len());
    scene.log(&id, 9_200, lasted + 4, 999, &[(&FRONTEND_0, lasted, 200)]);
}

#[track_caller]
fn check_second_call(scene: &Scene, is_decided: bool) {
    let rows = scene.rows();
    let is_in_path = rows.hops.iter().any(|h| h.source_port == Some(50_001));
    assert_eq!(is_in_path, is_decided, "{}", line(&rows));
}

#[test]
fn line_of_a_request_that_was_not_seen_is_not_of_a_call_that_lasted_longer() {
    for (requests, is_decided) in [(MANY, true), (10, false)] {
        let mut scene = after(requests);
        two_at_once(&mut scene);
        line_of_unseen(&mut scene, 10);
        check_second_call(&scene, is_decided);
    }
}

#[test]
fn line_of_a_request_that_was_not_seen_is_of_one_call_only() {
    for (has_own_call, is_decided) in [(true, true), (false, false)] {
        let mut scene = after(MANY);
        two_at_once(&mut scene);
        line_of_unseen(&mut scene, 13);
        if has_own_call {
            scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_002, 9_100, 9_113, (77, 8)));
        }
        check_second_call(&scene, is_decided);
    }
}

#[test]
fn lines_of_requests_that_were_not_seen_are_of_as_many_calls_whichever_of_which() {
    for (own_calls, is_decided) in [(2, true), (1, false)] {
        let mut scene = after(MANY);
        two_at_once(&mut scene);
        for n in 0..2 {
            line_of_unseen(&mut scene, 13);
            if n < own_calls {
                let start = 9_100 + 40 * i64::from(n);
                let port = 50_002 + n;
                scene.call(&to_pod(&INGRESS, &FRONTEND_0, port, start, start + 13, (77, 8)));
            }
        }
        check_second_call(&scene, is_decided);
    }
}

/// Verdict of the path of one of these requests.
fn verdict(scene: &Scene, n: i32) -> String {
    let rows = scene.rows();
    let path = rows.paths.iter().find(|p| p.hops[0].source_port == Some(40_000 + n));
    path.unwrap_or_else(|| panic!("{}", line(&rows))).verdict.clone()
}

#[test]
fn request_that_made_all_its_calls_is_whole_beside_one_that_lacks_its_own() {
    let mut scene = after(10);
    two_at_once(&mut scene);
    scene.seen.exchanges.retain(|e| {
        let is_client = e.local_ip == INGRESS.ip && e.local_port == 50_000;
        !is_client && (e.local_ip != FRONTEND_0.ip || e.remote_port != 50_000)
    });
    request_from_outside(&mut scene, 2, 8_998, 9_030, 8);
    check_second_call(&scene, false);
    assert_eq!(verdict(&scene, 2), "complete");
}

#[test]
fn call_of_a_request_that_was_lost_with_its_line_is_of_none_whose_line_tells_all() {
    for (requests, expected) in [(MANY, "complete"), (10, "ambiguous")] {
        let mut scene = after(requests);
        request_from_outside(&mut scene, 0, 9_000, 9_024, 6);
        scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_002, 9_004, 9_020, (77, 8)));
        assert_eq!(verdict(&scene, 0), expected);
    }
    // Where it is usual, it is no loss.
    let mut scene = after(MANY);
    for n in 0..MANY {
        let start = 104 + 50 * i64::from(n);
        scene.call(&to_pod(&INGRESS, &FRONTEND_0, 52_000 + n, start, start + 9, (77, 8)));
    }
    assert_eq!(verdict(&scene, 100), "ambiguous");
}

/// The path of the last request, of 24 ms with a call of 20 ms, after one line that may be its own
/// was written instead of it.
fn told_by(
    mut scene: Scene,
    lasted: i64,
    try_lasted: i64,
    tried: &Pod,
) -> (String, Option<String>) {
    request_from_outside(&mut scene, 0, 9_000, 9_024, 6);
    scene.seen.access_logs.pop();
    scene.log("late", 9_024, lasted, 300, &[(tried, try_lasted, 200)]);
    let rows = scene.rows();
    let path = rows.paths.iter().find(|p| p.hops[0].source_port == Some(40_000));
    let path = path.unwrap_or_else(|| panic!("{}", line(&rows)));
    (path.verdict.clone(), path.request_id.clone())
}

#[test]
fn line_of_a_held_up_loop_is_of_the_request_that_nothing_nearer_claims() {
    // Longer where the beginning was stamped late, shorter where the end was.
    for lasted in [28, 20] {
        let (verdict, id) = told_by(after(MANY), lasted, 20, &FRONTEND_0);
        assert_eq!((verdict.as_str(), id.as_deref()), ("complete", Some("late")), "{lasted} ms");
    }
}

#[test]
fn line_that_is_less_exact_is_of_no_request_whose_call_it_does_not_list() {
    for (lasted, try_lasted, tried) in
        [(28, 20, &FRONTEND_1), (28, 16, &FRONTEND_0), (31, 20, &FRONTEND_0)]
    {
        let (verdict, id) = told_by(after(MANY), lasted, try_lasted, tried);
        assert_eq!((verdict.as_str(), id), ("ambiguous", None), "{lasted} {try_lasted}");
    }
}

#[test]
fn line_that_is_less_exact_is_of_no_request_that_made_a_call_beside_those_it_lists() {
    let mut scene = after(MANY);
    scene.call(&to_pod(&INGRESS, &FRONTEND_1, 50_002, 9_004, 9_020, (77, 8)));
    let (verdict, id) = told_by(scene, 28, 20, &FRONTEND_0);
    assert_eq!((verdict.as_str(), id), ("ambiguous", None));
}

#[test]
fn line_that_is_less_exact_and_lists_no_call_is_of_no_request() {
    let mut scene = after(MANY);
    scene.arrival(40_000, 9_000, 9_024, 300);
    scene.log("late", 9_024, 28, 300, &[]);
    let rows = scene.rows();
    let path = rows.paths.iter().find(|p| p.hops[0].source_port == Some(40_000)).unwrap();
    assert_eq!(path.request_id, None, "{}", line(&rows));
}

#[test]
fn line_that_is_less_exact_is_of_no_request_that_another_line_is_near() {
    let mut scene = after(MANY);
    scene.log("near", 9_024, 24, 300, &[(&FRONTEND_0, 20, 200)]);
    let (verdict, id) = told_by(scene, 28, 20, &FRONTEND_0);
    assert_eq!((verdict.as_str(), id.as_deref()), ("complete", Some("near")));
}

#[test]
fn try_of_a_held_up_loop_is_the_call_that_no_line_lists() {
    for try_lasted in [24, 16] {
        let (verdict, id) = told_by(after(MANY), 24, try_lasted, &FRONTEND_0);
        assert_eq!((verdict.as_str(), id.as_deref()), ("complete", Some("late")));
    }
}

#[test]
fn try_of_a_held_up_loop_is_no_call_that_may_be_of_a_request_that_was_not_seen() {
    for (has_own_call, expected) in [(true, "complete"), (false, "ambiguous")] {
        let mut scene = after(MANY);
        line_of_unseen(&mut scene, 20);
        if has_own_call {
            scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_002, 9_100, 9_120, (77, 8)));
        }
        assert_eq!(told_by(scene, 24, 24, &FRONTEND_0).0, expected);
    }
}

#[test]
fn less_exact_lines_that_name_calls_are_of_the_requests_that_made_them() {
    let mut scene = after(MANY);
    // Written in the other order than the requests ended in.
    for (n, id, start) in [(1, "second", 9_003), (0, "first", 9_000)] {
        scene.arrival(40_000 + n, start, start + 24, 300);
        let call = to_pod(&INGRESS, &FRONTEND_0, 50_000 + n, start + 2, start + 22, (77, 6));
        scene.call(&call);
        let peer = (INGRESS.ip, 50_000 + n);
        let span = scene.server_span(id, None, &FRONTEND_0, peer, start + 3, start + 21);
        span.request_id = Some(id.into());
        scene.log(id, start + 24, 28, 300, &[(&FRONTEND_0, 20, 200)]);
    }
    let rows = scene.rows();
    for (port, id) in [(40_000, "first"), (40_001, "second")] {
        let path = rows.paths.iter().find(|p| p.hops[0].source_port == Some(port)).unwrap();
        assert_eq!(path.request_id.as_deref(), Some(id), "{}", line(&rows));
        assert_eq!((path.verdict.as_str(), path.hop_count), ("complete", 2), "{}", line(&rows));
    }
}

#[test]
fn call_without_a_line_in_the_only_request_there_is_in_doubt_and_says_what_lacks() {
    let mut scene = after(10);
    request_from_outside(&mut scene, 0, 9_000, 9_024, 6);
    scene.seen.access_logs.pop();
    let rows = scene.rows();
    let row = rows.ambiguous.iter().find(|row| row.segment.starts_with("relay")).unwrap();
    assert_eq!(row.candidates.iter().map(|c| c.p).collect::<Vec<_>>(), [0.5]);
    assert!(row.decided_by.starts_with("an access log line"), "{}", row.decided_by);
}
