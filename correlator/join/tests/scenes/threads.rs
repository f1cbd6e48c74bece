//! Threads share the work of a window; the rows do not depend on how many there are.

use join::{Batches, Columns, Run, SECOND, Settings, Stage, WindowRows};

use crate::calls::Call;
use crate::scene::{CART_0, CART_VIP, FRONTEND_0, FRONTEND_1, INGRESS, Scene, T0};

/// More than one thread writes at once.
const REQUESTS: i64 = 5_000;

/// Requests of which some overlap, of some a line or an end is not there.
fn busy() -> Scene {
    let mut scene = Scene::new();
    for n in 0..REQUESTS {
        let (start, port) = (n * 2, 1_024 + n as i32);
        let frontend = if n % 3 == 0 { &FRONTEND_0 } else { &FRONTEND_1 };
        scene.arrival(port, start, start + 7, 300 + n % 40);
        if n % 17 != 0 {
            scene.log(&format!("{n:032x}"), start + 7, 7, 300 + n % 40, &[(frontend, 5, 200)]);
        }
        let call = |from, to, server, start, end| Call {
            from,
            from_port: port,
            to,
            server,
            start,
            end,
            client_thread: 100 + n % 8,
            server_thread: 200 + n % 8,
            bytes: 200,
        };
        scene.call(&call(&INGRESS, (frontend.ip, 8080), frontend, start + 1, start + 6));
        scene.call(&call(frontend, CART_VIP, &CART_0, start + 2, start + 4));
        if n % 29 == 0 {
            scene.seen.exchanges.pop();
        }
    }
    scene
}

fn computed(scene: &Scene, threads: usize) -> (Vec<Batches>, WindowRows) {
    let mut run = Run::new(Stage::Final, &Settings { threads, ..Settings::default() });
    run.add(Columns::from_rows(&scene.seen).unwrap(), &(T0 - 600 * SECOND..T0 + 600 * SECOND));
    let mut all = Vec::new();
    let rest = run.batches(T0, |batches| all.push(batches));
    (all, rest.unwrap())
}

#[test]
fn one_two_and_four_threads_give_the_same_rows_in_the_same_order() {
    let scene = busy();
    let (one, rest) = computed(&scene, 1);
    let paths: usize = one.iter().map(|batches| batches.paths.num_rows()).sum();
    assert!(paths as i64 > REQUESTS / 2, "{paths} paths");
    assert!(one.len() > 1 && !rest.ambiguous.is_empty() && !rest.edges.is_empty());
    for threads in [2, 4] {
        assert_eq!(computed(&scene, threads), (one.clone(), rest.clone()), "{threads} threads");
    }
}
