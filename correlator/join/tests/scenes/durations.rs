//! What the durations in a proxy's lines tell, once many of its lines show how exact they are; and
//! which calls are of requests that only a line tells of.

use crate::calls::{request_from_outside, to_pod};
use crate::scene::{FRONTEND_0, INGRESS, Scene, line};

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
    scene.log("unseen", 9_200, lasted + 4, 999, &[(&FRONTEND_0, lasted, 200)]);
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
