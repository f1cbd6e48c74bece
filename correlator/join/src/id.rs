//! Ids as integers: trace, span and request ids in their canonical text are numbers already.

use std::collections::BTreeMap;

/// A trace or request id: 32 lower-case hex digits as the number they write, anything else as 128
/// bits of its hash.
pub(crate) type Id = u128;

/// Texts of ids that are no number, so that they can be shown again.
#[derive(Clone, Debug, Default)]
pub(crate) struct OddIds(BTreeMap<Id, String>);

impl OddIds {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn read(&mut self, text: &str) -> Id {
        if let Some(id) = hex(text, 32) {
            return id;
        }
        let hash = blake3::hash(text.as_bytes());
        let (first, _) = hash.as_bytes().split_at(16);
        let id = first.iter().fold(0, |id: u128, byte| id << 8 | u128::from(*byte));
        self.0.entry(id).or_insert_with(|| text.to_owned());
        id
    }

    /// The text of an id that is no number.
    pub(crate) fn text(&self, id: Id) -> Option<&str> {
        self.0.get(&id).map(String::as_str)
    }

    pub(crate) fn show(&self, id: Id) -> String {
        self.text(id).map_or_else(|| format!("{id:032x}"), str::to_owned)
    }

    pub(crate) fn take(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// A span id: 16 lower-case hex digits as the number they write, anything else as a hash.
pub(crate) fn span_id(text: &str) -> u64 {
    match hex(text, 16) {
        Some(id) => id as u64,
        None => blake3::hash(text.as_bytes())
            .as_bytes()
            .iter()
            .take(8)
            .fold(0, |id: u64, byte| id << 8 | u64::from(*byte)),
    }
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    if text.len() != digits {
        return None;
    }
    // Word by word: arithmetic on 128 bits for each digit would be most of the work.
    text.as_bytes().chunks(16).try_fold(0u128, |id, word| {
        let word = word.iter().try_fold(0u64, |number, byte| {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return None,
            };
            Some(number << 4 | u64::from(digit))
        });
        Some(id << 64 | u128::from(word?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_shown_as_they_were_read() {
        let mut odd = OddIds::default();
        for text in
            ["4bf92f3577b34da6a3ce929d0e0e4736", "4BF92F3577B34DA6A3CE929D0E0E4736", "a", ""]
        {
            let id = odd.read(text);
            assert_eq!((odd.read(text), odd.show(id).as_str()), (id, text));
        }
        assert_eq!(odd.read("000000000000000000000000000000ff"), 255);
    }

    #[test]
    fn span_ids_differ_where_their_texts_do() {
        assert_eq!(span_id("00000000000000ff"), 255);
        assert_ne!(span_id("a"), span_id("b"));
    }
}
