//! Segment files: their names, their first bytes, and the list of those that still exist.
//!
//! A segment is named after the first position it may hold. It begins with a header that carries
//! the format's version, then one frame with what was seen before it, then frames of batches.

use std::io;
use std::path::{Path, PathBuf};

use super::OpenError;

const MAGIC: [u8; 8] = *b"TLSPOOL\0";
/// Version of header, frames and payloads. A reader of version n reads n-1.
const VERSION: u32 = 1;
/// Magic, version (u32), first position (u64), checksum (u32); little-endian.
pub(crate) const HEADER: usize = 8 + 4 + 8 + 4;
const EXTENSION: &str = "spool";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// All segments of a spool, oldest first; the last one is being written.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    list: Vec<Segment>,
}

pub(crate) fn path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.{EXTENSION}"))
}

pub(crate) fn header(first: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&first.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// Whether the header is whole. A whole one of a version to come is the only refusal: everything
/// else is damage, which costs what it touched and never blocks a start.
pub(crate) fn check_header(bytes: &[u8]) -> Result<bool, OpenError> {
    let Some(header) = bytes.get(..HEADER) else { return Ok(false) };
    let (body, checksum) = header.split_at(HEADER - 4);
    if checksum != crc32fast::hash(body).to_le_bytes() || body[..8] != MAGIC {
        return Ok(false);
    }
    let version = body[8..12].iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
    if version > VERSION {
        return Err(OpenError::Version { found: version, known: VERSION });
    }
    Ok(true)
}

impl Segments {
    pub(crate) fn find(directory: &Path) -> io::Result<Self> {
        let mut list = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            let is_ours = path.extension().is_some_and(|extension| extension == EXTENSION);
            let first = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            if let (true, Some(first)) = (is_ours, first) {
                list.push(Segment { first, path, bytes: entry.metadata()?.len() });
            }
        }
        list.sort_by_key(|segment| segment.first);
        Ok(Self { list })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.list.iter()
    }

    /// Begins a segment; one that held nothing and has the same name is replaced.
    pub(crate) fn push(&mut self, segment: Segment) {
        self.list.retain(|existing| existing.first != segment.first);
        self.list.push(segment);
    }

    pub(crate) fn grow_last(&mut self, bytes: u64) {
        if let Some(segment) = self.list.last_mut() {
            segment.bytes += bytes;
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.list.iter().map(|segment| segment.bytes).sum()
    }

    /// The segment with this first position, or the next one if that was trimmed, and where the
    /// one after it begins.
    pub(crate) fn at_or_after(&self, first: u64) -> Option<(&Segment, Option<u64>)> {
        let at = self.list.iter().position(|segment| segment.first >= first)?;
        Some((&self.list[at], self.list.get(at + 1).map(|next| next.first)))
    }

    /// Takes the segments out whose every position is at most `position`.
    pub(crate) fn take_through(&mut self, position: u64) -> Vec<Segment> {
        let done = self.list.windows(2).take_while(|pair| pair[1].first <= position + 1).count();
        self.list.drain(..done).collect()
    }
}
