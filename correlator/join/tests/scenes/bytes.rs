//! What the bytes in a proxy's lines tell, once many of its lines show how long heads are; and what
//! came of the tries that they list.

use crate::calls::{request_from_outside, to_pod};
use crate::scene::{FRONTEND_0, INGRESS, Scene, line};

/// Enough requests for all that is learned from a proxy's lines.
const MANY: i32 = 70;

/// Every response has 1,000 bytes, of which 900 are its body as lines tell it.
const BODY: i64 = 900;

/// A proxy after so many requests, one after the other, and one more from 9 s on; agents lose two
/// rows in a hundred.
fn after(requests: i32) -> Scene {
    let mut scene = Scene::new();
    for n in 0..requests {
        let start = 100 + 50 * i64::from(n);
        request_from_outside(&mut scene, 100 + n, start, start + 20, 5);
    }
    request_from_outside(&mut scene, 0, 9_000, 9_024, 6);
    for line in &mut scene.seen.access_logs {
        line.body_bytes_sent = Some(BODY);
        line.attempts[0].response_length = Some(BODY);
    }
    for beat in &mut scene.seen.heartbeats {
        (beat.lost_kernel, beat.shipped) = (2, 98);
    }
    scene
}

/// A second call within the request from 9 s on, of one that was lost with its line.
fn call_of_a_lost_request(scene: &mut Scene, lasted: i64) -> &mut [tables::Exchange] {
    let before = scene.seen.exchanges.len();
    scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_002, 9_002, 9_002 + lasted, (77, 8)));
    &mut scene.seen.exchanges[before..]
}

/// Verdict and request id of the request from 9 s on.
fn told(scene: &Scene) -> (String, Option<String>) {
    let rows = scene.rows();
    let path = rows.paths.iter().find(|p| p.hops[0].source_port == Some(40_000));
    let path = path.unwrap_or_else(|| panic!("{}", line(&rows)));
    (path.verdict.clone(), path.request_id.clone())
}

#[test]
fn call_with_other_bytes_than_a_line_tells_is_none_of_its_tries() {
    for (bytes, expected) in
        [(500, "complete"), (1_000, "ambiguous"), (1_050, "ambiguous"), (1_200, "complete")]
    {
        let mut scene = after(MANY);
        for e in call_of_a_lost_request(&mut scene, 20) {
            e.bytes_response = bytes;
        }
        assert_eq!(told(&scene).0, expected, "{bytes}");
    }
}

#[test]
fn call_with_other_bytes_is_the_try_that_no_call_is_nearer_to() {
    let mut scene = after(MANY);
    for e in scene.seen.exchanges.iter_mut().filter(|e| e.local_port == 50_000) {
        e.bytes_response += 600;
    }
    assert_eq!(told(&scene), ("complete".into(), Some("id0".into())));
}

#[test]
fn line_with_other_bytes_than_a_response_has_is_of_another_request() {
    for (requests, body, id) in
        [(MANY, BODY, Some("id0")), (MANY, BODY - 300, None), (10, BODY - 300, Some("id0"))]
    {
        let mut scene = after(requests);
        let line = scene.seen.access_logs.last_mut().unwrap();
        (line.body_bytes_sent, line.attempts[0].response_length) = (Some(body), Some(body));
        let found = told(&scene);
        assert_eq!(found.1.as_deref(), id, "{requests} {body} {found:?}");
    }
}

#[test]
fn call_without_an_answer_is_no_try_that_was_answered() {
    for (status, length, expected) in [
        (200, BODY, "complete"),
        (502, BODY, "complete"),
        (502, 0, "ambiguous"),
        (499, 0, "ambiguous"),
    ] {
        let mut scene = after(MANY);
        let attempt = &mut scene.seen.access_logs.last_mut().unwrap().attempts[0];
        (attempt.status, attempt.response_length) = (Some(status), Some(length));
        for e in scene.seen.exchanges.iter_mut().filter(|e| e.local_port == 50_000) {
            e.bytes_response = 100 + length;
        }
        for e in call_of_a_lost_request(&mut scene, 20) {
            (e.tcp_seq_resp, e.first_response_ns, e.response_thread) = (None, None, None);
            (e.bytes_response, e.ended_by) = (0, "close".into());
        }
        assert_eq!(told(&scene).0, expected, "{status} {length}");
    }
}

#[test]
fn call_that_its_server_dropped_lasted_as_long_as_the_try() {
    for (lasted, is_its) in [(4, true), (12, false)] {
        let mut scene = after(MANY);
        let attempts = &mut scene.seen.access_logs.last_mut().unwrap().attempts;
        let mut dropped = attempts[0].clone();
        dropped.duration_ns = Some(4_000_000);
        (dropped.status, dropped.response_length) = (Some(502), Some(0));
        attempts.insert(0, dropped);
        for e in call_of_a_lost_request(&mut scene, lasted) {
            (e.tcp_seq_resp, e.first_response_ns, e.response_thread) = (None, None, None);
            (e.bytes_response, e.ended_by) = (0, "close".into());
        }
        let rows = scene.rows();
        let path = rows.paths.iter().find(|p| p.hops[0].source_port == Some(40_000)).unwrap();
        let is_in_path = path.hops.iter().any(|hop| hop.source_port == Some(50_002));
        assert_eq!(is_in_path, is_its, "{}", line(&rows));
    }
}
