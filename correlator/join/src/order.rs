//! Orders of many rows by an integer, without comparing rows.

/// Digits of a key, in bits: counts of one digit fit into a core's nearest cache.
const DIGIT_BITS: u32 = 11;

/// Positions `0..keys.len()` by their keys; where keys are equal, ascending.
///
/// Time and memory O(rows) for keys that lie within some minutes of each other (radix sort, least
/// digit first; Knuth, The Art of Computer Programming 3, 5.2.5).
pub(crate) fn by_key(keys: impl ExactSizeIterator<Item = i64> + Clone) -> Vec<u32> {
    let least = keys.clone().min().unwrap_or(0);
    let from_least = |key: i64| key.wrapping_sub(least) as u64;
    let greatest = keys.clone().map(from_least).max().unwrap_or(0);
    let mut rows: Vec<(u64, u32)> = keys.map(from_least).zip(0..).collect();
    let mut sorted = vec![(0, 0); rows.len()];
    let bits = u64::BITS - greatest.leading_zeros();
    for shift in (0..bits).step_by(DIGIT_BITS as usize) {
        let digit = |key: u64| (key >> shift) as usize & ((1 << DIGIT_BITS) - 1);
        let mut next = [0_u32; 1 << DIGIT_BITS];
        rows.iter().for_each(|&(key, _)| next[digit(key)] += 1);
        let mut from = 0;
        for slot in &mut next {
            from += std::mem::replace(slot, from);
        }
        for &(key, row) in &rows {
            let slot = &mut next[digit(key)];
            sorted[*slot as usize] = (key, row);
            *slot += 1;
        }
        std::mem::swap(&mut rows, &mut sorted);
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Sorts rows by their time, and where that is equal by all that they hold.
pub(crate) fn sort_by_time<T: Copy + Ord>(rows: &mut Vec<T>, time_ns: impl Fn(&T) -> i64 + Copy) {
    if rows.is_sorted() {
        return;
    }
    let order = by_key(rows.iter().map(time_ns));
    let mut sorted: Vec<T> = order.into_iter().map(|row| rows[row as usize]).collect();
    for together in sorted.chunk_by_mut(|a, b| time_ns(a) == time_ns(b)) {
        together.sort_unstable();
    }
    *rows = sorted;
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
            let keys: Vec<i64> = (0..count).map(|_| from + random.below(spread) as i64).collect();
            let mut expected: Vec<u32> = (0..keys.len() as u32).collect();
            expected.sort_by_key(|&row| keys[row as usize]);
            assert_eq!(by_key(keys.iter().copied()), expected, "seed {seed}");

            let mut rows: Vec<(i64, u64)> = keys.iter().map(|&k| (k, random.below(9))).collect();
            let mut sorted = rows.clone();
            sorted.sort_unstable();
            sort_by_time(&mut rows, |row| row.0);
            assert_eq!(rows, sorted, "seed {seed}");
        }
        let extremes = [i64::MAX, i64::MIN, 0, -1, i64::MIN];
        assert_eq!(by_key(extremes.into_iter()), [1, 4, 3, 2, 0]);
    }
}
