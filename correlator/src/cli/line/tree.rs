//! The order and the lines of a tree of hops.
//!
//! A hop's parent stands before it; whatever says otherwise is drawn as a root, so that no stored
//! row can make a loop.

use tables::PathHop;

/// Calls deeper than this stand below each other, so that text has room on the narrowest screen.
const DEPTH_MAX: usize = 10;

/// One hop's place in the drawing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Branch {
    pub(super) index: usize,
    /// What stands before the hop's first line.
    pub(super) fork: String,
    /// What stands before its other lines.
    pub(super) below: String,
}

/// A hop that waits for its turn.
struct Waiting {
    index: usize,
    depth: usize,
    prefix: String,
    is_last: bool,
}

/// The hops depth first, callers before calls, in the order of their rows.
pub(super) fn branches(hops: &[PathHop]) -> Vec<Branch> {
    let (roots, calls) = forest(hops);
    let mut branches = Vec::with_capacity(hops.len());
    // A stack of our own: how deep a stored path goes is not for the program's stack to bear.
    let mut stack = waiting(&roots, 0, "");
    while let Some(next) = stack.pop() {
        let (fork, stem) = if next.is_last { ("└─", "    ") } else { ("├─", "│   ") };
        let inner = format!("{}{stem}", next.prefix);
        let own_calls = &calls[next.index];
        branches.push(Branch {
            index: next.index,
            fork: format!("{}{fork}", next.prefix),
            below: format!("{inner}{}", if own_calls.is_empty() { "  " } else { "│ " }),
        });
        let prefix = if next.depth < DEPTH_MAX { &inner } else { &next.prefix };
        stack.extend(waiting(own_calls, next.depth + 1, prefix));
    }
    branches
}

/// Indexes of the roots, and of the calls of each hop.
fn forest(hops: &[PathHop]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let mut roots = Vec::new();
    let mut calls = vec![Vec::new(); hops.len()];
    for (index, hop) in hops.iter().enumerate() {
        let parent = hop
            .parent
            .and_then(|parent| hops[..index].iter().position(|before| before.position == parent));
        match parent {
            Some(parent) => calls[parent].push(index),
            None => roots.push(index),
        }
    }
    (roots, calls)
}

/// The first on top of the stack.
fn waiting(indexes: &[usize], depth: usize, prefix: &str) -> Vec<Waiting> {
    let last = indexes.len().saturating_sub(1);
    let each = indexes.iter().enumerate().rev();
    each.map(|(n, &index)| Waiting { index, depth, prefix: prefix.to_owned(), is_last: n == last })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parents: &[Option<i32>], expected: &[&str]) {
        let hop = |(position, parent): (usize, &Option<i32>)| PathHop {
            position: position as i32,
            parent: *parent,
            ..PathHop::default()
        };
        let hops: Vec<_> = parents.iter().enumerate().map(hop).collect();
        let drawn: Vec<_> =
            branches(&hops).iter().map(|b| format!("{}{}", b.fork, b.index)).collect();
        assert_eq!(drawn, expected);
    }

    #[test]
    fn calls_stand_below_their_caller() {
        check(
            &[None, Some(0), Some(1), Some(0), Some(3)],
            &["└─0", "    ├─1", "    │   └─2", "    └─3", "        └─4"],
        );
    }

    #[test]
    fn a_parent_that_is_missing_or_not_before_its_call_makes_a_root() {
        check(&[Some(1), Some(0), Some(7)], &["├─0", "│   └─1", "└─2"]);
        check(&[], &[]);
    }

    #[test]
    fn a_very_deep_line_keeps_room_for_text() {
        let parents: Vec<_> = (0..500).map(|n| (n > 0).then(|| n - 1)).collect();
        let hop = |(n, parent): (usize, &Option<i32>)| PathHop {
            position: n as i32,
            parent: *parent,
            ..PathHop::default()
        };
        let hops: Vec<_> = parents.iter().enumerate().map(hop).collect();
        let drawn = branches(&hops);
        assert_eq!(drawn.len(), 500);
        assert!(drawn.iter().all(|branch| branch.below.chars().count() <= 46));
    }
}
