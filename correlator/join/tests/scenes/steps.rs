//! A clock that is set: what its node's stamps prove before it and after it, and do not meanwhile.

use crate::calls::to_pod;
use crate::clocks::{ahead, sampled};
use crate::scene::{CART_1, FRONTEND_0, FRONTEND_1, INGRESS, Scene, line, ns};

/// Node-2's clock is set back by 400 ms between its heartbeats at 4 s and 6 s.
const SET_AT: i64 = 6_000;
const SET_MS: i64 = -400;
/// Stamps outside of this are of one clock or the other, and what is served 400 ms from it is known.
const IN_DOUBT: std::ops::RangeInclusive<i64> = 3_600..=6_000;

#[test]
fn span_tells_of_no_turn_where_either_may_be_stamped_by_another_clock() {
    for (start, expected) in [(2_000, Some(201)), (5_000, None)] {
        let mut scene = Scene::new();
        scene.call(&to_pod(&FRONTEND_0, &FRONTEND_1, 50_000, start, start + 40, (77, 5)));
        sampled(&mut scene, SET_AT, SET_MS);
        // Perhaps of a turn that came 400 ms later, and was told of by the old clock.
        let peer = (FRONTEND_0.ip, 50_000);
        scene.server_span("a", None, &FRONTEND_1, peer, start + 1, start + 39).status_code =
            Some(201);
        assert_eq!(scene.rows().hops[0].status, expected, "{start}");
    }
}

/// Requests to frontend-1, each with a call by the thread that serves it, one every 100 ms. Those
/// from 5 s on are stamped by the new clock, and seem to come at once with older ones.
fn requests_around_a_step() -> Scene {
    let mut scene = Scene::new();
    for n in 0..90 {
        let (start, thread) = (i64::from(n) * 100, 5 + i64::from(n % 2));
        let request = (77, thread);
        scene.call(&to_pod(&INGRESS, &FRONTEND_1, 30_000 + n, start, start + 90, request));
        let call = (thread, 9);
        scene.call(&to_pod(&FRONTEND_1, &CART_1, 40_000 + n, start + 10, start + 80, call));
    }
    ahead(&mut scene, 5_000, SET_MS);
    sampled(&mut scene, SET_AT, SET_MS);
    scene
}

#[test]
fn threads_tell_before_and_after_a_step_and_never_while_it_is_in_doubt() {
    let scene = requests_around_a_step();
    let rows = scene.rows();
    let by_thread: Vec<i64> = rows
        .hops
        .iter()
        .filter(|hop| hop.reasons.contains(&"OK_THREAD".to_owned()))
        .map(|hop| (hop.end_ns - ns(0)) / 1_000_000)
        .collect();
    assert!(by_thread.iter().all(|end| !IN_DOUBT.contains(end)), "{by_thread:?}");
    let before = by_thread.iter().filter(|end| *end < IN_DOUBT.start()).count();
    assert_eq!((before, by_thread.len() - before), (32, 22), "{}", line(&rows));
    let in_doubt = rows.ambiguous.iter().filter(|a| a.reason == "AMBIG_SKEW_UNKNOWN");
    assert!(in_doubt.count() >= 29);
}

/// Candidates of each call that is in doubt, with whether its own request is among them.
fn sets_in_doubt(scene: &Scene) -> Vec<(usize, bool)> {
    let rows = scene.rows();
    let in_doubt = rows.ambiguous.iter().filter(|row| row.reason == "AMBIG_SKEW_UNKNOWN");
    let set = |row: &tables::Ambiguous| {
        let is_it = |e: &&tables::Exchange| {
            e.role == "client" && (e.start_ns, e.end_ns) == (row.start_ns, row.end_ns)
        };
        let call = scene.seen.exchanges.iter().find(is_it).unwrap();
        let own = format!("request from {}:{}", INGRESS.ip, call.local_port - 10_000);
        (row.candidates.len(), row.candidates.iter().any(|c| c.what == own))
    };
    in_doubt.map(set).collect()
}

#[test]
fn call_near_a_step_is_of_a_request_that_one_of_the_two_clocks_puts_around_it() {
    let mut scene = requests_around_a_step();
    // Calls that come at once by their stamps end one after the other.
    for e in scene.seen.exchanges.iter_mut().filter(|e| (40_000..41_000).contains(&e.local_port)) {
        e.end_ns += i64::from(e.local_port % 1_000);
    }
    let sets = sets_in_doubt(&scene);
    assert!(sets.len() >= 29, "{sets:?}");
    assert!(sets.iter().all(|(_, is_held)| *is_held), "{sets:?}");
    // By the same clock, by the one before, by the one after: each with the request that was served
    // then, and at most two where both clocks show one at that moment.
    assert!(sets.iter().all(|(size, _)| *size <= 6), "{sets:?}");
}

#[test]
fn request_that_its_thread_never_answered_is_no_candidate_once_the_thread_served_others() {
    let mut scene = requests_around_a_step();
    let sizes = |scene: &Scene| -> usize { sets_in_doubt(scene).iter().map(|set| set.0).sum() };
    let before = sizes(&scene);
    for n in 0..20 {
        let (start, thread) = (-4_000 + 100 * i64::from(n), 5 + i64::from(n % 2));
        let request = (77, thread);
        scene.call(&to_pod(&INGRESS, &FRONTEND_1, 20_000 + n, start, start + 2, request));
        for e in scene.seen.exchanges.iter_mut().rev().take(2) {
            (e.tcp_seq_resp, e.first_response_ns, e.response_thread) = (None, None, None);
            (e.bytes_response, e.ended_by) = (0, "close".into());
        }
    }
    assert_eq!(sizes(&scene), before, "{}", line(&scene.rows()));
}

#[test]
fn call_without_an_answer_near_a_step_leaves_later_requests_sure() {
    let mut scene = requests_around_a_step();
    let later = |scene: &Scene| {
        let paths = scene.rows().paths.into_iter();
        paths.filter(|p| p.start_ns > ns(7_000) && p.verdict == "complete").count()
    };
    let sure = later(&scene);
    scene.call(&to_pod(&FRONTEND_1, &CART_1, 29_000, 5_200, 5_210, (5, 9)));
    let call = scene.seen.exchanges.len() - 2;
    let call = &mut scene.seen.exchanges[call];
    (call.first_response_ns, call.tcp_seq_resp) = (None, None);
    assert!(sure > 10);
    assert_eq!(later(&scene), sure, "{}", line(&scene.rows()));
}
