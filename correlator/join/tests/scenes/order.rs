//! The same rows for any order of arrival and any length of a run.

use crate::concurrent::with_history;
use crate::lines::two_requests;
use crate::scene::Scene;

#[test]
fn any_order_of_arrival_gives_the_same_rows() {
    let scene = with_history(two_requests((120, 250)), |i| (5 + i % 2, 5 + i % 2));
    let expected = scene.windows(3);
    for seed in 0..20u64 {
        let mut shuffled = Scene { seen: scene.seen.clone(), ..Scene::default() };
        let seen = &mut shuffled.seen;
        shuffle(&mut seen.exchanges, seed);
        shuffle(&mut seen.nat_bindings, seed);
        shuffle(&mut seen.access_logs, seed);
        shuffle(&mut seen.cluster_objects, seed);
        shuffle(&mut seen.heartbeats, seed);
        let doubled = seen.exchanges.clone();
        seen.exchanges.extend(doubled);
        assert_eq!(shuffled.windows(3), expected, "seed {seed}");
    }
}

#[test]
fn runs_of_any_length_give_the_same_rows_as_single_windows() {
    let scene = two_requests((9_950, 10_050));
    let run = scene.windows(3);
    let settings = join::Settings::default();
    for (i, window) in run.iter().enumerate() {
        let start = crate::scene::T0 + i as i64 * settings.window_ns;
        let alone = join::correlate(
            start..start + settings.window_ns,
            join::Stage::Final,
            &scene.seen,
            &settings,
        );
        assert_eq!(&alone[0], window);
    }
}

/// Fisher-Yates with the splitmix64 generator.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for i in (1..items.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        items.swap(i, ((z ^ (z >> 31)) % (i as u64 + 1)) as usize);
    }
}
