//! Exchanges whose partners are known.

use super::*;
use crate::calibration::{Calibration, Quality, Trials};
use crate::seeded::Seeded;

#[derive(Clone, Copy, Debug)]
struct World {
    /// Requests that start within the mean network delay, on average.
    crowd: f64,
    loss: f64,
    /// Error of the servers' corrected times.
    skew_ns: i64,
    bound_ns: i64,
    /// How much the time that the server takes varies.
    spread_ns: f64,
}

const WORLD: World =
    World { crowd: 0.1, loss: 0.02, skew_ns: 20_000, bound_ns: 40_000, spread_ns: 4_000_000.0 };

const REQUESTS: usize = 3_000;

/// Mean of the request's and of the response's time on the network.
const DELAY_NS: f64 = 200_000.0;

#[derive(Debug, Default)]
struct Columns {
    start_ns: Vec<i64>,
    end_ns: Vec<i64>,
    kind: Vec<u32>,
    request: Vec<usize>,
}

impl Columns {
    fn push(&mut self, start_ns: i64, end_ns: i64, request: usize) {
        self.start_ns.push(start_ns);
        self.end_ns.push(end_ns);
        self.kind.push(0);
        self.request.push(request);
    }

    fn shuffled(&self, random: &mut Seeded) -> Self {
        let mut places: Vec<usize> = (0..self.request.len()).collect();
        random.shuffle(&mut places);
        let mut shuffled = Self::default();
        for at in places {
            shuffled.push(self.start_ns[at], self.end_ns[at], self.request[at]);
        }
        shuffled
    }

    fn exchanges(&self) -> Exchanges<'_> {
        Exchanges { start_ns: &self.start_ns, end_ns: &self.end_ns, kind: &self.kind }
    }
}

#[derive(Debug, Default)]
struct Truth {
    clients: Columns,
    servers: Columns,
    span_ns: i64,
    learned: Learned,
}

fn truth(world: World, seed: u64) -> Truth {
    let mut random = Seeded::new(seed);
    let mut truth = Truth::default();
    let gap_ns = 2.0 * DELAY_NS / world.crowd;
    let mut now = 0.0;
    let delay = |random: &mut Seeded| DELAY_NS / 4.0 + random.exponential(DELAY_NS * 0.75);
    for request in 0..REQUESTS {
        now += random.exponential(gap_ns);
        let start = now as i64;
        let arrived = start + delay(&mut random) as i64;
        let served = arrived + 500_000 + random.exponential(world.spread_ns) as i64;
        let end = served + delay(&mut random) as i64;
        let server = (arrived + world.skew_ns, served + world.skew_ns);
        // A part of the traffic has ids: delays are learned from it.
        if random.unit() < 0.2 {
            truth.learned.add((start, end), server);
        }
        if random.unit() >= world.loss {
            truth.clients.push(start, end, request);
        }
        if random.unit() >= world.loss {
            truth.servers.push(server.0, server.1, request);
        }
    }
    truth.span_ns = now as i64;
    truth
}

fn stratum(truth: &Truth, world: World) -> Stratum<'_> {
    Stratum {
        clients: truth.clients.exchanges(),
        servers: truth.servers.exchanges(),
        span_ns: truth.span_ns,
        skew_bound_ns: Some(world.bound_ns),
        servers_unseen: world.loss,
        clients_unseen: world.loss,
    }
}

fn partners(truth: &Truth, world: World, worth: impl Fn(f64) -> f64) -> Vec<Partner> {
    let delays = truth.learned.at(truth.span_ns);
    assign(&stratum(truth, world), &delays, &Thresholds::default(), worth)
}

#[derive(Default)]
struct Score {
    clients: usize,
    committed: usize,
    wrong: usize,
    listed: usize,
    /// Of the listed: those whose partner was seen and is not in the list.
    missed: usize,
    quality: Quality,
    trials: Trials,
}

impl std::fmt::Debug for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { clients, committed, wrong, listed, missed, .. } = self;
        let error = self.quality.calibration_error();
        write!(f, "{clients} clients, {committed} committed, {wrong} wrong, ")?;
        write!(f, "{listed} listed, {missed} missed, calibration error {error}")
    }
}

impl Score {
    fn add(&mut self, truth: &Truth, partners: &[Partner]) {
        for (client, partner) in partners.iter().enumerate() {
            let request = truth.clients.request[client];
            let is_true = |c: &Candidate| truth.servers.request[c.server] == request;
            self.clients += 1;
            let candidates = match partner {
                Partner::Committed(candidate) => {
                    self.committed += 1;
                    self.wrong += usize::from(!is_true(candidate));
                    std::slice::from_ref(candidate)
                }
                Partner::Ambiguous { candidates, doubt: Doubt::TimeOnly } => {
                    self.listed += 1;
                    let is_seen = truth.servers.request.binary_search(&request).is_ok();
                    self.missed += usize::from(is_seen && !candidates.iter().any(is_true));
                    &candidates[..]
                }
                Partner::Ambiguous { .. } | Partner::Nobody => &[],
            };
            for candidate in candidates {
                self.quality.add(candidate.p, is_true(candidate));
                self.trials.add(candidate.p, is_true(candidate));
            }
        }
    }

    fn of(world: World, seeds: std::ops::Range<u64>, worth: impl Fn(f64) -> f64) -> Self {
        let mut score = Self::default();
        for seed in seeds {
            let truth = truth(world, seed);
            score.add(&truth, &partners(&truth, world, &worth));
        }
        score
    }
}

/// From traffic that is easy to tell apart to traffic that is hardly: crowds, and servers that take
/// any time or nearly the same.
fn worlds() -> impl Iterator<Item = World> {
    [4e6, 2e5, 1e4].into_iter().flat_map(|spread_ns| {
        [0.02, 0.1, 0.5, 1.0].map(|crowd| World { crowd, spread_ns, ..WORLD })
    })
}

#[test]
fn wrong_commits_are_rare_and_lists_hold_the_truth() {
    for world in worlds() {
        let score = Score::of(world, 0..3, |p| p);
        assert!(score.wrong as f64 <= 1e-3 * score.clients as f64, "{world:?}: {score:?}");
        assert!(score.missed as f64 <= 1e-3 * score.listed as f64, "{world:?}: {score:?}");
        // Even where it is hard, most can be told apart; 2 % have lost their partner.
        let least = if world.crowd < 0.2 { 0.93 } else { 0.6 };
        assert!(score.committed as f64 >= least * score.clients as f64, "{world:?}: {score:?}");
    }
}

#[test]
fn probabilities_calibrated_on_hidden_links_are_right_as_often_as_they_say() {
    for world in worlds().filter(|world| world.crowd >= 0.5) {
        let shadow = Score::of(world, 100..103, |p| p);
        let fitted = Calibration::fit(&shadow.trials);
        let score = Score::of(world, 0..3, |p| fitted.apply(p));
        let error = score.quality.calibration_error();
        assert!(error <= 0.02, "{world:?}: {error}");
        assert!(score.wrong as f64 <= 1e-3 * score.clients as f64, "{world:?}: {score:?}");
        assert!(score.committed > score.clients / 2, "{world:?}: {score:?}");
    }
}

#[test]
fn delays_learned_under_another_error_of_the_clocks_do_not_mislead() {
    for crowd in [0.1, 1.0] {
        let world = World { crowd, spread_ns: 1e4, skew_ns: 35_000, ..WORLD };
        let elsewhere = World { skew_ns: -35_000, ..world };
        let mut score = Score::default();
        for seed in 0..3 {
            let learned = truth(elsewhere, 100 + seed).learned;
            let truth = Truth { learned, ..truth(world, seed) };
            score.add(&truth, &partners(&truth, world, |p| p));
        }
        assert!(score.wrong as f64 <= 1e-3 * score.clients as f64, "{world:?}: {score:?}");
        assert!(score.missed as f64 <= 1e-3 * score.listed as f64, "{world:?}: {score:?}");
    }
}

#[test]
fn same_exchanges_have_the_same_partners_in_any_order() {
    let world = World { crowd: 1.0, spread_ns: 2e5, ..WORLD };
    let truth = truth(world, 11);
    let named = |truth: &Truth| {
        let name = |c: &Candidate| (truth.servers.request[c.server], c.p.to_bits());
        let mut named: Vec<_> = partners(truth, world, |p| p)
            .iter()
            .zip(&truth.clients.request)
            .map(|(partner, request)| match partner {
                Partner::Committed(candidate) => (*request, vec![name(candidate)]),
                Partner::Ambiguous { candidates, .. } => {
                    (*request, candidates.iter().map(name).collect())
                }
                Partner::Nobody => (*request, Vec::new()),
            })
            .collect();
        named.sort();
        named
    };
    let expected = named(&truth);
    let mut random = Seeded::new(12);
    for _ in 0..20 {
        let shuffled = Truth {
            clients: truth.clients.shuffled(&mut random),
            servers: truth.servers.shuffled(&mut random),
            span_ns: truth.span_ns,
            learned: truth.learned.clone(),
        };
        assert!(named(&shuffled) == expected);
    }
}

/// Times in microseconds; the truth of `WORLD` gives the delays.
fn check(clients: &[(i64, i64)], servers: &[(i64, i64)], expected: &[Option<usize>]) {
    let columns = |times: &[(i64, i64)]| {
        let mut columns = Columns::default();
        for (request, time) in times.iter().enumerate() {
            columns.push(time.0 * 1_000, time.1 * 1_000, request);
        }
        columns
    };
    let truth = Truth {
        clients: columns(clients),
        servers: columns(servers),
        span_ns: 10 * crate::SECOND,
        learned: truth(WORLD, 1).learned,
    };
    let committed: Vec<Option<usize>> = partners(&truth, WORLD, |p| p)
        .iter()
        .map(|partner| match partner {
            Partner::Committed(candidate) => Some(candidate.server),
            Partner::Ambiguous { .. } | Partner::Nobody => None,
        })
        .collect();
    assert_eq!(committed, expected, "{clients:?} {servers:?}");
}

#[test]
fn lone_pair_is_committed_where_its_delays_are_usual() {
    check(&[(0, 5_000)], &[(200, 4_800)], &[Some(0)]);
    check(&[(0, 5_000)], &[(-900, 4_800)], &[None]);
    check(&[(0, 5_000)], &[(200, 900_000)], &[None]);
    check(&[(0, 5_000)], &[], &[None]);
    check(&[], &[(0, 5_000)], &[]);
}

#[test]
fn twins_stay_undecided_and_do_not_hinder_others() {
    check(
        &[(0, 5_000), (1, 5_001), (90_000, 95_000)],
        &[(200, 4_800), (201, 4_801), (90_200, 94_800)],
        &[None, None, Some(2)],
    );
}

#[test]
fn exchanges_of_different_kinds_are_no_pair() {
    let mut truth = truth(WORLD, 2);
    truth.servers.kind.fill(1);
    let all = partners(&truth, WORLD, |p| p);
    assert!(all.iter().all(|partner| *partner == Partner::Nobody));
}

#[test]
fn nothing_is_tried_where_times_prove_nothing() {
    let truth = truth(WORLD, 3);
    let delays = truth.learned.at(truth.span_ns);
    let doubt_of = |stratum: &Stratum<'_>, delays: &Delays| {
        let all = assign(stratum, delays, &Thresholds::default(), |p| p);
        let [Partner::Ambiguous { candidates, doubt }, ..] = &all[..] else { panic!("{all:?}") };
        assert!(candidates.is_empty() && all.iter().all(|partner| *partner == all[0]));
        *doubt
    };
    let sound = stratum(&truth, WORLD);
    assert!(matches!(
        assign(&sound, &delays, &Thresholds::default(), |p| p)[0],
        Partner::Committed(_)
    ));
    let unknown = Stratum { skew_bound_ns: None, ..sound };
    assert_eq!(doubt_of(&unknown, &delays), Doubt::SkewUnknown);
    let wide = Stratum { skew_bound_ns: Some(DELAY_NS as i64), ..sound };
    assert_eq!(doubt_of(&wide, &delays), Doubt::SkewUnknown);
    assert_eq!(doubt_of(&sound, &Learned::default().at(0)), Doubt::Unlearned);
    let crowded = Stratum { span_ns: truth.span_ns / 100, ..sound };
    assert_eq!(doubt_of(&crowded, &delays), Doubt::Dense);
}

/// So many pairs that times hardly tell apart: how many are listed of each client.
fn check_listed(pairs: i64, expected: usize) {
    let mut truth = truth(WORLD, 3);
    let mut columns = [Columns::default(), Columns::default()];
    for (columns, inset) in columns.iter_mut().zip([0, 200_000]) {
        for pair in 0..pairs {
            columns.push(pair * 100 + inset, 5_000_000 + pair * 100 - inset, pair as usize);
        }
    }
    [truth.clients, truth.servers] = columns;
    for partner in partners(&truth, WORLD, |p| p) {
        let Partner::Ambiguous { candidates, .. } = partner else { panic!("{partner:?}") };
        assert_eq!(candidates.len(), expected);
    }
}

#[test]
fn as_many_are_listed_as_hold_the_truth_or_none() {
    check_listed(8, 8);
    check_listed(20, 0);
}
