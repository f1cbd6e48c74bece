//! Many short lists of positions in one: some are made for every request of a window.

use std::ops::Index;

/// Lists by position. Those are appended and read, never changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lists {
    ends: Vec<usize>,
    items: Vec<usize>,
}

impl Lists {
    pub(crate) fn push(&mut self, list: impl IntoIterator<Item = usize>) {
        self.items.extend(list);
        self.ends.push(self.items.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[usize]> {
        (0..self.len()).map(|at| &self[at])
    }

    /// For each of `count` items the positions of the lists that hold it, ascending.
    pub(crate) fn inverse(&self, count: usize) -> Self {
        let mut ends = vec![0; count];
        self.items.iter().for_each(|&item| ends[item] += 1);
        let mut before = 0;
        for end in &mut ends {
            before += std::mem::replace(end, before);
        }
        // Each end begins at its list's first place, and moves on with what is put there.
        let mut items = vec![0; self.items.len()];
        for (position, list) in self.iter().enumerate() {
            for &item in list {
                items[ends[item]] = position;
                ends[item] += 1;
            }
        }
        Self { ends, items }
    }
}

impl Index<usize> for Lists {
    type Output = [usize];

    fn index(&self, at: usize) -> &[usize] {
        let from = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.items[from..self.ends[at]]
    }
}

impl<L: IntoIterator<Item = usize>> FromIterator<L> for Lists {
    fn from_iter<I: IntoIterator<Item = L>>(lists: I) -> Self {
        let mut all = Self::default();
        lists.into_iter().for_each(|list| all.push(list));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_is_found_again_and_so_are_the_lists_of_each_item() {
        let each: [&[usize]; 4] = [&[2, 0], &[], &[0], &[3, 2, 0]];
        let lists: Lists = each.iter().map(|list| list.iter().copied()).collect();
        assert!(lists.iter().eq(each));
        let inverse: [&[usize]; 5] = [&[0, 2, 3], &[], &[0, 3], &[3], &[]];
        assert!(lists.inverse(5).iter().eq(inverse));
        assert_eq!(Lists::default().inverse(0).len(), 0);
    }
}
