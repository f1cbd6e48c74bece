//! `inet_sock_set_state`: the life of every TCP connection, and with it the role of its socket.

use core::mem::MaybeUninit;

use agent_ebpf::abi::{
    ConnectionEvent, Header, Owner, Socket, Tuple, counter, ended_by, kind, role, state,
};
use agent_ebpf::abi::{ORDINAL_UNKNOWN, Turn};
use agent_ebpf::field::Field;
use agent_ebpf::turn::phase;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use super::exchange::emit_exchange;
use crate::clock::now_ns;
use crate::lock;
use crate::loss::{count, emit, readable};
use crate::maps::SOCKETS;
use crate::memory::read;
use crate::socket;

#[btf_tracepoint]
pub fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let sock: *mut core::ffi::c_void = ctx.arg(0);
    let before = ctx.arg::<u32>(1) as u8;
    let after = ctx.arg::<u32>(2) as u8;
    if socket::is_tcp(sock as u64) {
        match after {
            state::ESTABLISHED => opened(sock, before),
            state::CLOSE => closed(sock, before),
            _ => {}
        }
    }
    0
}

/// A client comes from SYN_SENT, a server from SYN_RECV. A simultaneous open comes from there too
/// and is told as a server: only a socket that connects to itself opens that way in practice.
#[inline(always)]
fn opened(sock: *mut core::ffi::c_void, before: u8) {
    let role = match before {
        state::SYN_SENT => role::CLIENT,
        state::SYN_RECV => role::SERVER,
        _ => return,
    };
    let address = sock as u64;
    let Some(tuple) = readable(socket::tuple(address)) else {
        return;
    };
    let owner = socket::owner(address);
    let cookie = socket::cookie(sock);
    let now = now_ns();
    let received: u64 = read(address, Field::TcpBytesReceived).unwrap_or(0);
    let acked: u64 = read(address, Field::TcpBytesAcked).unwrap_or(0);
    // With TCP fast open bytes pass before the handshake ends; the SYN itself counts as one.
    let from_start = received == 0 && acked <= 1;
    let entry = Socket {
        owner,
        tuple,
        opened_ns: now,
        turn: Turn { ordinal: if from_start { 0 } else { ORDINAL_UNKNOWN }, ..Turn::default() },
        sent_seq: read(address, Field::TcpWriteSeq).unwrap_or(0),
        received_seq: read(address, Field::TcpCopiedSeq).unwrap_or(0),
        role,
        phase: if from_start { phase::IDLE } else { phase::UNSYNCHRONISED },
        ..Socket::default()
    };
    if SOCKETS.insert(cookie, entry, 0).is_err() {
        count(counter::LOST_SOCKET);
    }
    let change = Change { at_ns: now, before, after: state::ESTABLISHED };
    emit_connection(address, cookie, &change, role, now, &owner, &tuple);
}

#[inline(always)]
fn closed(sock: *mut core::ffi::c_void, before: u8) {
    let address = sock as u64;
    let cookie = socket::cookie(sock);
    let now = now_ns();
    let change = Change { at_ns: now, before, after: state::CLOSE };
    if let Some(entry) = SOCKETS.get_ptr(cookie) {
        lock::wait(entry);
        // SAFETY: the map's entry stays readable during this program.
        let entry = unsafe { &*entry };
        if entry.has_turn() {
            emit_exchange(entry, cookie, now, ended_by::CLOSE);
        }
        emit_connection(
            address,
            cookie,
            &change,
            entry.role,
            entry.opened_ns,
            &entry.owner,
            &entry.tuple,
        );
        let _ = SOCKETS.remove(cookie);
        return;
    }
    // A listener that closes is no connection.
    if before == state::LISTEN {
        return;
    }
    let Some(tuple) = readable(socket::tuple(address)) else {
        return;
    };
    if tuple.remote_port == 0 {
        return;
    }
    let role = if before == state::SYN_SENT { role::CLIENT } else { role::UNKNOWN };
    emit_connection(address, cookie, &change, role, 0, &socket::owner(address), &tuple);
}

struct Change {
    at_ns: u64,
    before: u8,
    after: u8,
}

#[inline(always)]
fn emit_connection(
    sock: u64,
    cookie: u64,
    change: &Change,
    role: u8,
    opened_ns: u64,
    owner: &Owner,
    tuple: &Tuple,
) {
    let bytes_sent: u64 = read(sock, Field::TcpBytesAcked).unwrap_or(0);
    let bytes_received: u64 = read(sock, Field::TcpBytesReceived).unwrap_or(0);
    let retransmits: u32 = read(sock, Field::TcpRetransmits).unwrap_or(0);
    // The kernel keeps eight times the smoothed round trip.
    let srtt_us = read::<u32>(sock, Field::TcpSrtt).unwrap_or(0) >> 3;
    let error: u32 = read(sock, Field::SockError).unwrap_or(0);
    emit(counter::LOST_CONNECTION, |record: &mut MaybeUninit<ConnectionEvent>| {
        record.write(ConnectionEvent {
            header: Header::new(kind::CONNECTION),
            at_ns: change.at_ns,
            opened_ns,
            owner: *owner,
            socket_cookie: cookie,
            tuple: *tuple,
            bytes_sent,
            bytes_received,
            retransmits,
            srtt_us,
            error,
            role,
            state_before: change.before,
            state_after: change.after,
            padding: [0; 1],
        });
    });
}
