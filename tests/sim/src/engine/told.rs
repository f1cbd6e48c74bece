//! What SDKs and the proxy tell of a visit: spans at both ends, and the proxy's line.

use super::{Simulation, VisitId};
use crate::address::End;
use crate::chance::hash;
use crate::dials::{Ingress, SECOND};
use crate::engine::event_loop::Stamped;
use crate::engine::visit::Visit;
use crate::fate::{Fate, What, Word};
use crate::network::Client;
use crate::observation::{AccessLog, Attempt, Seen, Sender, Span, SpanKind};
use crate::truth;

const US: i64 = 1_000;
const MS: i64 = 1_000_000;

impl Simulation {
    /// The caller's span of a call, where callers make them; the callee is told of it.
    pub(super) fn begin_call_span(&mut self, id: VisitId) {
        let visit = self.visits.get(id);
        let Some(caller) = visit.parent.map(|parent| self.visits.get(parent)) else { return };
        let Some(server_span) = caller.spans.server else { return };
        let trace_id = caller.spans.trace_id;
        let makes_spans = self.shape.services[usize::from(caller.service)].traces_calls;
        let own = self.span_id(visit, SpanKind::Client);
        let spans = &mut self.visits.get_mut(id).spans;
        spans.trace_id = trace_id;
        spans.client = makes_spans.then_some(own);
        spans.parent = Some(if makes_spans { own } else { server_span });
    }

    /// The server's span; without a trace around the request it begins one.
    pub(super) fn begin_server_span(&mut self, id: VisitId) {
        let visit = self.visits.get(id);
        if !self.shape.services[usize::from(visit.service)].is_traced {
            return;
        }
        let own = self.span_id(visit, SpanKind::Server);
        let request = self.requests.get(visit.request);
        let begun = self.new_trace(request, visit.leg, visit.kind);
        let (request, visit) = (visit.request, self.visits.get_mut(id));
        let trace_id = *visit.spans.trace_id.get_or_insert(begun);
        visit.spans.server = Some(own);
        self.requests.get_mut(request).trace_id.get_or_insert(trace_id);
    }

    fn span_id(&self, visit: &Visit, kind: SpanKind) -> u64 {
        hash(self.dials.seed, &[0x59a, kind as u64, visit.key, u64::from(visit.leg)]).max(1)
    }

    fn fate_of_span(&self, what: What, visit: &Visit) -> Fate {
        let is_stripped = self.requests.get(visit.request).is_stripped;
        match visit.spans.trace_id {
            _ if is_stripped => Fate::of(Word::Off),
            None => Fate::of(Word::Off),
            Some(trace_id) if !self.is_sampled(trace_id) => Fate::of(Word::Sampled),
            Some(_) => self.fates.of_span(what, (visit.key, visit.leg)),
        }
    }

    pub(super) fn tell_server_span(&mut self, id: VisitId) {
        let visit = self.visits.get(id);
        let Some(span_id) = visit.spans.server else {
            self.visits.get_mut(id).server_span = Fate::of(Word::Off);
            return;
        };
        let fate = self.fate_of_span(What::ServerSpan, visit);
        let service = &self.shape.services[usize::from(visit.service)];
        let served_ns = visit.answered_ns - visit.received_ns;
        let early_ns = (70 * US).min(served_ns / 4);
        let times = (visit.received_ns + early_ns, visit.answered_ns - early_ns / 2);
        let connection = self.network.connections.get(visit.connection);
        let names_id = service.tells_request_id && visit.kind == truth::Kind::Ingress;
        let request = self.requests.get(visit.request);
        let span = Span {
            trace_id: visit.spans.trace_id.unwrap_or_default(),
            span_id,
            parent: visit.spans.parent,
            kind: SpanKind::Server,
            pod: visit.server,
            start_ns: 0,
            end_ns: 0,
            operation: self.plan(request.plan).nodes[visit.node as usize].operation,
            status: visit.status,
            peer: service.names_peers.then_some(connection.reply.1),
            server_port: service.port,
            request_id: names_id.then_some(request.request_id),
        };
        let request = visit.request;
        self.visits.get_mut(id).server_span = fate;
        self.tell_span(span, times, fate, request);
    }

    pub(super) fn tell_call_span(&mut self, visit: &Visit, requested: End) -> Fate {
        let (Some(span_id), Client::Pod(pod)) = (visit.spans.client, visit.client) else {
            let fate = if visit.parent.is_some() { Word::Off } else { Word::None };
            return Fate::of(fate);
        };
        let fate = self.fate_of_span(What::ClientSpan, visit);
        let caller = visit.parent.map(|parent| self.visits.get(parent));
        let plan = self.requests.get(visit.request).plan;
        let span = Span {
            trace_id: visit.spans.trace_id.unwrap_or_default(),
            span_id,
            parent: caller.and_then(|caller| caller.spans.server),
            kind: SpanKind::Client,
            pod,
            start_ns: 0,
            end_ns: 0,
            operation: self.plan(plan).nodes[visit.node as usize].operation,
            status: visit.status,
            peer: Some(requested),
            server_port: requested.port,
            request_id: None,
        };
        let times = (visit.asked_ns - 15 * US, self.now_ns + 15 * US);
        self.tell_span(span, times, fate, visit.request);
        fate
    }

    fn tell_span(&mut self, mut span: Span, times: (i64, i64), fate: Fate, request: u32) {
        if !fate.is_told() {
            return;
        }
        self.requests.get_mut(request).is_told_by_spans = true;
        let clock = self.clocks[usize::from(self.cluster.pod(span.pod).node)];
        let resolution = self.dials.span_resolution;
        let stamp = |ns: i64| clock.wall_ns(ns).div_euclid(resolution) * resolution;
        span.start_ns = stamp(times.0);
        span.end_ns = stamp(times.1).max(span.start_ns);
        let sender = Sender::Otlp(span.pod);
        self.tell(sender, (span.end_ns, Seen::Span(span)), fate, times.1);
    }

    pub(super) fn tell_line(&mut self, id: VisitId) {
        let visit = self.visits.get(id);
        let request = self.requests.get(visit.request);
        let fate = self.fates.of_line(request.key);
        let clock = self.clocks[usize::from(self.cluster.pod(visit.server).node)];
        let stamp = |what, ns| clock.wall_ns(self.loop_ns((visit.key, visit.leg), what, ns));
        let start_ns = stamp(Stamped::Begin, visit.received_ns);
        let end_ns = stamp(Stamped::End, visit.written_ns).max(start_ns);
        let whole = |ns: i64, unit: i64| ns.div_euclid(unit) * unit;
        let callee = self.plan(request.plan).nodes[visit.node as usize].calls.start;
        let callee = self.plan(request.plan).calls[callee as usize].node as usize;
        let peer = self.network.connections.get(visit.connection).reply.1;
        let mut line = AccessLog {
            format: "ingress-nginx",
            pod: visit.server,
            request_id: (!request.is_stripped).then_some(request.request_id),
            remote_ip: peer.ip,
            remote_port: None,
            operation: self.plan(request.plan).nodes[visit.node as usize].operation,
            status: visit.status.unwrap_or(502),
            bytes_received: Some(visit.bytes_request),
            body_bytes_sent: visit.body(),
            end_lo_ns: whole(end_ns, SECOND),
            end_hi_ns: whole(end_ns, SECOND) + SECOND - 1,
            duration_ns: whole(end_ns, MS) - whole(start_ns, MS),
            duration_error_ns: MS,
            upstream: self.plan(request.plan).nodes[callee].service,
            attempts: request.attempts.clone(),
            upstream_local: None,
            attempt_count: None,
        };
        if self.dials.ingress == Ingress::Envoy {
            line.format = "envoy";
            line.remote_port = Some(peer.port);
            line.duration_ns = whole(end_ns - start_ns, MS);
            // Start and duration are both cut off to milliseconds.
            line.end_lo_ns = whole(start_ns, MS) + line.duration_ns;
            line.end_hi_ns = line.end_lo_ns + 2 * MS - 1;
            line.attempt_count = Some(line.attempts.len() as i32);
            line.upstream_local = request.upstream_local;
            line.bytes_received = None;
            let last = line.attempts.pop();
            let last = last.map(|last| Attempt { response_length: None, ..last });
            line.attempts = last.into_iter().collect();
        }
        let (sender, true_ns) = (Sender::Syslog(visit.server), visit.written_ns);
        let request = visit.request;
        self.requests.get_mut(request).access_log = fate;
        if fate.is_told() {
            let event_ns = line.end_hi_ns;
            self.tell(sender, (event_ns, Seen::AccessLog(Box::new(line))), fate, true_ns);
        }
    }
}
