//! Dumps of the connection tracking table of the network namespace that the agent runs in: the
//! only netlink.
//!
//! A dump seeds what began before the agent, and repairs what was lost. It never streams events:
//! under load the kernel drops those, and with them the translations.

mod decode;

use std::io;
use std::net::IpAddr;

use agent_ebpf::abi::{Tuple, role};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

pub use decode::DecodeError;

/// Entries of one dump. 262,144 is what nf_conntrack itself holds by default on a large node.
const ENTRIES_MAX: usize = 262_144;

/// The kernel fills a dump's datagrams up to 32 KiB, or a page if that is more.
const DATAGRAM_BYTES: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ConntrackError {
    #[error("failed to ask for the connection tracking table: CAP_NET_ADMIN is needed")]
    Ask(#[source] io::Error),
    #[error("failed to read the connection tracking table")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// One direction of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Direction {
    pub source: (IpAddr, u16),
    pub destination: (IpAddr, u16),
}

/// One TCP entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub original: Direction,
    pub reply: Direction,
    pub zone: u16,
    pub status: u32,
    /// Both ends are known to have shaken hands under the table's eyes, so `original` is the
    /// initiator's direction. An entry picked up in mid-stream begins with whoever spoke next.
    pub seen_from_start: bool,
    pub established: bool,
}

impl Entry {
    /// Does the entry translate? Decided by the tuples, never by status bits.
    pub fn is_translated(&self) -> bool {
        self.reply.source != self.original.destination
            || self.reply.destination != self.original.source
    }

    /// Sockets that this entry tells the role of: the client's sees the original tuple, the
    /// server's the reply tuple inverted. Loopback addresses mean another end in each namespace.
    pub fn roles(&self) -> Vec<(Tuple, u8)> {
        let ends = [
            (self.original.source, self.original.destination, role::CLIENT),
            (self.reply.source, self.reply.destination, role::SERVER),
        ];
        let told = self.seen_from_start && self.established;
        ends.into_iter()
            .filter(|(local, remote, _)| told && !local.0.is_loopback() && !remote.0.is_loopback())
            .map(|(local, remote, role)| (tuple(local, remote), role))
            .collect()
    }

    pub fn binding(&self, netns_cookie: u64, at_ns: u64) -> wire::NatBinding {
        let endpoint = |(ip, port)| wire::Endpoint::new(ip, port);
        wire::NatBinding {
            netns_cookie,
            zone: u32::from(self.zone),
            protocol: u32::from(decode::TCP),
            original_source: endpoint(self.original.source),
            original_destination: endpoint(self.original.destination),
            reply_source: endpoint(self.reply.source),
            reply_destination: endpoint(self.reply.destination),
            first_seen_ns: at_ns,
            last_seen_ns: at_ns,
            evidence: wire::NatEvidence::Dump as i32,
            status: u64::from(self.status),
        }
    }
}

fn tuple(local: (IpAddr, u16), remote: (IpAddr, u16)) -> Tuple {
    let bytes = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    Tuple {
        local_ip: bytes(local.0),
        remote_ip: bytes(remote.0),
        local_port: local.1,
        remote_port: remote.1,
        padding: [0; 4],
    }
}

/// Can the table be read here?
///
/// # Errors
/// As [`dump`].
pub fn probe() -> Result<(), ConntrackError> {
    dump().map(|_| ())
}

/// All TCP entries, IPv4 and IPv6. Blocks for as long as the kernel takes.
///
/// # Errors
/// When the kernel does not answer, refuses, or answers with what cannot be read.
pub fn dump() -> Result<Vec<Entry>, ConntrackError> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::NETFILTER),
    )
    .map_err(|error| ConntrackError::Ask(error.into()))?;
    let mut entries = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        send(&socket, &decode::request(family as u8), SendFlags::empty())
            .map_err(|error| ConntrackError::Ask(error.into()))?;
        let mut buffer = vec![0; DATAGRAM_BYTES];
        loop {
            let (length, _) = recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())
                .map_err(|error| ConntrackError::Read(error.into()))?;
            let datagram = buffer.get(..length).unwrap_or_default();
            if decode::datagram(datagram, &mut entries)? == decode::More::No {
                break;
            }
            if entries.len() >= ENTRIES_MAX {
                return Ok(entries);
            }
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> (IpAddr, u16) {
        let address: std::net::SocketAddr = text.parse().expect("an address");
        (address.ip(), address.port())
    }

    fn entry(original: (&str, &str), reply: (&str, &str)) -> Entry {
        Entry {
            original: Direction { source: end(original.0), destination: end(original.1) },
            reply: Direction { source: end(reply.0), destination: end(reply.1) },
            zone: 0,
            status: 0,
            seen_from_start: true,
            established: true,
        }
    }

    const CLIENT: &str = "10.244.0.2:39318";
    const SERVICE: &str = "10.96.0.10:80";
    const POD: &str = "10.244.0.4:8080";

    #[test]
    fn an_entry_is_translated_when_its_reply_is_not_its_inverse() {
        assert!(!entry((CLIENT, POD), (POD, CLIENT)).is_translated());
        assert!(entry((CLIENT, SERVICE), (POD, CLIENT)).is_translated());
        assert!(entry((CLIENT, POD), (POD, "10.244.0.1:1024")).is_translated());
    }

    #[test]
    fn the_client_sees_the_original_and_the_server_the_inverted_reply() {
        let roles = entry((CLIENT, SERVICE), (POD, CLIENT)).roles();
        assert_eq!(
            roles,
            [
                (tuple(end(CLIENT), end(SERVICE)), role::CLIENT),
                (tuple(end(POD), end(CLIENT)), role::SERVER),
            ]
        );
    }

    #[test]
    fn an_entry_picked_up_in_mid_stream_tells_no_role() {
        let entry = Entry { seen_from_start: false, ..entry((CLIENT, POD), (POD, CLIENT)) };
        assert!(entry.roles().is_empty());
    }

    #[test]
    fn loopback_tells_no_role() {
        assert!(
            entry(("127.0.0.1:9", "127.0.0.1:80"), ("127.0.0.1:80", "127.0.0.1:9"))
                .roles()
                .is_empty()
        );
    }
}
