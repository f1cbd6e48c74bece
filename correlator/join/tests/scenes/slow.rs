//! Requests longer than the guard: what they called long before they ended is read back, within
//! limits.

use join::{SECOND, Settings, SlowLimits, Stage, WindowRows};
use tables::Exchange;

use crate::calls::{Call, to_pod};
use crate::scene::{CART_0, CART_1, CART_VIP, FRONTEND_0, INGRESS, Pod, Scene, T0, line, ns};

/// Thread of the ingress, and of every other pod of these scenes.
const INGRESS_THREAD: i64 = 77;
const THREAD: i64 = 5;

fn call<'a>(from: &'a Pod, port: i32, server: &'a Pod, start: i64, end: i64) -> Call<'a> {
    let client_thread = if from.name == INGRESS.name { INGRESS_THREAD } else { THREAD };
    to_pod(from, server, port, start, end, (client_thread, THREAD))
}

/// A request of 55 s that ends in the first window. Long before that it caused a call to frontend-0,
/// which called a cart by its Service; and at the end it caused a call to cart-1.
fn long_request() -> Scene {
    let mut scene = Scene::new();
    scene.arrival(40_000, -50_000, 5_000, 300);
    scene.call(&call(&INGRESS, 50_001, &FRONTEND_0, -45_000, -44_000));
    let by_service = Call { to: CART_VIP, ..call(&FRONTEND_0, 50_002, &CART_0, -44_800, -44_200) };
    scene.call(&by_service);
    scene.call(&call(&INGRESS, 50_003, &CART_1, 1_000, 2_000));
    scene
}

const LINE_OF_LONG_REQUEST: &str = "\
complete 
  edge - -> ingress-0 [ingress] dnat+snat
    endpoint ingress-0 -> frontend-0 [frontend] none
      service frontend-0 -> cart-0 [cart] dnat
    endpoint ingress-0 -> cart-1 [cart] none
";

/// Rows of the windows from one before the scene on, by final rows.
fn windows(scene: &Scene, from: i64, count: i64, settings: &Settings) -> Vec<WindowRows> {
    let start = T0 + from * settings.window_ns;
    join::correlate(start..start + count * settings.window_ns, Stage::Final, &scene.seen, settings)
}

fn limited(limits: SlowLimits) -> Settings {
    Settings { slow: limits, ..Settings::default() }
}

/// (subject, count) of what the limits left out in the first window.
fn left_out(rows: &WindowRows) -> Vec<(&str, i64)> {
    let of_lane = rows.quality.iter().filter(|row| row.check == "slow_lane");
    of_lane.map(|row| (row.subject.as_str(), row.count)).collect()
}

#[test]
fn request_longer_than_the_guard_has_its_earlier_calls() {
    let scene = long_request();
    assert_eq!(line(&scene.rows()), LINE_OF_LONG_REQUEST);
    assert_eq!(line(&scene.provisional()), LINE_OF_LONG_REQUEST);
    assert_eq!(left_out(&scene.rows()), []);
}

#[test]
fn earlier_call_of_a_long_request_is_in_no_other_path() {
    let scene = long_request();
    let earlier = windows(&scene, -6, 6, &Settings::default());
    let told: String = earlier.iter().map(line).collect();
    assert_eq!(told, "");
}

#[test]
fn long_requests_are_the_same_in_runs_of_any_length() {
    let mut scene = long_request();
    // Another one, which ends in the window before and has the same pods.
    scene.arrival(40_001, -58_000, -500, 300);
    scene.call(&call(&INGRESS, 50_011, &FRONTEND_0, -57_000, -56_000));
    let settings = Settings::default();
    let run = windows(&scene, -6, 8, &settings);
    for (from, window) in (-6..).zip(&run) {
        assert_eq!(&windows(&scene, from, 1, &settings)[0], window, "window {from}");
    }
    assert!(run.iter().any(|window| !window.paths.is_empty()));
}

#[test]
fn earlier_call_that_two_requests_may_have_caused_is_given_to_neither() {
    let mut scene = long_request();
    // It was over long before the window, and only the pod's earlier rows tell of it.
    scene.arrival(40_001, -46_000, -43_000, 300);
    let rows = scene.rows();
    let path = rows.paths.iter().find(|path| path.hops[0].start_ns == ns(-50_000)).unwrap();
    assert_eq!(path.verdict, "ambiguous", "{}", line(&rows));
    assert!(path.hops.iter().all(|hop| hop.destination_pod.as_deref() != Some("frontend-0")));
    let candidates: Vec<usize> = rows.ambiguous.iter().map(|row| row.candidates.len()).collect();
    assert_eq!(candidates, [2]);
}

#[test]
fn earlier_call_may_be_of_a_request_that_was_never_answered_before_the_long_one_began() {
    let mut scene = long_request();
    scene.arrival(40_001, -58_000, -57_900, 300);
    let unanswered = scene.seen.exchanges.last_mut().unwrap();
    (unanswered.first_response_ns, unanswered.tcp_seq_resp) = (None, None);
    let rows = scene.rows();
    let path = rows.paths.iter().find(|path| path.hops[0].start_ns == ns(-50_000)).unwrap();
    assert_eq!(path.verdict, "ambiguous", "{}", line(&rows));
}

#[test]
fn request_longer_than_what_is_read_back_is_partial_and_counted() {
    let scene = long_request();
    let settings = limited(SlowLimits { back_ns: 50 * SECOND, ..SlowLimits::default() });
    let rows = windows(&scene, 0, 1, &settings).remove(0);
    assert_eq!(rows.paths[0].verdict, "partial");
    assert_eq!(rows.paths[0].missing, ["calls of ingress-0: MISSING_BEYOND_GUARD"]);
    assert_eq!(left_out(&rows), [("age", 1)]);
}

#[test]
fn call_of_a_request_that_is_not_read_back_so_far_is_told_in_its_own_window() {
    let mut scene = long_request();
    let settings = limited(SlowLimits { back_ns: 45 * SECOND, ..SlowLimits::default() });
    scene.call(&call(&INGRESS, 50_004, &CART_1, -35_000, -34_500));
    let told: String = windows(&scene, -4, 1, &settings).iter().map(line).collect();
    assert_eq!(told, "? cause of a call by ingress-0: MISSING_BEYOND_GUARD (0)\n");
}

#[test]
fn pods_beyond_the_limit_are_missing_and_counted() {
    let scene = long_request();
    let settings = limited(SlowLimits { pods: 1, ..SlowLimits::default() });
    let rows = windows(&scene, 0, 1, &settings).remove(0);
    let path = &rows.paths[0];
    assert_eq!(path.missing, ["server end in frontend-0: MISSING_BEYOND_GUARD"]);
    assert_eq!(left_out(&rows), [("pods", 1)]);
}

#[test]
fn pod_with_too_many_exchanges_is_missing_and_counted() {
    let mut scene = long_request();
    for i in 0..10 {
        let at = -42_000 + i64::from(i) * 100;
        scene.call(&call(&CART_1, 51_000 + i, &FRONTEND_0, at, at + 50));
    }
    let settings = limited(SlowLimits { exchanges: 8, ..SlowLimits::default() });
    let rows = windows(&scene, 0, 1, &settings).remove(0);
    assert_eq!(rows.paths[0].missing, ["server end in frontend-0: MISSING_BEYOND_GUARD"]);
    assert_eq!(left_out(&rows), [("exchanges", 1)]);
}

/// A stream to the ingress that is open from a moment on: the rows of each minute, and the last.
fn stream(scene: &mut Scene, start: i64, end: i64) {
    scene.arrival(40_000, start, end, 300);
    let last = scene.seen.exchanges.pop().unwrap();
    let last = Exchange {
        is_stream: Some(true),
        ended_by: "close".into(),
        first_response_ns: Some(ns(start + 100)),
        ..last
    };
    for at in (start + 1_000..end).step_by(60_000) {
        let (end_ns, ended_by) = (ns(at), "open".to_owned());
        scene.seen.exchanges.push(Exchange { end_ns, event_ns: end_ns, ended_by, ..last.clone() });
    }
    scene.seen.exchanges.push(last);
}

#[test]
fn stream_that_ends_has_the_calls_that_were_made_while_it_was_open() {
    let mut scene = Scene::new();
    stream(&mut scene, -50_000, 5_000);
    scene.call(&call(&INGRESS, 50_001, &CART_0, -15_000, -14_000));
    scene.call(&call(&INGRESS, 50_002, &CART_1, -35_000, -34_000));
    assert_eq!(
        line(&scene.rows()),
        "\
complete 
  edge - -> ingress-0 [ingress] dnat+snat
    endpoint ingress-0 -> cart-1 [cart] none
    endpoint ingress-0 -> cart-0 [cart] none
"
    );
    // Meanwhile it is one open row, and its calls are nobody else's.
    let meanwhile: Vec<String> =
        windows(&scene, -6, 6, &Settings::default()).iter().map(line).collect();
    assert_eq!(meanwhile[1], "complete \n  edge - -> ingress-0 [ingress] dnat+snat\n");
    assert_eq!(meanwhile.concat(), meanwhile[1]);
}

#[test]
fn call_of_a_stream_that_goes_on_for_hours_is_told_where_it_happens() {
    let mut scene = Scene::new();
    stream(&mut scene, -50_000, 3_600_000);
    scene.call(&call(&INGRESS, 50_001, &CART_0, 5_000, 6_000));
    let told = line(&scene.rows());
    assert_eq!(told, "? cause of a call by ingress-0: MISSING_BEYOND_GUARD (0)\n");
}
