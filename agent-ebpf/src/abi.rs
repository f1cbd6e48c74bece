//! Records that cross from the kernel: integers and bytes, padding named and zeroed, sizes asserted.
//!
//! User space reads a record with [`Plain::read`], which accepts exactly the size it expects, so an
//! object built from another version of this file is noticed instead of misread.

use core::mem::size_of;

/// Raised with every change of a layout in this file. Every record carries it.
pub const VERSION: u32 = 3;

/// A global of the programs that is named for the version, so that an agent refuses an object of
/// another version before it loads anything.
pub const VERSION_SYMBOL: &str = "ABI_3";

/// Stands in the offset table for a field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// [`Turn::ordinal`] of a connection whose start was not seen.
pub const ORDINAL_UNKNOWN: u32 = u32::MAX;

pub mod kind {
    pub const CONNECTION: u32 = 1;
    pub const NAT_BINDING: u32 = 2;
    pub const EXCHANGE: u32 = 3;
    pub const FAILURE: u32 = 4;
}

pub mod role {
    pub const UNKNOWN: u8 = 0;
    pub const CLIENT: u8 = 1;
    pub const SERVER: u8 = 2;
}

pub mod ended_by {
    pub const TURN: u8 = 1;
    pub const CLOSE: u8 = 2;
}

pub mod failure {
    pub const RESET_SENT: u32 = 1;
    pub const RESET_RECEIVED: u32 = 2;
    pub const SYN_RETRANSMIT: u32 = 3;
}

/// TCP states as the kernel numbers them (`include/net/tcp_states.h`, stable since Linux 2.2).
pub mod state {
    /// No socket at all.
    pub const NONE: u8 = 0;
    pub const ESTABLISHED: u8 = 1;
    pub const SYN_SENT: u8 = 2;
    pub const SYN_RECV: u8 = 3;
    pub const FIN_WAIT1: u8 = 4;
    pub const FIN_WAIT2: u8 = 5;
    pub const TIME_WAIT: u8 = 6;
    pub const CLOSE: u8 = 7;
    pub const CLOSE_WAIT: u8 = 8;
    pub const LISTEN: u8 = 10;
    pub const NEW_SYN_RECV: u8 = 12;
}

/// Indices of the per-CPU counters.
pub mod counter {
    /// Records for which the ring buffer had no room, by kind.
    pub const LOST_CONNECTION: u32 = 0;
    pub const LOST_NAT_BINDING: u32 = 1;
    pub const LOST_EXCHANGE: u32 = 2;
    pub const LOST_FAILURE: u32 = 3;
    /// Sockets whose state found no room in the map: their exchanges are not seen.
    pub const LOST_SOCKET: u32 = 4;
    /// Calls on sockets whose role is not known: no exchange is made of them.
    pub const ROLE_UNKNOWN: u32 = 5;
    /// Turns given up because bytes moved both ways without a call being seen.
    pub const RESYNCHRONISED: u32 = 6;
    /// Kernel memory that could not be read.
    pub const UNREADABLE: u32 = 7;
    /// Calls that gave way to another call on the same socket; the next one accounts for both.
    pub const CONTENDED: u32 = 8;
    pub const COUNT: u32 = 9;
}

/// A type for which every bit pattern is a value.
///
/// # Safety
/// Implemented only by `repr(C)` structures of integers and integer arrays without hidden padding.
pub unsafe trait Plain: Copy {
    /// The value in `bytes`, or nothing when their number is another.
    fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        // SAFETY: the length was checked, `read_unaligned` asks for no alignment, and by the
        // trait's contract every bit pattern is a value.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: u32,
    pub version: u32,
}

impl Owner {
    /// The owner whose bytes a map's key consists of.
    pub fn from_bytes(bytes: [u8; size_of::<Self>()]) -> Self {
        let [netns @ .., _, _, _, _, _, _, _, _] = bytes;
        let [_, _, _, _, _, _, _, _, cgroup @ ..] = bytes;
        Self { netns_cookie: u64::from_ne_bytes(netns), cgroup_id: u64::from_ne_bytes(cgroup) }
    }
}

impl Header {
    pub const fn new(kind: u32) -> Self {
        Self { kind, version: VERSION }
    }
}

/// The two ends of a connection as its socket sees them. IPv4 is written as IPv4-mapped IPv6.
/// Ports are in host order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuple {
    pub local_ip: [u8; 16],
    pub remote_ip: [u8; 16],
    pub local_port: u16,
    pub remote_port: u16,
    pub padding: [u8; 4],
}

impl Tuple {
    /// Does the connection stay inside one namespace by its addresses?
    #[inline(always)]
    pub fn is_loopback(&self) -> bool {
        let ip = u128::from_be_bytes(self.local_ip);
        // 127.0.0.0/8, mapped, or ::1.
        ip >> 24 == 0x00ff_ff7f || ip == 1
    }

    /// The bytes that a map's key consists of.
    pub fn to_bytes(&self) -> [u8; size_of::<Self>()] {
        let mut bytes = [0; size_of::<Self>()];
        bytes[..16].copy_from_slice(&self.local_ip);
        bytes[16..32].copy_from_slice(&self.remote_ip);
        bytes[32..34].copy_from_slice(&self.local_port.to_ne_bytes());
        bytes[34..36].copy_from_slice(&self.remote_port.to_ne_bytes());
        bytes
    }
}

/// IPv4 address as IPv4-mapped IPv6.
#[inline(always)]
pub const fn mapped(v4: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3]]
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner {
    pub netns_cookie: u64,
    /// 0 where the kernel does not tell.
    pub cgroup_id: u64,
}

/// A connection was opened or closed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionEvent {
    pub header: Header,
    pub at_ns: u64,
    /// 0 when the handshake was not seen.
    pub opened_ns: u64,
    pub owner: Owner,
    pub socket_cookie: u64,
    pub tuple: Tuple,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub retransmits: u32,
    pub srtt_us: u32,
    /// `sk_err` at the close, as a positive number.
    pub error: u32,
    pub role: u8,
    pub state_before: u8,
    pub state_after: u8,
    pub padding: [u8; 1],
}

/// A packet left through a translation.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatEvent {
    pub header: Header,
    pub at_ns: u64,
    pub netns_cookie: u64,
    pub status: u64,
    pub original_source_ip: [u8; 16],
    pub original_destination_ip: [u8; 16],
    pub reply_source_ip: [u8; 16],
    pub reply_destination_ip: [u8; 16],
    pub original_source_port: u16,
    pub original_destination_port: u16,
    pub reply_source_port: u16,
    pub reply_destination_port: u16,
    pub zone: u16,
    pub protocol: u8,
    pub padding: [u8; 5],
}

/// One request and its response on one socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    pub start_ns: u64,
    /// Meaningful when `bytes_response` is not 0, as `tcp_seq_response` and `response_thread` are.
    pub first_response_ns: u64,
    /// Last byte seen in either direction.
    pub end_ns: u64,
    pub bytes_request: u64,
    pub bytes_response: u64,
    pub tcp_seq_request: u32,
    pub tcp_seq_response: u32,
    /// Process and thread of the first call of the request; 0 while that call is not seen to end.
    pub process: u32,
    pub thread: u32,
    pub response_thread: u32,
    pub ordinal: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeEvent {
    pub header: Header,
    /// When the turn was given up: the next request or the close.
    pub at_ns: u64,
    pub owner: Owner,
    pub socket_cookie: u64,
    pub tuple: Tuple,
    pub turn: Turn,
    pub role: u8,
    pub ended_by: u8,
    pub padding: [u8; 6],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureEvent {
    pub header: Header,
    pub at_ns: u64,
    pub owner: Owner,
    pub tuple: Tuple,
    pub failure: u32,
    /// Value of the kernel's own enumeration, named in user space; 0 where there is none.
    pub reason: u32,
    /// TCP state of the socket, 0 when no socket was involved.
    pub state: u8,
    pub padding: [u8; 7],
}

/// What is kept for each connection between calls: the value of the socket map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Socket {
    pub owner: Owner,
    pub tuple: Tuple,
    /// 0 when the handshake was not seen.
    pub opened_ns: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub turn: Turn,
    /// Sequence numbers up to which bytes were accounted for, each way.
    pub sent_seq: u32,
    pub received_seq: u32,
    /// Not 0 while a call is being accounted for: a copy that user space took then may be half old.
    pub lock: u32,
    pub role: u8,
    pub phase: u8,
    pub padding: [u8; 2],
}

// SAFETY: `repr(C)`, integers and byte arrays only; the assertions below exclude hidden padding.
unsafe impl Plain for Header {}
// SAFETY: as above.
unsafe impl Plain for ConnectionEvent {}
// SAFETY: as above.
unsafe impl Plain for NatEvent {}
// SAFETY: as above.
unsafe impl Plain for ExchangeEvent {}
// SAFETY: as above.
unsafe impl Plain for FailureEvent {}
// SAFETY: as above.
unsafe impl Plain for Socket {}

// Sums of the fields' sizes: a size that is larger would mean hidden padding.
const _: () = assert!(size_of::<Tuple>() == 16 + 16 + 2 + 2 + 4);
const _: () = assert!(size_of::<Turn>() == 5 * 8 + 6 * 4);
const _: () = assert!(size_of::<ConnectionEvent>() == 8 + 8 + 8 + 16 + 8 + 40 + 8 + 8 + 3 * 4 + 4);
const _: () = assert!(size_of::<NatEvent>() == 8 + 3 * 8 + 4 * 16 + 4 * 2 + 2 + 1 + 5);
const _: () = assert!(size_of::<ExchangeEvent>() == 8 + 8 + 16 + 8 + 40 + 64 + 8);
const _: () = assert!(size_of::<FailureEvent>() == 8 + 8 + 16 + 40 + 4 + 4 + 8);
const _: () = assert!(size_of::<Socket>() == 16 + 40 + 3 * 8 + 64 + 3 * 4 + 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_size_is_not_read() {
        let header = Header { kind: kind::CONNECTION, version: 1 };
        assert_eq!(Header::read(&[1, 0, 0, 0, 1, 0, 0, 0]), Some(header));
        assert_eq!(Header::read(&[1, 0, 0, 0, 1, 0, 0]), None);
        assert_eq!(ExchangeEvent::read(&[0; size_of::<NatEvent>() - 1]), None);
    }

    #[test]
    fn loopback_is_known_in_both_families() {
        let of = |local_ip| Tuple { local_ip, ..Tuple::default() }.is_loopback();
        assert!(of(mapped([127, 0, 0, 1])) && of(mapped([127, 9, 9, 9])));
        assert!(of(1u128.to_be_bytes()));
        assert!(!of(mapped([10, 0, 0, 1])) && !of(0xfd00u128.to_be_bytes()));
    }

    #[test]
    fn the_bytes_of_a_tuple_are_its_memory() {
        let tuple = Tuple {
            local_ip: mapped([10, 0, 0, 1]),
            remote_ip: [7; 16],
            local_port: 0x1234,
            remote_port: 443,
            padding: [0; 4],
        };
        let bytes = tuple.to_bytes();
        assert_eq!(&bytes[12..16], &[10, 0, 0, 1]);
        assert_eq!(u16::from_ne_bytes([bytes[32], bytes[33]]), 0x1234);
        assert_eq!(u16::from_ne_bytes([bytes[34], bytes[35]]), 443);
    }
}
