//! What a `struct sock` tells: its tuple, its owner, its kind.

use agent_ebpf::abi::{Owner, Tuple, mapped};
use agent_ebpf::field::Field;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;

use crate::memory::read;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const TCP: u16 = 6;
const STREAM: u16 = 1;

/// `AF_INET` or `AF_INET6`, `SOCK_STREAM` and TCP proper: the hooks also fire for other families,
/// other protocols and MPTCP.
#[inline(always)]
pub fn is_tcp(sock: u64) -> bool {
    let family = read::<u16>(sock, Field::SockFamily);
    matches!(family, Some(AF_INET | AF_INET6))
        && read::<u16>(sock, Field::SockType) == Some(STREAM)
        && read::<u16>(sock, Field::SockProtocol) == Some(TCP)
}

/// The tuple as the socket sees it. The local port comes from `inet_sport`: `skc_num` is already
/// cleared when a connection closes.
#[inline(always)]
pub fn tuple(sock: u64) -> Option<Tuple> {
    let mut tuple = Tuple {
        local_port: u16::from_be(read(sock, Field::InetSourcePort)?),
        remote_port: u16::from_be(read(sock, Field::SockRemotePort)?),
        ..Tuple::default()
    };
    if read::<u16>(sock, Field::SockFamily)? == AF_INET {
        tuple.local_ip = mapped(read(sock, Field::SockLocalIp4)?);
        tuple.remote_ip = mapped(read(sock, Field::SockRemoteIp4)?);
    } else {
        tuple.local_ip = read(sock, Field::SockLocalIp6)?;
        tuple.remote_ip = read(sock, Field::SockRemoteIp6)?;
    }
    Some(tuple)
}

/// Namespace and cgroup of the socket itself: in a soft interrupt the current task is a stranger.
#[inline(always)]
pub fn owner(sock: u64) -> Owner {
    Owner { netns_cookie: netns_cookie(sock), cgroup_id: cgroup_id(sock) }
}

#[inline(always)]
fn netns_cookie(sock: u64) -> u64 {
    let net: Option<u64> = read(sock, Field::SockNet);
    net.and_then(|net| read(net, Field::NetCookie)).unwrap_or(0)
}

#[inline(always)]
fn cgroup_id(sock: u64) -> u64 {
    let cgroup: Option<u64> = read(sock, Field::SockCgroup);
    cgroup
        .and_then(|cgroup| read(cgroup, Field::CgroupNode))
        .and_then(|node: u64| read(node, Field::NodeId))
        .unwrap_or(0)
}

/// The socket's cookie, which the kernel assigns at the first asking.
#[inline(always)]
pub fn cookie(sock: *mut core::ffi::c_void) -> u64 {
    // SAFETY: the pointer is the tracepoint's own argument, whose type the verifier knows.
    unsafe { bpf_get_socket_cookie(sock) }
}
