//! The lines of one slab in the order in which the proxies wrote them, each once.
//!
//! A line may be delivered again: by the same way under its own number, by another collector, or
//! with a file that is read from the start. A copy would be a second line that fits the request of
//! the first.

use std::sync::OnceLock;

use hashbrown::HashTable;

use crate::address::MIX;
use crate::columns::{AccessLog, Attempt};
use crate::id::Id;
use crate::names::Names;

/// Lines by the id of their request. It is made when it is first asked for, and then asked of each
/// request whose caller was not seen.
#[derive(Debug, Default)]
pub(super) struct ById(OnceLock<HashTable<u32>>);

impl ById {
    /// The lines with an id, in their order. `lines` are always the same.
    pub(super) fn of<'a>(&self, id: Id, lines: &'a [AccessLog]) -> Vec<&'a AccessLog> {
        let known = self.0.get_or_init(|| rows_by_id(lines));
        let has_id = |row: &u32| lines[*row as usize].request_id == Some(id);
        let mut rows: Vec<u32> = known.iter_hash(id_hash(id)).copied().filter(has_id).collect();
        rows.sort_unstable();
        rows.into_iter().map(|row| &lines[row as usize]).collect()
    }
}

fn rows_by_id(lines: &[AccessLog]) -> HashTable<u32> {
    let mut by_id = HashTable::with_capacity(lines.len());
    for (row, line) in (0..).zip(lines) {
        if let Some(id) = line.request_id {
            let hash = |&row: &u32| lines[row as usize].request_id.map_or(0, id_hash);
            by_id.insert_unique(id_hash(id), row, hash);
        }
    }
    by_id
}

fn id_hash(id: Id) -> u64 {
    let mixed = ((id ^ id >> 64) as u64).wrapping_mul(MIX);
    mixed ^ mixed >> 29
}

/// Sorts lines and drops copies. `attempts` are those of all lines.
pub(super) fn seal(lines: &mut Vec<AccessLog>, attempts: &[Attempt], names: &Names) {
    lines.sort_by_cached_key(|l| {
        let collector = names.text(l.collector);
        (l.emitter_ip, l.ingest_seq, l.item, l.event_ns, l.request_id, l.end_lo_ns, collector)
    });
    lines.dedup_by_key(|l| (l.collector, l.ingest_seq, l.item));
    let mut kept: HashTable<u32> = HashTable::with_capacity(lines.len());
    let is_copy: Vec<bool> = (0..)
        .zip(lines.iter())
        .map(|(row, line)| {
            // Lines without an id may be of two requests that have everything in common.
            let Some(hash) = hash(line) else { return false };
            let of = |row: u32| &lines[row as usize];
            let is_known =
                kept.find(hash, |&other| say_the_same(of(other), line, attempts)).is_some();
            if !is_known {
                kept.insert_unique(hash, row, |&other| self::hash(of(other)).unwrap_or_default());
            }
            is_known
        })
        .collect();
    let mut is_copy = is_copy.into_iter();
    lines.retain(|_| !is_copy.next().unwrap_or_default());
}

fn hash(line: &AccessLog) -> Option<u64> {
    let id = line.request_id?;
    let mixed = ((id ^ id >> 64) as u64 ^ line.end_lo_ns as u64).wrapping_mul(MIX);
    Some(mixed ^ mixed >> 29)
}

/// Whether two lines differ in nothing but the way by which they came.
fn say_the_same(one: &AccessLog, other: &AccessLog, attempts: &[Attempt]) -> bool {
    let tries =
        |line: &AccessLog| &attempts[line.attempts.start as usize..line.attempts.end as usize];
    let by_the_way_of_other = AccessLog {
        collector: other.collector,
        ingest_seq: other.ingest_seq,
        item: other.item,
        attempts: other.attempts.clone(),
        ..one.clone()
    };
    by_the_way_of_other == *other && tries(one) == tries(other)
}
