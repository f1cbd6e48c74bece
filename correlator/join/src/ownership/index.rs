//! Positions in a list by what is looked up there for every hop.

use hashbrown::HashTable;

use crate::address::{Address, MIX};
use crate::names::Name;

/// A key whose hash is the same in every run.
pub(super) trait Key: Copy + Eq {
    fn hash(self) -> u64;
}

impl Key for Address {
    fn hash(self) -> u64 {
        mixed(Address::hash(self))
    }
}

impl Key for Name {
    fn hash(self) -> u64 {
        mixed(self.index() as u64)
    }
}

impl Key for i32 {
    fn hash(self) -> u64 {
        mixed(self as u64)
    }
}

/// An address and a port.
impl Key for (Address, i32) {
    fn hash(self) -> u64 {
        mixed(Address::hash(self.0) ^ (self.1 as u64) << 20)
    }
}

fn mixed(bits: u64) -> u64 {
    let mixed = bits.wrapping_mul(MIX);
    mixed ^ mixed >> 29
}

/// Positions by key, those of one key in order.
#[derive(Debug)]
pub(super) struct Index<K>(HashTable<(K, Vec<usize>)>);

impl<K: Key> Index<K> {
    /// Each item under each of its keys.
    pub(super) fn new<T>(items: &[T], keys: impl Fn(&T) -> Vec<K>) -> Self {
        let mut table: HashTable<(K, Vec<usize>)> = HashTable::new();
        for (position, item) in items.iter().enumerate() {
            for key in keys(item) {
                let same = |known: &(K, _)| known.0 == key;
                let entry = table.entry(key.hash(), same, |known| known.0.hash());
                entry.or_insert_with(|| (key, Vec::new())).get_mut().1.push(position);
            }
        }
        Self(table)
    }

    pub(super) fn of(&self, key: K) -> &[usize] {
        let found = self.0.find(key.hash(), |known| known.0 == key);
        found.map_or(&[], |(_, positions)| positions)
    }
}
