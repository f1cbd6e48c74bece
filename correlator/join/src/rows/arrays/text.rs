//! Text columns that are written out: addresses, tuples, ids.

use std::io::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};

use crate::address::{Address, End, Tuple};
use crate::id::{Id, OddIds};

pub(super) struct Texts;

/// Bytes of a text, for a first guess of a column's size.
const ADDRESS_BYTES: usize = 14;
const ID_BYTES: usize = 32;

impl Texts {
    pub(super) fn plain<'t>(texts: impl Iterator<Item = &'t str>) -> ArrayRef {
        let mut column = StringBuilder::new();
        texts.for_each(|text| column.append_value(text));
        Arc::new(column.finish())
    }

    pub(super) fn addresses(ends: impl Iterator<Item = Option<(Address, u16)>>) -> ArrayRef {
        let mut text = Vec::new();
        column(ends, ADDRESS_BYTES, |(ip, _), out| {
            text.clear();
            ip.write(&mut text);
            out.append_value(utf8(&text));
        })
    }

    pub(super) fn tuples(tuples: impl Iterator<Item = Option<Tuple>>) -> ArrayRef {
        let mut text = Vec::new();
        column(tuples, 3 * ADDRESS_BYTES, |tuple, out| {
            text.clear();
            tuple.write(&mut text);
            out.append_value(utf8(&text));
        })
    }

    /// Ids that we made.
    pub(super) fn ids(ids: impl Iterator<Item = Option<Id>>) -> ArrayRef {
        column(ids, ID_BYTES, |id, out| out.append_value(utf8(&hex(id))))
    }

    /// Ids as they were read.
    pub(super) fn known_ids(odd: &OddIds, ids: impl Iterator<Item = Option<Id>>) -> ArrayRef {
        column(ids, ID_BYTES, |id, out| match odd.text(id) {
            Some(text) => out.append_value(text),
            None => out.append_value(utf8(&hex(id))),
        })
    }
}

fn column<T>(
    values: impl Iterator<Item = Option<T>>,
    bytes: usize,
    mut append: impl FnMut(T, &mut StringBuilder),
) -> ArrayRef {
    let rows = values.size_hint().0;
    let mut column = StringBuilder::with_capacity(rows, rows * bytes);
    for value in values {
        match value {
            Some(value) => append(value, &mut column),
            None => column.append_null(),
        }
    }
    Arc::new(column.finish())
}

fn utf8(text: &[u8]) -> &str {
    // Digits, dots and the like; nothing else is ever written.
    std::str::from_utf8(text).unwrap_or_default()
}

fn hex(id: Id) -> [u8; 32] {
    let mut text = [0; 32];
    for (digit, byte) in text.iter_mut().enumerate() {
        let nibble = (id >> (124 - 4 * digit)) as usize & 15;
        *byte = b"0123456789abcdef"[nibble];
    }
    text
}

impl Address {
    /// The text of [`Display`](std::fmt::Display); IPv4, as nearly all are, without its machinery.
    fn write(self, out: &mut Vec<u8>) {
        match self.v4() {
            Some(octets) => {
                for (i, octet) in octets.into_iter().enumerate() {
                    if i > 0 {
                        out.push(b'.');
                    }
                    decimal(octet.into(), out);
                }
            }
            // Writing into memory does not fail.
            None => drop(write!(out, "{self}")),
        }
    }
}

impl End {
    pub(in crate::rows) fn write(self, out: &mut Vec<u8>) {
        if self.ip.v4().is_none() {
            return drop(write!(out, "{self}"));
        }
        self.ip.write(out);
        out.push(b':');
        decimal(self.port, out);
    }
}

impl Tuple {
    fn write(self, out: &mut Vec<u8>) {
        self.source.write(out);
        out.extend_from_slice(b"->");
        self.destination.write(out);
    }
}

fn decimal(number: u16, out: &mut Vec<u8>) {
    let mut digits = [0; 5];
    let mut left = number;
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_texts_are_those_that_are_displayed() {
        let ips = ["10.0.0.1", "255.255.255.255", "0.0.0.0", "fd00::1", "ext-00000000000000ff"];
        let ips: Vec<Address> = ips.iter().filter_map(|text| Address::parse(text)).collect();
        for (&ip, &other) in ips.iter().zip(ips.iter().rev()) {
            for port in [0, 9, 10, 65_535] {
                let tuple =
                    Tuple { source: End { ip, port }, destination: End { ip: other, port: 80 } };
                let (mut text, mut of_tuple) = (Vec::new(), Vec::new());
                ip.write(&mut text);
                tuple.write(&mut of_tuple);
                assert_eq!(utf8(&text), ip.to_string());
                assert_eq!(utf8(&of_tuple), tuple.to_string());
            }
        }
        for id in [0, 255, u128::MAX, 0x0123_4567_89ab_cdef << 60] {
            assert_eq!(utf8(&hex(id)), format!("{id:032x}"));
        }
    }
}
