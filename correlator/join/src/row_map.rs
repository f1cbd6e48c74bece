//! Values by row: an array for the windows that nearly all rows are of, a tree for the others.

use std::collections::BTreeMap;

use crate::slab::RowId;

/// At most one value for each row.
#[derive(Debug)]
pub(crate) struct RowMap<T> {
    first: u32,
    /// Of the first window and the one after it.
    dense: [Vec<Option<T>>; 2],
    others: BTreeMap<RowId, T>,
}

impl<T> Default for RowMap<T> {
    fn default() -> Self {
        Self { first: 0, dense: [Vec::new(), Vec::new()], others: BTreeMap::new() }
    }
}

impl<T: Copy> RowMap<T> {
    /// A map in which rows of `first` and of the window after it, so many each, are found at once.
    pub(crate) fn new(first: u32, rows: [usize; 2]) -> Self {
        Self { first, dense: rows.map(|rows| vec![None; rows]), others: BTreeMap::new() }
    }

    pub(crate) fn insert(&mut self, row: RowId, value: T) {
        match self.slot(row) {
            Some(slot) => *slot = Some(value),
            None => {
                self.others.insert(row, value);
            }
        }
    }

    fn slot(&mut self, row: RowId) -> Option<&mut Option<T>> {
        let window = row.window.checked_sub(self.first)? as usize;
        self.dense.get_mut(window)?.get_mut(row.row as usize)
    }

    pub(crate) fn get(&self, row: RowId) -> Option<T> {
        let dense = row.window.checked_sub(self.first).and_then(|w| self.dense.get(w as usize));
        match dense.and_then(|rows| rows.get(row.row as usize)) {
            Some(value) => *value,
            None if self.others.is_empty() => None,
            None => self.others.get(&row).copied(),
        }
    }

    pub(crate) fn contains(&self, row: RowId) -> bool {
        self.get(row).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_wherever_they_are_kept() {
        let id = |window, row| RowId { window, row };
        let mut map = RowMap::new(5, [2, 1]);
        for (row, value) in [(id(5, 1), 'a'), (id(6, 0), 'b'), (id(6, 7), 'c'), (id(3, 0), 'd')] {
            map.insert(row, value);
        }
        let found =
            [id(5, 1), id(6, 0), id(6, 7), id(3, 0), id(5, 0), id(9, 9)].map(|r| map.get(r));
        assert_eq!(found, [Some('a'), Some('b'), Some('c'), Some('d'), None, None]);
    }
}
