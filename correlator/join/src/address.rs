//! Addresses as integers: compared, never parsed twice.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 or IPv6 address, or the keyed token that stands for one outside the cluster.
///
/// IPv4 is mapped into IPv6. Tokens lie in the discard-only prefix `100::/64` (RFC 6666), from
/// which nothing is ever sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address {
    // Two words rather than one of 16 bytes, which would be aligned to that: rows hold several.
    high: u64,
    low: u64,
}

const TOKENS: u64 = 0x0100 << 48;

impl Address {
    /// No address: what a column holds where there is none.
    pub(crate) const NONE: Self = Self { high: 0, low: 0 };

    fn from_bits(bits: u128) -> Self {
        Self { high: (bits >> 64) as u64, low: bits as u64 }
    }

    fn bits(self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    /// Reads `10.0.0.1`, `fd00::1`, `::ffff:10.0.0.1` (the same as the first) or `ext-<16 hex>`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(token) = text.strip_prefix("ext-") {
            return u64::from_str_radix(token, 16).ok().map(|low| Self { high: TOKENS, low });
        }
        Some(match text.parse().ok()? {
            IpAddr::V4(v4) => Self::from_bits(v4.to_ipv6_mapped().to_bits()),
            IpAddr::V6(v6) => Self::from_bits(v6.to_bits()),
        })
    }

    /// The token, where this stands for an address outside the cluster.
    pub(crate) fn token(self) -> Option<u64> {
        (self.high == TOKENS).then_some(self.low)
    }

    pub(crate) fn v4(self) -> Option<[u8; 4]> {
        (self.high == 0 && self.low >> 32 == 0xffff).then(|| (self.low as u32).to_be_bytes())
    }

    /// An address that never leaves its network namespace.
    pub(crate) fn is_loopback(self) -> bool {
        let v4 = self.v4();
        v4.map_or(self.bits() == Ipv6Addr::LOCALHOST.to_bits(), |octets| octets[0] == 127)
    }

    pub(crate) fn is_some(self) -> bool {
        self != Self::NONE
    }

    /// Every form in which a raw row may write it.
    pub(crate) fn forms(self) -> impl Iterator<Item = String> {
        let mapped = self.v4().is_some().then(|| format!("::ffff:{self}"));
        [self.to_string()].into_iter().chain(mapped)
    }

    pub(crate) fn hash(self) -> u64 {
        self.low.wrapping_mul(MIX) ^ self.high
    }
}

/// An odd constant that spreads low bits over a word (2^64 divided by the golden ratio; Knuth, The
/// Art of Computer Programming 3, 6.4).
pub(crate) const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.token() {
            Some(token) => write!(f, "ext-{token:016x}"),
            None => Ipv6Addr::from_bits(self.bits()).to_canonical().fmt(f),
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
        let differing = (address.bits() ^ self.first).leading_zeros();
        address.token().is_none() && differing >= self.bits
    }
}

/// One end of a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct End {
    pub(crate) ip: Address,
    pub(crate) port: u16,
}

impl End {
    pub(crate) fn hash(self) -> u64 {
        (self.ip.hash() ^ u64::from(self.port)).wrapping_mul(MIX)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_v4 = Ipv6Addr::from_bits(self.ip.bits()).to_ipv4_mapped().is_some();
        if is_v4 || self.ip.token().is_some() {
            write!(f, "{}:{}", self.ip, self.port)
        } else {
            write!(f, "[{}]:{}", self.ip, self.port)
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
            let end = Address::parse(text).map(|ip| End { ip, port: 80 });
            assert_eq!(end.map(|e| e.to_string()).as_deref(), Some(printed));
        }
        assert_eq!(Address::parse("10.0.0.1"), Address::parse("::ffff:10.0.0.1"));
        assert_eq!(Address::parse("no address"), None);
    }
}
