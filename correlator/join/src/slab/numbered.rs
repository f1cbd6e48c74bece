//! Exchanges of one slab by what tells them apart: the sequence number of their request and their
//! role.
//!
//! Rows are put into buckets by counting, in the order of the slab: one pass over memory for the
//! counts and one for the rows. A hash table would be as quick to ask, and its filling takes several
//! jumps through memory for each of millions of rows.

/// A row, and the bits of its hash that buckets do not look at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    tag: u32,
    pub(super) row: u32,
}

/// Rows by their hashes. Those of bucket `b` are `entries[first[b]..first[b + 1]]`, by tag and row.
#[derive(Debug, Default)]
pub(super) struct Numbered {
    first: Vec<u32>,
    entries: Vec<Entry>,
    bits: u32,
}

impl Numbered {
    /// Row `r` has the `r`th of the hashes.
    pub(super) fn new(hashes: &[u64]) -> Self {
        let bits = hashes.len().next_power_of_two().trailing_zeros();
        let mut first = vec![0_u32; (1 << bits) + 1];
        hashes.iter().for_each(|&hash| first[bucket(hash, bits) + 1] += 1);
        for bucket in 0..1 << bits {
            first[bucket + 1] += first[bucket];
        }
        let mut next = first.clone();
        let mut entries = vec![Entry::default(); hashes.len()];
        for (&hash, row) in hashes.iter().zip(0..) {
            let slot = &mut next[bucket(hash, bits)];
            entries[*slot as usize] = Entry { tag: tag(hash), row };
            *slot += 1;
        }
        for bucket in first.windows(2).filter(|bucket| bucket[1] - bucket[0] > 1) {
            entries[bucket[0] as usize..bucket[1] as usize].sort_unstable();
        }
        Self { first, entries, bits }
    }

    /// Rows that may have a hash, ascending: others may be among them, none is missing.
    pub(super) fn of(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let bucket = bucket(hash, self.bits);
        let range = self.first.get(bucket).zip(self.first.get(bucket + 1));
        let entries =
            range.map_or(&[][..], |(&from, &to)| &self.entries[from as usize..to as usize]);
        let is_its = move |entry: &&Entry| entry.tag == tag(hash);
        entries.iter().filter(is_its).map(|entry| entry.row)
    }

    /// Rows that may share a hash, ascending, where there are several.
    pub(super) fn alike(&self) -> impl Iterator<Item = &[Entry]> {
        let together = self.first.windows(2).filter(|bucket| bucket[1] - bucket[0] > 1);
        let entries = together.map(|bucket| &self.entries[bucket[0] as usize..bucket[1] as usize]);
        let by_tag = entries.flat_map(|entries| entries.chunk_by(|a, b| a.tag == b.tag));
        by_tag.filter(|alike| alike.len() > 1)
    }
}

fn bucket(hash: u64, bits: u32) -> usize {
    hash.checked_shr(u64::BITS - bits).unwrap_or(0) as usize
}

fn tag(hash: u64) -> u32 {
    hash as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;

    #[test]
    fn rows_are_found_by_their_hash_and_those_that_share_one_together() {
        for seed in 0..100 {
            let mut random = Seeded::new(seed);
            let distinct: Vec<u64> = (0..1 + random.below(300)).map(|_| random.next()).collect();
            let count = random.below(600);
            let pick = |_| distinct[random.below(distinct.len() as u64) as usize];
            let hashes: Vec<u64> = (0..count).map(pick).collect();
            let numbered = Numbered::new(&hashes);
            let mut alike: Vec<Vec<u32>> = Vec::new();
            let mut known: Vec<u64> = distinct.clone();
            known.sort_unstable();
            known.dedup();
            for hash in known {
                let of_hash = (0_u32..).zip(&hashes).filter(|(_, h)| **h == hash);
                let expected: Vec<u32> = of_hash.map(|(row, _)| row).collect();
                assert_eq!(numbered.of(hash).collect::<Vec<_>>(), expected, "seed {seed}");
                alike.extend(Some(expected).filter(|rows| rows.len() > 1));
            }
            let rows = |alike: &[Entry]| alike.iter().map(|entry| entry.row).collect();
            let mut found: Vec<Vec<u32>> = numbered.alike().map(rows).collect();
            found.sort_unstable();
            alike.sort_unstable();
            assert_eq!(found, alike, "seed {seed}");
        }
    }

    #[test]
    fn nothing_is_found_where_there_is_nothing() {
        for empty in [Numbered::default(), Numbered::new(&[])] {
            assert_eq!((empty.of(7).count(), empty.alike().count()), (0, 0));
        }
    }
}
