//! Which turn of a connection a span tells of.

use crate::calls::{Call, cart_call, request_from_outside, to_pod};
use crate::scene::{CART_1, FRONTEND_0, FRONTEND_1, INGRESS, Scene, line};

#[test]
fn span_of_a_turn_that_was_lost_is_not_the_turn_befores() {
    let mut scene = Scene::new();
    scene.arrival(40_000, 100, 150, 300);
    let masqueraded = ("10.89.0.11", 50_000);
    scene.server_span("lost", None, &INGRESS, masqueraded, 300, 350).status_code = Some(500);
    let path = scene.rows().paths.remove(0);
    assert_eq!((path.status, path.trace_id.as_deref()), (None, None));
}

#[test]
fn span_that_ended_before_a_turn_began_is_not_that_turns() {
    let mut scene = Scene::new();
    request_from_outside(&mut scene, 0, 100, 180, 5);
    // Of a turn on the same connection that was lost, a millisecond before this one.
    let span = scene.server_span("lost", None, &FRONTEND_0, (INGRESS.ip, 50_000), 100, 101);
    span.status_code = Some(500);
    let path = scene.rows().paths.remove(0);
    assert_eq!(path.trace_id, None);
}

#[test]
fn span_is_of_the_stream_that_it_begins_and_ends_with_and_not_of_the_last_one_before_its_end() {
    let mut scene = Scene::new();
    for (n, start, end) in [(0, 100, 140), (1, 110, 170)] {
        scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_000, start, end, (77, 5 + n)));
    }
    for exchange in &mut scene.seen.exchanges {
        exchange.protocol = Some("http2".into());
    }
    scene.server_span("a", None, &FRONTEND_0, (INGRESS.ip, 50_000), 101, 139).status_code =
        Some(201);
    let status = |scene: &Scene| -> Vec<_> {
        let mut hops = scene.rows().hops;
        hops.sort_by_key(|h| h.start_ns);
        hops.iter().map(|h| h.status).collect()
    };
    assert_eq!(status(&scene), [Some(201), None]);
    // Two that begin and end together can't be told apart.
    let twin = to_pod(&INGRESS, &FRONTEND_0, 50_000, 101, 141, (77, 9));
    scene.call(&twin);
    for exchange in &mut scene.seen.exchanges {
        exchange.protocol = Some("http2".into());
    }
    assert_eq!(status(&scene), [None, None, None]);
}

#[test]
fn span_that_leans_over_a_turn_is_its_only_where_the_turn_beside_it_was_not_lost() {
    // The number of the connection's next turn that was seen.
    for (next, expected) in [(1, Some(201)), (2, None)] {
        let mut scene = Scene::new();
        for (start, end, ordinal) in [(100, 140, 0), (150, 160, next)] {
            scene.call(&to_pod(&INGRESS, &FRONTEND_0, 50_000, start, end, (77, 5)));
            let ends = scene.seen.exchanges.iter_mut().rev().take(2);
            ends.for_each(|e| e.ordinal = ordinal);
        }
        scene.server_span("a", None, &FRONTEND_0, (INGRESS.ip, 50_000), 139, 146).status_code =
            Some(201);
        let hops = scene.rows().hops;
        let first = hops.iter().min_by_key(|hop| hop.start_ns).unwrap();
        assert_eq!(first.status, expected, "next turn is number {next}");
    }
}

#[test]
fn request_that_only_its_client_saw_was_served_when_its_span_says() {
    let own = [(29_000, 5_001, 5_009)];
    // Of nobody knows which of two.
    let two = [(29_000, 5_001, 5_009), (29_000, 5_020, 5_028)];
    let during = [(29_000, 5_060, 5_068)];
    let of_others = [(29_001, 5_001, 5_009)];
    for (spans, is_sure) in [
        (&own[..], true),
        (&two[..], false),
        (&during[..], false),
        (&of_others[..], false),
        (&[][..], false),
    ] {
        let mut scene = Scene::new();
        scene.call(&to_pod(&FRONTEND_0, &CART_1, 29_000, 5_000, 5_010, (90, 91)));
        scene.seen.exchanges.pop();
        for (n, (port, start, end)) in spans.iter().enumerate() {
            scene.server_span(&n.to_string(), None, &CART_1, (FRONTEND_0.ip, *port), *start, *end);
        }
        scene.call(&to_pod(&FRONTEND_0, &CART_1, 29_100, 5_050, 5_090, (92, 91)));
        scene.call(&to_pod(&CART_1, &FRONTEND_1, 30_000, 5_060, 5_080, (91, 93)));
        let rows = scene.rows();
        let call = rows.hops.iter().find(|hop| hop.source_port == Some(30_000));
        assert_eq!(call.is_some(), is_sure, "{spans:?} {}", line(&rows));
    }
}

/// Requests of one thread, each with a call, where agents lose two rows in a hundred.
fn of_one_thread(is_traced: bool) -> Scene {
    let mut scene = Scene::new();
    for n in 0..40 {
        let start = i64::from(n) * 100;
        request_from_outside(&mut scene, n, start, start + 20, 5);
        scene.call(&Call { from_port: 51_000 + n, ..cart_call(start + 6, start + 12, 5) });
        if is_traced {
            let peer = (INGRESS.ip, 50_000 + n);
            scene.server_span(&n.to_string(), None, &FRONTEND_0, peer, start + 3, start + 17);
        }
    }
    for beat in &mut scene.seen.heartbeats {
        (beat.lost_kernel, beat.shipped) = (2, 98);
    }
    scene
}

#[test]
fn request_that_left_no_row_would_have_left_a_span_where_nearly_all_do() {
    let is_told = |scene: &Scene, n: i32| {
        scene.rows().hops.iter().any(|hop| hop.source_port == Some(51_000 + n))
    };
    assert!(!is_told(&of_one_thread(false), 10));
    let mut scene = of_one_thread(true);
    assert!(is_told(&scene, 10));
    // Of a request that no agent saw, beside one that was seen.
    scene.server_span("lost", None, &FRONTEND_0, (INGRESS.ip, 49_000), 1_004, 1_016);
    assert!(!is_told(&scene, 10));
    assert!(is_told(&scene, 11));
}
