//! Attributes that the allow-list does not know, counted by the keyed hash of their names.

use std::collections::BTreeMap;

/// Distinct keys counted apart in one request; a request of 4 MiB could bring a million.
const KEYS_MAX: usize = 256;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    counts: BTreeMap<u64, u64>,
}

impl Dropped {
    pub(crate) fn count(&mut self, key: u64) {
        // Zero stands for all keys beyond the bound.
        let is_known = self.counts.contains_key(&key);
        let key = if is_known || self.counts.len() < KEYS_MAX { key } else { 0 };
        *self.counts.entry(key).or_default() += 1;
    }

    pub fn counts(&self) -> &BTreeMap<u64, u64> {
        &self.counts
    }

    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}
