//! Small integers as parquet writes levels and the numbers of a dictionary's values: runs of one
//! value, and groups of eight packed bit by bit (Apache Parquet, `Encodings.md`, RLE / bit-packing
//! hybrid).

/// Values that are packed together.
const GROUP: usize = 8;

/// How many bits hold all values up to this one.
pub(super) fn width(greatest: u32) -> u32 {
    u32::BITS - greatest.leading_zeros()
}

/// Appends values of so many bits each, at least one.
pub(super) fn encode(values: &[u32], width: u32, out: &mut Vec<u8>) {
    let (mut packed, mut at) = (0, 0);
    while at < values.len() {
        let value = values[at];
        let run = values[at..].iter().take_while(|&&other| other == value).count();
        // A run begins where a group is full.
        let filling = (GROUP - (at - packed) % GROUP) % GROUP;
        if run >= filling + GROUP {
            pack(&values[packed..at + filling], width, out);
            repeat(value, run - filling, width, out);
            packed = at + run;
        }
        at += run;
    }
    pack(&values[packed..], width, out);
}

fn repeat(value: u32, times: usize, width: u32, out: &mut Vec<u8>) {
    number(times << 1, out);
    out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(u8::BITS) as usize]);
}

fn pack(values: &[u32], width: u32, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(GROUP);
    number(groups << 1 | 1, out);
    let end = out.len() + groups * width as usize;
    out.reserve(groups * width as usize);
    let (mut bits, mut count) = (0_u64, 0);
    for &value in values {
        bits |= u64::from(value) << count;
        count += width;
        if count >= u32::BITS {
            out.extend_from_slice(&(bits as u32).to_le_bytes());
            bits >>= u32::BITS;
            count -= u32::BITS;
        }
    }
    out.extend_from_slice(&bits.to_le_bytes()[..count.div_ceil(u8::BITS) as usize]);
    // The last group is filled up.
    out.resize(end, 0);
}

/// Seven bits a byte, the least first.
fn number(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(values: &[u32], width: u32) -> Vec<u8> {
        let mut out = Vec::new();
        encode(values, width, &mut out);
        out
    }

    #[test]
    fn eight_values_are_packed_as_the_format_shows_it() {
        // The example of the format's page.
        let packed = encoded(&[0, 1, 2, 3, 4, 5, 6, 7], 3);
        assert_eq!(packed, [3, 0b1000_1000, 0b1100_0110, 0b1111_1010]);
        assert!(encoded(&[], 3).is_empty());
        assert_eq!(encoded(&[5], 3), [3, 5, 0, 0]);
    }

    #[test]
    fn a_run_is_told_once_and_begins_where_a_group_is_full() {
        assert_eq!(encoded(&[300; 100], 9), [200, 1, 44, 1]);
        let mut values = vec![1, 0, 1];
        values.extend([0; 20]);
        assert_eq!(encoded(&values, 1), [3, 0b101, 30, 0]);
    }

    #[test]
    fn width_is_that_of_the_greatest_value() {
        assert_eq!([0, 1, 2, 255, 256, u32::MAX].map(width), [0, 1, 2, 8, 9, 32]);
        assert_eq!(encoded(&[u32::MAX; 8], 32), [16, 255, 255, 255, 255]);
        let values: Vec<u32> = (0..8).map(|n| u32::MAX - n).collect();
        let expected: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(encoded(&values, 32)[1..], expected);
    }
}
