//! Addresses as integers: compared, never parsed twice.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 or IPv6 address, or the keyed token that stands for one outside the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Address {
    Ip(Ipv6Addr),
    Token(u64),
}

impl Address {
    /// Reads `10.0.0.1`, `fd00::1`, `::ffff:10.0.0.1` (the same as the first) or `ext-<16 hex>`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(token) = text.strip_prefix("ext-") {
            return u64::from_str_radix(token, 16).ok().map(Self::Token);
        }
        Some(match text.parse().ok()? {
            IpAddr::V4(v4) => Self::Ip(v4.to_ipv6_mapped()),
            IpAddr::V6(v6) => Self::Ip(v6),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.to_canonical().fmt(f),
            Self::Token(token) => write!(f, "ext-{token:016x}"),
        }
    }
}

/// A range of addresses, such as `10.244.1.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    first: u128,
    bits: u32,
}

impl Range {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (ip, bits) = text.split_once('/')?;
        let bits: u32 = bits.parse().ok()?;
        let (first, bits) = match ip.parse().ok()? {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().to_bits(), bits.checked_add(96)?),
            IpAddr::V6(v6) => (v6.to_bits(), bits),
        };
        (bits <= 128).then_some(Self { first, bits })
    }

    pub(crate) fn contains(self, address: Address) -> bool {
        let Address::Ip(ip) = address else { return false };
        let differing = (ip.to_bits() ^ self.first).leading_zeros();
        differing >= self.bits
    }
}

/// One end of a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct End {
    pub(crate) ip: Address,
    pub(crate) port: u16,
}

impl End {
    pub(crate) fn parse(ip: &str, port: i32) -> Option<Self> {
        Some(Self { ip: Address::parse(ip)?, port: u16::try_from(port).ok()? })
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Address::Ip(ip) if ip.to_ipv4_mapped().is_none() => write!(f, "[{ip}]:{}", self.port),
            _ => write!(f, "{}:{}", self.ip, self.port),
        }
    }
}

/// A tuple in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tuple {
    pub(crate) source: End,
    pub(crate) destination: End,
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}", self.source, self.destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_holds_the_addresses_that_share_its_prefix() {
        for (range, ip, expected) in [
            ("10.244.1.0/24", "10.244.1.255", true),
            ("10.244.1.0/24", "10.244.2.0", false),
            ("0.0.0.0/0", "10.244.2.0", true),
            ("fd00:1::/64", "fd00:1::2", true),
            ("fd00:1::/64", "10.244.1.1", false),
            ("fd00:1::2/128", "fd00:1::2", true),
            ("10.244.1.0/24", "ext-00000000000000ff", false),
        ] {
            let holds = Range::parse(range).zip(Address::parse(ip)).map(|(r, a)| r.contains(a));
            assert_eq!(holds, Some(expected), "{range} {ip}");
        }
        assert_eq!(Range::parse("10.244.1.0/33"), None);
        assert_eq!(Range::parse("10.244.1.0"), None);
    }

    #[test]
    fn mapped_ipv4_is_the_same_address_and_prints_plain() {
        for (text, printed) in [
            ("10.0.0.1", "10.0.0.1:80"),
            ("::ffff:10.0.0.1", "10.0.0.1:80"),
            ("fd00::1", "[fd00::1]:80"),
            ("ext-00000000000000ff", "ext-00000000000000ff:80"),
        ] {
            assert_eq!(End::parse(text, 80).map(|e| e.to_string()).as_deref(), Some(printed));
        }
        assert_eq!(Address::parse("10.0.0.1"), Address::parse("::ffff:10.0.0.1"));
        assert_eq!(End::parse("no address", 80), None);
        assert_eq!(End::parse("10.0.0.1", 70_000), None);
    }
}
