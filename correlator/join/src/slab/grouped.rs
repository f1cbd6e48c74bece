//! Exchanges of one slab by the place that they happened in.

/// Those of place `p` are `rows[first[p]..first[p + 1]]`.
#[derive(Debug, Default)]
pub(super) struct Grouped {
    first: Vec<u32>,
    rows: Vec<u32>,
}

impl Grouped {
    /// Keeps the order of `rows` within each place. `places` are those of all exchanges, by row.
    pub(super) fn new(rows: &[u32], places: &[u32]) -> Self {
        let place = |row: u32| places[row as usize] as usize;
        let count = rows.iter().map(|&row| place(row) + 1).max().unwrap_or(0);
        let mut first = vec![0; count + 1];
        for &row in rows {
            first[place(row) + 1] += 1;
        }
        for p in 0..count {
            first[p + 1] += first[p];
        }
        let mut next = first.clone();
        let mut grouped = vec![0; rows.len()];
        for &row in rows {
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
