//! One request at one server: sent, read, worked on, answered, and the answer read.

use super::{RequestId, Simulation, VisitId, What};
use crate::chance::{hash, unit};
use crate::dials::Protocol;
use crate::engine::crew::Crew;
use crate::fate::Fate;
use crate::network::{Client, ConnectionId, Target};
use crate::observation::{EndedBy, PodId, ServiceId, Stream};
use crate::truth::{Kind, Spans};

#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) request: RequestId,
    pub(super) key: u64,
    pub(super) leg: u32,
    pub(super) parent: Option<VisitId>,
    /// Node of the plan, and number of the call among the parent's.
    pub(super) node: u32,
    pub(super) call: u16,
    pub(super) attempt: u32,
    pub(super) kind: Kind,
    pub(super) client: Client,
    pub(super) service: ServiceId,
    pub(super) server: PodId,
    pub(super) connection: ConnectionId,
    pub(super) ordinal: u32,
    pub(super) seq_request: u32,
    pub(super) seq_response: u32,
    pub(super) stream: Option<Stream>,
    pub(super) bytes_request: i64,
    pub(super) bytes_response: i64,
    /// The client wants to, the first byte leaves, the server reads, answers and is done.
    pub(super) asked_ns: i64,
    pub(super) sent_ns: i64,
    pub(super) received_ns: i64,
    pub(super) answered_ns: i64,
    pub(super) written_ns: i64,
    pub(super) sent_by: u32,
    pub(super) serving: u32,
    pub(super) answering: u32,
    /// Calls that the answer waits for, and calls that are not over.
    pub(super) open_calls: u32,
    pub(super) children: u32,
    /// It waits for no further call.
    pub(super) is_answering: bool,
    pub(super) is_over: bool,
    /// The thread of its own that a call has which nobody waits for.
    pub(super) worker: Option<u32>,
    pub(super) has_failed: bool,
    pub(super) status: Option<i32>,
    pub(super) failure: Option<&'static str>,
    pub(super) spans: Spans,
    pub(super) server_span: Fate,
}

/// Bytes of an answer before its body: at least, more with the digits and words in it, and one head
/// in so many with a cookie.
const HEAD: i64 = 120;
const HEAD_VARIES: i64 = 9;
const WITH_COOKIE: i64 = 16;
const COOKIE: i64 = 30;
/// A server that drops a request does so after this time.
const DROPPED_AFTER_NS: i64 = 2_000_000;
const US: i64 = 1_000;

impl Visit {
    /// Bytes of the answer's body.
    pub(super) fn body(&self) -> i64 {
        let drawn = (self.seq_response ^ self.seq_request) as i64;
        let cookie = if drawn % WITH_COOKIE == 0 { COOKIE } else { 0 };
        self.bytes_response - HEAD - drawn / WITH_COOKIE % HEAD_VARIES - cookie
    }
}

impl Simulation {
    pub(super) fn hire(&mut self, pod: PodId) {
        let service = self.cluster.pod(pod).service;
        let threads = self.shape.services[usize::from(service)].threads;
        self.crews.push(Crew::new(threads, pod));
    }

    /// A visit that is to be made; its leg has the next number.
    pub(super) fn visit(
        &mut self,
        request: RequestId,
        parent: Option<(VisitId, u16, u32)>,
        client: Client,
        service: ServiceId,
        node: u32,
    ) -> VisitId {
        let of = self.requests.get_mut(request);
        let leg = of.legs;
        of.legs += 1;
        of.open_visits += 1;
        let key = of.key;
        let sizes = hash(self.dials.seed, &[0x512e, key, u64::from(leg)]);
        let is_long = sizes & 0xf == 0;
        let bytes_response = 160 + (sizes >> 32 & 0x7ff) as i64 * if is_long { 40 } else { 1 };
        let kind = match (client, parent) {
            (Client::Outside(_), _) => Kind::Edge,
            (_, Some((parent, ..))) if self.is_proxy(self.visits.get(parent).service) => {
                Kind::Ingress
            }
            _ => Kind::Service,
        };
        if let Some((parent, ..)) = parent {
            self.visits.get_mut(parent).children += 1;
        }
        self.visits.insert(Visit {
            request,
            key,
            leg,
            parent: parent.map(|(parent, ..)| parent),
            node,
            call: parent.map_or(0, |(_, call, _)| call),
            attempt: parent.map_or(1, |(_, _, attempt)| attempt),
            kind,
            client,
            service,
            server: 0,
            connection: 0,
            ordinal: 0,
            seq_request: 0,
            seq_response: 0,
            stream: None,
            bytes_request: 150 + (sizes >> 8 & 0x3ff) as i64,
            bytes_response,
            asked_ns: 0,
            sent_ns: 0,
            received_ns: 0,
            answered_ns: 0,
            written_ns: 0,
            sent_by: 0,
            serving: 0,
            answering: 0,
            open_calls: 0,
            children: 0,
            is_answering: false,
            is_over: false,
            worker: None,
            has_failed: false,
            status: None,
            failure: None,
            spans: Spans::default(),
            server_span: Fate::NONE,
        })
    }

    pub(super) fn is_proxy(&self, service: ServiceId) -> bool {
        self.shape.services[usize::from(service)].is_proxy
    }

    fn draw(&self, what: u64, visit: &Visit) -> f64 {
        unit(hash(self.dials.seed, &[0xd4a, what, visit.key, u64::from(visit.leg)]))
    }

    pub(super) fn send(&mut self, id: VisitId) {
        let visit = self.visits.get(id);
        let (client, service) = (visit.client, visit.service);
        let (kind, request) = (visit.kind, visit.request);
        let is_refused = kind == Kind::Ingress && self.draw(0, visit) < self.dials.refused;
        let target = match kind {
            Kind::Ingress => self.untried(request, service).map(Target::Pod),
            Kind::Edge | Kind::Service => Some(Target::Service(service)),
        };
        self.visits.get_mut(id).asked_ns = self.now_ns;
        self.begin_call_span(id);
        let server = target.and_then(|target| self.choose(target));
        let (Some(target), Some(server)) = (target, server) else {
            return self.refuse(id, None);
        };
        if is_refused {
            return self.refuse(id, Some(server));
        }
        let thread = self.calling_thread(id);
        let (connection, sent_ns) = self.connection_to(client, target, server, service);
        let one_way_ns =
            self.one_way_ns(id, client, self.network.connections.get(connection).server);
        let visit = self.visits.get_mut(id);
        let c = self.network.connections.get_mut(connection);
        visit.connection = connection;
        visit.server = c.server;
        visit.sent_ns = sent_ns;
        visit.sent_by = thread;
        visit.ordinal = c.requests;
        visit.seq_request = c.seq_request;
        visit.seq_response = c.seq_response;
        let stream = Stream { id: c.tells_streams.then_some(2 * c.requests + 1) };
        visit.stream = (c.protocol == Protocol::Http2).then_some(stream);
        c.requests += 1;
        c.seq_request = c.seq_request.wrapping_add(visit.bytes_request as u32);
        c.seq_response = c.seq_response.wrapping_add(visit.bytes_response as u32);
        c.bytes_up += visit.bytes_request;
        c.bytes_down += visit.bytes_response;
        self.turn_ends(connection, EndedBy::Turn);
        self.at(sent_ns + one_way_ns, What::Receive(id));
    }

    /// An endpoint that this request's proxy has not tried yet.
    fn untried(&mut self, request: RequestId, service: ServiceId) -> Option<PodId> {
        let tried = &self.requests.get(request).attempts;
        let endpoints = &self.cluster.services[usize::from(service)].endpoints;
        let left: Vec<PodId> = endpoints
            .iter()
            .copied()
            .filter(|&pod| tried.iter().all(|attempt| attempt.end != self.cluster.listener(pod)))
            .collect();
        let from = if left.is_empty() { endpoints } else { &left };
        (!from.is_empty()).then(|| from[self.chance.below(from.len())])
    }

    /// kube-proxy's choice, for a connection that may have to be opened.
    fn choose(&mut self, target: Target) -> Option<PodId> {
        match target {
            Target::Pod(pod) => Some(pod),
            Target::Service(service) => {
                let endpoints = &self.cluster.services[usize::from(service)].endpoints;
                let count = endpoints.len();
                (count > 0).then(|| endpoints[self.chance.below(count)])
            }
        }
    }

    /// Nothing was sent: the address refused the connection.
    fn refuse(&mut self, id: VisitId, server: Option<PodId>) {
        if let (Some(server), Client::Pod(client)) = (server, self.visits.get(id).client) {
            self.tell_refusal(client, server);
        }
        let visit = self.visits.get_mut(id);
        visit.failure = Some("refused");
        visit.sent_ns = self.now_ns;
        visit.server = server.unwrap_or(0);
        self.at(self.now_ns + 200 * US, What::Finish(id));
    }

    pub(super) fn receive(&mut self, id: VisitId) {
        let visit = self.visits.get(id);
        let (server, kind) = (visit.server, visit.kind);
        let fails = kind != Kind::Edge && self.draw(1, visit) < self.dials.failing;
        let is_error = kind != Kind::Edge && self.draw(2, visit) < self.dials.errors;
        let serving = self.crews[server as usize].begin(&mut self.chance);
        let visit = self.visits.get_mut(id);
        visit.received_ns = self.now_ns;
        visit.serving = serving;
        visit.status = Some(if is_error { 500 } else { 200 });
        if fails {
            return self.at(self.now_ns + DROPPED_AFTER_NS, What::Drop(id));
        }
        self.begin_server_span(id);
        self.trigger(id, None);
        self.answer_when_done(id);
    }

    pub(super) fn drop_request(&mut self, id: VisitId) {
        let visit = self.visits.get_mut(id);
        visit.written_ns = self.now_ns;
        visit.failure = Some("no_response");
        visit.status = None;
        self.leave(id);
    }

    pub(super) fn answer(&mut self, id: VisitId) {
        let (server, serving) = {
            let visit = self.visits.get(id);
            (visit.server, visit.serving)
        };
        let answering = self.crews[server as usize].next(serving, &mut self.chance);
        let visit = self.visits.get_mut(id);
        visit.answering = answering;
        visit.answered_ns = self.now_ns;
        // A long answer is written in more than one piece.
        let pieces_ns = if visit.bytes_response > 8_192 { 90 * US } else { 0 };
        visit.written_ns = self.now_ns + pieces_ns;
        if visit.has_failed {
            visit.status = Some(502);
        }
        self.tell_server_span(id);
        if self.is_proxy(self.visits.get(id).service) {
            self.tell_line(id);
        }
        self.at(self.now_ns + pieces_ns, What::Leave(id));
    }

    /// The server is done; the client hears of it.
    pub(super) fn leave(&mut self, id: VisitId) {
        let visit = self.visits.get(id);
        let (client, server, serving, written_ns) =
            (visit.client, visit.server, visit.serving, visit.written_ns);
        self.crews[server as usize].end(serving);
        let one_way_ns = self.one_way_ns(id, client, server);
        self.at(written_ns + one_way_ns, What::Finish(id));
    }

    /// The thread of the caller's pod that makes the next system call for a call.
    fn calling_thread(&mut self, id: VisitId) -> u32 {
        let visit = self.visits.get(id);
        let Some(caller) = visit.parent.map(|parent| self.visits.get(parent)) else { return 0 };
        let (pod, serving) = (caller.server, visit.worker.unwrap_or(caller.serving));
        self.crews[pod as usize].next(serving, &mut self.chance)
    }

    pub(super) fn finish(&mut self, id: VisitId) {
        let reading = self.calling_thread(id);
        self.leg_is_over(id, reading);
        let visit = self.visits.get(id).clone();
        if let Some(parent) = visit.parent {
            self.call_is_over(parent, &visit);
        }
        self.visits.get_mut(id).is_over = true;
        self.let_go(id);
    }

    /// Time over the network, the scheduling of whoever reads included.
    fn one_way_ns(&mut self, id: VisitId, client: Client, server: PodId) -> i64 {
        let visit = self.visits.get(id);
        let plan = self.requests.get(visit.request).plan;
        let recorded = self.plan(plan).nodes[visit.node as usize].network_ns;
        if let Some(ns) = recorded.filter(|_| matches!(client, Client::Pod(_))) {
            return ns;
        }
        let base_us = match client {
            Client::Outside(_) => 250,
            Client::Pod(pod) if self.cluster.pod(pod).node == self.cluster.pod(server).node => 25,
            Client::Pod(_) => 90,
        };
        base_us * US + (-(1.0 - self.chance.unit()).ln() * (base_us * US) as f64 * 0.4) as i64
    }
}
