//! Netlink bytes of connection tracking to entries. Pure: no socket here.
//!
//! Numbers are those of `linux/netlink.h` and `linux/netfilter/nfnetlink_conntrack.h`, which are
//! part of the kernel's promise to user space.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Direction, Entry};

pub(super) const TCP: u8 = 6;

const MESSAGE_HEADER: usize = 16;
/// `struct nfgenmsg`: family, version, resource.
const GENERIC_HEADER: usize = 4;
const MESSAGE_ERROR: u16 = 2;
const MESSAGE_DONE: u16 = 3;
/// Subsystem 1 (conntrack), message 1 (get).
const GET: u16 = 1 << 8 | 1;
const REQUEST_DUMP: u16 = 0x1 | 0x300;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const PROTOCOL_INFO: u16 = 4;
const ZONE: u16 = 18;

const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IP_V4_SOURCE: u16 = 1;
const IP_V4_DESTINATION: u16 = 2;
const IP_V6_SOURCE: u16 = 3;
const IP_V6_DESTINATION: u16 = 4;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_SOURCE_PORT: u16 = 2;
const PROTOCOL_DESTINATION_PORT: u16 = 3;

const INFO_TCP: u16 = 1;
const TCP_STATE: u16 = 1;
const TCP_FLAGS_ORIGINAL: u16 = 4;
const TCP_FLAGS_REPLY: u16 = 5;
const TCP_ESTABLISHED: u8 = 3;
/// Set on both directions of an entry that was picked up in mid-stream.
const BE_LIBERAL: u8 = 0x08;

/// The upper bits of an attribute's type are flags.
const TYPE_MASK: u16 = 0x3fff;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("read a netlink message that ends before its length says")]
    Short,
    #[error("the kernel refused the dump with error {0}")]
    Refused(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    Yes,
    No,
}

/// A request for all entries of one address family.
pub(super) fn request(family: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MESSAGE_HEADER + GENERIC_HEADER);
    bytes.extend(((MESSAGE_HEADER + GENERIC_HEADER) as u32).to_ne_bytes());
    bytes.extend(GET.to_ne_bytes());
    bytes.extend(REQUEST_DUMP.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, 0, 0, 0]);
    bytes
}

/// Adds the TCP entries of one datagram, and says whether another follows.
pub(super) fn datagram(mut bytes: &[u8], entries: &mut Vec<Entry>) -> Result<More, DecodeError> {
    while !bytes.is_empty() {
        let length = u32_at(bytes, 0).ok_or(DecodeError::Short)? as usize;
        let kind = u16_at(bytes, 4).ok_or(DecodeError::Short)?;
        let body = bytes.get(MESSAGE_HEADER..length).ok_or(DecodeError::Short)?;
        match kind {
            MESSAGE_DONE => return Ok(More::No),
            MESSAGE_ERROR => {
                let error = u32_at(body, 0).ok_or(DecodeError::Short)?.cast_signed();
                return if error == 0 { Ok(More::No) } else { Err(DecodeError::Refused(-error)) };
            }
            _ => entries.extend(body.get(GENERIC_HEADER..).and_then(entry)),
        }
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    Ok(More::Yes)
}

/// One entry, or nothing when it is not TCP or not complete.
fn entry(bytes: &[u8]) -> Option<Entry> {
    let info = attribute(bytes, PROTOCOL_INFO).and_then(|info| attribute(info, INFO_TCP));
    let of_info = |kind| info.and_then(|info| attribute(info, kind)?.first().copied());
    let liberal = |kind| of_info(kind).is_some_and(|flags| flags & BE_LIBERAL != 0);
    Some(Entry {
        original: direction(attribute(bytes, TUPLE_ORIGINAL)?)?,
        reply: direction(attribute(bytes, TUPLE_REPLY)?)?,
        zone: attribute(bytes, ZONE).and_then(u16_be).unwrap_or(0),
        status: attribute(bytes, STATUS)
            .and_then(|status| status.try_into().ok())
            .map_or(0, u32::from_be_bytes),
        seen_from_start: info.is_some()
            && !(liberal(TCP_FLAGS_ORIGINAL) && liberal(TCP_FLAGS_REPLY)),
        established: of_info(TCP_STATE) == Some(TCP_ESTABLISHED),
    })
}

fn direction(bytes: &[u8]) -> Option<Direction> {
    let ip = attribute(bytes, TUPLE_IP)?;
    let protocol = attribute(bytes, TUPLE_PROTOCOL)?;
    if attribute(protocol, PROTOCOL_NUMBER)?.first() != Some(&TCP) {
        return None;
    }
    let address = |v4, v6| match attribute(ip, v4) {
        Some(bytes) => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))),
        None => {
            let bytes = <[u8; 16]>::try_from(attribute(ip, v6)?).ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
    };
    let port = |kind| attribute(protocol, kind).and_then(u16_be);
    Some(Direction {
        source: (address(IP_V4_SOURCE, IP_V6_SOURCE)?, port(PROTOCOL_SOURCE_PORT)?),
        destination: (
            address(IP_V4_DESTINATION, IP_V6_DESTINATION)?,
            port(PROTOCOL_DESTINATION_PORT)?,
        ),
    })
}

/// The payload of the first attribute of a kind.
fn attribute(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
    while bytes.len() >= 4 {
        let length = usize::from(u16_at(bytes, 0)?);
        let payload = bytes.get(4..length)?;
        if u16_at(bytes, 2)? & TYPE_MASK == kind {
            return Some(payload);
        }
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    None
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4).max(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_be(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nla(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = ((payload.len() + 4) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn tuple(kind: u16, source: [u8; 4], destination: [u8; 4], protocol: u8) -> Vec<u8> {
        let ip = [nla(IP_V4_SOURCE, &source), nla(IP_V4_DESTINATION, &destination)].concat();
        let ports = [
            nla(PROTOCOL_NUMBER, &[protocol]),
            nla(PROTOCOL_SOURCE_PORT, &4_000u16.to_be_bytes()),
            nla(PROTOCOL_DESTINATION_PORT, &80u16.to_be_bytes()),
        ]
        .concat();
        nla(kind | 0x8000, &[nla(TUPLE_IP, &ip), nla(TUPLE_PROTOCOL, &ports)].concat())
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((MESSAGE_HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    fn entry_message(protocol: u8, flags: u8) -> Vec<u8> {
        let tcp = [
            nla(TCP_STATE, &[TCP_ESTABLISHED]),
            nla(TCP_FLAGS_ORIGINAL, &[flags, 0]),
            nla(TCP_FLAGS_REPLY, &[flags, 0]),
        ]
        .concat();
        let body = [
            vec![2, 0, 0, 0],
            tuple(TUPLE_ORIGINAL, [10, 0, 0, 1], [10, 96, 0, 1], protocol),
            tuple(TUPLE_REPLY, [10, 0, 0, 9], [10, 0, 0, 1], protocol),
            nla(STATUS, &0x1b2u32.to_be_bytes()),
            nla(PROTOCOL_INFO, &nla(INFO_TCP, &tcp)),
            nla(ZONE, &7u16.to_be_bytes()),
        ]
        .concat();
        message(GET & !0xff, &body)
    }

    fn decoded(bytes: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        assert_eq!(datagram(bytes, &mut entries), Ok(More::Yes));
        entries
    }

    #[test]
    fn a_tcp_entry_is_read_whole() {
        let entries = decoded(&entry_message(TCP, 0x03));
        let [entry] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!(entry.original.destination, (IpAddr::from([10, 96, 0, 1]), 80));
        assert_eq!(entry.reply.source, (IpAddr::from([10, 0, 0, 9]), 4_000));
        assert_eq!((entry.zone, entry.status), (7, 0x1b2));
        assert!(entry.seen_from_start && entry.established);
    }

    #[test]
    fn an_entry_picked_up_in_mid_stream_is_known_by_its_flags() {
        assert!(!decoded(&entry_message(TCP, 0x0a))[0].seen_from_start);
    }

    #[test]
    fn other_protocols_are_skipped() {
        let both = [entry_message(17, 0), entry_message(TCP, 0)].concat();
        assert_eq!(decoded(&both).len(), 1);
    }

    #[test]
    fn the_end_and_a_refusal_are_told() {
        let mut entries = Vec::new();
        assert_eq!(datagram(&message(MESSAGE_DONE, &[0; 4]), &mut entries), Ok(More::No));
        let refusal = message(MESSAGE_ERROR, &(-1i32).to_ne_bytes());
        assert_eq!(datagram(&refusal, &mut entries), Err(DecodeError::Refused(1)));
    }

    #[test]
    fn cut_bytes_are_an_error_and_never_a_panic() {
        let whole = entry_message(TCP, 0);
        for length in 1..whole.len() {
            let mut entries = Vec::new();
            let _ = datagram(&whole[..length], &mut entries);
            assert!(entries.is_empty(), "{length} bytes");
        }
    }
}
