//! `tcp_send_reset`, `tcp_receive_reset`, `tcp_retransmit_skb`: why a connection failed.

use core::mem::MaybeUninit;

use agent_ebpf::abi::{FailureEvent, Header, Owner, Tuple, counter, failure, kind, state};
use agent_ebpf::field::Field;
use agent_ebpf::parse::{NETWORK_BYTES, received_ipv4, transport};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

use crate::clock::now_ns;
use crate::loss::{emit, readable};
use crate::memory::{at, read};
use crate::socket;

/// Answering a packet, the kernel may have no socket, a listener, or a stub that has no tuple of
/// its own; then the packet that is answered tells it. Aborting, it has a socket and no packet.
#[btf_tracepoint]
pub fn tcp_send_reset(ctx: BtfTracePointContext) -> i32 {
    let sock = ctx.arg::<u64>(0);
    let skb = ctx.arg::<u64>(1);
    let what = What { failure: failure::RESET_SENT, reason: ctx.arg::<u32>(2) };
    let state = read::<u8>(sock, Field::SockState).unwrap_or(0);
    match state {
        state::NONE | state::TIME_WAIT | state::LISTEN | state::NEW_SYN_RECV => {
            let _ = by_packet(skb, sock, state, &what);
        }
        _ => by_socket(sock, &what),
    }
    0
}

#[btf_tracepoint]
pub fn tcp_receive_reset(ctx: BtfTracePointContext) -> i32 {
    by_socket(ctx.arg(0), &What { failure: failure::RESET_RECEIVED, reason: 0 });
    0
}

#[btf_tracepoint]
pub fn tcp_retransmit_skb(ctx: BtfTracePointContext) -> i32 {
    let sock = ctx.arg::<u64>(0);
    if read::<u8>(sock, Field::SockState) == Some(state::SYN_SENT) {
        by_socket(sock, &What { failure: failure::SYN_RETRANSMIT, reason: 0 });
    }
    0
}

struct What {
    failure: u32,
    reason: u32,
}

#[inline(always)]
fn by_socket(sock: u64, what: &What) {
    let Some(tuple) = readable(socket::tuple(sock)) else {
        return;
    };
    let state = read(sock, Field::SockState).unwrap_or(0);
    emit_failure(&socket::owner(sock), &tuple, state, what);
}

#[inline(always)]
fn by_packet(skb: u64, sock: u64, state: u8, what: &What) -> Option<()> {
    let head: u64 = read(skb, Field::SkbHead)?;
    let network: u16 = read(skb, Field::SkbNetworkHeader)?;
    let header = head + u64::from(network);
    let bytes: [u8; NETWORK_BYTES] = at(header)?;
    let distance = transport(&bytes)?;
    let ports: [u8; 4] = at(header + u64::from(distance))?;
    let tuple = if bytes[0] >> 4 == 4 {
        received_ipv4(&bytes, ports)
    } else {
        Tuple {
            remote_ip: at(header + 8)?,
            local_ip: at(header + 24)?,
            remote_port: u16::from_be_bytes([ports[0], ports[1]]),
            local_port: u16::from_be_bytes([ports[2], ports[3]]),
            padding: [0; 4],
        }
    };
    let net: u64 = if state == state::NONE {
        let device: u64 = read(skb, Field::SkbDevice)?;
        read(device, Field::DeviceNet)?
    } else {
        read(sock, Field::SockNet)?
    };
    let owner = Owner { netns_cookie: read(net, Field::NetCookie)?, cgroup_id: 0 };
    emit_failure(&owner, &tuple, state, what);
    Some(())
}

#[inline(always)]
fn emit_failure(owner: &Owner, tuple: &Tuple, state: u8, what: &What) {
    emit(counter::LOST_FAILURE, |record: &mut MaybeUninit<FailureEvent>| {
        record.write(FailureEvent {
            header: Header::new(kind::FAILURE),
            at_ns: now_ns(),
            owner: *owner,
            tuple: *tuple,
            failure: what.failure,
            reason: what.reason,
            state,
            padding: [0; 7],
        });
    });
}
