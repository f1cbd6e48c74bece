//! The spool: admitted batches on disk between receiver and raw tables. An ACK comes only from here.
//!
//! Enter through [`open`]. [`Spool::submit`] returns once the batch is synced to disk, [`Reader`]
//! gives the batches back in order, [`Spool::trim`] drops what the raw tables hold. Every batch has
//! a position (`ingest_seq`) that grows for the collector's whole life, across restarts. The spool
//! never holds input as it came: what enters has passed the allow-list.

mod frame;
mod media;
mod reader;
mod seen;
mod segment;
mod writer;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::batch::{Batch, Sender};
use crate::ledger::Ledger;
pub use media::{Disk, Media};
pub use reader::{Portion, Reader};
use seen::Seen;
use segment::Segments;
use writer::{Request, Submission, Writer};

/// One segment is read into memory at once, and space comes back a segment at a time: 64 MiB is
/// a few seconds of a busy collector.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// A request of 4 MiB of spans grows about fourfold as rows in JSON; an hourly snapshot of 6,000
/// pods, 900 services and their slices is about 8 MiB.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Submissions that wait for the running sync. With the bound on bytes in flight this only has to
/// be larger than the number of connections that one sync keeps waiting.
const QUEUE_MAX: usize = 1_024;

#[derive(Clone, Debug)]
pub struct Config {
    pub directory: PathBuf,
    pub segment_bytes: u64,
    /// Bytes on disk above which nothing more is accepted.
    pub bytes_max: u64,
}

/// Where the writer goes on from, and what it found broken.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Last position ever given, as far as the disk knows.
    pub last: u64,
    pub batches: u64,
    pub damaged_bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("read the spool")]
    Read(#[source] io::Error),
    #[error("begin a spool segment")]
    Begin(#[source] io::Error),
    #[error("read a spool of format {found}: this release knows up to {known}")]
    Version { found: u32, known: u32 },
}

/// How a batch was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    New,
    /// It had been stored before; nothing was written.
    Duplicate,
}

/// Why a batch was not stored. All but `TooLarge` go away or end the process: send it again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    #[error("store a batch: the spool is at its limit")]
    Full,
    #[error("store a batch of {0} bytes: it is larger than a spool record may be")]
    TooLarge(usize),
    #[error("store a batch: the disk refused it")]
    Disk,
    #[error("store a batch: the spool is broken and the collector is about to end")]
    Broken,
    #[error("store a batch: the collector is shutting down")]
    Closed,
}

/// The way in. Clones share one writer.
#[derive(Clone)]
pub struct Spool {
    queue: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    bytes_max: u64,
}

/// Drops the segments that the raw tables hold.
pub struct Trim {
    shared: Arc<Shared>,
    directory: PathBuf,
}

/// What [`open`] gives.
pub struct Opened {
    pub spool: Spool,
    pub reader: Reader,
    pub trim: Trim,
    pub recovery: Recovery,
    /// Ends after [`Spool::close`], or when the disk failed; says whether every sync succeeded.
    pub writer: JoinHandle<bool>,
}

pub(crate) struct Shared {
    segments: Mutex<Segments>,
    seen: Mutex<Seen>,
}

/// How far the disk is known to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Synced {
    segment: u64,
    offset: u64,
}

/// Opens the spool in a directory, however it was left.
///
/// `floor` is the highest position that any raw table holds: positions go on above it even when
/// the directory was lost, because a table takes only positions above its own.
///
/// # Errors
/// When the directory can't be read or written, or a later release wrote it. Damage is no error.
pub fn open<M: Media>(
    media: M,
    config: &Config,
    floor: u64,
    ledger: Arc<Ledger>,
) -> Result<Opened, OpenError> {
    std::fs::create_dir_all(&config.directory).map_err(OpenError::Begin)?;
    let segments = Segments::find(&config.directory).map_err(OpenError::Read)?;
    let (seen, recovery) = reader::recover(&segments)?;
    let shared = Arc::new(Shared { segments: Mutex::new(segments), seen: Mutex::new(seen) });
    let next = recovery.last.max(floor) + 1;
    let (writer, synced) =
        Writer::start(media, config, Arc::clone(&shared), next).map_err(OpenError::Begin)?;
    let (queue, submissions) = mpsc::channel(QUEUE_MAX);
    let writer = std::thread::Builder::new()
        .name("spool".into())
        .spawn(move || writer.run(submissions))
        .map_err(OpenError::Begin)?;
    Ok(Opened {
        spool: Spool { queue, shared: Arc::clone(&shared), bytes_max: config.bytes_max },
        reader: Reader::new(Arc::clone(&shared), synced, ledger),
        trim: Trim { shared, directory: config.directory.clone() },
        recovery,
        writer,
    })
}

impl Spool {
    /// Returns once the batch is on disk, or why it is not.
    ///
    /// # Errors
    /// See [`SubmitError`]. Nothing of the batch counts as stored then.
    pub async fn submit(&self, batch: &Batch) -> Result<Stored, SubmitError> {
        // Rows hold only integers, strings and lists of them, which JSON always takes.
        let payload = serde_json::to_vec(batch).map_err(|_| SubmitError::TooLarge(usize::MAX))?;
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(SubmitError::TooLarge(payload.len()));
        }
        if self.shared.segments().bytes() + payload.len() as u64 > self.bytes_max {
            return Err(SubmitError::Full);
        }
        let (answer, answered) = oneshot::channel();
        let sender = batch.sender.clone();
        let submission = Submission { sender, sequence: batch.sequence, payload, answer };
        let request = Request::Store(submission);
        self.queue.send(request).await.map_err(|_| SubmitError::Closed)?;
        answered.await.unwrap_or(Err(SubmitError::Closed))
    }

    /// The highest sequence of this sender's life that is on disk.
    pub fn resumes_after(&self, sender: &Sender) -> Option<u64> {
        self.shared.seen().last(sender)
    }

    /// Lets the writer finish what was submitted before, and end.
    pub async fn close(&self) {
        // A queue that is closed already belongs to a writer that ended by itself.
        let _ = self.queue.send(Request::End).await;
    }

    /// Resolves when the writer takes nothing more.
    pub async fn closed(&self) {
        self.queue.closed().await;
    }
}

impl Trim {
    /// Drops the segments whose every position is at most this.
    ///
    /// # Errors
    /// When a file can't be removed; it is then trimmed by the next start.
    pub fn through(&self, position: u64) -> io::Result<()> {
        let done = self.shared.segments().take_through(position);
        for segment in &done {
            std::fs::remove_file(&segment.path)?;
        }
        if done.is_empty() { Ok(()) } else { Disk.sync_directory(&self.directory) }
    }
}

impl Shared {
    pub(crate) fn segments(&self) -> MutexGuard<'_, Segments> {
        // Every change to the list is a single step, so a panic elsewhere leaves it whole.
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recovery {
    fn damage(&mut self, segment: &segment::Segment, offset: usize, length: usize) {
        self.damaged_bytes += length as u64;
        tracing::warn!(segment = segment.first, offset, length, "damaged bytes in the spool");
    }
}
