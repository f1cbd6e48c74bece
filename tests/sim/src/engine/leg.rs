//! A leg that is over: its turns at both ends, its spans, the proxy's line, and the truth of it.

use super::{Simulation, VisitId};
use crate::address::End;
use crate::chance::hash;
use crate::dials::{Ingress, Protocol};
use crate::engine::visit::{HEAD, Visit};
use crate::fate::{Fate, What, Word};
use crate::network::{Client, Turn};
use crate::observation::{
    AccessLog, Attempt, EndedBy, Exchange, NodeId, PodId, Role, Seen, Sender, Span, SpanKind,
};
use crate::truth::{self, Times};

const US: i64 = 1_000;
const MS: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;

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

    fn tell_call_span(&mut self, visit: &Visit, requested: End) -> Fate {
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
        let (start_ns, end_ns) =
            (clock.wall_ns(visit.received_ns), clock.wall_ns(visit.written_ns));
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
            body_bytes_sent: visit.bytes_response - HEAD,
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

    /// Both ends of the leg are done; `reading` is the caller's thread that read the answer.
    pub(super) fn leg_is_over(&mut self, id: VisitId, reading: u32) {
        let visit = self.visits.get(id).clone();
        if visit.leg == 0 {
            let request = self.requests.get_mut(visit.request);
            request.end_ns = self.now_ns;
            request.status = visit.status;
        }
        if visit.failure == Some("refused") {
            return self.refused_leg(&visit);
        }
        let connection = self.network.connections.get(visit.connection);
        let (original, reply) = (connection.original, connection.reply);
        if visit.kind == truth::Kind::Ingress {
            self.requests.get_mut(visit.request).upstream_local = Some(original.0);
        }
        let answered = visit.failure.is_none();
        let writing_ns = visit.written_ns - visit.answered_ns;
        let client = Times { start_ns: visit.sent_ns, end_ns: self.now_ns };
        let server = Times { start_ns: visit.received_ns, end_ns: visit.written_ns };
        let client_turn = match visit.client {
            Client::Pod(pod) => Some(self.turn(
                &visit,
                Role::Client,
                pod,
                Turning {
                    times: client,
                    first_response_ns: answered.then_some(self.now_ns - writing_ns),
                    threads: (visit.sent_by, reading),
                },
            )),
            Client::Outside(_) => None,
        };
        let server_turn = self.turn(
            &visit,
            Role::Server,
            visit.server,
            Turning {
                times: server,
                first_response_ns: answered.then_some(visit.answered_ns),
                threads: (visit.serving, visit.answering),
            },
        );
        let client_span = self.tell_call_span(&visit, original.1);
        let leg = self.true_leg(&visit, (original, reply), (client, Some(server)), client_span);
        self.write_leg(visit.request, leg);
        self.turns_are_over(&visit, client_turn, server_turn);
    }

    /// The turns wait on their connection for the next one, its close or a sweep; streams do not.
    fn turns_are_over(&mut self, visit: &Visit, client: Option<Turn>, server: Turn) {
        let id = visit.connection;
        let connection = self.network.connections.get_mut(id);
        let (protocol, cookie) = (connection.protocol, connection.cookie);
        if protocol == Protocol::Http2 {
            if let Some(turn) = client {
                self.tell_exchange(id, turn, EndedBy::Turn);
            }
            self.tell_exchange(id, server, EndedBy::Turn);
        } else {
            connection.client_turn = client;
            connection.server_turn = Some(server);
            self.silent.push_back((self.now_ns, id, cookie));
        }
        self.network.put_back(id, self.now_ns);
        let is_retired = self.network.connections.get(id).is_retired;
        if protocol == Protocol::Close || visit.failure.is_some() || is_retired {
            self.close_when_unused(id);
        }
    }

    fn turn(&self, visit: &Visit, role: Role, pod: PodId, turning: Turning) -> Turn {
        let connection = self.network.connections.get(visit.connection);
        let (_, local, remote) = connection.side(role);
        let answered = turning.first_response_ns.is_some();
        let tells_seq = visit.stream.is_none_or(|stream| stream.id.is_some());
        Turn {
            request: visit.key,
            leg: visit.leg,
            exchange: Exchange {
                pod,
                cookie: connection.cookie_of(role),
                role,
                local,
                remote,
                ordinal: i64::from(visit.ordinal),
                seq_request: if tells_seq { i64::from(visit.seq_request) } else { -1 },
                seq_response: answered.then_some(visit.seq_response),
                start_ns: turning.times.start_ns,
                first_response_ns: turning.first_response_ns,
                end_ns: turning.times.end_ns,
                bytes_request: visit.bytes_request,
                bytes_response: if answered { visit.bytes_response } else { 0 },
                process: self.crews[pod as usize].process,
                thread: turning.threads.0,
                response_thread: answered.then_some(turning.threads.1),
                ended_by: EndedBy::Quiet,
                stream: visit.stream,
            },
        }
    }

    fn true_leg(
        &self,
        visit: &Visit,
        (original, reply): ((End, End), (End, End)),
        (client, server): (Times, Option<Times>),
        client_span: Fate,
    ) -> truth::Leg {
        let caller = visit.parent.map(|parent| self.visits.get(parent));
        let client_node = match visit.client {
            Client::Pod(pod) => Some(self.cluster.pod(pod).node),
            Client::Outside(_) => None,
        };
        let server_node = self.cluster.pod(visit.server).node;
        let key = (visit.key, visit.leg);
        let exchange = |what, node: Option<NodeId>, times: Option<Times>| match (node, times) {
            (Some(node), Some(times)) => {
                self.fates.of_exchange(what, key, node, (times.start_ns, times.end_ns))
            }
            _ => Fate::NONE,
        };
        let is_sent = server.is_some();
        let clock = |node: NodeId| &self.clocks[usize::from(node)];
        let stamps = |node: NodeId, times: Times| Times {
            start_ns: clock(node).wall_ns(times.start_ns),
            end_ns: clock(node).wall_ns(times.end_ns),
        };
        let connection = self.network.connections.find(visit.connection).filter(|_| is_sent);
        let nat = connection.and_then(|c| c.nat);
        let answered = visit.failure.is_none();
        truth::Leg {
            request: visit.key,
            leg: visit.leg,
            parent_leg: caller.map(|caller| caller.leg),
            call: u32::from(visit.call),
            attempt: visit.attempt,
            kind: visit.kind,
            protocol: match self.shape.services[usize::from(visit.service)].protocol {
                Protocol::Http2 => "http2",
                Protocol::Close => "close",
                Protocol::Http1 | Protocol::Mixed => "http1",
            },
            client: visit.client,
            client_node,
            server: visit.server,
            service: visit.service,
            original,
            reply,
            nat_node: nat.map(|nat| nat.node),
            seq_request: visit.seq_request,
            seq_response: answered.then_some(visit.seq_response),
            ordinal: visit.ordinal,
            true_client: client,
            true_server: server,
            client_stamps: client_node.map(|node| stamps(node, client)),
            server_stamps: server.map(|times| stamps(server_node, times)),
            client_start_alt_ns: client_node
                .and_then(|node| clock(node).other_epoch_ns(client.start_ns)),
            server_start_alt_ns: server
                .and_then(|times| clock(server_node).other_epoch_ns(times.start_ns)),
            status: visit.status.filter(|_| answered),
            failure: visit.failure,
            spans: visit.spans,
            client_exchange: exchange(What::ClientExchange, client_node, is_sent.then_some(client)),
            server_exchange: exchange(What::ServerExchange, Some(server_node), server),
            nat_binding: nat.map_or(Fate::NONE, |nat| match nat.fate {
                fate if nat.first_seen_ns <= client.start_ns => fate,
                _ => Fate::of(Word::Down),
            }),
            client_span,
            server_span: visit.server_span,
            access_log: if self.is_proxy(visit.service) {
                self.requests.get(visit.request).access_log
            } else {
                Fate::NONE
            },
        }
    }

    fn refused_leg(&mut self, visit: &Visit) {
        let listener = self.cluster.listener(visit.server);
        let ip = match visit.client {
            Client::Pod(pod) => self.cluster.pod(pod).ip,
            Client::Outside(client) => self.cluster.outside(client as usize),
        };
        let ends = ((End::new(ip, 0), listener), (listener, End::new(ip, 0)));
        let client = Times { start_ns: visit.sent_ns, end_ns: self.now_ns };
        let client_span = self.tell_call_span(visit, listener);
        let leg = self.true_leg(visit, ends, (client, None), client_span);
        self.write_leg(visit.request, leg);
    }

    fn write_leg(&mut self, request: u32, leg: truth::Leg) {
        self.requests.get_mut(request).is_whole &= leg.missing().is_none();
        self.truth.legs.push(leg);
    }
}

/// What one end saw of a leg.
struct Turning {
    times: Times,
    first_response_ns: Option<i64>,
    /// Of the request and of the response.
    threads: (u32, u32),
}
