//! Which intervals hold a moment, without looking at all of them.

use std::ops::Range;

/// Intervals by their start, over a tree of their greatest ends.
#[derive(Debug, Default)]
pub(crate) struct Intervals {
    starts: Vec<i64>,
    /// `latest[node]` is the greatest end below the node; leaves from `leaves` on.
    latest: Vec<i64>,
    leaves: usize,
}

impl Intervals {
    /// `intervals` sorted by start.
    pub(crate) fn new(intervals: impl Iterator<Item = (i64, i64)>) -> Self {
        let (starts, ends): (Vec<i64>, Vec<i64>) = intervals.unzip();
        let leaves = starts.len().next_power_of_two();
        let mut latest = vec![i64::MIN; 2 * leaves];
        latest[leaves..leaves + ends.len()].copy_from_slice(&ends);
        for node in (1..leaves).rev() {
            latest[node] = latest[2 * node].max(latest[2 * node + 1]);
        }
        Self { starts, latest, leaves }
    }

    /// Indexes, ascending, of the intervals that began at `from_ns` or before and end at `to_ns` or
    /// later.
    pub(crate) fn around(&self, from_ns: i64, to_ns: i64) -> Vec<usize> {
        let begun = self.starts.partition_point(|&start| start <= from_ns);
        let mut found = Vec::new();
        self.collect(1, 0..self.leaves, begun, to_ns, &mut found);
        found
    }

    /// Adds what is found below a node, whose leaves are given.
    fn collect(
        &self,
        node: usize,
        leaves: Range<usize>,
        begun: usize,
        to_ns: i64,
        found: &mut Vec<usize>,
    ) {
        if leaves.start >= begun || self.latest[node] < to_ns {
            return;
        }
        if leaves.len() == 1 {
            found.push(leaves.start);
            return;
        }
        let middle = usize::midpoint(leaves.start, leaves.end);
        self.collect(2 * node, leaves.start..middle, begun, to_ns, found);
        self.collect(2 * node + 1, middle..leaves.end, begun, to_ns, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_look_at_each_would_find() {
        let all = [(0, 9), (1, 2), (1, 30), (4, 4), (5, 3), (7, i64::MAX)];
        let tree = Intervals::new(all.iter().copied());
        for from in -1..12 {
            for to in -1..32 {
                let each: Vec<usize> =
                    (0..all.len()).filter(|&i| all[i].0 <= from && all[i].1 >= to).collect();
                assert_eq!(tree.around(from, to), each, "{from}..{to}");
            }
        }
        assert!(Intervals::new(std::iter::empty()).around(0, 0).is_empty());
    }
}
