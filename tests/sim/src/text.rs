//! Integers to text without an allocation: 43 million rows have four addresses each.

use crate::address::{Address, End};

/// Room for the longest text made here.
pub(crate) type Buffer = [u8; 36];

pub(crate) const BUFFER: Buffer = [0; 36];

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Lower-case hex digits of the low `digits * 4` bits.
pub(crate) fn hex(value: u128, digits: usize, buffer: &mut Buffer) -> &str {
    for (index, place) in buffer[..digits].iter_mut().enumerate() {
        *place = HEX[(value >> (4 * (digits - 1 - index)) & 0xf) as usize];
    }
    as_text(&buffer[..digits])
}

/// As [`Address`] displays itself.
pub(crate) fn address(address: Address, buffer: &mut Buffer) -> &str {
    match address.octets() {
        None => {
            buffer[..4].copy_from_slice(b"ext-");
            let token = address.bits();
            for (index, place) in buffer[4..20].iter_mut().enumerate() {
                *place = HEX[(token >> (4 * (15 - index)) & 0xf) as usize];
            }
            as_text(&buffer[..20])
        }
        Some(octets) => {
            let mut at = 0;
            for (index, octet) in octets.into_iter().enumerate() {
                if index > 0 {
                    buffer[at] = b'.';
                    at += 1;
                }
                if octet >= 100 {
                    buffer[at] = b'0' + octet / 100;
                    at += 1;
                }
                if octet >= 10 {
                    buffer[at] = b'0' + octet / 10 % 10;
                    at += 1;
                }
                buffer[at] = b'0' + octet % 10;
                at += 1;
            }
            as_text(&buffer[..at])
        }
    }
}

pub(crate) fn ip(end: End, buffer: &mut Buffer) -> &str {
    address(end.ip, buffer)
}

/// Only ASCII is written here.
fn as_text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_formatting_gives() {
        let mut buffer = BUFFER;
        for address_ in [
            Address::v4(10, 244, 100, 9),
            Address::v4(0, 10, 99, 255),
            Address::outside(0x1234_5678_9abc_def0),
        ] {
            assert_eq!(address(address_, &mut buffer), address_.to_string());
        }
        assert_eq!(hex(0xabc, 16, &mut buffer), format!("{:016x}", 0xabc));
        assert_eq!(hex(u128::MAX - 5, 32, &mut buffer), format!("{:032x}", u128::MAX - 5));
    }
}
