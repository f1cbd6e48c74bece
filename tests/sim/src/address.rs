//! Addresses as cheap integers, written out once a row.

use std::fmt;

/// An IPv4 address of the cluster, or the token that stands for one outside of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(u64);

/// Tokens have this bit, which no IPv4 address has.
const OUTSIDE: u64 = 1 << 63;

impl Address {
    pub const fn v4(a: u8, b: u8, c: u8, d: u8) -> Self {
        Self(u32::from_be_bytes([a, b, c, d]) as u64)
    }

    pub const fn outside(token: u64) -> Self {
        Self(token | OUTSIDE)
    }

    /// Bytes of an IPv4 address; `None` for a token.
    pub fn octets(self) -> Option<[u8; 4]> {
        (self.0 & OUTSIDE == 0).then(|| (self.0 as u32).to_be_bytes())
    }

    /// The token of an address outside.
    pub fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.octets() {
            Some([a, b, c, d]) => write!(f, "{a}.{b}.{c}.{d}"),
            None => write!(f, "ext-{:016x}", self.0),
        }
    }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct End {
    pub ip: Address,
    pub port: u16,
}

impl End {
    pub const fn new(ip: Address, port: u16) -> Self {
        Self { ip, port }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ip, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_collector_writes_them() {
        let end = End::new(Address::v4(10, 244, 1, 4), 8080);
        assert_eq!(end.to_string(), "10.244.1.4:8080");
        let token = Address::outside(0x3e88_8ecf_1d44_d7e8).to_string();
        assert_eq!(token, "ext-be888ecf1d44d7e8");
    }
}
