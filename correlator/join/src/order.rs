//! Orders of many rows, the same for any order of arrival.

use crate::names::{Name, Names};

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

/// A row whose last fields are names: their numbers depend on arrival, and with them its order.
pub(crate) trait Named: Copy + Ord {
    fn names(&self) -> [Option<Name>; 3];

    /// The same for all rows that differ in names alone.
    fn unnamed(self) -> Self;
}

/// Sorts rows by all that they hold, those that differ in names alone by their texts.
pub(crate) fn sort<T: Named>(rows: &mut [T], names: &Names) {
    rows.sort_unstable();
    for alike in rows.chunk_by_mut(|a, b| a.unnamed() == b.unnamed()) {
        alike.sort_by_key(|row| row.names().map(|name| names.text_of(name)));
    }
}

/// The rows of all parts by their time, and where that is equal by all that they hold.
pub(crate) fn merged<T: Named>(
    parts: Vec<Vec<T>>,
    names: &Names,
    time_ns: impl Fn(&T) -> i64,
) -> Vec<T> {
    let mut times = Vec::with_capacity(parts.iter().map(Vec::len).sum());
    for (part, rows) in (0_u32..).zip(&parts) {
        times.extend((0_u32..).zip(rows).map(|(at, row)| (time_ns(row), (part, at))));
    }
    let in_order = by_key(times).map(|(part, at)| parts[part as usize][at as usize]);
    let mut rows: Vec<T> = in_order.collect();
    for together in rows.chunk_by_mut(|a, b| time_ns(a) == time_ns(b)) {
        if together.len() > 1 {
            sort(together, names);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Sent(i64, u64, Name);

    impl Named for Sent {
        fn names(&self) -> [Option<Name>; 3] {
            [Some(self.2), None, None]
        }

        fn unnamed(self) -> Self {
            Self(self.0, self.1, Name::FIRST)
        }
    }

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
            let mut names = Names::default();
            let texts = ["b", "a", "d", "c"].map(|text| names.name(text));
            let mut row =
                || Sent(random.below(90) as i64, random.below(9), texts[random.below(4) as usize]);
            let mut rows: Vec<Sent> = (0..500).map(|_| row()).collect();
            let in_part = 1 + random.below(300) as usize;
            let parts = rows.chunks(in_part).map(<[_]>::to_vec).collect();
            rows.sort_by_key(|row| (row.0, row.1, names.text(row.2).to_owned()));
            assert_eq!(merged(parts, &names, |row: &Sent| row.0), rows, "seed {seed}");
        }
    }
}
