//! Made-up services whose requests overlap in ways that recorded sets lack: event loops with many
//! requests in flight, pools of threads, several operations, caches, fan-out, millisecond stamps.
//!
//! The same seed gives the same spans.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::spans::Span;

/// How a service works on what it has been asked.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Works {
    /// One thread takes one piece of work after the other, in the order in which they became
    /// ready; the number is the mean time of a piece in microseconds.
    Loop(f64),
    /// Every request has a thread (or goroutine) of its own and thinks this long between calls;
    /// the second number is the spread of the logarithm.
    Alone(f64, f64),
    /// So many threads take pieces of work from one queue; mean time of a piece.
    Workers(usize, f64),
}

/// Calls made at once, each with the chance that it is made at all.
type Stage = &'static [(&'static str, f64)];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    works: Works,
    /// Operations with their share of the traffic.
    operations: &'static [(&'static str, f64, &'static [Stage])],
    /// Mean microseconds between requests.
    between: f64,
    /// Median latency of what is called, and the spread of its logarithm.
    latency: (f64, f64),
    replicas: usize,
    /// Stamps are multiples of this.
    resolution: i64,
    client_spans: bool,
    /// How far latencies of one request go together: spread of the logarithm of what they share.
    shared: f64,
    /// Mean microseconds on the network, which a stamp of the callee holds.
    network: f64,
}

const ONE: &[(&str, f64, &[Stage])] =
    &[("GET /a", 1.0, &[&[("user", 1.0)], &[("cart", 1.0)], &[("price", 1.0)]])];
const SEVERAL: &[(&str, f64, &[Stage])] = &[
    ("GET /a", 0.4, &[&[("user", 1.0)], &[("cart", 1.0)]]),
    ("GET /b", 0.3, &[&[("user", 1.0)], &[("price", 0.6)], &[("cart", 1.0)]]),
    ("GET /health", 0.2, &[]),
    ("POST /c", 0.1, &[&[("stock", 1.0)], &[("price", 1.0)], &[("stock", 0.5)]]),
];
const CACHES: &[(&str, f64, &[Stage])] =
    &[("GET /a", 1.0, &[&[("cache", 1.0)], &[("store", 0.3)], &[("price", 0.7)]])];
const FANS: &[(&str, f64, &[Stage])] = &[
    ("GET /a", 0.7, &[&[("auth", 1.0)], &[("user", 1.0), ("cart", 1.0), ("price", 0.8)]]),
    ("GET /b", 0.3, &[&[("auth", 1.0)], &[("stock", 1.0), ("price", 1.0)]]),
];

/// Parts of one review arrive by themselves, and whichever comes last has it stored.
const PARTS: &[(&str, f64, &[Stage])] = &[
    ("UploadText", 0.2, &[&[("memo", 1.0)], &[("store", 0.2), ("user", 0.2), ("movie", 0.2)]]),
    ("UploadUser", 0.2, &[&[("memo", 1.0)], &[("store", 0.1), ("user", 0.1), ("movie", 0.1)]]),
    ("UploadMovie", 0.2, &[&[("memo", 1.0)], &[("store", 0.3), ("user", 0.3), ("movie", 0.3)]]),
    ("UploadRating", 0.2, &[&[("memo", 1.0)]]),
    ("Read", 0.2, &[&[("store", 1.0)]]),
];
const WIDE: &[(&str, f64, &[Stage])] = &[
    (
        "POST /compose",
        0.6,
        &[&[("text", 1.0), ("user", 1.0), ("movie", 1.0), ("rating", 1.0), ("id", 1.0)]],
    ),
    ("GET /page", 0.4, &[&[("page", 1.0)], &[("movie", 0.7), ("cast", 0.7)]]),
];

const PLAIN: Shape = Shape {
    name: "",
    works: Works::Loop(250.0),
    operations: ONE,
    between: 1500.0,
    latency: (15_000.0, 0.5),
    replicas: 1,
    resolution: 1,
    client_spans: true,
    shared: 0.0,
    network: 0.0,
};

pub(crate) const SHAPES: &[Shape] = &[
    Shape { name: "loop-one", ..PLAIN },
    Shape { name: "loop-several", operations: SEVERAL, between: 1200.0, ..PLAIN },
    Shape {
        name: "loop-several-ms",
        operations: SEVERAL,
        between: 1200.0,
        resolution: 1000,
        client_spans: false,
        ..PLAIN
    },
    Shape { name: "loop-fans-replicas", operations: FANS, replicas: 3, between: 600.0, ..PLAIN },
    Shape {
        name: "loop-slow-ms",
        operations: ONE,
        between: 10_000.0,
        resolution: 1000,
        client_spans: false,
        works: Works::Loop(1500.0),
        ..PLAIN
    },
    Shape {
        name: "loop-light-ms",
        operations: SEVERAL,
        between: 30_000.0,
        resolution: 1000,
        client_spans: false,
        works: Works::Loop(900.0),
        latency: (40_000.0, 0.7),
        network: 300.0,
        ..PLAIN
    },
    Shape {
        name: "loop-wide",
        operations: WIDE,
        between: 2500.0,
        works: Works::Loop(60.0),
        latency: (40_000.0, 0.9),
        ..PLAIN
    },
    Shape {
        name: "async-many",
        operations: SEVERAL,
        between: 800.0,
        works: Works::Alone(120.0, 0.9),
        latency: (30_000.0, 0.8),
        shared: 0.4,
        ..PLAIN
    },
    Shape {
        name: "workers-parts",
        operations: PARTS,
        between: 1200.0,
        works: Works::Workers(4, 300.0),
        latency: (6_000.0, 0.7),
        ..PLAIN
    },
    Shape {
        name: "pool-shared",
        operations: CACHES,
        between: 6_000.0,
        works: Works::Alone(500.0, 0.8),
        latency: (12_000.0, 0.4),
        shared: 0.7,
        ..PLAIN
    },
    Shape { name: "pool-one", works: Works::Alone(600.0, 0.4), between: 10_000.0, ..PLAIN },
    Shape {
        name: "pool-caches",
        works: Works::Alone(400.0, 0.5),
        operations: CACHES,
        between: 10_000.0,
        ..PLAIN
    },
    Shape {
        name: "pool-fans",
        works: Works::Alone(400.0, 0.5),
        operations: FANS,
        between: 8_000.0,
        ..PLAIN
    },
    Shape {
        name: "pool-dense-ms",
        works: Works::Alone(400.0, 0.5),
        operations: SEVERAL,
        between: 8_000.0,
        resolution: 1000,
        ..PLAIN
    },
    Shape {
        name: "pool-dense",
        works: Works::Alone(500.0, 0.6),
        operations: SEVERAL,
        between: 3_000.0,
        ..PLAIN
    },
];

/// SplitMix64: small, seeded, good enough for shapes of traffic.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    fn log_normal(&mut self, median: f64, spread: f64) -> f64 {
        let normal: f64 = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
        median * (spread * normal).exp()
    }
}

/// A request on its way through its stages.
struct Running {
    trace: usize,
    operation: usize,
    replica: usize,
    start: i64,
    stage: usize,
    waits_for: usize,
    /// Factor of its latencies.
    size: f64,
}

/// Spans of `count` requests.
pub(crate) fn make(shape: &Shape, count: usize, seed: u64) -> Vec<Span> {
    let mut random = Random(seed);
    let mut spans = Vec::new();
    let mut running: Vec<Running> = Vec::new();
    // What becomes ready, by time: a request to go on with, or a call that was answered.
    let mut ready: BinaryHeap<Reverse<(i64, usize, bool)>> = BinaryHeap::new();
    let mut arrival = 0.0;
    for trace in 0..count {
        arrival += random.exponential(shape.between);
        let (mut share, mut operation) = (random.unit(), 0);
        while share > shape.operations[operation].1 && operation + 1 < shape.operations.len() {
            share -= shape.operations[operation].1;
            operation += 1;
        }
        let replica = (random.unit() * shape.replicas as f64) as usize;
        let start = arrival as i64;
        let size = if shape.shared > 0.0 { random.log_normal(1.0, shape.shared) } else { 1.0 };
        running.push(Running { trace, operation, replica, start, stage: 0, waits_for: 0, size });
        ready.push(Reverse((start, trace, false)));
    }
    let mut free_at: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    while let Some(Reverse((now, id, answered))) = ready.pop() {
        let request = &mut running[id];
        if answered {
            request.waits_for -= 1;
            if request.waits_for > 0 {
                continue;
            }
        }
        let mut at = match shape.works {
            Works::Loop(mean) => work(&mut free_at, &mut random, request.replica, 1, now, mean),
            Works::Workers(threads, mean) => {
                work(&mut free_at, &mut random, request.replica, threads, now, mean)
            }
            Works::Alone(median, spread) => now + random.log_normal(median, spread) as i64,
        };
        let stages = shape.operations[request.operation].2;
        while request.stage < stages.len() && request.waits_for == 0 {
            for (called, chance) in stages[request.stage] {
                if random.unit() >= *chance {
                    continue;
                }
                at += 10 + random.exponential(15.0) as i64;
                let lasts = request.size * random.log_normal(shape.latency.0, shape.latency.1);
                let end = at + lasts as i64;
                request.waits_for += 1;
                ready.push(Reverse((end, id, true)));
                let sent =
                    if shape.network > 0.0 { random.exponential(shape.network) } else { 0.0 };
                let seen = (at + sent as i64).min(end);
                call(shape, &mut spans, request, called, seen, end);
            }
            request.stage += 1;
        }
        if request.waits_for == 0 {
            let start = request.start;
            spans.push(span(shape, request, "", "", "app", "server", start, at));
        }
    }
    spans
}

/// When the thread that is free first has done a piece of work.
fn work(
    free_at: &mut BTreeMap<usize, Vec<i64>>,
    random: &mut Random,
    replica: usize,
    threads: usize,
    now: i64,
    mean: f64,
) -> i64 {
    let free = free_at.entry(replica).or_insert_with(|| vec![0; threads]);
    let first = (0..threads).fold(0, |first, t| if free[t] < free[first] { t } else { first });
    free[first] = now.max(free[first]) + 20 + random.exponential(mean) as i64;
    free[first]
}

fn call(shape: &Shape, spans: &mut Vec<Span>, request: &Running, called: &str, at: i64, end: i64) {
    let (client, server) = (format!("c{}", spans.len()), format!("s{}", spans.len()));
    if shape.client_spans {
        spans.push(span(shape, request, &client, "root", "app", "client", at, end));
        spans.push(span(shape, request, &server, &client, called, "server", at + 150, end - 150));
    } else {
        spans.push(span(shape, request, &server, "root", called, "", at, end));
    }
    let last = spans.len() - 1;
    called.clone_into(&mut spans[last].operation);
    if shape.client_spans {
        called.clone_into(&mut spans[last - 1].operation);
    }
}

#[expect(clippy::too_many_arguments, reason = "the columns of a row, in order")]
fn span(
    shape: &Shape,
    request: &Running,
    id: &str,
    parent: &str,
    service: &str,
    kind: &str,
    start: i64,
    end: i64,
) -> Span {
    let unit = shape.resolution;
    let floor = |time: i64| (1_700_000_000_000_000 + time).div_euclid(unit) * unit;
    Span {
        trace: format!("t{}", request.trace),
        id: if id.is_empty() { "root".into() } else { id.into() },
        parent: parent.into(),
        service: service.into(),
        pod: format!("{service}-{}", request.replica),
        kind: if shape.client_spans { kind.into() } else { String::new() },
        operation: shape.operations[request.operation].0.into(),
        start: floor(start),
        end: floor(end),
    }
}
