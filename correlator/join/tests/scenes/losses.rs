//! Whatever is lost, told or not: no hop may contradict what really happened.

use proptest::prelude::*;

use crate::calls::Call;
use crate::scene::{CART_0, CART_1, CART_VIP, FRONTEND_0, FRONTEND_1, INGRESS, Scene, line};

/// One request from outside and what became of it.
#[derive(Clone, Debug)]
struct Request {
    start: i64,
    lasts: i64,
    frontend: bool,
    cart: bool,
    /// Threads of the two frontends' processes: an event loop has one, a server one a request.
    thread: i64,
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    let request = (100i64..600, 20i64..200, any::<bool>(), any::<bool>());
    (prop::collection::vec(request, 1..8), any::<bool>()).prop_map(|(all, is_event_loop)| {
        let numbered = (0..).zip(all);
        numbered
            .map(|(n, (start, lasts, frontend, cart))| {
                let thread = if is_event_loop { 5 } else { 5 + n };
                Request { start, lasts, frontend, cart, thread }
            })
            .collect()
    })
}

/// Ports tell the request's number: 40000 outside, 50000 from the ingress, 51000 from a frontend.
fn scene(requests: &[Request]) -> Scene {
    let mut scene = Scene::new();
    for (n, r) in (0..).zip(requests) {
        let end = r.start + r.lasts;
        let frontend = if r.frontend { &FRONTEND_0 } else { &FRONTEND_1 };
        scene.arrival(40_000 + n, r.start, end, 300 + i64::from(n % 3));
        scene.call(&Call {
            from: &INGRESS,
            from_port: 50_000 + n,
            to: (frontend.ip, 8080),
            server: frontend,
            start: r.start + 2,
            end: end - 2,
            client_thread: 77,
            server_thread: r.thread,
            bytes: 400,
        });
        scene.call(&Call {
            from: frontend,
            from_port: 51_000 + n,
            to: CART_VIP,
            server: if r.cart { &CART_0 } else { &CART_1 },
            start: r.start + 5,
            end: end - 5,
            client_thread: r.thread,
            server_thread: 100 + i64::from(n),
            bytes: 200,
        });
    }
    // The worker writes its lines in the order in which the requests end.
    let mut ends: Vec<(i64, i32)> =
        (0..).zip(requests).map(|(n, r)| (r.start + r.lasts, n)).collect();
    ends.sort_unstable();
    for (end, n) in ends {
        let r = &requests[usize::try_from(n).unwrap()];
        let frontend = if r.frontend { &FRONTEND_0 } else { &FRONTEND_1 };
        let attempts = [(frontend, r.lasts - 4, 200)];
        scene.log(&format!("id{n}"), end, r.lasts, 300 + i64::from(n % 3), &attempts);
    }
    scene
}

/// The request that a client's port belongs to.
fn number(port: i32) -> i32 {
    port % 1_000
}

fn check(requests: &[Request], scene: &Scene) -> Result<(), TestCaseError> {
    let rows = scene.rows();
    for path in &rows.paths {
        let ports: Vec<i32> = path.hops.iter().filter_map(|h| h.source_port).collect();
        let of_one = ports.windows(2).all(|p| number(p[0]) == number(p[1]));
        prop_assert!(of_one, "a path of several requests: {ports:?}\n{}", line(&rows));
        for hop in &path.hops {
            let Some(n) = hop.source_port.map(number) else { continue };
            let r = &requests[usize::try_from(n).unwrap()];
            let expected = match hop.source_port.unwrap() / 1_000 {
                40 => "ingress-0",
                50 if r.frontend => "frontend-0",
                50 => "frontend-1",
                _ if r.cart => "cart-0",
                _ => "cart-1",
            };
            let found = hop.destination_pod.as_deref();
            prop_assert!(found.is_none_or(|pod| pod == expected), "{expected}\n{}", line(&rows));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn told_losses_of_any_rows_never_make_a_false_hop(
        requests in requests(),
        keep in prop::collection::vec(prop::bool::weighted(0.7), 200),
    ) {
        let mut scene = scene(&requests);
        let mut kept = keep.iter().copied().cycle();
        scene.seen.exchanges.retain(|_| kept.next().unwrap());
        scene.seen.nat_bindings.retain(|_| kept.next().unwrap());
        scene.seen.access_logs.retain(|_| kept.next().unwrap());
        for heartbeat in &mut scene.seen.heartbeats {
            heartbeat.lost_kernel = 1;
        }
        check(&requests, &scene)?;
    }

    #[test]
    fn single_loss_that_nobody_tells_of_never_makes_a_false_hop(
        requests in requests(),
        lost in any::<prop::sample::Index>(),
    ) {
        let mut scene = scene(&requests);
        let at = lost.index(scene.seen.exchanges.len());
        scene.seen.exchanges.remove(at);
        check(&requests, &scene)?;
    }

    #[test]
    fn lost_lines_and_translations_never_make_a_false_hop(
        requests in requests(),
        keep in prop::collection::vec(prop::bool::weighted(0.6), 64),
    ) {
        let mut scene = scene(&requests);
        let mut kept = keep.iter().copied().cycle();
        scene.seen.nat_bindings.retain(|_| kept.next().unwrap());
        scene.seen.access_logs.retain(|_| kept.next().unwrap());
        check(&requests, &scene)?;
    }
}

#[test]
fn request_without_a_span_is_sampled_out_only_where_most_of_its_pods_requests_are() {
    for (spans, is_sampled) in [(0, false), (1, true), (2, false), (3, false)] {
        let mut scene = Scene::new();
        for n in 0..4 {
            let start = 1_000 + i64::from(n) * 1_000;
            scene.arrival(40_000 + n, start, start + 100, 300);
            if n < spans {
                let peer = ("10.89.0.11", 50_000 + n);
                scene.server_span(&format!("{n:016}"), None, &INGRESS, peer, start, start + 100);
            }
        }
        let rows = scene.rows();
        let of = |n: usize| rows.paths[n].reasons.iter().any(|code| code == "MISSING_SAMPLED_OUT");
        let told: Vec<bool> = (0..4).map(of).collect();
        let expected: Vec<bool> = (0..4).map(|n| is_sampled && n >= spans).collect();
        assert_eq!(told, expected, "{spans} of 4");
        assert!(rows.paths.iter().all(|path| path.verdict == "complete"), "{}", line(&rows));
    }
}
