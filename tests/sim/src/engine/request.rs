//! A root request: who it is, its ids, and what it looks like when it is over.

use super::visit::Visit;
use super::{Simulation, What};
use crate::address::End;
use crate::chance::{hash, unit, wide};
use crate::fate::{Fate, Word};
use crate::network::Client;
use crate::observation::Attempt;
use crate::shape::Arrivals;
use crate::truth;

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) key: u64,
    pub(super) plan: u32,
    pub(super) client: u32,
    pub(super) start_ns: i64,
    pub(super) request_id: u128,
    pub(super) is_id_reused: bool,
    pub(super) has_hot_trace: bool,
    pub(super) is_stripped: bool,
    /// Legs numbered so far, and those under way.
    pub(super) legs: u32,
    pub(super) open_visits: u32,
    /// When the client had its answer, and which.
    pub(super) end_ns: i64,
    pub(super) status: Option<i32>,
    /// What the proxy tried, in order.
    pub(super) attempts: Vec<Attempt>,
    /// The proxy's own end of the last of them.
    pub(super) upstream_local: Option<End>,
    /// The first trace that was begun for it.
    pub(super) trace_id: Option<u128>,
    pub(super) is_told_by_spans: bool,
    pub(super) access_log: Fate,
    pub(super) is_whole: bool,
}

const REQUEST: u64 = 0x4e9;
/// So many requests share one reused id.
const SHARERS: f64 = 8.0;

impl Simulation {
    pub(super) fn arrive(&mut self) {
        let key = self.next_request;
        self.next_request += 1;
        let plan = match &self.shape.arrivals {
            Arrivals::Drawn { .. } => self.chance.below(self.shape.plans.len()) as u32,
            Arrivals::Recorded(arrivals) => arrivals[self.recorded].1,
        };
        self.recorded += 1;
        let client = self.chance.below(self.dials.clients) as u32;
        let seed = self.dials.seed;
        let draw = |what: u64| unit(hash(seed, &[REQUEST, what, key]));
        let is_id_reused = draw(0) < self.dials.request_ids_reused;
        let group = (key as f64 * self.dials.request_ids_reused / SHARERS) as u64;
        let request_id = if is_id_reused {
            wide(seed, &[REQUEST, 1, group])
        } else {
            wide(seed, &[REQUEST, 2, key])
        };
        let request = self.requests.insert(Request {
            key,
            plan,
            client,
            start_ns: self.now_ns,
            request_id,
            is_id_reused,
            has_hot_trace: draw(3) < self.dials.trace_ids_reused,
            is_stripped: draw(4) < self.dials.ids_stripped,
            legs: 0,
            open_visits: 0,
            end_ns: 0,
            status: None,
            attempts: Vec::new(),
            upstream_local: None,
            trace_id: None,
            is_told_by_spans: false,
            access_log: Fate::NONE,
            is_whole: true,
        });
        let root = self.plan(plan).nodes[0].service;
        let visit = self.visit(request, None, Client::Outside(client), root, 0);
        self.at(self.now_ns, What::Send(visit));
        self.schedule_arrival();
    }

    /// A visit is over; after the last one the truth of the request is told.
    pub(super) fn visit_is_over(&mut self, visit: &Visit) {
        let request = self.requests.get_mut(visit.request);
        request.open_visits -= 1;
        if request.open_visits > 0 {
            return;
        }
        let request = self.requests.remove(visit.request);
        let service = self.plan(request.plan).nodes[0].service;
        let has_proxy = self.shape.services[usize::from(service)].is_proxy;
        let line_is_there = matches!(request.access_log.word, Word::Seen | Word::None);
        let trace_id = request.trace_id.filter(|_| request.is_told_by_spans);
        let is_sampled = request.trace_id.is_some_and(|id| self.is_sampled(id));
        self.truth.requests.push(truth::Request {
            key: request.key,
            request_id: (has_proxy && !request.is_stripped).then_some(request.request_id),
            trace_id,
            sampled: is_sampled,
            ids_stripped: request.is_stripped,
            request_id_reused: request.is_id_reused,
            trace_id_reused: request.has_hot_trace,
            client: self.cluster.outside(request.client as usize),
            entry_service: service,
            legs: request.legs,
            start_ns: request.start_ns,
            end_ns: request.end_ns,
            status: request.status,
            full_coverage: request.is_whole && line_is_there,
        });
    }

    /// Head sampling decides once for a trace.
    pub(super) fn is_sampled(&self, trace_id: u128) -> bool {
        let parts = [0x5a, (trace_id >> 64) as u64, trace_id as u64];
        unit(hash(self.dials.seed, &parts)) < self.dials.sampling
    }

    /// The trace that begins at a leg.
    pub(super) fn new_trace(&self, request: &Request, leg: u32, kind: truth::Kind) -> u128 {
        // A trace id that came from outside reaches the first server behind the proxy.
        if request.has_hot_trace && kind != truth::Kind::Service {
            return wide(self.dials.seed, &[REQUEST, 5]);
        }
        wide(self.dials.seed, &[REQUEST, 6, request.key, u64::from(leg)])
    }
}
