//! Exchanges of one slab by the place that they happened in.

use crate::columns::Exchange;

/// Those of place `p` are `rows[first[p]..first[p + 1]]`.
#[derive(Debug, Default)]
pub(super) struct Grouped {
    first: Vec<u32>,
    rows: Vec<u32>,
}

impl Grouped {
    /// Keeps the order of `rows` within each place.
    pub(super) fn new(rows: impl Iterator<Item = u32> + Clone, exchanges: &[Exchange]) -> Self {
        let place = |row: u32| exchanges[row as usize].place as usize;
        let places = exchanges.iter().map(|e| e.place as usize + 1).max().unwrap_or(0);
        let mut first = vec![0; places + 1];
        let mut count = 0;
        for row in rows.clone() {
            first[place(row) + 1] += 1;
            count += 1;
        }
        for p in 0..places {
            first[p + 1] += first[p];
        }
        let mut next = first.clone();
        let mut grouped = vec![0; count];
        for row in rows {
            let slot = &mut next[place(row)];
            grouped[*slot as usize] = row;
            *slot += 1;
        }
        Self { first, rows: grouped }
    }

    pub(super) fn of(&self, place: u32) -> &[u32] {
        let place = place as usize;
        match (self.first.get(place), self.first.get(place + 1)) {
            (Some(&from), Some(&to)) => &self.rows[from as usize..to as usize],
            _ => &[],
        }
    }
}
