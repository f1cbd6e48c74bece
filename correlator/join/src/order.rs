//! Orders of many rows by an integer, without comparing rows.

/// Digits of a key, in bits: counts of one digit fit into a core's nearest cache.
const DIGIT_BITS: u32 = 11;

/// Values by their keys; those of one key in the order in which they come.
///
/// Time and memory O(values) for keys that lie within some minutes of each other (radix sort, least
/// digit first; Knuth, The Art of Computer Programming 3, 5.2.5).
pub(crate) fn by_key<T: Copy>(mut values: Vec<(i64, T)>) -> impl Iterator<Item = T> {
    let least = values.iter().map(|&(key, _)| key).min().unwrap_or(0);
    let from_least = |key: i64| key.wrapping_sub(least) as u64;
    let greatest = values.iter().map(|&(key, _)| from_least(key)).max().unwrap_or(0);
    let mut sorted = values.clone();
    let bits = u64::BITS - greatest.leading_zeros();
    for shift in (0..bits).step_by(DIGIT_BITS as usize) {
        let digit = |key: i64| (from_least(key) >> shift) as usize & ((1 << DIGIT_BITS) - 1);
        let mut next = [0_u32; 1 << DIGIT_BITS];
        values.iter().for_each(|&(key, _)| next[digit(key)] += 1);
        let mut from = 0;
        for slot in &mut next {
            from += std::mem::replace(slot, from);
        }
        for &value in &values {
            let slot = &mut next[digit(value.0)];
            sorted[*slot as usize] = value;
            *slot += 1;
        }
        std::mem::swap(&mut values, &mut sorted);
    }
    values.into_iter().map(|(_, value)| value)
}

/// The rows of all parts by their time, and where that is equal by all that they hold.
pub(crate) fn merged<T: Copy + Ord>(parts: Vec<Vec<T>>, time_ns: impl Fn(&T) -> i64) -> Vec<T> {
    let mut times = Vec::with_capacity(parts.iter().map(Vec::len).sum());
    for (part, rows) in (0_u32..).zip(&parts) {
        times.extend((0_u32..).zip(rows).map(|(at, row)| (time_ns(row), (part, at))));
    }
    let in_order = by_key(times).map(|(part, at)| parts[part as usize][at as usize]);
    let mut rows: Vec<T> = in_order.collect();
    for together in rows.chunk_by_mut(|a, b| time_ns(a) == time_ns(b)) {
        together.sort_unstable();
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;

    #[test]
    fn order_by_digits_is_the_order_of_a_stable_sort() {
        for seed in 0..200 {
            let mut random = Seeded::new(seed);
            let spread = 1 << random.below(40);
            let from = random.next() as i64 >> 8;
            let count = random.below(2_000);
            let keys = (0..count).map(|n| (from + random.below(spread) as i64, n));
            let keys: Vec<(i64, u64)> = keys.collect();
            let mut expected = keys.clone();
            expected.sort_by_key(|&(key, _)| key);
            let expected: Vec<u64> = expected.into_iter().map(|(_, n)| n).collect();
            assert_eq!(by_key(keys).collect::<Vec<_>>(), expected, "seed {seed}");
        }
        let extremes = [(i64::MAX, 0), (i64::MIN, 1), (0, 2), (-1, 3), (i64::MIN, 4)];
        assert_eq!(by_key(extremes.to_vec()).collect::<Vec<_>>(), [1, 4, 3, 2, 0]);
    }

    #[test]
    fn parts_are_merged_by_time_and_content_whichever_comes_first() {
        for seed in 0..200 {
            let mut random = Seeded::new(seed);
            let mut rows: Vec<(i64, u64)> =
                (0..500).map(|_| (random.below(90) as i64, random.below(9))).collect();
            let parts = rows.chunks(1 + random.below(300) as usize).map(<[_]>::to_vec).collect();
            rows.sort_unstable();
            assert_eq!(merged(parts, |row: &(i64, u64)| row.0), rows, "seed {seed}");
        }
    }
}
