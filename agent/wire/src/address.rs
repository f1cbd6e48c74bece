//! One end of a tuple: an address of 4 or 16 bytes and a port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct Endpoint {
    /// 4 bytes for IPv4, 16 for IPv6, network order. IPv4-mapped IPv6 is written as IPv4.
    #[prost(bytes = "vec", tag = "1")]
    pub ip: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub port: u32,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("read an address of {0} bytes, expected 4 or 16")]
    Length(usize),
    #[error("read port {0}, expected at most 65535")]
    Port(u32),
}

impl Endpoint {
    pub fn new(ip: IpAddr, port: u16) -> Self {
        let ip = match ip.to_canonical() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        Self { ip, port: u32::from(port) }
    }

    /// # Errors
    /// When the bytes are no address or the number is no port.
    pub fn parts(&self) -> Result<(IpAddr, u16), AddressError> {
        let ip = match *self.ip.as_slice() {
            [a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            ref bytes => match <[u8; 16]>::try_from(bytes) {
                Ok(bytes) => IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical(),
                Err(_) => return Err(AddressError::Length(bytes.len())),
            },
        };
        let port = u16::try_from(self.port).map_err(|_| AddressError::Port(self.port))?;
        Ok((ip, port))
    }
}
