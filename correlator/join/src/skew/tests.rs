//! Clocks whose truth is known, and messages between them.

use std::ops::Range;

use super::*;
use crate::SECOND;
use crate::seeded::Seeded;

/// A clock that shows `truth + ahead_ns + truth * rate`, and may be set or adjusted once.
#[derive(Clone, Copy, Debug, Default)]
struct TrueClock {
    ahead_ns: i64,
    rate: f64,
    /// True moment, and by how much.
    set: Option<(i64, i64)>,
    /// True moment, and by how much the rate changes.
    bent: Option<(i64, f64)>,
}

impl TrueClock {
    fn at(&self, truth_ns: i64) -> i64 {
        let jumped = self.set.filter(|s| s.0 <= truth_ns).map_or(0, |s| s.1);
        let bent = self.bent.filter(|b| b.0 <= truth_ns);
        let gained =
            truth_ns as f64 * self.rate + bent.map_or(0.0, |(at, by)| (truth_ns - at) as f64 * by);
        truth_ns + self.ahead_ns + gained.round() as i64 + jumped
    }

    fn random(random: &mut Seeded) -> Self {
        Self {
            ahead_ns: random.below(1_000_000_000) as i64 - 500_000_000,
            rate: (random.unit() * 2.0 - 1.0) * 50e-6,
            ..Self::default()
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Message {
    from: Clock,
    to: Clock,
    sent_ns: i64,
    received_ns: i64,
    second: i64,
}

fn clock(node: u32) -> Clock {
    Clock { node, epoch: 0 }
}

/// Delays from one node to another: at least the first, on average longer by the second.
#[derive(Clone, Copy, Debug)]
struct Delay(f64, f64);

impl Delay {
    fn random(random: &mut Seeded) -> Self {
        Self(15_000.0 + random.unit() * 200_000.0, 5_000.0 + random.unit() * 400_000.0)
    }
}

/// `count` messages each way at random moments of `truth`.
fn talk(
    random: &mut Seeded,
    (a, clock_a): (Clock, TrueClock),
    (b, clock_b): (Clock, TrueClock),
    delays: [Delay; 2],
    truth: &Range<i64>,
    count: usize,
) -> Vec<Message> {
    let mut messages = Vec::new();
    for _ in 0..count {
        for (delay, from, to) in
            [(delays[0], (a, clock_a), (b, clock_b)), (delays[1], (b, clock_b), (a, clock_a))]
        {
            let sent = truth.start + random.below((truth.end - truth.start) as u64) as i64;
            let received = sent + (delay.0 + random.exponential(delay.1)) as i64;
            messages.push(Message {
                from: from.0,
                to: to.0,
                sent_ns: from.1.at(sent),
                received_ns: to.1.at(received),
                second: sent.div_euclid(SECOND),
            });
        }
    }
    messages
}

fn counted(messages: &[Message]) -> Buckets {
    let mut buckets = Buckets::new(8);
    for m in messages {
        buckets.add(m.from, m.to, m.sent_ns, m.received_ns, m.second);
    }
    buckets
}

const RANGE: Range<i64> = 0..60 * SECOND;

fn solve(messages: &[Message]) -> Offsets {
    Offsets::solve(&counted(messages), 0..60)
}

#[test]
fn bound_always_holds_the_truth() {
    let mut answers = 0;
    for seed in 0..10_000 {
        let mut random = Seeded::new(seed);
        let clocks = [TrueClock::random(&mut random), TrueClock::random(&mut random)];
        let delays = [Delay::random(&mut random), Delay::random(&mut random)];
        let count = 3 + random.below(120) as usize;
        let [a, b] = [(clock(0), clocks[0]), (clock(1), clocks[1])];
        let mut messages = talk(&mut random, a, b, delays, &RANGE, count);
        // Two bad stamps, however bad, in some second that has enough good ones.
        if seed % 3 == 0 {
            let second = 30 * SECOND..31 * SECOND;
            messages.extend(talk(&mut random, a, b, delays, &second, 5));
            for m in messages.iter_mut().rev().filter(|m| m.second == 30).take(2) {
                m.received_ns -= 1_000_000 + random.below(1_000_000_000) as i64;
            }
        }
        let offsets = solve(&messages);
        for _ in 0..5 {
            let moment = random.below(RANGE.end as u64) as i64;
            let truth = clocks[1].at(moment) - clocks[0].at(moment);
            let there = offsets.offset(a.0, b.0, a.1.at(moment)).expect("both ways were measured");
            let back = offsets.offset(b.0, a.0, b.1.at(moment)).expect("both ways were measured");
            for (offset, truth) in [(there, truth), (back, -truth)] {
                let miss = (offset.offset_ns - truth).abs();
                assert!(miss <= offset.bound_ns, "seed {seed} at {moment}: {offset:?} {truth}");
                answers += 1;
            }
        }
    }
    assert_eq!(answers, 100_000);
}

#[test]
fn clocks_whose_rates_are_adjusted_stay_within_the_bound() {
    let mut tight = 0;
    for seed in 0..1_000 {
        let mut random = Seeded::new(seed);
        let mut clocks = [TrueClock::random(&mut random), TrueClock::random(&mut random)];
        let bent_ns = random.below(RANGE.end as u64) as i64;
        clocks[1].bent = Some((bent_ns, (random.unit() * 2.0 - 1.0) * 5e-6));
        let delays = [Delay::random(&mut random), Delay::random(&mut random)];
        let [a, b] = [(clock(0), clocks[0]), (clock(1), clocks[1])];
        let count = 3 + random.below(1_000) as usize;
        let messages = talk(&mut random, a, b, delays, &RANGE, count);
        let offsets = solve(&messages);
        for _ in 0..10 {
            let moment = random.below(RANGE.end as u64) as i64;
            let truth = clocks[1].at(moment) - clocks[0].at(moment);
            let found = offsets.offset(a.0, b.0, a.1.at(moment)).expect("both ways were measured");
            let miss = (found.offset_ns - truth).abs();
            assert!(miss <= found.bound_ns, "seed {seed} at {moment}: {found:?} {truth}");
            tight += usize::from(found.bound_ns < 300_000);
        }
    }
    assert!(tight > 7_000, "{tight}");
}

#[test]
fn busy_pair_is_bounded_by_its_best_delays() {
    let mut random = Seeded::new(1);
    let (a, b) = (TrueClock::random(&mut random), TrueClock::random(&mut random));
    let delays = [Delay(30_000.0, 60_000.0), Delay(40_000.0, 60_000.0)];
    let messages = talk(&mut random, (clock(0), a), (clock(1), b), delays, &RANGE, 60 * 200);
    let offset = solve(&messages).offset(clock(0), clock(1), a.at(30 * SECOND)).unwrap();
    // Half of the round trip is 35 us, a stamp of sending may be 50 us late; the rest is what a
    // changing rate could do meanwhile.
    assert!((85_000..95_000).contains(&offset.bound_ns), "{offset:?}");
}

/// The sender's stamp is made when its call returns, by then its message may have been read.
#[test]
fn stamps_of_sending_that_are_late_contradict_nothing_and_widen_the_bound() {
    for (seed, late_ns, widest_ns) in [(11, 60_000, 110_000), (12, 700_000, 1_100_000)] {
        let mut random = Seeded::new(seed);
        let (a, b) = (TrueClock::random(&mut random), TrueClock::random(&mut random));
        let delays = [Delay(10_000.0, 20_000.0); 2];
        let mut messages = talk(&mut random, (clock(0), a), (clock(1), b), delays, &RANGE, 6_000);
        // As in each second of a busy machine: more of them than are set aside as bad stamps.
        for message in &mut messages {
            let late_ns = random.below(late_ns) as i64;
            message.sent_ns += if random.unit() < 0.1 { late_ns } else { 0 };
        }
        let offsets = solve(&messages);
        for moment in (0..60).map(|s| s * SECOND) {
            let found = offsets.offset(clock(0), clock(1), a.at(moment)).expect("no contradiction");
            let miss = (found.offset_ns - (b.at(moment) - a.at(moment))).abs();
            assert!(miss <= found.bound_ns, "seed {seed} at {moment}: {found:?} off by {miss}");
            assert!(found.bound_ns <= widest_ns, "seed {seed} at {moment}: {found:?}");
        }
    }
}

#[test]
fn nodes_that_never_spoke_are_compared_by_way_of_a_third() {
    for seed in 0..200 {
        let mut random = Seeded::new(seed);
        let clocks: Vec<TrueClock> = (0..4).map(|_| TrueClock::random(&mut random)).collect();
        let node = |n: usize| (clock(n as u32), clocks[n]);
        let mut messages = Vec::new();
        for (a, b) in [(0, 1), (1, 2)] {
            let delays = [Delay::random(&mut random), Delay::random(&mut random)];
            messages.extend(talk(&mut random, node(a), node(b), delays, &RANGE, 60));
        }
        let offsets = solve(&messages);
        let moment = 20 * SECOND;
        for (a, b) in [(0, 2), (2, 0)] {
            let at = clocks[a].at(moment);
            let found = offsets.offset(clock(a as u32), clock(b as u32), at).unwrap();
            let truth = clocks[b].at(moment) - at;
            let miss = (found.offset_ns - truth).abs();
            assert!(miss <= found.bound_ns, "seed {seed}: {found:?} {truth}");
        }
        let at = clocks[0].at(moment);
        let width = |limits: Option<(f64, f64)>| limits.map(|(low, high)| high - low).unwrap();
        let (low, high) = offsets.measured(0, 1, at).unwrap();
        let then = at + f64::midpoint(low, high) as i64;
        let parts = (high - low) + width(offsets.measured(1, 2, then));
        let whole = width(offsets.proven(0, 2, at));
        assert!((parts - whole).abs() < 1e-3, "seed {seed}: {parts} {whole}");
        assert_eq!(offsets.offset(clock(0), clock(3), at), None);
    }
}

#[test]
fn offsets_add_up_around_a_circle_and_gain_by_it() {
    let (mut alone, mut together) = (0.0, 0.0);
    for seed in 0..100 {
        let mut random = Seeded::new(seed);
        let clocks: Vec<TrueClock> = (0..6).map(|_| TrueClock::random(&mut random)).collect();
        let mut messages = Vec::new();
        for a in 0..6 {
            for b in a + 1..6 {
                // Each direction of each pair has its own delays: alone, a pair is off by half of
                // their difference.
                let delays = [Delay::random(&mut random), Delay::random(&mut random)];
                let (from, to) = ((clock(a), clocks[a as usize]), (clock(b), clocks[b as usize]));
                messages.extend(talk(&mut random, from, to, delays, &RANGE, 300));
            }
        }
        let offsets = solve(&messages);
        let at = clocks[0].at(30 * SECOND);
        let truth = clocks[1].at(30 * SECOND) - at;
        let (low, high) = offsets.measured(0, 1, at).unwrap();
        let agreed = offsets.network.difference(0, 1, at).unwrap();
        alone += (f64::midpoint(low, high) - truth as f64).powi(2);
        together += (agreed - truth as f64).powi(2);
        let circle = [(0, 1), (1, 2), (2, 0)]
            .map(|(a, b)| offsets.network.difference(a, b, at).unwrap())
            .iter()
            .sum::<f64>();
        assert!(circle.abs() < 1.0, "seed {seed}: {circle}");
    }
    assert!(together < 0.7 * alone, "mean square miss {together} together, {alone} alone");
}

#[test]
fn clock_that_was_set_has_no_offset_until_its_new_epoch_was_measured() {
    let mut random = Seeded::new(5);
    let a = TrueClock::default();
    let b = TrueClock {
        ahead_ns: 400_000_000,
        rate: 20e-6,
        set: Some((33 * SECOND, -390_000_000)),
        ..a
    };
    let samples: Vec<ClockSample> = (-1..8)
        .flat_map(|ten| {
            let boot_ns = ten * 10 * SECOND;
            let unset = TrueClock { set: None, ..b };
            let (boot_b, wall_b) = (unset.at(boot_ns), b.at(boot_ns));
            let sample = |node, boot_ns, wall_ns| ClockSample {
                node,
                boot_ns,
                wall_ns,
                told_to_ns: wall_ns,
            };
            [sample(0, boot_ns, a.at(boot_ns)), sample(1, boot_b, wall_b)]
        })
        .collect();
    let epochs = Epochs::new(2, &samples);
    let delays = [Delay(30_000.0, 60_000.0); 2];
    let said = |until: i64, random: &mut Seeded| {
        let both = talk(random, (clock(0), a), (clock(1), b), delays, &(0..until), 2_000);
        let mut buckets = Buckets::new(2);
        for m in both {
            let (from, to) =
                (epochs.at(m.from.node, m.sent_ns), epochs.at(m.to.node, m.received_ns));
            if let (Some(from), Some(to)) = (from, to) {
                buckets.add(from, to, m.sent_ns, m.received_ns, m.second);
            }
        }
        Offsets::solve(&buckets, 0..60)
    };
    let old = epochs.at(1, b.at(20 * SECOND)).unwrap();
    let new = epochs.at(1, b.at(50 * SECOND)).unwrap();
    assert_ne!(old, new);
    assert_eq!(epochs.at(1, b.at(35 * SECOND)), None);

    let early = said(39 * SECOND, &mut random);
    assert!(early.offset(clock(0), old, 20 * SECOND).is_some());
    assert_eq!(early.offset(clock(0), new, 50 * SECOND), None);

    let late = said(60 * SECOND, &mut random);
    for (epoch, moment) in [(old, 20 * SECOND), (new, 50 * SECOND)] {
        let found = late.offset(clock(0), epoch, moment).unwrap();
        let truth = b.at(moment) - moment;
        assert!((found.offset_ns - truth).abs() <= found.bound_ns, "{found:?} {truth}");
        assert!(found.bound_ns < 110_000, "{found:?}");
    }
    assert_eq!(late.offset(old, new, 30 * SECOND), None);
}

#[test]
fn jump_that_nobody_reported_puts_the_pair_in_quarantine() {
    let mut random = Seeded::new(6);
    let honest = TrueClock::default();
    let jumper = TrueClock { set: Some((30 * SECOND, 50_000_000)), ..honest };
    let delays = [Delay(30_000.0, 60_000.0); 2];
    let nodes = [(clock(0), honest), (clock(1), jumper), (clock(2), honest), (clock(3), honest)];
    let mut messages = talk(&mut random, nodes[0], nodes[1], delays, &RANGE, 500);
    // Seems sound, because it was measured before the jump only.
    for node in [nodes[2], nodes[3]] {
        messages.extend(talk(&mut random, nodes[1], node, delays, &(0..20 * SECOND), 500));
    }
    messages.extend(talk(&mut random, nodes[0], nodes[3], delays, &RANGE, 500));
    let offsets = solve(&messages);
    let at = 40 * SECOND;
    for moment in [10 * SECOND, at] {
        let found = offsets.offset(clock(0), clock(1), moment);
        assert_eq!(found, None, "not by way of a third either");
    }
    assert_eq!(offsets.offset(clock(0), clock(2), at), None, "by way of a doubtful clock");
    assert_eq!(offsets.offset(clock(1), clock(2), at), None, "after its measurement ended");
    assert!(offsets.offset(clock(1), clock(2), 10 * SECOND).is_some());
    assert!(offsets.offset(clock(0), clock(3), at).is_some());

    let epochs = Epochs::default();
    let template = tables::ClockOffset { win: 30, stage: "F".into(), ..Default::default() };
    let window = 30 * SECOND..40 * SECOND;
    let rows = offsets.rows(&["a", "b", "c", "d"], &epochs, 0, &window, &template);
    let told: Vec<_> = rows
        .iter()
        .map(|r| (&r.node_a[..], &r.node_b[..], r.quarantined, r.offset_ns.is_some(), r.samples))
        .collect();
    assert_eq!(
        told,
        [
            ("a", "b", true, false, 1_000),
            ("a", "d", false, true, 1_000),
            ("b", "c", false, true, 1_000),
            ("b", "d", false, true, 1_000),
        ]
    );
    assert!(rows.iter().all(|r| r.win == 30 && r.stage == "F" && r.start_ns == window.start));
    let (offset, bound) = (rows[1].offset_ns.unwrap(), rows[1].bound_ns.unwrap());
    assert!(offset.abs() <= bound && bound < 110_000, "{offset} {bound}");
    assert!(rows[1].drift_ppb.unwrap().abs() < 2_000);
}

#[test]
fn pair_that_spoke_one_way_or_hardly_at_all_is_unknown() {
    let mut random = Seeded::new(7);
    let [a, b] = [0, 1].map(|n| (clock(n), TrueClock::default()));
    let delays = [Delay(30_000.0, 60_000.0); 2];
    let both = talk(&mut random, a, b, delays, &RANGE, 2);
    assert_eq!(solve(&both).offset(a.0, b.0, SECOND), None);
    let mut one_way = talk(&mut random, a, b, delays, &RANGE, 500);
    one_way.retain(|m| m.from == a.0);
    assert_eq!(solve(&one_way).offset(a.0, b.0, SECOND), None);
    assert_eq!(solve(&[]).offset(a.0, b.0, SECOND), None);
    let same = solve(&[]).offset(a.0, a.0, SECOND);
    assert_eq!(same, Some(Offset { offset_ns: 0, bound_ns: 0 }));
}

#[test]
fn same_messages_give_the_same_offsets_in_any_order_parts_and_run_length() {
    let mut random = Seeded::new(8);
    let clocks: Vec<TrueClock> = (0..5).map(|_| TrueClock::random(&mut random)).collect();
    let mut messages = Vec::new();
    for (a, b) in [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4), (1, 3)] {
        let delays = [Delay::random(&mut random), Delay::random(&mut random)];
        let (from, to) = ((clock(a), clocks[a as usize]), (clock(b), clocks[b as usize]));
        messages.extend(talk(&mut random, from, to, delays, &RANGE, 200));
    }
    let window = 20 * SECOND..30 * SECOND;
    let rows = |buckets: &Buckets| {
        let offsets = Offsets::solve(buckets, 15..40);
        let template = tables::ClockOffset::default();
        offsets.rows(&["a", "b", "c", "d", "e"], &Epochs::default(), 0, &window, &template)
    };
    let expected = rows(&counted(&messages));
    assert_eq!(expected.len(), 6);
    for _ in 0..20 {
        random.shuffle(&mut messages);
        assert_eq!(rows(&counted(&messages)), expected);
        let (one, other) = messages.split_at(random.below(messages.len() as u64) as usize);
        let mut merged = counted(one);
        merged.merge(&counted(other));
        assert_eq!(rows(&merged), expected);
        let own: Vec<Message> =
            messages.iter().copied().filter(|m| (15..40).contains(&m.second)).collect();
        assert_eq!(rows(&counted(&own)), expected);
    }
}
