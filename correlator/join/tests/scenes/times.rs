//! Calls without sequence numbers: which of them times alone may decide, and which they leave open.

use join::{Settings, Stage, WindowRows};
use tables::Hop;

use crate::calls::to_pod;
use crate::scene::{CART_1, FRONTEND_0, Scene, T0, line};

const US: i64 = 1_000;

/// A request of frontend-0 on node-1 to cart-1 on node-2 that the network delays by some time each
/// way, both different for each number.
fn request(scene: &mut Scene, number: i64, start: i64, lasts: i64) {
    let port = 20_000 + i32::try_from(number).unwrap();
    scene.call(&to_pod(&FRONTEND_0, &CART_1, port, start, start + lasts, (90, 91)));
    let server = scene.seen.exchanges.last_mut().unwrap();
    let delay = |salt: i64| 100 * US + (number * salt).rem_euclid(300) * US;
    server.start_ns += delay(37);
    server.end_ns -= delay(101);
    (server.event_ns, server.first_response_ns) = (server.end_ns, Some(server.end_ns));
}

/// The same as agents report it who saw no bytes of TCP, through a masquerade without record.
fn unnumbered(scene: &mut Scene, number: i64, start: i64, lasts: i64) {
    request(scene, number, start, lasts);
    let from = scene.seen.exchanges.len() - 2;
    for exchange in &mut scene.seen.exchanges[from..] {
        (exchange.tcp_seq_req, exchange.tcp_seq_resp) = (-1, None);
    }
    let server = scene.seen.exchanges.last_mut().unwrap();
    server.remote_ip = "10.89.0.11".into();
    server.remote_port += 20_000;
}

/// Requests with sequence numbers every 30 ms, over these seconds.
fn learned(seconds: std::ops::Range<i64>) -> Scene {
    let mut scene = Scene::new();
    for number in seconds.start * 33..seconds.end * 33 {
        request(&mut scene, number, number * 30, 10 + number.rem_euclid(7));
    }
    scene
}

fn sampled(scene: &mut Scene) {
    for beat in &mut scene.seen.heartbeats {
        (beat.clock_boot_ns, beat.clock_wall_ns) = (beat.event_ns - T0 / 2, beat.event_ns);
        beat.clock_epoch_ns = T0 / 2;
    }
}

fn unnumbered_hops(rows: &WindowRows) -> impl Iterator<Item = &Hop> {
    rows.hops.iter().filter(|h| h.source_port.is_some_and(|port| port >= 29_000))
}

#[test]
fn calls_apart_from_each_other_are_given_the_servers_that_their_times_fit() {
    let mut scene = learned(0..9);
    for number in 0..20 {
        unnumbered(&mut scene, 9_000 + number, 405 + number * 400, 5 + number);
    }
    sampled(&mut scene);
    let rows = scene.rows();
    let found: Vec<&Hop> = unnumbered_hops(&rows).collect();
    assert_eq!(found.len(), 20, "{}", line(&rows));
    for hop in found {
        assert!(hop.reasons.contains(&"OK_STATISTICAL".to_owned()), "{:?}", hop.reasons);
        assert!(hop.evidence.contains(&"statistical".to_owned()), "{:?}", hop.evidence);
        assert!((0.97..1.0).contains(&hop.confidence), "{}", hop.confidence);
        // How long the server took tells which one it is.
        let lasted_us = (hop.end_ns - hop.start_ns - hop.server_ns.unwrap()) / US;
        assert!((200..800).contains(&lasted_us), "{lasted_us}");
    }
    let worth = rows.calibrations.iter().find(|c| c.method == "hop").unwrap();
    assert!(worth.samples > 250, "{worth:?}");
    assert!(scene.provisional().calibrations.is_empty());
}

#[test]
fn calls_at_one_moment_are_open_between_both_servers() {
    let mut scene = learned(0..9);
    for number in 0..2 {
        unnumbered(&mut scene, 9_000 + number, 5_005, 10);
    }
    sampled(&mut scene);
    let rows = scene.rows();
    assert!(unnumbered_hops(&rows).all(|h| h.server_ns.is_none()), "{}", line(&rows));
    let open: Vec<_> = rows.ambiguous.iter().filter(|a| a.reason == "AMBIG_TIME_ONLY").collect();
    assert_eq!(open.len(), 2, "{}", line(&rows));
    for row in open {
        assert_eq!(row.candidates.len(), 2);
        let first = &row.candidates[0];
        assert!(first.p < 0.97 && first.what.contains("cart-1"), "{row:?}");
    }
    assert!(rows.paths.iter().filter(|p| p.verdict == "ambiguous").count() == 2);
}

#[test]
fn nothing_is_decided_by_times_of_clocks_that_nothing_ties_together() {
    let mut scene = learned(0..9);
    unnumbered(&mut scene, 9_000, 5_005, 10);
    let rows = scene.rows();
    assert!(unnumbered_hops(&rows).all(|h| h.server_ns.is_none()));
    let open = rows.ambiguous.iter().find(|a| a.segment.starts_with("server of")).unwrap();
    assert_eq!((open.reason.as_str(), open.candidates.len()), ("AMBIG_SKEW_UNKNOWN", 1));
}

#[test]
fn nothing_is_decided_by_times_where_no_exact_link_tells_what_is_usual() {
    let mut scene = learned(0..1);
    unnumbered(&mut scene, 9_000, 5_005, 10);
    sampled(&mut scene);
    let rows = scene.rows();
    assert!(unnumbered_hops(&rows).all(|h| h.server_ns.is_none()));
    let open = rows.ambiguous.iter().find(|a| a.segment.starts_with("server of")).unwrap();
    assert_eq!(open.reason, "AMBIG_TIME_ONLY");
}

#[test]
fn server_that_an_exact_key_claims_is_nobody_elses() {
    let mut scene = learned(0..9);
    unnumbered(&mut scene, 9_000, 5_005, 10);
    // What would fit is the other end of a request with sequence numbers.
    let lone = scene.seen.exchanges.pop().unwrap();
    sampled(&mut scene);
    let rows = scene.rows();
    assert!(unnumbered_hops(&rows).all(|h| h.server_ns.is_none()));
    assert!(rows.ambiguous.iter().all(|a| a.reason != "AMBIG_TIME_ONLY"), "{}", line(&rows));
    let exact = rows.hops.iter().filter(|h| h.server_ns.is_some()).count();
    assert_eq!(exact, 9 * 33);
    assert_eq!(lone.tcp_seq_req, -1);
}

#[test]
fn times_say_the_same_in_runs_of_any_length_and_order_of_arrival() {
    let mut scene = learned(-40..40);
    for number in 0..60 {
        unnumbered(&mut scene, 9_000 + number, 405 + number * 490, 5 + number % 20);
    }
    scene.heartbeats("node-1", -150_000, -60_000);
    scene.heartbeats("node-2", -150_000, -60_000);
    sampled(&mut scene);
    let long = scene.windows(3);
    let statistical = |rows: &WindowRows| {
        let is_statistical = |h: &&Hop| h.reasons.contains(&"OK_STATISTICAL".to_owned());
        rows.hops.iter().filter(is_statistical).count()
    };
    assert_eq!(long.iter().map(statistical).sum::<usize>(), 60);
    scene.seen.exchanges.rotate_left(1_234);
    let settings = Settings::default();
    for (at, expected) in (0..).zip(&long) {
        let start_ns = T0 + at * settings.window_ns;
        let window = start_ns..start_ns + settings.window_ns;
        let alone = join::correlate(window, Stage::Final, &scene.seen, &settings);
        assert!(&alone[0] == expected, "window {at}");
    }
}
