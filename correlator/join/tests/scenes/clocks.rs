//! Clocks of different nodes: what messages prove of them, and what is left open where nobody can
//! compare them.

use join::{Settings, Stage, WindowRows};

use crate::calls::to_pod;
use crate::scene::{CART_1, FRONTEND_0, Scene, T0, line, ns};

const MS: i64 = 1_000_000;

/// Requests of frontend-0 on node-1 to cart-1 on node-2, so many each second.
fn chatter(scene: &mut Scene, seconds: std::ops::Range<i64>, a_second: i64) {
    for number in seconds.start * a_second..seconds.end * a_second {
        let start = number * 1_000 / a_second;
        let port = 30_000 + i32::try_from(number).unwrap();
        scene.call(&to_pod(&FRONTEND_0, &CART_1, port, start, start + 20, (90, 91)));
    }
}

/// A request of which the client saw no response, at its own connection.
fn unanswered(scene: &mut Scene, start: i64) {
    scene.call(&to_pod(&FRONTEND_0, &CART_1, 29_000, start, start + 20, (90, 91)));
    let client = scene.seen.exchanges.len() - 2;
    let client = &mut scene.seen.exchanges[client];
    (client.first_response_ns, client.tcp_seq_resp) = (None, None);
}

/// The clock of node-2 is this much ahead, from a moment on.
pub(crate) fn ahead(scene: &mut Scene, from: i64, ms: i64) {
    for e in scene.seen.exchanges.iter_mut().filter(|e| e.node == "node-2") {
        if e.start_ns >= ns(from) {
            for time in [&mut e.start_ns, &mut e.end_ns, &mut e.event_ns] {
                *time += ms * MS;
            }
            e.first_response_ns = e.first_response_ns.map(|at| at + ms * MS);
        }
    }
}

/// Agents say what their two clocks show; that of node-2 was set by `set_ms` at a moment.
pub(crate) fn sampled(scene: &mut Scene, set_at: i64, set_ms: i64) {
    for beat in &mut scene.seen.heartbeats {
        let is_set = beat.node == "node-2" && beat.event_ns >= ns(set_at);
        beat.clock_boot_ns = beat.event_ns - T0 / 2;
        beat.clock_wall_ns = beat.event_ns + if is_set { set_ms * MS } else { 0 };
        beat.clock_epoch_ns = beat.clock_wall_ns - beat.clock_boot_ns;
    }
}

fn server_of_unanswered(rows: &WindowRows) -> Option<&str> {
    let hop = rows.hops.iter().find(|h| h.source_port == Some(29_000)).unwrap();
    assert_eq!(hop.evidence.contains(&"server_exchange".to_owned()), hop.server_ns.is_some());
    hop.server_ns.and(hop.destination_pod.as_deref())
}

#[test]
fn messages_between_nodes_prove_how_far_their_clocks_are_apart() {
    let mut scene = Scene::new();
    chatter(&mut scene, 0..9, 5);
    ahead(&mut scene, 0, 300);
    sampled(&mut scene, 0, 0);
    let rows = scene.rows();
    let [row] = &rows.clock_offsets[..] else { panic!("{:?}", rows.clock_offsets) };
    assert_eq!((row.node_a.as_str(), row.node_b.as_str()), ("node-1", "node-2"));
    assert_eq!((row.start_ns, row.end_ns), (T0, T0 + Settings::default().window_ns));
    assert_eq!((row.samples, row.quarantined), (90, false));
    let (offset_ns, bound_ns) = (row.offset_ns.unwrap(), row.bound_ns.unwrap());
    assert!((offset_ns - 300 * MS).abs() <= bound_ns && bound_ns < MS, "{row:?}");
    assert!(scene.provisional().clock_offsets.is_empty());
}

#[test]
fn request_without_response_is_linked_across_clocks_that_are_far_apart() {
    for is_sampled in [false, true] {
        let mut scene = Scene::new();
        chatter(&mut scene, 0..9, 5);
        unanswered(&mut scene, 5_000);
        ahead(&mut scene, 0, -300);
        if is_sampled {
            sampled(&mut scene, 0, 0);
        }
        let expected = is_sampled.then_some("cart-1");
        assert_eq!(server_of_unanswered(&scene.rows()), expected, "sampled: {is_sampled}");
    }
}

#[test]
fn request_without_response_is_left_open_where_a_clock_was_set_and_nothing_was_measured() {
    let mut scene = Scene::new();
    unanswered(&mut scene, 5_000);
    sampled(&mut scene, 3_000, 40);
    let rows = scene.rows();
    assert_eq!(server_of_unanswered(&rows), None, "{}", line(&rows));
    let open = rows.ambiguous.iter().find(|a| a.segment.starts_with("server of")).unwrap();
    assert_eq!((open.reason.as_str(), open.candidates.len()), ("AMBIG_SKEW_UNKNOWN", 1));
    assert!(open.candidates[0].what.contains("cart-1"));
    // An exact link needs no clock.
    scene.seen.exchanges[0].first_response_ns = Some(scene.seen.exchanges[0].end_ns);
    scene.seen.exchanges[0].tcp_seq_resp = scene.seen.exchanges[1].tcp_seq_resp;
    assert_eq!(server_of_unanswered(&scene.rows()), Some("cart-1"));
}

#[test]
fn request_after_a_step_is_linked_once_the_new_epoch_has_a_bound() {
    let mut scene = Scene::new();
    chatter(&mut scene, 0..9, 5);
    unanswered(&mut scene, 7_000);
    ahead(&mut scene, 3_000, -300);
    sampled(&mut scene, 3_000, -300);
    let rows = scene.rows();
    assert_eq!(server_of_unanswered(&rows), Some("cart-1"), "{}", line(&rows));
    let epochs: Vec<_> = rows.clock_offsets.iter().map(|r| r.epoch_b_ns.is_some()).collect();
    assert_eq!(epochs, [false, true]);
}

#[test]
fn clocks_that_contradict_themselves_are_in_quarantine_and_decide_nothing() {
    let mut scene = Scene::new();
    chatter(&mut scene, 0..9, 5);
    unanswered(&mut scene, 8_000);
    // As if the clock ran a second in two; no sample says that it was set.
    ahead(&mut scene, 4_000, 80);
    sampled(&mut scene, 0, 0);
    let rows = scene.rows();
    assert!(rows.clock_offsets[0].quarantined && rows.clock_offsets[0].offset_ns.is_none());
    let told = rows.quality.iter().find(|q| q.check == "clock_skew").unwrap();
    assert_eq!((told.subject.as_str(), told.count), ("node-1|node-2", 90));
    assert_eq!(server_of_unanswered(&rows), None);
    let open = rows.ambiguous.iter().find(|a| a.segment.starts_with("server of")).unwrap();
    assert_eq!(open.reason, "AMBIG_SKEW_UNKNOWN");
    let exact = rows.hops.iter().filter(|h| h.server_ns.is_some()).count();
    assert_eq!(exact, 45, "exact links need no clock");
}

#[test]
fn translation_on_a_node_whose_clock_is_ahead_is_found() {
    for is_sampled in [false, true] {
        let mut scene = Scene::new();
        chatter(&mut scene, 0..9, 5);
        scene.arrival(40_000, 5_000, 5_080, 300);
        ahead(&mut scene, 0, -300);
        if is_sampled {
            sampled(&mut scene, 0, 0);
        }
        let rows = scene.rows();
        let entry = rows.hops.iter().find(|h| h.kind == "edge").unwrap();
        let client = is_sampled.then_some("ext-00000000000000aa");
        assert_eq!(entry.source_ip.as_deref(), client, "sampled: {is_sampled}");
    }
}

#[test]
fn translation_on_a_node_whose_clock_was_set_is_not_chosen_by_time() {
    let mut scene = Scene::new();
    scene.arrival(40_000, 5_000, 5_080, 300);
    sampled(&mut scene, 3_000, 40);
    let path = scene.rows().paths.remove(0);
    assert_eq!(path.missing, ["client: AMBIG_SKEW_UNKNOWN"]);
}

#[test]
fn windows_say_the_same_of_clocks_in_runs_of_any_length_and_order_of_arrival() {
    let mut scene = Scene::new();
    scene.heartbeats("node-1", -200_000, -60_000);
    scene.heartbeats("node-2", -200_000, -60_000);
    scene.heartbeats("node-1", 60_000, 200_000);
    scene.heartbeats("node-2", 60_000, 200_000);
    chatter(&mut scene, -60..80, 3);
    unanswered(&mut scene, 31_000);
    ahead(&mut scene, -100_000, -300);
    ahead(&mut scene, 24_000, 200);
    sampled(&mut scene, 24_000, 200);
    let long = scene.windows(6);
    assert!(long.iter().all(|w| !w.clock_offsets.is_empty()));
    assert!(long[2].clock_offsets.len() > 1 || long[3].clock_offsets.len() > 1);
    scene.seen.exchanges.rotate_left(77);
    scene.seen.heartbeats.reverse();
    let settings = Settings::default();
    for (at, expected) in (0..).zip(&long) {
        let start_ns = T0 + at * settings.window_ns;
        // Nothing is there but what the window's read range holds.
        let window = start_ns..start_ns + settings.window_ns;
        let range = join::window::read_range(window.clone(), &settings);
        let mut seen = scene.seen.clone();
        let rows = range.rows.start..range.requests.end;
        seen.exchanges.retain(|e| rows.contains(&e.event_ns));
        seen.heartbeats.retain(|h| range.heartbeats.contains(&h.event_ns));
        let alone = join::correlate(window, Stage::Final, &seen, &settings);
        assert!(&alone[0] == expected, "window {at}");
    }
}
