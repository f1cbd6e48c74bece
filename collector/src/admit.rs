//! The allow-list: what may pass, and in what form. Everything else is dropped and counted.
//!
//! Nothing passes as free text. A value passes as a number, as one of a fixed set of words, as an
//! address, as an id of known shape, as a Kubernetes name, or as a route template. Addresses from
//! outside the cluster and ids of unknown shape become keyed tokens, which still compare equal.
//! Pure: the key and the cluster's ranges are given, nothing is read or remembered.

mod agent;
mod attributes;
mod dropped;
mod route;
mod span;
mod text;

use std::net::IpAddr;

use ipnet::IpNet;

pub use agent::{RecordError, Records};
pub use dropped::Dropped;
pub use route::template;
pub use span::{ResourceNames, SpanError};
pub use text::{is_life_id, is_name, method};

const DAY_NS: i64 = 24 * 3_600 * 1_000_000_000;
/// Raw tables are kept for 30 days, so an older event would be gone before it could be read.
const EVENT_AGE_MAX_NS: i64 = 30 * DAY_NS;
/// A clock this far ahead is wrong by more than any zone or leap.
const EVENT_AHEAD_MAX_NS: i64 = DAY_NS;

/// Whether a row of this event time may be stored. A time far off would open a partition of its
/// own, and a hostile sender thousands of them.
pub fn is_plausible(event_ns: i64, received_ns: i64) -> bool {
    let earliest = received_ns.saturating_sub(EVENT_AGE_MAX_NS);
    let latest = received_ns.saturating_add(EVENT_AHEAD_MAX_NS);
    (earliest..=latest).contains(&event_ns)
}

/// What the allow-list needs to know of this cluster.
#[derive(Clone, Debug)]
pub struct Admission {
    cluster: Vec<IpNet>,
    address_key: [u8; 32],
    id_key: [u8; 32],
    input_key: [u8; 32],
    attribute_key: [u8; 32],
}

impl Admission {
    /// One secret serves all tokens, each kind under a key of its own, so that equal inputs of
    /// different kinds can't be told to be equal.
    pub fn new(secret: &[u8; 32], cluster: Vec<IpNet>) -> Self {
        Self {
            cluster,
            address_key: blake3::derive_key("throughline 2026 address token", secret),
            id_key: blake3::derive_key("throughline 2026 id token", secret),
            input_key: blake3::derive_key("throughline 2026 refused input", secret),
            attribute_key: blake3::derive_key("throughline 2026 attribute key", secret),
        }
    }

    /// An address of the cluster as it is, any other as `ext-<16 hex>`.
    pub fn address(&self, ip: IpAddr) -> String {
        let ip = ip.to_canonical();
        if self.cluster.iter().any(|range| range.contains(&ip)) {
            return ip.to_string();
        }
        let hash = match ip {
            IpAddr::V4(v4) => blake3::keyed_hash(&self.address_key, &v4.octets()),
            IpAddr::V6(v6) => blake3::keyed_hash(&self.address_key, &v6.octets()),
        };
        // 64 bits: among a million clients two share a token with a chance of 1 in 37 million.
        format!("ext-{}", &hash.to_hex()[..16])
    }

    /// The canonical request id, or a token where it has no shape that we know: such an id is
    /// whatever a client chose to write.
    pub fn request_id(&self, value: &str) -> Option<String> {
        let canonical = tables::request_id::canonical(value)?;
        if text::is_hex_id(&canonical) {
            return Some(canonical);
        }
        let hash = blake3::keyed_hash(&self.id_key, canonical.as_bytes());
        Some(format!("tok-{}", &hash.to_hex()[..32]))
    }

    /// Names a refused input without telling what it was.
    pub fn input_hash(&self, input: &[u8]) -> String {
        blake3::keyed_hash(&self.input_key, input).to_hex().to_string()
    }

    fn attribute_hash(&self, key: &str) -> u64 {
        let hash = blake3::keyed_hash(&self.attribute_key, key.as_bytes());
        hash.as_bytes().iter().take(8).fold(0, |value, &byte| value << 8 | u64::from(byte))
    }
}

#[cfg(test)]
pub(crate) fn for_tests() -> Admission {
    let cluster = ["10.0.0.0/8", "fd00::/8", "127.0.0.0/8", "::1/128"];
    Admission::new(&[7; 32], cluster.map(|range| range.parse().unwrap()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_addresses_pass_and_others_become_stable_keyed_tokens() {
        let admission = for_tests();
        for (address, expected) in [
            ("10.244.1.3", "10.244.1.3"),
            ("::ffff:10.244.1.3", "10.244.1.3"),
            ("fd00::1", "fd00::1"),
        ] {
            assert_eq!(admission.address(address.parse().unwrap()), expected);
        }
        let token = admission.address("198.18.0.2".parse().unwrap());
        assert!(token.len() == 20 && token.starts_with("ext-"), "{token}");
        assert_eq!(token, admission.address("::ffff:198.18.0.2".parse().unwrap()));
        assert_ne!(token, admission.address("198.18.0.3".parse().unwrap()));
        let other_key = Admission::new(&[8; 32], Vec::new());
        assert_ne!(token, other_key.address("198.18.0.2".parse().unwrap()));
    }

    #[test]
    fn request_ids_of_known_shape_pass_and_others_become_tokens() {
        let admission = for_tests();
        let uuid = admission.request_id("CC21D9B0-CF5C-932B-8C7E-98AEB7988CD2");
        assert_eq!(uuid.as_deref(), Some("cc21d9b0cf5c432b8c7e98aeb7988cd2"));
        let nginx = admission.request_id("c2c58cd42cb68822aae7d640ddf6583a");
        assert_eq!(nginx.as_deref(), Some("c2c58cd42cb68822aae7d640ddf6583a"));
        let odd = admission.request_id("alice@example.com wants 1 pizza").unwrap();
        assert!(odd.starts_with("tok-") && odd.len() == 36, "{odd}");
        assert_eq!(Some(odd), admission.request_id("ALICE@example.com wants 1 pizza"));
        assert_eq!(admission.request_id("-"), None);
        assert_eq!(admission.request_id(""), None);
    }
}
