//! Assignments that are forced: what follows from the constraints alone, with no score.

use std::collections::BTreeSet;

/// Assigns items to slots where only one assignment of all items is possible.
///
/// `candidates[item]` are the slots it fits; `capacity[slot]` how many items it holds. An item with
/// one candidate takes it; a slot that is full is struck from the others. For capacities of one,
/// this finds the assignment exactly when it is the only one that serves every item: an item-
/// saturating matching is unique only if some item has a single candidate, and so on inductively.
/// Items that stay undecided keep `None`; items that can't be served at all do too.
pub(crate) fn forced(candidates: &[Vec<usize>], capacity: &[usize]) -> Vec<Option<usize>> {
    let mut open: Vec<BTreeSet<usize>> =
        candidates.iter().map(|c| c.iter().copied().collect()).collect();
    let mut free = capacity.to_vec();
    let mut items_of: Vec<Vec<usize>> = vec![Vec::new(); capacity.len()];
    for (item, slots) in open.iter().enumerate() {
        for &slot in slots {
            items_of[slot].push(item);
        }
    }
    let mut decided = vec![None; candidates.len()];
    let mut ready: BTreeSet<usize> =
        (0..open.len()).filter(|&item| open[item].len() == 1).collect();
    while let Some(item) = ready.pop_first() {
        let Some(slot) = open[item].pop_first() else { continue };
        if free[slot] == 0 {
            // The slot was taken by another item that also had no choice.
            continue;
        }
        decided[item] = Some(slot);
        free[slot] -= 1;
        if free[slot] > 0 {
            continue;
        }
        for &other in &items_of[slot] {
            if decided[other].is_none() && open[other].remove(&slot) && open[other].len() == 1 {
                ready.insert(other);
            }
        }
    }
    withdraw_contradictions(candidates, capacity.len(), &open, decided)
}

/// Where an item was left without any slot, something was not seen, and nothing that hangs
/// together with it is proven.
fn withdraw_contradictions(
    candidates: &[Vec<usize>],
    slots: usize,
    open: &[BTreeSet<usize>],
    mut decided: Vec<Option<usize>>,
) -> Vec<Option<usize>> {
    let mut component: Vec<usize> = (0..slots).collect();
    fn root(component: &mut [usize], mut slot: usize) -> usize {
        while component[slot] != slot {
            component[slot] = component[component[slot]];
            slot = component[slot];
        }
        slot
    }
    for slots in candidates {
        for pair in slots.windows(2) {
            let (a, b) = (root(&mut component, pair[0]), root(&mut component, pair[1]));
            component[a.max(b)] = a.min(b);
        }
    }
    let mut contradicted = BTreeSet::new();
    for (item, slots) in candidates.iter().enumerate() {
        let Some(&slot) = slots.first() else { continue };
        if decided[item].is_none() && open[item].is_empty() {
            contradicted.insert(root(&mut component, slot));
        }
    }
    for (item, slots) in candidates.iter().enumerate() {
        let Some(&slot) = slots.first() else { continue };
        if contradicted.contains(&root(&mut component, slot)) {
            decided[item] = None;
        }
    }
    decided
}

/// Pairs two sequences whose order is the same, where every best pairing agrees.
///
/// `fits(i, j)` says whether left `i` may be paired with right `j`. A best pairing pairs as many
/// as possible without crossing. Returns for each left item the right one that it has in *all* best
/// pairings. Time and memory O(left * right).
pub(crate) fn aligned(
    left: usize,
    right: usize,
    fits: impl Fn(usize, usize) -> bool,
) -> Vec<Option<usize>> {
    let width = right + 1;
    let at = |i: usize, j: usize| i * width + j;
    let mut before = vec![0u32; (left + 1) * width];
    let mut after = vec![0u32; (left + 1) * width];
    let mut fit = vec![false; left * right];
    for i in 0..left {
        for j in 0..right {
            fit[i * right + j] = fits(i, j);
        }
    }
    for i in 0..left {
        for j in 0..right {
            let paired = before[at(i, j)] + u32::from(fit[i * right + j]);
            before[at(i + 1, j + 1)] = paired.max(before[at(i, j + 1)]).max(before[at(i + 1, j)]);
        }
    }
    for i in (0..left).rev() {
        for j in (0..right).rev() {
            let paired = after[at(i + 1, j + 1)] + u32::from(fit[i * right + j]);
            after[at(i, j)] = paired.max(after[at(i + 1, j)]).max(after[at(i, j + 1)]);
        }
    }
    let best = before[at(left, right)];
    (0..left)
        .map(|i| {
            let unpaired_is_best =
                (0..=right).any(|j| before[at(i, j)] + after[at(i + 1, j)] == best);
            let mut partners = (0..right).filter(|&j| {
                fit[i * right + j] && before[at(i, j)] + 1 + after[at(i + 1, j + 1)] == best
            });
            let first = partners.next();
            let is_only = partners.next().is_none() && !unpaired_is_best;
            first.filter(|_| is_only)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_forced(candidates: &[&[usize]], capacity: &[usize], expected: &[Option<usize>]) {
        let candidates: Vec<Vec<usize>> = candidates.iter().map(|c| c.to_vec()).collect();
        assert_eq!(forced(&candidates, capacity), expected, "{candidates:?}");
    }

    #[test]
    fn nested_intervals_have_one_assignment() {
        check_forced(&[&[0], &[0, 1]], &[1, 1], &[Some(0), Some(1)]);
    }

    #[test]
    fn interchangeable_items_stay_undecided() {
        check_forced(&[&[0, 1], &[0, 1]], &[1, 1], &[None, None]);
        check_forced(&[&[0, 1], &[0, 1], &[2]], &[1, 1, 1], &[None, None, Some(2)]);
    }

    #[test]
    fn two_items_for_one_slot_prove_nothing() {
        check_forced(&[&[0], &[0]], &[1], &[None, None]);
        check_forced(&[&[0], &[0]], &[2], &[Some(0), Some(0)]);
        check_forced(&[&[0], &[0, 1], &[1], &[2]], &[1, 1, 1], &[None, None, None, Some(2)]);
    }

    fn check_aligned(fits: &[&[u8]], expected: &[Option<usize>]) {
        let right = fits.first().map_or(0, |r| r.len());
        assert_eq!(aligned(fits.len(), right, |i, j| fits[i][j] == 1), expected, "{fits:?}");
    }

    #[test]
    fn order_decides_what_the_values_leave_open() {
        check_aligned(&[&[1, 1], &[1, 1]], &[Some(0), Some(1)]);
    }

    #[test]
    fn lost_line_leaves_its_neighbourhood_undecided() {
        check_aligned(&[&[1, 1]], &[None]);
        check_aligned(&[&[1, 1, 0], &[0, 0, 1]], &[None, Some(2)]);
    }

    #[test]
    fn crossing_pairs_are_no_pairing() {
        check_aligned(&[&[0, 1], &[1, 0]], &[None, None]);
    }
}
