//! Header bytes to a tuple. The kernel half fetches the bytes, this half reads them.

use crate::abi::{Tuple, mapped};

/// Bytes of the network header that [`transport`] wants: the length of an IPv4 header without
/// options, and enough of an IPv6 header to know what follows.
pub const NETWORK_BYTES: usize = 20;

const TCP: u8 = 6;
const IPV6_HEADER: u32 = 40;
/// Where the flags stand in a TCP header.
pub const TCP_FLAGS: u32 = 13;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Distance from the network header to the TCP header, or nothing when what follows is not the
/// beginning of a TCP segment. IPv6 extension headers are not walked: a packet that carries them
/// counts as not TCP.
#[inline(always)]
pub fn transport(network: &[u8; NETWORK_BYTES]) -> Option<u32> {
    match network[0] >> 4 {
        4 => {
            let length = u32::from(network[0] & 0x0f) * 4;
            let fragment_offset = u16::from_be_bytes([network[6], network[7]]) & 0x1fff;
            (network[9] == TCP && length >= 20 && fragment_offset == 0).then_some(length)
        }
        6 => (network[6] == TCP).then_some(IPV6_HEADER),
        _ => None,
    }
}

/// Does a connection begin with this segment?
#[inline(always)]
pub fn opens_connection(tcp_flags: u8) -> bool {
    tcp_flags & (SYN | ACK) == SYN
}

/// The tuple of a received IPv4 segment as its receiver sees it.
#[inline(always)]
pub fn received_ipv4(network: &[u8; NETWORK_BYTES], ports: [u8; 4]) -> Tuple {
    Tuple {
        local_ip: mapped([network[16], network[17], network[18], network[19]]),
        remote_ip: mapped([network[12], network[13], network[14], network[15]]),
        local_port: u16::from_be_bytes([ports[2], ports[3]]),
        remote_port: u16::from_be_bytes([ports[0], ports[1]]),
        padding: [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(version_and_length: u8, fragment: [u8; 2], protocol: u8) -> [u8; NETWORK_BYTES] {
        let mut header = [0; NETWORK_BYTES];
        header[0] = version_and_length;
        header[6..8].copy_from_slice(&fragment);
        header[9] = protocol;
        header[12..16].copy_from_slice(&[10, 244, 1, 2]);
        header[16..20].copy_from_slice(&[10, 96, 0, 10]);
        header
    }

    #[test]
    fn ipv4_options_move_the_tcp_header() {
        assert_eq!(transport(&ipv4(0x45, [0x40, 0], TCP)), Some(20));
        assert_eq!(transport(&ipv4(0x48, [0x40, 0], TCP)), Some(32));
    }

    #[test]
    fn what_is_no_first_tcp_segment_has_no_transport() {
        let cases = [
            ipv4(0x45, [0, 0], 17),
            ipv4(0x45, [0, 1], TCP),
            ipv4(0x44, [0, 0], TCP),
            ipv4(0x05, [0, 0], TCP),
        ];
        for header in cases {
            assert_eq!(transport(&header), None, "{header:?}");
        }
    }

    #[test]
    fn ipv6_is_tcp_by_its_next_header_alone() {
        let mut header = [0; NETWORK_BYTES];
        header[0] = 0x60;
        header[6] = TCP;
        assert_eq!(transport(&header), Some(40));
        header[6] = 0;
        assert_eq!(transport(&header), None);
    }

    #[test]
    fn only_a_syn_without_ack_opens() {
        assert!(opens_connection(0x02));
        assert!(opens_connection(0xc2), "with ECN bits");
        assert!(!opens_connection(0x12));
        assert!(!opens_connection(0x10));
    }

    #[test]
    fn the_receiver_is_the_local_end() {
        let tuple = received_ipv4(&ipv4(0x45, [0, 0], TCP), [0x9a, 0x3c, 0, 80]);
        assert_eq!(tuple.local_ip, mapped([10, 96, 0, 10]));
        assert_eq!((tuple.local_port, tuple.remote_port), (80, 0x9a3c));
    }
}
