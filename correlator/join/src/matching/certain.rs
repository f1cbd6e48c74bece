//! What is the same in all assignments that serve every item: more than follows step by step.
//!
//! Two items that fit the same two slots, and no others, leave neither of them to a third. So each
//! item is taken out of some assignment and put back elsewhere; where that can't be done without
//! leaving another item out, its slot is certain (an edge that is in every maximum matching; Régin,
//! A filtering algorithm for constraints of difference in CSPs, 1994).

use std::collections::{BTreeMap, BTreeSet};

use super::{NO_LIMIT, forced};
use crate::lists::Lists;

/// Of more items that hang together nothing more is asked: each takes time in all the others.
const ITEMS_MAX: usize = 256;

/// As [`forced`], and beyond it for items that it leaves undecided.
pub(crate) fn certain(candidates: &Lists, capacity: &[usize]) -> Vec<Option<usize>> {
    let mut decided = forced(candidates, capacity);
    let mut free = capacity.to_vec();
    for &slot in decided.iter().flatten().filter(|&&slot| capacity[slot] != NO_LIMIT) {
        free[slot] -= 1;
    }
    let is_open = |item: &usize| decided[*item].is_none() && candidates[*item].len() > 1;
    let open: Vec<usize> = (0..candidates.len()).filter(is_open).collect();
    for items in together(&open, candidates, &free) {
        for (item, slot) in Assignment::new(candidates, &free).certain(&items) {
            decided[item] = Some(slot);
        }
    }
    decided
}

/// Items in groups that share no slot with a limit.
fn together(open: &[usize], candidates: &Lists, free: &[usize]) -> Vec<Vec<usize>> {
    let mut items_of: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &item in open {
        for &slot in candidates[item].iter().filter(|&&slot| free[slot] != NO_LIMIT) {
            items_of.entry(slot).or_default().push(item);
        }
    }
    let mut groups = Vec::new();
    let mut left: BTreeSet<usize> = open.iter().copied().collect();
    while let Some(first) = left.pop_first() {
        let (mut group, mut reached) = (Vec::new(), vec![first]);
        while let Some(item) = reached.pop() {
            group.push(item);
            let slots = candidates[item].iter().filter_map(|slot| items_of.get(slot));
            reached.extend(slots.flatten().copied().filter(|other| left.remove(other)));
        }
        group.sort_unstable();
        groups.push(group);
    }
    groups
}

/// Items in slots, so far.
struct Assignment<'a> {
    candidates: &'a Lists,
    free: &'a [usize],
    slot_of: BTreeMap<usize, usize>,
    held: BTreeMap<usize, Vec<usize>>,
}

impl<'a> Assignment<'a> {
    fn new(candidates: &'a Lists, free: &'a [usize]) -> Self {
        Self { candidates, free, slot_of: BTreeMap::new(), held: BTreeMap::new() }
    }

    /// The items that have the same slot in all assignments; none where there is no assignment.
    fn certain(mut self, items: &[usize]) -> Vec<(usize, usize)> {
        if items.len() > ITEMS_MAX
            || !items.iter().all(|&item| self.place(item, None, &mut BTreeSet::new()))
        {
            return Vec::new();
        }
        let mut certain = Vec::new();
        for &item in items {
            let slot = self.slot_of[&item];
            self.take_out(item, slot);
            if !self.place(item, Some(slot), &mut BTreeSet::new()) {
                self.put(item, slot);
                certain.push((item, slot));
            }
        }
        certain
    }

    /// Places an item in a slot that is not `refused`, if others can make room.
    fn place(&mut self, item: usize, refused: Option<usize>, seen: &mut BTreeSet<usize>) -> bool {
        let candidates = self.candidates;
        for &slot in candidates[item].iter().filter(|&&slot| Some(slot) != refused) {
            if !seen.insert(slot) {
                continue;
            }
            let held = self.held.get(&slot).map_or(0, Vec::len);
            if held < self.free[slot] {
                self.put(item, slot);
                return true;
            }
            for at in 0..held {
                let other = self.held[&slot][at];
                if self.place(other, None, seen) {
                    self.held.entry(slot).or_default().retain(|&held| held != other);
                    self.put(item, slot);
                    return true;
                }
            }
        }
        false
    }

    fn put(&mut self, item: usize, slot: usize) {
        self.held.entry(slot).or_default().push(item);
        self.slot_of.insert(item, slot);
    }

    fn take_out(&mut self, item: usize, slot: usize) {
        self.held.entry(slot).or_default().retain(|&held| held != item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;

    #[test]
    fn two_that_fit_the_same_two_leave_neither_to_a_third() {
        let candidates = Lists::from_iter([vec![0, 1], vec![0, 1], vec![0, 1, 2]]);
        assert_eq!(certain(&candidates, &[1, 1, 1]), [None, None, Some(2)]);
        assert_eq!(certain(&candidates, &[2, 1, 1]), [None, None, None]);
        assert_eq!(certain(&candidates, &[1, NO_LIMIT, 1]), [None, None, None]);
    }

    #[test]
    fn what_cannot_all_be_served_proves_nothing() {
        let candidates = Lists::from_iter([
            vec![0, 1],
            vec![0, 1],
            vec![0, 1],
            vec![2, 3],
            vec![2, 3],
            vec![2, 3, 4],
        ]);
        let expected = [None, None, None, None, None, Some(4)];
        assert_eq!(certain(&candidates, &[1; 5]), expected);
    }

    /// All assignments, one after the other.
    fn all(
        candidates: &Lists,
        free: &mut [usize],
        chosen: &mut Vec<usize>,
        found: &mut Vec<Vec<usize>>,
    ) {
        if chosen.len() == candidates.len() {
            found.push(chosen.clone());
            return;
        }
        for &slot in &candidates[chosen.len()] {
            if free[slot] > 0 {
                free[slot] -= 1;
                chosen.push(slot);
                all(candidates, free, chosen, found);
                chosen.pop();
                free[slot] += 1;
            }
        }
    }

    #[test]
    fn certain_is_what_all_assignments_share() {
        for seed in 0..3_000 {
            let mut random = Seeded::new(seed);
            let (items, slots) = (1 + random.below(5) as usize, 1 + random.below(5) as usize);
            let density = random.unit();
            let capacity: Vec<usize> = (0..slots).map(|_| 1 + random.below(2) as usize).collect();
            let mut row = || (0..slots).filter(|_| random.unit() < density).collect::<Vec<_>>();
            let candidates: Lists = (0..items).map(|_| row()).filter(|r| !r.is_empty()).collect();
            let mut found = Vec::new();
            all(&candidates, &mut capacity.clone(), &mut Vec::new(), &mut found);
            let Some(first) = found.first() else { continue };
            let shared = |item: usize| found.iter().all(|one| one[item] == first[item]);
            let expected: Vec<Option<usize>> =
                (0..candidates.len()).map(|item| shared(item).then(|| first[item])).collect();
            assert_eq!(
                certain(&candidates, &capacity),
                expected,
                "seed {seed}: {candidates:?} {capacity:?}"
            );
        }
    }
}
