//! Made-up services whose requests overlap in ways that recorded sets lack: event loops with many
//! requests in flight, pools of threads, several operations, caches, fan-out, millisecond stamps.
//! [`crate::made`] makes their spans.

/// How a service works on what it has been asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Works {
    /// One thread takes one piece of work after the other, in the order in which they became
    /// ready; the number is the mean time of a piece in microseconds.
    Loop(f64),
    /// Every request has a thread (or goroutine) of its own and thinks this long between calls;
    /// the second number is the spread of the logarithm.
    Alone(f64, f64),
    /// So many threads take pieces of work from one queue; mean time of a piece.
    Workers(usize, f64),
    /// One worker looks every so many microseconds at what there is to do, and does all of it, one
    /// piece after the other; mean time of a piece.
    Batches(i64, f64),
}

/// Calls made at once, each with the chance that it is made at all.
pub(crate) type Stage = &'static [(&'static str, f64)];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) works: Works,
    /// Operations with their share of the traffic.
    pub(crate) operations: &'static [(&'static str, f64, &'static [Stage])],
    /// Mean microseconds between requests.
    pub(crate) between: f64,
    /// Median latency of what is called, and the spread of its logarithm.
    pub(crate) latency: (f64, f64),
    pub(crate) replicas: usize,
    /// Stamps are multiples of this.
    pub(crate) resolution: i64,
    pub(crate) client_spans: bool,
    /// How far latencies of one request go together: spread of the logarithm of what they share.
    pub(crate) shared: f64,
    /// Mean microseconds on the network, which a stamp of the callee holds.
    pub(crate) network: f64,
    pub(crate) arrivals: Arrivals,
    /// Mean microseconds of a piece of work at the one thread of each service that is called; none
    /// where it has threads for all.
    pub(crate) callee: Option<f64>,
    /// How many latencies in a hundred are ten times as long.
    pub(crate) slow: f64,
    /// How many calls in a hundred fail, and are made once more.
    pub(crate) failing: f64,
    /// Connections to each service that is called: further calls wait for one. What shares the first
    /// word of its name is one service.
    pub(crate) connections: usize,
    /// Whether durations are measured and rounded by themselves.
    pub(crate) own_durations: bool,
}

/// When requests come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Arrivals {
    /// By themselves.
    Apart,
    /// So many at a time.
    Bursts(usize),
    /// From so many clients, each of which waits for its answer.
    Clients(usize),
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
    arrivals: Arrivals::Apart,
    callee: None,
    slow: 0.0,
    failing: 0.0,
    connections: usize::MAX,
    own_durations: false,
};

const CHAIN: &[(&str, f64, &[Stage])] = &[(
    "GET /a",
    1.0,
    &[&[("auth", 1.0)], &[("user", 1.0)], &[("cart", 1.0)], &[("price", 1.0)], &[("log", 1.0)]],
)];
const MANY: &[(&str, f64, &[Stage])] = &[
    ("GET /home", 0.3, &[&[("session", 1.0)], &[("user", 0.7), ("news", 1.0), ("cart", 0.7)]]),
    ("GET /item", 0.3, &[&[("session", 1.0)], &[("item", 1.0)], &[("price", 1.0), ("stock", 1.0)]]),
    ("POST /cart", 0.15, &[&[("session", 1.0)], &[("stock", 1.0)], &[("cart", 1.0)]]),
    (
        "POST /order",
        0.05,
        &[&[("session", 1.0)], &[("cart", 1.0)], &[("pay", 1.0)], &[("mail", 1.0)]],
    ),
    ("GET /search", 0.15, &[&[("cache", 1.0)], &[("find", 0.4)]]),
    ("GET /health", 0.05, &[]),
];
const QUERIES: &[(&str, f64, &[Stage])] = &[
    ("GET /cart", 0.4, &[&[("db carts", 1.0)], &[("db items", 1.0)], &[("price", 0.8)]]),
    ("POST /cart", 0.25, &[&[("db items", 1.0)], &[("db carts", 1.0)], &[("db carts", 1.0)]]),
    ("GET /orders", 0.25, &[&[("db orders", 1.0), ("db users", 1.0)], &[("db items", 0.9)]]),
    ("GET /login", 0.1, &[&[("db users", 1.0)], &[("token", 1.0)], &[("db users", 0.5)]]),
];
const SEARCH: &[(&str, f64, &[Stage])] = &[
    (
        "Search",
        0.5,
        &[&[("geo", 1.0)], &[("rate", 1.0), ("rate", 1.0), ("rate", 0.6)], &[("profile", 1.0)]],
    ),
    ("Recommend", 0.3, &[&[("profile", 1.0), ("review", 0.7)]]),
    ("Reserve", 0.2, &[&[("user", 1.0)], &[("reserve", 1.0)], &[("rate", 1.0), ("mail", 0.5)]]),
];

/// A service of Node.js: one event loop, stamps in milliseconds, spans of what is called alone.
const NODE: Shape = Shape {
    works: Works::Loop(300.0),
    operations: MANY,
    between: 5_000.0,
    resolution: 1000,
    client_spans: false,
    network: 150.0,
    ..PLAIN
};

pub(crate) const SHAPES: &[Shape] = &[
    Shape { name: "node-one", operations: ONE, between: 6_000.0, ..NODE },
    Shape { name: "node-chain", operations: CHAIN, latency: (8_000.0, 0.8), ..NODE },
    Shape { name: "node-chain-fast", operations: CHAIN, latency: (2_000.0, 0.6), ..NODE },
    Shape { name: "node-many", slow: 2.0, ..NODE },
    Shape { name: "node-many-busy", between: 2_000.0, slow: 2.0, ..NODE },
    Shape {
        name: "node-many-crowd",
        between: 3_000.0,
        latency: (80_000.0, 0.6),
        slow: 1.0,
        ..NODE
    },
    Shape { name: "node-fans", operations: FANS, own_durations: true, ..NODE },
    Shape {
        name: "node-caches",
        operations: CACHES,
        between: 4_000.0,
        latency: (4_000.0, 1.0),
        ..NODE
    },
    Shape {
        name: "node-loops",
        callee: Some(700.0),
        latency: (3_000.0, 0.3),
        between: 4_000.0,
        ..NODE
    },
    Shape {
        name: "node-loop-one",
        operations: ONE,
        callee: Some(1500.0),
        latency: (1_000.0, 0.3),
        between: 2_500.0,
        ..NODE
    },
    Shape { name: "node-bursts", arrivals: Arrivals::Bursts(5), between: 8_000.0, ..NODE },
    Shape {
        name: "node-clients",
        arrivals: Arrivals::Clients(20),
        between: 20_000.0,
        own_durations: true,
        ..NODE
    },
    Shape { name: "node-connections", connections: 8, between: 5_000.0, ..NODE },
    Shape {
        name: "node-slow-loop",
        works: Works::Loop(2_000.0),
        between: 12_000.0,
        latency: (20_000.0, 0.7),
        ..NODE
    },
    Shape { name: "node-fine", between: 2_500.0, resolution: 1, slow: 2.0, ..NODE },
    Shape {
        name: "async-crowd",
        operations: MANY,
        between: 1_500.0,
        works: Works::Alone(150.0, 0.8),
        latency: (40_000.0, 1.0),
        client_spans: false,
        network: 200.0,
        ..PLAIN
    },
    Shape {
        name: "async-clients",
        operations: MANY,
        arrivals: Arrivals::Clients(60),
        between: 60_000.0,
        works: Works::Workers(2, 200.0),
        latency: (20_000.0, 0.8),
        slow: 1.0,
        ..PLAIN
    },
    Shape {
        name: "async-parts-ms",
        operations: PARTS,
        between: 6_000.0,
        works: Works::Workers(4, 300.0),
        latency: (6_000.0, 0.7),
        resolution: 1000,
        ..PLAIN
    },
    Shape {
        name: "pool-callee",
        operations: MANY,
        between: 5_000.0,
        works: Works::Alone(300.0, 0.8),
        callee: Some(600.0),
        latency: (8_000.0, 0.6),
        ..PLAIN
    },
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
    // The shapes from here on were written before the method was seen to run on them.
    Shape {
        name: "queries-ms",
        operations: QUERIES,
        // Its connections are in use for three quarters of the time.
        between: 8_000.0,
        latency: (6_000.0, 0.8),
        connections: 5,
        slow: 1.0,
        own_durations: true,
        client_spans: true,
        ..NODE
    },
    Shape {
        name: "go-retries",
        operations: SEARCH,
        works: Works::Alone(180.0, 0.7),
        between: 2_500.0,
        latency: (9_000.0, 0.7),
        failing: 6.0,
        network: 120.0,
        ..PLAIN
    },
    Shape {
        name: "batches",
        operations: SEVERAL,
        works: Works::Batches(5_000, 120.0),
        between: 2_000.0,
        latency: (12_000.0, 0.6),
        ..PLAIN
    },
    Shape {
        name: "batches-ms",
        operations: MANY,
        works: Works::Batches(20_000, 400.0),
        between: 9_000.0,
        latency: (15_000.0, 0.7),
        resolution: 1000,
        ..PLAIN
    },
];
