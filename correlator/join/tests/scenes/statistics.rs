//! An event loop that serves several requests at once: what times tell of its calls, and where they
//! do not tell.

use std::collections::BTreeMap;

use join::{Columns, Run, SECOND, Settings, Stage, WindowRows};

use crate::calls::Call;
use crate::scene::{CART_0, CART_1, FRONTEND_0, FRONTEND_1, INGRESS, Pod, Scene, T0, ns};

const WINDOWS: i64 = 6;

/// SplitMix64.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn between(&mut self, from: i64, to: i64) -> i64 {
        from + (self.next() % (to - from) as u64) as i64
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
    }
}

/// How the loop works, microseconds.
#[derive(Clone, Copy)]
struct Habits {
    /// Mean time from one request to the next.
    every: f64,
    /// From a request's start to its first call, and from an answer to the next step.
    thinks: (i64, i64),
    /// How long each of the two services called takes.
    waits: (i64, i64),
    /// Share of the requests that carry a trace.
    traced: f64,
    /// Mean time from one call that belongs to no request to the next; 0 where there are none.
    own_calls: f64,
    /// How long before the first window it begins, and when it ends.
    before: i64,
    seconds: i64,
}

/// Two calls one after the other, each step soon after what it waits for.
const REGULAR: Habits = Habits {
    every: 25_000.0,
    thinks: (800, 1_100),
    waits: (4_000, 14_000),
    traced: 0.4,
    own_calls: 0.0,
    before: 30,
    seconds: 60,
};

/// What calls were made for which requests, by their starts.
#[derive(Default)]
struct Truth {
    port_of: BTreeMap<i64, i32>,
    request_of: BTreeMap<i64, i64>,
    is_traced: BTreeMap<i64, bool>,
}

fn event_loop(habits: Habits, seed: u64) -> (Scene, Truth) {
    let mut scene = Scene::new();
    scene.heartbeats("node-1", 60_000, 130_000);
    scene.heartbeats("node-2", 60_000, 130_000);
    let mut truth = Truth::default();
    serve(&mut scene, &mut truth, &FRONTEND_0, habits, seed);
    (scene, truth)
}

/// Adds what one pod does.
fn serve(scene: &mut Scene, truth: &mut Truth, pod: &Pod, habits: Habits, seed: u64) {
    let mut random = Seeded(seed);
    let mut at = T0 - habits.before * SECOND;
    let makes_own_calls = habits.own_calls > 0.0;
    for _ in (0..).take_while(|_| makes_own_calls) {
        at += (-habits.own_calls * (1.0 - random.unit()).ln() * 1_000.0) as i64;
        if at > T0 + habits.seconds * SECOND {
            break;
        }
        let end = at + random.between(habits.waits.0 * 1_000, habits.waits.1 * 1_000);
        let port = 61_000 + (at / 1_000_000 % 4_000) as i32;
        exchanges(scene, (pod, &CART_0), port, (at, end));
    }
    at = T0 - habits.before * SECOND;
    for n in 0.. {
        at += (-habits.every * (1.0 - random.unit()).ln() * 1_000.0) as i64;
        if at > T0 + habits.seconds * SECOND {
            break;
        }
        let mut span = |(from, to): (i64, i64)| random.between(from * 1_000, to * 1_000);
        let first = at + span(habits.thinks);
        let first_end = first + span(habits.waits);
        let second = first_end + span(habits.thinks);
        let second_end = second + span(habits.waits);
        let end = second_end + span(habits.thinks);
        let is_traced = random.unit() < habits.traced;
        let port = 20_000 + n % 40_000;
        exchanges(scene, (&INGRESS, pod), port, (at, end));
        exchanges(scene, (pod, &CART_0), port, (first, first_end));
        exchanges(scene, (pod, &CART_1), port, (second, second_end));
        for call in [first, second] {
            truth.request_of.insert(call, at);
            truth.is_traced.insert(call, is_traced);
        }
        truth.port_of.insert(at, port);
        if is_traced {
            let id = |kind: i32| format!("{:016x}", i64::from(kind) << 32 | i64::from(n));
            let peer = (INGRESS.ip, port);
            traced(scene, n, (&id(1), None), pod, peer, (at, end));
            let peer = (pod.ip, port);
            let parent = id(1);
            traced(scene, n, (&id(2), Some(&parent)), &CART_0, peer, (first, first_end));
            traced(scene, n, (&id(3), Some(&parent)), &CART_1, peer, (second, second_end));
        }
    }
}

fn exchanges(
    scene: &mut Scene,
    (from, server): (&Pod, &Pod),
    from_port: i32,
    (start_ns, end_ns): (i64, i64),
) {
    scene.call(&Call {
        from,
        from_port,
        to: (server.ip, 8080),
        server,
        start: 0,
        end: 1,
        client_thread: 5,
        server_thread: 5,
        bytes: 200,
    });
    let count = scene.seen.exchanges.len();
    for (exchange, inset) in scene.seen.exchanges[count - 2..].iter_mut().zip([0, 20_000]) {
        exchange.start_ns = start_ns + inset;
        exchange.end_ns = end_ns - inset;
        exchange.event_ns = exchange.end_ns;
        exchange.first_response_ns = Some(exchange.end_ns);
        exchange.socket_cookie += exchange.tcp_seq_req * 1_000_000;
    }
}

fn traced(
    scene: &mut Scene,
    trace: i32,
    (id, parent): (&str, Option<&str>),
    pod: &Pod,
    peer: (&str, i32),
    (start_ns, end_ns): (i64, i64),
) {
    let span = scene.server_span(id, parent, pod, peer, 0, 1);
    span.trace_id = format!("{:032x}", trace + 1);
    (span.start_ns, span.end_ns) = (start_ns + 40_000, end_ns - 40_000);
    span.event_ns = span.end_ns;
}

/// What the rows say of the loop's calls that are not traced.
#[derive(Debug, Default, PartialEq)]
struct Said {
    statistical: usize,
    wrong: usize,
    by_other: usize,
    other_wrong: usize,
    ambiguous: usize,
    without_truth: usize,
}

fn is_frontend(pod: Option<&str>) -> bool {
    pod.is_some_and(|pod| pod.starts_with("frontend-"))
}

fn said(windows: &[WindowRows], truth: &Truth) -> Said {
    let mut said = Said::default();
    for rows in windows {
        let starts: BTreeMap<(&str, i32), i64> =
            rows.hops.iter().map(|h| ((h.path_id.as_str(), h.position), h.start_ns)).collect();
        for hop in rows.hops.iter().filter(|h| is_frontend(h.source_pod.as_deref())) {
            let Some(parent) = hop.parent else { continue };
            let asserted = &starts[&(hop.path_id.as_str(), parent)];
            let is_true = truth.request_of.get(&hop.start_ns) == Some(asserted);
            if hop.reasons.iter().any(|r| r == "OK_STATISTICAL") {
                assert!(hop.evidence.contains(&"statistical".to_owned()));
                assert!(hop.confidence >= 0.97 && hop.confidence < 1.0, "{}", hop.confidence);
                let is_traced = truth.is_traced.get(&hop.start_ns) == Some(&true);
                assert!(!is_traced, "an exact link was passed over");
                said.statistical += 1;
                said.wrong += usize::from(!is_true);
            } else {
                said.by_other += 1;
                said.other_wrong += usize::from(!is_true);
            }
        }
        let relays = rows.ambiguous.iter().filter(|a| a.segment.starts_with("relay in frontend-"));
        for row in relays {
            let Some(request) = truth.request_of.get(&row.start_ns) else { continue };
            let what = format!("request from {}:{}", INGRESS.ip, truth.port_of[request]);
            said.ambiguous += 1;
            said.without_truth += usize::from(row.candidates.iter().all(|c| c.what != what));
        }
    }
    said
}

fn windows(scene: &Scene) -> Vec<WindowRows> {
    run(scene, 0..WINDOWS)
}

/// Consecutive windows, without a second computation of their columns.
fn run(scene: &Scene, windows: std::ops::Range<i64>) -> Vec<WindowRows> {
    let settings = Settings::default();
    let at = |window: i64| T0 + window * settings.window_ns;
    let range = join::window::read_range(at(windows.start)..at(windows.end), &settings);
    let mut run = Run::new(Stage::Final, &settings);
    run.add(Columns::from_rows(&scene.seen).unwrap(), &(range.rows.start..range.requests.end));
    windows.map(|window| run.window(at(window))).collect()
}

#[test]
fn calls_of_an_event_loop_are_decided_where_traced_ones_prove_that_times_tell() {
    let seed = 11;
    println!("seed {seed}");
    let (scene, truth) = event_loop(REGULAR, seed);
    let windows = windows(&scene);
    let said = said(&windows, &truth);
    let untraced = truth.is_traced.values().filter(|traced| !**traced).count() / 2;
    println!("{untraced} requests untraced, {said:?}");
    assert!(untraced >= 1_000);
    assert!(said.statistical >= 500, "{said:?}");
    assert!(said.wrong as f64 <= 1e-3 * untraced as f64, "{said:?}");
    assert_eq!(said.other_wrong, 0);
    assert!(said.without_truth as f64 <= 1e-3 * said.ambiguous as f64, "{said:?}");
    // What is decided makes paths complete.
    let complete = windows.iter().flat_map(|w| &w.paths).filter(|p| p.verdict == "complete");
    let of_three = complete.filter(|p| p.hops.len() == 3);
    assert!(of_three.count() >= 2_000);
    for rows in &windows {
        let [row] = &rows.calibrations[..] else { panic!("{:?}", rows.calibrations) };
        assert_eq!((row.method.as_str(), row.finality.as_str()), ("relay", "final"));
        assert!(row.samples > 200 && row.raw_ece < 0.02, "{row:?}");
    }
}

#[test]
fn calls_that_belong_to_no_request_are_not_given_to_one_by_times() {
    let habits = Habits { own_calls: 200_000.0, seconds: 20, ..REGULAR };
    for seed in 20..22 {
        let (scene, truth) = event_loop(habits, seed);
        let said = said(&run(&scene, 0..2), &truth);
        println!("seed {seed} {said:?}");
        assert!(said.statistical > 300 && said.wrong == 0, "{said:?}");
    }
}

#[test]
fn without_traced_requests_nothing_is_decided_by_times() {
    let habits = Habits { traced: 0.0, seconds: 10, ..REGULAR };
    let (scene, truth) = event_loop(habits, 12);
    let rows = run(&scene, 0..1);
    let said = said(&rows, &truth);
    assert_eq!((said.statistical, said.other_wrong, said.without_truth), (0, 0, 0), "{said:?}");
    assert!(said.ambiguous > 100, "{said:?}");
    assert_eq!(rows[0].calibrations, []);
    // Their rows say which candidate is the likeliest all the same.
    let relays = rows[0].ambiguous.iter().filter(|a| a.segment.starts_with("relay in frontend-"));
    let first_is_true = relays.clone().filter(|a| {
        let port = truth.port_of[&truth.request_of[&a.start_ns]];
        a.candidates[0].what.ends_with(&format!(":{port}")) && a.candidates[0].p > 0.5
    });
    assert!(first_is_true.count() * 10 >= relays.count() * 9);
}

#[test]
fn few_traced_requests_prove_nothing() {
    let habits = Habits { traced: 0.03, seconds: 10, ..REGULAR };
    let (scene, truth) = event_loop(habits, 13);
    let said = said(&run(&scene, 0..1), &truth);
    assert_eq!((said.statistical, said.other_wrong), (0, 0), "{said:?}");
}

#[test]
fn times_that_do_not_tell_decide_nothing_however_many_requests_are_traced() {
    // A pool: whatever a request waits for takes about as long as the request.
    let habits = Habits { thinks: (1, 60_000), waits: (1_000, 40_000), seconds: 20, ..REGULAR };
    let (scene, truth) = event_loop(habits, 14);
    let said = said(&run(&scene, 0..2), &truth);
    println!("{said:?}");
    assert!(said.ambiguous > 200, "{said:?}");
    assert!(said.statistical * 20 <= said.ambiguous, "{said:?}");
    assert_eq!((said.wrong, said.other_wrong), (0, 0), "{said:?}");
    assert!(said.without_truth as f64 <= 1e-3 * said.ambiguous as f64, "{said:?}");
}

#[test]
fn calls_of_a_node_that_lost_events_stay_undecided() {
    let (mut scene, truth) = event_loop(Habits { seconds: 10, ..REGULAR }, 15);
    for beat in scene.seen.heartbeats.iter_mut().filter(|h| h.node == "node-1") {
        if (ns(2_000)..ns(4_000)).contains(&beat.covered_from_ns) {
            beat.lost_kernel = 1;
        }
    }
    let rows = run(&scene, 0..1);
    let said = said(&rows, &truth);
    assert!(said.statistical > 50, "{said:?}");
    let within = |h: &&tables::Hop| (ns(2_000)..ns(4_000)).contains(&h.start_ns);
    let of_time = rows[0].hops.iter().filter(within);
    assert!(of_time.clone().all(|h| !h.evidence.contains(&"statistical".to_owned())));
    assert!(of_time.count() > 0);
}

#[test]
fn few_lost_events_leave_calls_to_times_but_not_beside_a_request_seen_at_one_end() {
    let (mut scene, truth) = event_loop(Habits { seconds: 10, ..REGULAR }, 19);
    for beat in scene.seen.heartbeats.iter_mut().filter(|h| h.node == "node-1") {
        (beat.lost_kernel, beat.shipped) = (1, 99);
    }
    let said_of = |scene: &Scene| said(&run(scene, 0..1), &truth);
    let few = said_of(&scene);
    assert!(few.statistical > 50 && few.wrong == 0, "{few:?}");
    // Of one request in six only the caller's end is left. Each is three exchanges.
    scene.seen.exchanges.retain(|e| {
        let is_request = e.role == "server" && e.local_ip == FRONTEND_0.ip;
        !is_request || e.tcp_seq_req / 1_000 % 18 != 1
    });
    let left = said_of(&scene);
    assert!(left.statistical < few.statistical && left.wrong == 0, "{left:?}");
}

#[test]
fn order_of_arrival_and_length_of_the_run_change_no_decision() {
    let habits = Habits { every: 60_000.0, waits: (10_000, 60_000), traced: 0.6, ..REGULAR };
    let (scene, truth) = event_loop(habits, 16);
    let expected = windows(&scene);
    assert!(said(&expected, &truth).statistical > 100);
    for window in 0..WINDOWS {
        let alone = run(&scene, window..window + 1);
        assert_eq!(alone[0], expected[window as usize], "window {window}");
    }
    for seed in 0..3 {
        let mut shuffled = Scene { seen: scene.seen.clone(), ..Scene::default() };
        let mut random = Seeded(seed);
        random.shuffle(&mut shuffled.seen.exchanges);
        random.shuffle(&mut shuffled.seen.spans);
        random.shuffle(&mut shuffled.seen.heartbeats);
        random.shuffle(&mut shuffled.seen.cluster_objects);
        assert_eq!(run(&shuffled, 2..4), expected[2..4], "seed {seed}");
    }
}

#[test]
fn too_many_calls_or_open_requests_are_not_looked_at() {
    let many = Habits { every: 2_500.0, before: 1, seconds: 10, ..REGULAR };
    let slow = Habits { every: 5_000.0, waits: (90_000, 120_000), ..many };
    for (habits, dense) in [(many, 0.5), (slow, 1.0)] {
        let (scene, truth) = event_loop(habits, 17);
        let rows = run(&scene, 0..1);
        let said = said(&rows, &truth);
        assert_eq!((said.statistical, said.other_wrong), (0, 0), "{said:?}");
        let relays = rows[0].ambiguous.iter().filter(|a| a.segment.starts_with("relay"));
        let (all, of_dense) = (relays.clone(), relays.filter(|a| a.reason == "AMBIG_DENSE"));
        let share = of_dense.count() as f64 / all.count() as f64;
        assert!(share >= dense * 0.9, "{share} {said:?}");
    }
}

#[test]
fn replicas_of_a_workload_teach_each_other() {
    let traced = Habits { traced: 0.8, seconds: 10, ..REGULAR };
    for (is_workload, decides) in [(true, true), (false, false)] {
        let (mut scene, mut truth) = event_loop(traced, 18);
        // Other ports than those of the first replica's calls.
        let untraced = Habits { traced: 0.0, ..traced };
        serve(&mut scene, &mut truth, &FRONTEND_1, untraced, 19);
        if is_workload {
            scene.put_into_workload("frontend");
        }
        let rows = run(&scene, 0..1);
        assert_eq!(said(&rows, &truth).wrong, 0);
        let of_untraced = rows[0].hops.iter().filter(|h| {
            h.source_pod.as_deref() == Some("frontend-1")
                && h.reasons.iter().any(|r| r == "OK_STATISTICAL")
        });
        assert_eq!(of_untraced.count() > 100, decides);
    }
}
