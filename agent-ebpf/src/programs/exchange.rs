//! `sock_send_length` and `sock_recv_length`: request boundaries without payload.
//!
//! Both fire for every socket of every family after the call has returned its length. Calls are
//! aggregated here, per socket; one record leaves for each request/response turn.

use core::mem::MaybeUninit;

use agent_ebpf::abi::{ExchangeEvent, Header, Socket, counter, ended_by, kind};
use agent_ebpf::field::Field;
use agent_ebpf::turn::{Call, Direction, Outcome};
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::clock::now_ns;
use crate::lock;
use crate::loss::{count, emit, readable, unfollowed};
use crate::maps::{SEEDS, SOCKETS};
use crate::memory::read;
use crate::socket;

/// The caller looked at the bytes and left them in the socket.
const MSG_PEEK: u32 = 2;

#[btf_tracepoint]
pub fn sock_send_length(ctx: BtfTracePointContext) -> i32 {
    follow(&ctx, Direction::Sent);
    0
}

#[btf_tracepoint]
pub fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    follow(&ctx, Direction::Received);
    0
}

#[inline(always)]
fn follow(ctx: &BtfTracePointContext, direction: Direction) {
    let sock: *mut core::ffi::c_void = ctx.arg(0);
    let length = ctx.arg::<u32>(1);
    let flags = ctx.arg::<u32>(2);
    let moved_bytes = length != 0 && length <= i32::MAX as u32 && flags & MSG_PEEK == 0;
    if !moved_bytes || !socket::is_tcp(sock as u64) {
        return;
    }
    let Some(call) = readable(describe(sock as u64, direction, length)) else {
        return;
    };
    let cookie = socket::cookie(sock);
    match SOCKETS.get_ptr_mut(cookie) {
        Some(entry) => {
            let followed = lock::with(entry, |entry| observe(entry, cookie, &call));
            if !followed {
                count(counter::CONTENDED);
            }
        }
        None => join(sock as u64, cookie, &call),
    }
}

#[inline(always)]
fn describe(sock: u64, direction: Direction, length: u32) -> Option<Call> {
    let task = bpf_get_current_pid_tgid();
    Some(Call {
        at_ns: now_ns(),
        direction,
        length,
        write_seq: read(sock, Field::TcpWriteSeq)?,
        copied_seq: read(sock, Field::TcpCopiedSeq)?,
        state: read(sock, Field::SockState)?,
        process: (task >> 32) as u32,
        thread: task as u32,
    })
}

#[inline(always)]
fn observe(entry: &mut Socket, cookie: u64, call: &Call) {
    let outcome = entry.observe(call, |finished| {
        emit_exchange(finished, cookie, call.at_ns, ended_by::TURN);
    });
    if outcome == Outcome::Resynchronised {
        count(counter::RESYNCHRONISED);
    }
    if outcome != Outcome::Followed {
        unfollowed(&entry.owner, &entry.tuple);
    }
}

/// A socket that opened unseen is followed when a conntrack dump knows who began; otherwise its
/// role would be a guess.
#[inline(always)]
fn join(sock: u64, cookie: u64, call: &Call) {
    let Some(tuple) = readable(socket::tuple(sock)) else {
        return;
    };
    let owner = socket::owner(sock);
    unfollowed(&owner, &tuple);
    // SAFETY: the value is one byte, copied at once.
    let Some(role) = (unsafe { SEEDS.get(&tuple) }).copied() else {
        count(counter::ROLE_UNKNOWN);
        return;
    };
    let mut entry = Socket { owner, tuple, role, ..Socket::default() };
    entry.join(call);
    // Another call may have joined the socket at the same time; then it is followed already.
    let added = SOCKETS.insert(cookie, entry, u64::from(BPF_NOEXIST)).is_ok();
    if !added && SOCKETS.get_ptr(cookie).is_none() {
        count(counter::LOST_SOCKET);
    }
}

/// Ships the turn that `entry` holds.
#[inline(always)]
pub fn emit_exchange(entry: &Socket, cookie: u64, at_ns: u64, ended_by: u8) {
    emit(counter::LOST_EXCHANGE, |record: &mut MaybeUninit<ExchangeEvent>| {
        record.write(ExchangeEvent {
            header: Header::new(kind::EXCHANGE),
            at_ns,
            owner: entry.owner,
            socket_cookie: cookie,
            tuple: entry.tuple,
            turn: entry.turn,
            role: entry.role,
            ended_by,
            padding: [0; 6],
        });
    });
}
