//! Spans of made-up services: requests come, are worked on, call and wait, by a seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::shapes::{Arrivals, Shape, Works};
use crate::spans::Span;

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
        match shape.arrivals {
            Arrivals::Apart => arrival += random.exponential(shape.between),
            Arrivals::Bursts(size) if trace % size == 0 => {
                arrival += random.exponential(shape.between * size as f64);
            }
            Arrivals::Bursts(_) => arrival += random.exponential(100.0),
            Arrivals::Clients(_) => arrival = random.exponential(shape.between),
        }
        let (mut share, mut operation) = (random.unit(), 0);
        while share > shape.operations[operation].1 && operation + 1 < shape.operations.len() {
            share -= shape.operations[operation].1;
            operation += 1;
        }
        let replica = (random.unit() * shape.replicas as f64) as usize;
        let start = arrival as i64;
        let size = if shape.shared > 0.0 { random.log_normal(1.0, shape.shared) } else { 1.0 };
        running.push(Running { trace, operation, replica, start, stage: 0, waits_for: 0, size });
        if !matches!(shape.arrivals, Arrivals::Clients(clients) if trace >= clients) {
            ready.push(Reverse((start, trace, false)));
        }
    }
    let mut free_at: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    let mut callees: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    let mut sockets: BTreeMap<(usize, &str), BinaryHeap<Reverse<i64>>> = BTreeMap::new();
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
            Works::Batches(every, mean) => {
                let next = (now / every + 1) * every;
                work(&mut free_at, &mut random, request.replica, 1, next, mean)
            }
        };
        let stages = shape.operations[request.operation].2;
        while request.stage < stages.len() && request.waits_for == 0 {
            for (called, chance) in stages[request.stage] {
                if random.unit() >= *chance {
                    continue;
                }
                at += 10 + random.exponential(15.0) as i64;
                let mut lasts = request.size * random.log_normal(shape.latency.0, shape.latency.1);
                if shape.slow > 0.0 && random.unit() * 100.0 < shape.slow {
                    lasts *= 10.0;
                }
                let mut from = at;
                // A call that fails does so soon, and is made once more after a pause.
                if shape.failing > 0.0 && random.unit() * 100.0 < shape.failing {
                    let fails = at + (0.3 * lasts) as i64;
                    call(shape, &mut spans, request, called, at, fails);
                    from = fails + 1000 + random.exponential(3000.0) as i64;
                }
                // What is called shares its connections with all of the same first word.
                let pool = called.split(' ').next().unwrap_or_default();
                let sockets = sockets.entry((request.replica, pool)).or_default();
                if sockets.len() >= shape.connections {
                    from = from.max(sockets.pop().map_or(0, |Reverse(free)| free));
                }
                let sent =
                    if shape.network > 0.0 { random.exponential(shape.network) } else { 0.0 };
                let mut end = from + lasts as i64;
                if let Some(mean) = shape.callee {
                    let came = from + sent as i64;
                    let free = callees.entry(called).or_insert_with(|| vec![0]);
                    free[0] = came.max(free[0]) + random.exponential(mean) as i64;
                    end = free[0] + lasts as i64;
                }
                sockets.push(Reverse(end));
                request.waits_for += 1;
                let answer = if shape.client_spans { 0.0 } else { sent };
                ready.push(Reverse((end + answer as i64, id, true)));
                let seen = (from + sent as i64).min(end);
                call(shape, &mut spans, request, called, seen, end);
            }
            request.stage += 1;
        }
        if request.waits_for == 0 {
            let start = request.start;
            spans.push(span(shape, request, "", "", "app", "server", start, at));
            if let Arrivals::Clients(clients) = shape.arrivals
                && let Some(next) = running.get_mut(id + clients)
            {
                next.start += at;
                ready.push(Reverse((next.start, id + clients, false)));
            }
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
        end: if shape.own_durations {
            floor(start) + (end - start + unit / 2) / unit * unit
        } else {
            floor(end)
        },
    }
}
