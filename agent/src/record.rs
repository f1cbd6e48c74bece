//! Kernel records to wire records. Pure: bytes and an owner's name in, a record out.

use std::net::{IpAddr, Ipv6Addr};

use agent_ebpf::abi::{
    ConnectionEvent, ExchangeEvent, FailureEvent, Header, NatEvent, ORDINAL_UNKNOWN, Owner, Plain,
    Socket, Tuple, Turn, VERSION, ended_by, failure, kind, role, state,
};
use wire::{ConnectionEnd, ConnectionState, Endpoint, ExchangeEnd, FailureKind, NatEvidence, Role};

use crate::attribution::Attribution;
use crate::offsets::Offsets;

/// What the ring buffer delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Connection(ConnectionEvent),
    NatBinding(NatEvent),
    Exchange(ExchangeEvent),
    Failure(FailureEvent),
}

impl Event {
    /// The event in `bytes`, or nothing when the programs were built from another version.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let header = Header::read(bytes.get(..size_of::<Header>())?)?;
        if header.version != VERSION {
            return None;
        }
        match header.kind {
            kind::CONNECTION => ConnectionEvent::read(bytes).map(Self::Connection),
            kind::NAT_BINDING => NatEvent::read(bytes).map(Self::NatBinding),
            kind::EXCHANGE => ExchangeEvent::read(bytes).map(Self::Exchange),
            kind::FAILURE => FailureEvent::read(bytes).map(Self::Failure),
            _ => None,
        }
    }
}

pub fn endpoint(ip: [u8; 16], port: u16) -> Endpoint {
    Endpoint::new(address(ip), port)
}

pub fn address(ip: [u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(ip)).to_canonical()
}

/// The far end of a connection.
pub fn remote(tuple: &Tuple) -> (IpAddr, u16) {
    (address(tuple.remote_ip), tuple.remote_port)
}

pub fn owner(owner: Owner, attribution: &Attribution) -> wire::Owner {
    wire::Owner {
        netns_cookie: owner.netns_cookie,
        cgroup_id: owner.cgroup_id,
        pod_uid: attribution.pod_uid.clone(),
        attributed_by: attribution.by.map(str::to_owned),
    }
}

pub fn connection(event: &ConnectionEvent, owner: wire::Owner) -> wire::Record {
    let closed = event.state_after == state::CLOSE;
    record(wire::RecordKind::Connection(wire::Connection {
        owner,
        socket_cookie: event.socket_cookie,
        role: wire_role(event.role) as i32,
        local: endpoint(event.tuple.local_ip, event.tuple.local_port),
        remote: endpoint(event.tuple.remote_ip, event.tuple.remote_port),
        state: if closed { ConnectionState::Closed } else { ConnectionState::Open } as i32,
        at_ns: event.at_ns,
        opened_ns: some(event.opened_ns),
        closed_ns: closed.then_some(event.at_ns),
        bytes_sent: event.bytes_sent,
        bytes_received: event.bytes_received,
        retransmits: event.retransmits,
        srtt_us: event.srtt_us,
        end: if closed { end_cause(event) } else { ConnectionEnd::None } as i32,
    }))
}

/// A connection that lives, as the socket map shows it. Retransmits and round trip are told at the
/// close.
pub fn live_connection(
    cookie: u64,
    socket: &Socket,
    at_ns: u64,
    owner: wire::Owner,
) -> wire::Record {
    record(wire::RecordKind::Connection(wire::Connection {
        owner,
        socket_cookie: cookie,
        role: wire_role(socket.role) as i32,
        local: endpoint(socket.tuple.local_ip, socket.tuple.local_port),
        remote: endpoint(socket.tuple.remote_ip, socket.tuple.remote_port),
        state: ConnectionState::Active as i32,
        at_ns,
        opened_ns: some(socket.opened_ns),
        closed_ns: None,
        bytes_sent: socket.bytes_sent,
        bytes_received: socket.bytes_received,
        retransmits: 0,
        srtt_us: 0,
        end: ConnectionEnd::None as i32,
    }))
}

/// How a connection ended, from the socket's error and the state it left. Without an error a
/// connection that had not begun its goodbye was aborted by its own end.
fn end_cause(event: &ConnectionEvent) -> ConnectionEnd {
    match i32::try_from(event.error).unwrap_or(0) {
        libc::ECONNREFUSED => ConnectionEnd::Refused,
        libc::ETIMEDOUT => ConnectionEnd::Timeout,
        libc::ECONNRESET | libc::EPIPE => ConnectionEnd::Reset,
        _ => match event.state_before {
            state::ESTABLISHED | state::SYN_SENT | state::SYN_RECV | state::CLOSE_WAIT => {
                ConnectionEnd::Reset
            }
            _ => ConnectionEnd::Fin,
        },
    }
}

/// An exchange that the kernel gave up: the next request began, or the connection ended. One that
/// the close left without a response ended with the close.
pub fn exchange(event: &ExchangeEvent, owner: wire::Owner) -> wire::Record {
    let closed = event.ended_by == ended_by::CLOSE;
    let mut turn = event.turn;
    if closed && turn.bytes_response == 0 {
        turn.end_ns = event.at_ns;
    }
    let end = if closed { ExchangeEnd::Close } else { ExchangeEnd::Turn };
    exchange_record(event.socket_cookie, event.role, &event.tuple, &turn, end, owner)
}

/// A turn that has its response and has been silent since.
pub fn quiet_exchange(cookie: u64, socket: &Socket, owner: wire::Owner) -> wire::Record {
    exchange_record(cookie, socket.role, &socket.tuple, &socket.turn, ExchangeEnd::Quiet, owner)
}

fn exchange_record(
    socket_cookie: u64,
    role: u8,
    tuple: &Tuple,
    turn: &Turn,
    end: ExchangeEnd,
    owner: wire::Owner,
) -> wire::Record {
    let answered = turn.bytes_response > 0;
    record(wire::RecordKind::Exchange(wire::Exchange {
        owner,
        socket_cookie,
        role: wire_role(role) as i32,
        local: endpoint(tuple.local_ip, tuple.local_port),
        remote: endpoint(tuple.remote_ip, tuple.remote_port),
        ordinal: (turn.ordinal != ORDINAL_UNKNOWN).then_some(turn.ordinal),
        tcp_seq_req: turn.tcp_seq_request,
        tcp_seq_resp: answered.then_some(turn.tcp_seq_response),
        start_ns: turn.start_ns,
        first_response_ns: answered.then_some(turn.first_response_ns),
        end_ns: turn.end_ns,
        bytes_request: turn.bytes_request,
        bytes_response: turn.bytes_response,
        process: turn.process,
        thread: turn.thread,
        response_thread: (answered && turn.response_thread != 0).then_some(turn.response_thread),
        ended_by: end as i32,
    }))
}

pub fn nat_binding(event: &NatEvent) -> wire::NatBinding {
    wire::NatBinding {
        netns_cookie: event.netns_cookie,
        zone: u32::from(event.zone),
        protocol: u32::from(event.protocol),
        original_source: endpoint(event.original_source_ip, event.original_source_port),
        original_destination: endpoint(
            event.original_destination_ip,
            event.original_destination_port,
        ),
        reply_source: endpoint(event.reply_source_ip, event.reply_source_port),
        reply_destination: endpoint(event.reply_destination_ip, event.reply_destination_port),
        first_seen_ns: event.at_ns,
        last_seen_ns: event.at_ns,
        evidence: NatEvidence::Xmit as i32,
        status: event.status,
    }
}

/// A reset without a socket answers a connection attempt to a port that nobody listens on.
pub fn failure(event: &FailureEvent, owner: wire::Owner, offsets: &Offsets) -> wire::Record {
    let kind = match event.failure {
        failure::RESET_SENT if event.state == 0 => FailureKind::Refused,
        failure::RESET_SENT => FailureKind::ResetSent,
        failure::RESET_RECEIVED => FailureKind::ResetReceived,
        failure::SYN_RETRANSMIT => FailureKind::SynRetransmit,
        _ => FailureKind::Unknown,
    };
    let reason = match event.failure {
        failure::RESET_SENT => offsets.reset_reason(event.reason).map(str::to_owned),
        _ => None,
    };
    record(wire::RecordKind::Failure(wire::Failure {
        owner,
        kind: kind as i32,
        reason,
        local: endpoint(event.tuple.local_ip, event.tuple.local_port),
        remote: endpoint(event.tuple.remote_ip, event.tuple.remote_port),
        at_ns: event.at_ns,
    }))
}

pub fn record(kind: wire::RecordKind) -> wire::Record {
    wire::Record { kind: Some(kind) }
}

fn wire_role(value: u8) -> Role {
    match value {
        role::CLIENT => Role::Client,
        role::SERVER => Role::Server,
        _ => Role::Unknown,
    }
}

fn some(ns: u64) -> Option<u64> {
    (ns != 0).then_some(ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_ebpf::abi::mapped;

    fn tuple() -> Tuple {
        Tuple {
            local_ip: mapped([10, 0, 0, 1]),
            remote_ip: mapped([10, 96, 0, 10]),
            local_port: 40_000,
            remote_port: 80,
            padding: [0; 4],
        }
    }

    fn exchange_event(ended_by: u8, bytes_response: u64) -> ExchangeEvent {
        ExchangeEvent {
            header: Header::new(kind::EXCHANGE),
            at_ns: 99,
            owner: Owner::default(),
            socket_cookie: 5,
            tuple: tuple(),
            turn: Turn { start_ns: 10, end_ns: 20, bytes_response, ..Turn::default() },
            role: role::CLIENT,
            ended_by,
            padding: [0; 6],
        }
    }

    fn shipped(event: &ExchangeEvent) -> wire::Exchange {
        match exchange(event, wire::Owner::default()).kind {
            Some(wire::RecordKind::Exchange(exchange)) => exchange,
            other => panic!("not an exchange: {other:?}"),
        }
    }

    fn closed(error: i32, state_before: u8) -> ConnectionEnd {
        end_cause(&ConnectionEvent {
            header: Header::new(kind::CONNECTION),
            at_ns: 0,
            opened_ns: 0,
            owner: Owner::default(),
            socket_cookie: 0,
            tuple: tuple(),
            bytes_sent: 0,
            bytes_received: 0,
            retransmits: 0,
            srtt_us: 0,
            error: error.unsigned_abs(),
            role: role::CLIENT,
            state_before,
            state_after: state::CLOSE,
            padding: [0; 1],
        })
    }

    #[test]
    fn an_exchange_that_the_close_left_unanswered_ends_with_the_close() {
        let unanswered = shipped(&exchange_event(ended_by::CLOSE, 0));
        assert_eq!((unanswered.end_ns, unanswered.tcp_seq_resp), (99, None));
        let answered = shipped(&exchange_event(ended_by::CLOSE, 1));
        assert_eq!((answered.end_ns, answered.tcp_seq_resp), (20, Some(0)));
    }

    #[test]
    fn mapped_addresses_are_written_as_ipv4() {
        let local = shipped(&exchange_event(ended_by::TURN, 1)).local;
        assert_eq!(local.parts(), Ok(("10.0.0.1".parse().expect("an address"), 40_000)));
    }

    #[test]
    fn the_end_of_a_connection_is_told_by_its_error_and_then_by_its_state() {
        assert_eq!(closed(libc::ECONNREFUSED, state::SYN_SENT), ConnectionEnd::Refused);
        assert_eq!(closed(libc::ETIMEDOUT, state::ESTABLISHED), ConnectionEnd::Timeout);
        assert_eq!(closed(libc::ECONNRESET, state::FIN_WAIT2), ConnectionEnd::Reset);
        assert_eq!(closed(0, state::ESTABLISHED), ConnectionEnd::Reset);
        assert_eq!(closed(0, state::FIN_WAIT2), ConnectionEnd::Fin);
    }

    #[test]
    fn a_record_of_another_version_is_not_read() {
        let mut bytes = [0u8; size_of::<FailureEvent>()];
        bytes[..4].copy_from_slice(&kind::FAILURE.to_ne_bytes());
        bytes[4..8].copy_from_slice(&VERSION.to_ne_bytes());
        assert!(Event::read(&bytes).is_some());
        bytes[4..8].copy_from_slice(&(VERSION + 1).to_ne_bytes());
        assert!(Event::read(&bytes).is_none());
    }
}
