//! Rows of `edge_minute`: the window's hops by who asked whom, minute by minute.

use std::collections::BTreeMap;

use hashbrown::HashTable;
use tables::{EdgeMinute, edge_minute};

use crate::SECOND;
use crate::address::MIX;
use crate::names::Name;
use crate::rows::Scope;
use crate::rows::row::{Failure, HopRow};

const MINUTE: i64 = 60;

/// Who asked whom in which minute.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Edge {
    minute: i64,
    source: Workload,
    service: Workload,
    destination: Workload,
}

/// A name in its namespace.
type Workload = (Option<Name>, Option<Name>);

#[derive(Default)]
struct Sums {
    requests: i64,
    errors_4xx: i64,
    errors_5xx: i64,
    errors_reset: i64,
    errors_refused: i64,
    errors_no_response: i64,
    /// By upper bound.
    latency: BTreeMap<i64, i64>,
    latency_sum_ns: i64,
    bytes_request: i64,
    bytes_response: i64,
}

/// Hops summed up by edge and minute.
#[derive(Default)]
pub(super) struct Edges {
    sums: Vec<(Edge, Sums)>,
    index: HashTable<usize>,
}

impl Edges {
    pub(super) fn new(hops: &[HopRow]) -> Self {
        let mut edges = Self::default();
        hops.iter().for_each(|hop| edges.of(edge(hop)).add(hop));
        edges
    }

    pub(super) fn add(&mut self, other: Self) {
        other.sums.into_iter().for_each(|(edge, sums)| self.of(edge).add_all(sums));
    }

    fn of(&mut self, wanted: Edge) -> &mut Sums {
        let sums = &mut self.sums;
        let known = self.index.find(wanted.hash(), |&at| sums[at].0 == wanted).copied();
        let at = known.unwrap_or_else(|| {
            sums.push((wanted, Sums::default()));
            let hash = |at: &usize| sums[*at].0.hash();
            *self.index.insert_unique(wanted.hash(), sums.len() - 1, hash).get()
        });
        &mut sums[at].1
    }

    /// One row an edge and minute, in file order.
    pub(super) fn rows(&self, scope: &Scope<'_>) -> Vec<EdgeMinute> {
        let mut rows: Vec<EdgeMinute> =
            self.sums.iter().map(|(edge, sums)| row(scope, edge, sums)).collect();
        // Names are numbers in the order of arrival, their texts are not.
        rows.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        rows
    }
}

fn edge(hop: &HopRow) -> Edge {
    Edge {
        minute: hop.end_ns.div_euclid(MINUTE * SECOND) * MINUTE,
        source: (hop.source.namespace, hop.source.workload),
        service: (hop.service_namespace, hop.service),
        destination: (hop.destination.namespace, hop.destination.workload),
    }
}

impl Edge {
    fn hash(&self) -> u64 {
        let names = [self.source, self.service, self.destination];
        let names = names.into_iter().flat_map(|(namespace, name)| [namespace, name]);
        names.fold(self.minute as u64, |hash, name| {
            let number = name.map_or(0, |name| name.index() as u64 + 1);
            let mixed = (hash ^ number).wrapping_mul(MIX);
            mixed ^ mixed >> 29
        })
    }
}

impl Sums {
    fn add(&mut self, hop: &HopRow) {
        self.requests += 1;
        match (hop.failure, hop.status) {
            (Some(Failure::Reset), _) => self.errors_reset += 1,
            (Some(Failure::Refused), _) => self.errors_refused += 1,
            (Some(Failure::NoResponse | Failure::Timeout), _) => self.errors_no_response += 1,
            (_, Some(400..=499)) => self.errors_4xx += 1,
            (_, Some(500..)) => self.errors_5xx += 1,
            _ => {}
        }
        // An attempt that only a log line tells of has neither bytes nor a duration of its own.
        if let Some((request, response)) = hop.bytes {
            let duration_ns = hop.end_ns - hop.start_ns;
            *self.latency.entry(edge_minute::latency_upper_ns(duration_ns)).or_default() += 1;
            self.latency_sum_ns = self.latency_sum_ns.saturating_add(duration_ns);
            self.bytes_request = self.bytes_request.saturating_add(request);
            self.bytes_response = self.bytes_response.saturating_add(response);
        }
    }

    fn add_all(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors_4xx += other.errors_4xx;
        self.errors_5xx += other.errors_5xx;
        self.errors_reset += other.errors_reset;
        self.errors_refused += other.errors_refused;
        self.errors_no_response += other.errors_no_response;
        for (upper_ns, count) in other.latency {
            *self.latency.entry(upper_ns).or_default() += count;
        }
        self.latency_sum_ns = self.latency_sum_ns.saturating_add(other.latency_sum_ns);
        self.bytes_request = self.bytes_request.saturating_add(other.bytes_request);
        self.bytes_response = self.bytes_response.saturating_add(other.bytes_response);
    }
}

fn row(scope: &Scope<'_>, edge: &Edge, sums: &Sums) -> EdgeMinute {
    let head = scope.head();
    let text = |name: Option<Name>| scope.sight.slabs.names.text_of(name).map(str::to_owned);
    let bucket = |(&upper_ns, &count)| edge_minute::LatencyBucket { upper_ns, count };
    EdgeMinute {
        hour: head.hour,
        win: head.win,
        stage: head.stage.into(),
        revision: 0,
        finality: head.finality.into(),
        start_time: tables::micros_of_ns(edge.minute.saturating_mul(SECOND)),
        minute: edge.minute,
        source_namespace: text(edge.source.0),
        source_workload: text(edge.source.1),
        service_namespace: text(edge.service.0),
        service: text(edge.service.1),
        destination_namespace: text(edge.destination.0),
        destination_workload: text(edge.destination.1),
        requests: sums.requests,
        errors_4xx: sums.errors_4xx,
        errors_5xx: sums.errors_5xx,
        errors_reset: sums.errors_reset,
        errors_refused: sums.errors_refused,
        errors_no_response: sums.errors_no_response,
        latency: sums.latency.iter().map(bucket).collect(),
        latency_sum_ns: sums.latency_sum_ns,
        bytes_request: sums.bytes_request,
        bytes_response: sums.bytes_response,
        retransmits: 0,
    }
}

fn key(row: &EdgeMinute) -> impl Ord + '_ {
    (
        row.minute,
        (&row.source_namespace, &row.source_workload),
        (&row.service_namespace, &row.service),
        (&row.destination_namespace, &row.destination_workload),
    )
}
