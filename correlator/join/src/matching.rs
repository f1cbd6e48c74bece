//! Assignments that are forced: what follows from the constraints alone, with no score.

mod certain;

use crate::lists::Lists;

pub(crate) use certain::certain;

/// Capacity of a slot that holds whatever is given to it: items that share it do not depend on each
/// other.
pub(crate) const NO_LIMIT: usize = usize::MAX;

/// Assigns items to slots where only one assignment of all items is possible.
///
/// `candidates[item]` are the slots it fits, each once; `capacity[slot]` how many items it holds. An
/// item with one candidate takes it; a slot that is full is struck from the others. For capacities
/// of one, this finds the assignment exactly when it is the only one that serves every item: an
/// item-saturating matching is unique only if some item has a single candidate, and so on
/// inductively.
/// Items that stay undecided keep `None`; items that can't be served at all do too.
pub(crate) fn forced(candidates: &Lists, capacity: &[usize]) -> Vec<Option<usize>> {
    let items_of = candidates.inverse(capacity.len());
    let mut left: Vec<usize> = candidates.iter().map(<[usize]>::len).collect();
    let mut free = capacity.to_vec();
    let mut is_full = vec![false; capacity.len()];
    let mut decided = vec![None; candidates.len()];
    let mut ready: Vec<usize> = (0..left.len()).filter(|&item| left[item] == 1).collect();
    while let Some(item) = ready.pop() {
        // Its last slot may have been taken meanwhile, by an item that also had no choice.
        let Some(&slot) = candidates[item].iter().find(|&&slot| !is_full[slot]) else { continue };
        left[item] = 0;
        if free[slot] == 0 {
            continue;
        }
        decided[item] = Some(slot);
        free[slot] -= 1;
        if free[slot] > 0 {
            continue;
        }
        is_full[slot] = true;
        for &other in &items_of[slot] {
            if decided[other].is_none() && left[other] > 0 {
                left[other] -= 1;
                if left[other] == 1 {
                    ready.push(other);
                }
            }
        }
    }
    withdraw_contradictions(candidates, capacity, &left, &mut decided);
    decided
}

/// Where an item was `left` without any slot, something was not seen, and nothing that hangs
/// together with it is proven.
fn withdraw_contradictions(
    candidates: &Lists,
    capacity: &[usize],
    left: &[usize],
    decided: &mut [Option<usize>],
) {
    let is_contradicted = |item: usize| decided[item].is_none() && left[item] == 0;
    let contradicted: Vec<usize> = (0..candidates.len())
        .filter(|&item| is_contradicted(item) && !candidates[item].is_empty())
        .collect();
    if contradicted.is_empty() {
        return;
    }
    let mut component: Vec<usize> = (0..capacity.len()).collect();
    fn root(component: &mut [usize], mut slot: usize) -> usize {
        while component[slot] != slot {
            component[slot] = component[component[slot]];
            slot = component[slot];
        }
        slot
    }
    for slots in candidates.iter() {
        let mut limited = slots.iter().filter(|&&slot| capacity[slot] != NO_LIMIT);
        let Some(&first) = limited.next() else { continue };
        for &slot in limited {
            let (a, b) = (root(&mut component, first), root(&mut component, slot));
            component[a.max(b)] = a.min(b);
        }
    }
    let mut is_withdrawn = vec![false; capacity.len()];
    for item in contradicted {
        is_withdrawn[root(&mut component, candidates[item][0])] = true;
    }
    for (item, slots) in candidates.iter().enumerate() {
        let Some(&slot) = slots.first() else { continue };
        if is_withdrawn[root(&mut component, slot)] {
            decided[item] = None;
        }
    }
}

/// Pairs two sequences whose order is the same, where every best pairing agrees.
///
/// `candidates[left]` are the right ones that a left one fits, ascending. A best pairing pairs as
/// many as possible without crossing. Returns for each left one the right one that it has in *all*
/// best pairings. Time O(n log n) for n candidates in all.
///
/// A best pairing is a longest chain of candidates that ascends on both sides (Hunt and Szymanski,
/// A fast algorithm for computing longest common subsequences, 1977). The n-th link of each of them
/// is a candidate with n links up to it; one that is alone in that is in all.
pub(crate) fn aligned(candidates: &Lists) -> Vec<Option<usize>> {
    let fits: Vec<(usize, usize)> = candidates
        .iter()
        .enumerate()
        .flat_map(|(i, all)| all.iter().map(move |&j| (i, j)))
        .collect();
    let upto = links(fits.iter().copied());
    let most = fits.iter().map(|&(_, j)| j).max().unwrap_or(0);
    let mut from = links(fits.iter().rev().map(|&(i, j)| (candidates.len() - i, most - j)));
    from.reverse();
    let best = upto.iter().copied().max().unwrap_or(0);
    let mut nth: Vec<Only> = vec![Only::Nobody; best as usize];
    for (at, (upto, from)) in upto.iter().zip(&from).enumerate() {
        if upto + from == best + 1 {
            let nth = &mut nth[*upto as usize - 1];
            *nth = if matches!(nth, Only::Nobody) { Only::One(at) } else { Only::Several };
        }
    }
    let mut found = vec![None; candidates.len()];
    for only in nth {
        if let Only::One(at) = only {
            let (i, j) = fits[at];
            found[i] = Some(j);
        }
    }
    found
}

#[derive(Clone, Copy)]
enum Only {
    Nobody,
    One(usize),
    Several,
}

/// For each point how many links the longest chain has that ascends in both coordinates and ends
/// there. Points are by their first coordinate, and where it is the same by the second.
fn links(points: impl Iterator<Item = (usize, usize)>) -> Vec<u32> {
    // `last[n]` is the least end of a chain of n + 1 links whose points come before the row.
    let mut last: Vec<usize> = Vec::new();
    let mut links = Vec::with_capacity(points.size_hint().0);
    let mut row: Vec<usize> = Vec::new();
    let mut points = points.peekable();
    while let Some((i, j)) = points.next() {
        links.push(last.partition_point(|&end| end < j) as u32 + 1);
        row.push(j);
        if points.peek().is_none_or(|&(next, _)| next != i) {
            let from = links.len() - row.len();
            for (j, links) in row.drain(..).zip(&links[from..]) {
                let at = *links as usize - 1;
                match last.get_mut(at) {
                    Some(end) => *end = j.min(*end),
                    None => last.push(j),
                }
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::Seeded;

    fn check_forced(candidates: &[&[usize]], capacity: &[usize], expected: &[Option<usize>]) {
        let candidates: Lists = candidates.iter().map(|c| c.to_vec()).collect();
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
    fn contradiction_withdraws_what_hangs_together_and_not_what_shares_a_slot_without_limit() {
        let all = NO_LIMIT;
        check_forced(&[&[0], &[0], &[1]], &[1, 1, all], &[None, None, Some(1)]);
        check_forced(
            &[&[0], &[0], &[0, 2], &[1, 2], &[1]],
            &[1, 1, all],
            &[None, None, None, Some(2), Some(1)],
        );
    }

    #[test]
    fn two_items_for_one_slot_prove_nothing() {
        check_forced(&[&[0], &[0]], &[1], &[None, None]);
        check_forced(&[&[0], &[0]], &[2], &[Some(0), Some(0)]);
        check_forced(&[&[0], &[0, 1], &[1], &[2]], &[1, 1, 1], &[None, None, None, Some(2)]);
    }

    fn check_aligned(fits: &[&[u8]], expected: &[Option<usize>]) {
        let columns = |row: &[u8]| (0..row.len()).filter(|&j| row[j] == 1).collect::<Vec<_>>();
        let candidates: Lists = fits.iter().map(|row| columns(row)).collect();
        assert_eq!(aligned(&candidates), expected, "{fits:?}");
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

    /// The same by two tables of all pairs.
    fn aligned_by_tables(candidates: &Lists, right: usize) -> Vec<Option<usize>> {
        let left = candidates.len();
        let fits = |i: usize, j: usize| u32::from(candidates[i].contains(&j));
        let mut before = vec![vec![0; right + 1]; left + 1];
        let mut after = before.clone();
        for i in 0..left {
            for j in 0..right {
                let paired = before[i][j] + fits(i, j);
                before[i + 1][j + 1] = paired.max(before[i][j + 1]).max(before[i + 1][j]);
            }
        }
        for i in (0..left).rev() {
            for j in (0..right).rev() {
                let paired = after[i + 1][j + 1] + fits(i, j);
                after[i][j] = paired.max(after[i + 1][j]).max(after[i][j + 1]);
            }
        }
        let best = before[left][right];
        let of_all = |i: usize| {
            let is_best =
                |&j: &usize| fits(i, j) == 1 && before[i][j] + 1 + after[i + 1][j + 1] == best;
            let partners: Vec<usize> = (0..right).filter(is_best).collect();
            let may_be_alone = (0..=right).any(|j| before[i][j] + after[i + 1][j] == best);
            if may_be_alone || partners.len() != 1 { None } else { Some(partners[0]) }
        };
        (0..left).map(of_all).collect()
    }

    #[test]
    fn alignment_by_chains_is_that_by_tables() {
        for seed in 0..2_000 {
            let mut random = Seeded::new(seed);
            let (left, right) = (random.below(9) as usize, random.below(9) as usize);
            let density = random.unit();
            let mut row = || (0..right).filter(|_| random.unit() < density).collect::<Vec<_>>();
            let candidates: Lists = (0..left).map(|_| row()).collect();
            let expected = aligned_by_tables(&candidates, right);
            assert_eq!(aligned(&candidates), expected, "seed {seed}: {candidates:?}");
        }
    }
}
