//! Independent pieces of work on several threads.
//!
//! A piece reads what all share and returns a value; values come in the order of the pieces, so that
//! no row depends on how many threads there are or which of them was faster.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Pieces that are worked on while those before them are taken, for each thread.
const PIECES_AHEAD: usize = 4;

/// What `work` makes of each of the pieces, in their order.
pub(crate) fn map<P, T: Send>(
    threads: usize,
    pieces: impl ExactSizeIterator<Item = P> + Send,
    work: impl Fn(P) -> T + Sync,
) -> Vec<T> {
    let count = pieces.len();
    if threads <= 1 || count <= 1 {
        return pieces.map(work).collect();
    }
    let pieces = Mutex::new(pieces.enumerate());
    // Pieces differ in size: whoever is done takes the next one.
    let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
    let take = || {
        let mut done = Vec::new();
        while let Some((place, piece)) = next() {
            done.push((place, work(piece)));
        }
        done
    };
    let mut done: Vec<(usize, T)> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(count)).map(|_| scope.spawn(take)).collect();
        let mut done = take();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, value)| value).collect()
}

/// Hands `take` what `work` makes of each of the pieces, in their order. While some are taken the
/// next ones are worked on, and no more than these are held.
pub(crate) fn in_order<P: Send, T: Send>(
    threads: usize,
    mut pieces: impl Iterator<Item = P>,
    work: impl Fn(P) -> T + Sync,
    mut take: impl FnMut(T),
) {
    if threads <= 1 {
        return pieces.for_each(|piece| take(work(piece)));
    }
    let mut next = || pieces.by_ref().take(PIECES_AHEAD * threads).collect::<Vec<P>>();
    let mut made = map(threads, next().into_iter(), &work);
    while !made.is_empty() {
        let following = next();
        let take_all = || made.into_iter().for_each(&mut take);
        made = if following.is_empty() {
            take_all();
            Vec::new()
        } else {
            both(threads, take_all, || map(threads, following.into_iter(), &work)).1
        };
    }
}

/// Both answers, the second one from another thread where there is one.
pub(crate) fn both<A, B: Send>(
    threads: usize,
    first: impl FnOnce() -> A,
    second: impl FnOnce() -> B + Send,
) -> (A, B) {
    if threads <= 1 {
        return (first(), second());
    }
    thread::scope(|scope| {
        let second = scope.spawn(second);
        let first = first();
        (first, second.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_in_the_order_of_the_pieces_for_any_number_of_threads() {
        for threads in [0, 1, 2, 4, 9] {
            for pieces in [0_usize, 1, 2, 1_000] {
                let expected: Vec<usize> = (0..pieces).map(|piece| piece * piece).collect();
                assert_eq!(map(threads, 0..pieces, |piece| piece * piece), expected);
            }
            for pieces in [0_usize, 1, 7, 8, 9, 1_000] {
                let mut taken = Vec::new();
                in_order(threads, 0..pieces, |piece| piece * piece, |square| taken.push(square));
                let expected: Vec<usize> = (0..pieces).map(|piece| piece * piece).collect();
                assert_eq!(taken, expected);
            }
            assert_eq!(both(threads, || 1, || 2), (1, 2));
        }
    }

    #[test]
    #[should_panic(expected = "piece 7")]
    fn panic_of_a_piece_goes_on_where_the_work_was_given() {
        map(4, 0..20, |piece| assert_ne!(piece, 7, "piece 7"));
    }
}
