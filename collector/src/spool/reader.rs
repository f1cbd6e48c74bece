//! Reads synced batches back, in order, for the raw tables; and reads all of it once at the start.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use tokio::sync::watch;

use super::frame::{self, Item, Kind};
use super::seen::Seen;
use super::segment::{self, Segments};
use super::{OpenError, Recovery, Shared, Synced};
use crate::batch::Batch;
use crate::ledger::Ledger;

/// Reads from the oldest segment on and never past what is synced.
pub struct Reader {
    shared: Arc<Shared>,
    synced: watch::Receiver<Synced>,
    ledger: Arc<Ledger>,
    segment: u64,
    offset: u64,
}

/// Batches with their positions, and the last position that was looked at.
#[derive(Debug, Default)]
pub struct Portion {
    pub batches: Vec<(u64, Batch)>,
    pub through: u64,
    /// More lies on disk already.
    pub has_more: bool,
}

impl Reader {
    pub(crate) fn new(
        shared: Arc<Shared>,
        synced: watch::Receiver<Synced>,
        ledger: Arc<Ledger>,
    ) -> Self {
        let oldest = shared.segments().iter().next().map(|segment| segment.first);
        let segment = oldest.unwrap_or_else(|| synced.borrow().segment);
        Self { shared, synced, ledger, segment, offset: segment::HEADER as u64 }
    }

    /// Whether the writer has ended, so that what is on disk now is all there will be.
    pub fn is_ended(&self) -> bool {
        self.synced.has_changed().is_err()
    }

    /// Resolves when the writer has ended.
    pub async fn ended(&self) {
        let mut synced = self.synced.clone();
        while synced.changed().await.is_ok() {}
    }

    /// Reads on until there are at least this many rows or nothing is left.
    ///
    /// # Errors
    /// When a segment can't be read.
    pub fn read(&mut self, rows_max: usize) -> io::Result<Portion> {
        let mut portion = Portion::default();
        let mut rows = 0;
        loop {
            let Some((path, next)) = self.whereabouts() else { return Ok(portion) };
            let synced = *self.synced.borrow();
            let is_active = self.segment == synced.segment;
            let bytes = read_from(&path, self.offset, is_active.then_some(synced.offset))?;
            for item in frame::read(&bytes) {
                if rows >= rows_max {
                    portion.has_more = true;
                    return Ok(portion);
                }
                rows += self.take(item, &mut portion);
            }
            match next {
                Some(next) if !is_active => {
                    self.segment = next;
                    self.offset = segment::HEADER as u64;
                }
                _ => return Ok(portion),
            }
        }
    }

    /// The segment to read in and the one after it. A segment is trimmed only once all of it was
    /// read, so where ours is gone the next one is read from its start.
    fn whereabouts(&mut self) -> Option<(std::path::PathBuf, Option<u64>)> {
        let segments = self.shared.segments();
        let (segment, next) = segments.at_or_after(self.segment)?;
        if segment.first != self.segment {
            self.segment = segment.first;
            self.offset = segment::HEADER as u64;
        }
        Some((segment.path.clone(), next))
    }

    /// Steps over one item; returns the number of rows it brought.
    fn take(&mut self, item: Item<'_>, portion: &mut Portion) -> usize {
        let frame = match item {
            Item::Damage { length, .. } => {
                self.offset += length as u64;
                self.ledger.damaged(length as u64);
                return 0;
            }
            Item::Frame(frame) => frame,
        };
        self.offset += frame::size(frame.payload.len()) as u64;
        portion.through = portion.through.max(frame.position);
        if frame.kind == Kind::Seen {
            return 0;
        }
        match serde_json::from_slice::<Batch>(frame.payload) {
            Ok(batch) => {
                let rows = batch.rows.len();
                portion.batches.push((frame.position, batch));
                rows
            }
            Err(_) => {
                tracing::error!(position = frame.position, "a whole spool record can't be decoded");
                self.ledger.damaged(frame.payload.len() as u64);
                0
            }
        }
    }
}

fn read_from(path: &std::path::Path, offset: u64, end: Option<u64>) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    match end {
        Some(end) => file.take(end.saturating_sub(offset)).read_to_end(&mut bytes)?,
        None => file.read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

/// Reads every segment once: what was seen, where the positions stand, and what is damaged.
pub(crate) fn recover(segments: &Segments) -> Result<(Seen, Recovery), OpenError> {
    let mut seen = Seen::default();
    let mut recovery = Recovery::default();
    for segment in segments.iter() {
        let bytes = std::fs::read(&segment.path).map_err(OpenError::Read)?;
        recovery.last = recovery.last.max(segment.first.saturating_sub(1));
        if !segment::check_header(&bytes)? {
            recovery.damage(segment, 0, segment::HEADER.min(bytes.len()));
        }
        let body = bytes.get(segment::HEADER..).unwrap_or_default();
        for item in frame::read(body) {
            match item {
                Item::Damage { offset, length } => {
                    recovery.damage(segment, segment::HEADER + offset, length);
                }
                Item::Frame(frame) => {
                    recovery.last = recovery.last.max(frame.position);
                    note(&frame, &mut seen, &mut recovery);
                }
            }
        }
    }
    Ok((seen, recovery))
}

fn note(frame: &frame::Frame<'_>, seen: &mut Seen, recovery: &mut Recovery) {
    if frame.kind == Kind::Seen {
        // The newest whole one says it all; older segments only matter when it is damaged.
        if let Ok(before) = serde_json::from_slice(frame.payload) {
            *seen = before;
        }
        return;
    }
    recovery.batches += 1;
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(frame.payload)
        && let Some(sequence) = envelope.sequence
    {
        seen.insert(&envelope.sender, sequence, frame.position);
    }
}

/// A batch without its rows.
#[derive(serde::Deserialize)]
struct Envelope {
    sender: crate::batch::Sender,
    sequence: Option<u64>,
}
