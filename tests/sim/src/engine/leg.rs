//! A leg that is over: its turns at both ends, and the truth of it.

use super::{Simulation, VisitId};
use crate::address::End;
use crate::dials::Protocol;
use crate::engine::visit::Visit;
use crate::fate::{Fate, What, Word};
use crate::network::{Client, Turn};
use crate::observation::{EndedBy, Exchange, NodeId, PodId, Role};
use crate::truth::{self, Times};

impl Simulation {
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
