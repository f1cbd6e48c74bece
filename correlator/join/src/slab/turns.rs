//! The requests of one slab by the connection that they came on.

use crate::address::{End, MIX};
use crate::columns::Exchange;

/// A request on some connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    /// Of the place and the client's end.
    connection: u64,
    pub(crate) start_ns: i64,
    pub(crate) row: u32,
}

/// Requests by connection, then start. A connection is looked up by the first bits of its hash.
#[derive(Debug, Default)]
pub(super) struct Turns {
    first: Vec<u32>,
    turns: Vec<Turn>,
    bits: u32,
}

impl Turns {
    /// `servers` in the order of their starts.
    pub(super) fn new(servers: &[u32], exchanges: &[Exchange]) -> Self {
        let turn = |&row: &u32| {
            let e = &exchanges[row as usize];
            Turn { connection: connection(e.place, e.remote()), start_ns: e.start_ns, row }
        };
        let unordered: Vec<Turn> = servers.iter().map(turn).collect();
        let bits = unordered.len().next_power_of_two().trailing_zeros();
        let mut first = vec![0; (1 << bits) + 1];
        unordered.iter().for_each(|turn| first[bucket(turn.connection, bits) + 1] += 1);
        for bucket in 0..1 << bits {
            first[bucket + 1] += first[bucket];
        }
        let mut next = first.clone();
        let mut turns = vec![Turn::default(); unordered.len()];
        for turn in unordered {
            let slot = &mut next[bucket(turn.connection, bits)];
            turns[*slot as usize] = turn;
            *slot += 1;
        }
        for bucket in first.windows(2) {
            turns[bucket[0] as usize..bucket[1] as usize].sort_unstable();
        }
        Self { first, turns, bits }
    }

    /// Those of one peer of a place, by start. Another peer's may be among them, once in 2^64.
    pub(super) fn of(&self, place: u32, peer: End) -> &[Turn] {
        let wanted = connection(place, peer);
        let bucket = bucket(wanted, self.bits);
        let (Some(&from), Some(&to)) = (self.first.get(bucket), self.first.get(bucket + 1)) else {
            return &[];
        };
        let turns = &self.turns[from as usize..to as usize];
        let from = turns.partition_point(|turn| turn.connection < wanted);
        let count = turns[from..].iter().take_while(|turn| turn.connection == wanted).count();
        &turns[from..from + count]
    }
}

fn connection(place: u32, peer: End) -> u64 {
    let mixed = (peer.hash() ^ u64::from(place)).wrapping_mul(MIX);
    (mixed ^ mixed >> 32).wrapping_mul(MIX)
}

fn bucket(connection: u64, bits: u32) -> usize {
    connection.checked_shr(u64::BITS - bits).unwrap_or(0) as usize
}
