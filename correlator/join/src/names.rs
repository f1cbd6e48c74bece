//! Texts as integers: each distinct name is stored once and compared by number.
//!
//! Numbers depend on the order of arrival, so no order that shows rests on them.

use std::num::NonZeroU32;
use std::sync::Arc;

use hashbrown::HashTable;

/// A name in one [`Names`]. Equal names are equal numbers; their order means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(NonZeroU32);

impl Name {
    pub(crate) const FIRST: Self = Self(NonZeroU32::MIN);

    pub(crate) fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Every name that was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    texts: Vec<Arc<str>>,
    index: HashTable<u32>,
}

impl Names {
    pub(crate) fn name(&mut self, text: &str) -> Name {
        let hash = hash(text);
        let known = self.index.find(hash, |&i| &*self.texts[i as usize] == text);
        if let Some(&known) = known {
            return name_at(known);
        }
        let new = u32::try_from(self.texts.len()).unwrap_or(u32::MAX - 1);
        self.texts.push(text.into());
        let texts = &self.texts;
        self.index.insert_unique(hash, new, |&i| self::hash(&texts[i as usize]));
        name_at(new)
    }

    pub(crate) fn text(&self, name: Name) -> &str {
        &self.texts[name.index()]
    }

    /// Every name, by its number.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|text| &**text)
    }

    pub(crate) fn text_of(&self, name: Option<Name>) -> Option<&str> {
        name.map(|n| self.text(n))
    }

    /// The same names here, by their numbers in `other`.
    pub(crate) fn take(&mut self, other: &Self) -> Translation {
        Translation(other.texts.iter().map(|text| self.name(text)).collect())
    }
}

/// Numbers of one [`Names`] in terms of another.
pub(crate) struct Translation(Vec<Name>);

impl Translation {
    pub(crate) fn apply(&self, name: &mut Name) {
        *name = self.0[name.index()];
    }

    pub(crate) fn apply_to(&self, name: &mut Option<Name>) {
        if let Some(name) = name {
            self.apply(name);
        }
    }
}

fn name_at(index: u32) -> Name {
    Name(Name::FIRST.0.saturating_add(index))
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): short keys, no seed, so that every run does the same.
fn hash(text: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
    // The table looks at the high bits; short texts leave them poor.
    hash ^ hash.rotate_left(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_name_also_after_they_were_taken_over() {
        let (mut ours, mut theirs) = (Names::default(), Names::default());
        let (a, b) = (ours.name("a"), ours.name("b"));
        assert_eq!((ours.name("a"), ours.text(b)), (a, "b"));
        let mut same = theirs.name("b");
        let mut new = theirs.name("c");
        let translation = ours.take(&theirs);
        translation.apply(&mut same);
        translation.apply(&mut new);
        assert_eq!((same, ours.text(new)), (b, "c"));
    }
}
