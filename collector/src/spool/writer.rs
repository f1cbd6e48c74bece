//! The one thread that writes the spool: group commit, rotation, and the only place that answers.
//!
//! Batches that arrive while one sync runs are written together and share the next sync. An answer
//! leaves after the sync. A sync that failed is final: what it covered may or may not be on disk,
//! the kernel may have dropped it, and asking again would lie; so nothing is ever acknowledged
//! after it in this life of the process.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::frame::{self, Kind};
use super::media::Media;
use super::segment::{self, Segment};
use super::{Shared, Stored, SubmitError, Synced};
use crate::batch::Sender;

/// A group is written at once: a few of the largest batches, so that memory stays small.
const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the queue to the writer carries.
pub(crate) enum Request {
    Store(Submission),
    /// Store what was queued before this, then end.
    End,
}

/// A batch on its way to disk.
pub(crate) struct Submission {
    pub(crate) sender: Sender,
    pub(crate) sequence: Option<u64>,
    pub(crate) payload: Vec<u8>,
    pub(crate) answer: oneshot::Sender<Result<Stored, SubmitError>>,
}

pub(crate) struct Writer<M: Media> {
    media: M,
    directory: PathBuf,
    segment_bytes: u64,
    shared: Arc<Shared>,
    synced: watch::Sender<Synced>,
    active: Active<M::File>,
    next: u64,
    broken: bool,
}

struct Active<F> {
    file: F,
    first: u64,
    length: u64,
}

impl<M: Media> Writer<M> {
    pub(crate) fn start(
        media: M,
        config: &super::Config,
        shared: Arc<Shared>,
        next: u64,
    ) -> io::Result<(Self, watch::Receiver<Synced>)> {
        let active = begin_segment(&media, &config.directory, &shared, next)?;
        let (synced, reader) = watch::channel(Synced { segment: next, offset: active.length });
        let writer = Self {
            media,
            directory: config.directory.clone(),
            segment_bytes: config.segment_bytes,
            shared,
            synced,
            active,
            next,
            broken: false,
        };
        Ok((writer, reader))
    }

    /// Runs until it is told to end. Returns whether all syncs succeeded.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Request>) -> bool {
        while let Some(first) = queue.blocking_recv() {
            let (group, is_last) = collect(first, &mut queue);
            self.store(group);
            if is_last || self.broken {
                // What is queued already is still answered; nothing more gets in.
                queue.close();
            }
        }
        !self.broken
    }

    fn store(&mut self, group: Vec<Submission>) {
        let (fresh, again): (Vec<_>, Vec<_>) = self.split(group);
        let outcome = self.write(&fresh);
        for (submission, _) in fresh {
            let answer = outcome.as_ref().map(|()| Stored::New).map_err(Clone::clone);
            // A receiver that went away has closed its connection; the batch is stored anyway.
            let _ = submission.answer.send(answer);
        }
        for submission in again {
            let answer = outcome.as_ref().map(|()| Stored::Duplicate).map_err(Clone::clone);
            let _ = submission.answer.send(answer);
        }
    }

    /// Numbers the batches that are new. A batch twice in one group counts as sent again: its
    /// answer, too, has to wait for the sync of the first.
    fn split(&self, group: Vec<Submission>) -> (Vec<(Submission, u64)>, Vec<Submission>) {
        let seen = self.shared.seen();
        let mut in_group = HashSet::new();
        let (mut fresh, mut again) = (Vec::new(), Vec::new());
        for submission in group {
            let is_new = submission.sequence.is_none_or(|sequence| {
                !seen.contains(&submission.sender, sequence)
                    && in_group.insert((submission.sender.clone(), sequence))
            });
            if is_new {
                let position = self.next + fresh.len() as u64;
                fresh.push((submission, position));
            } else {
                again.push(submission);
            }
        }
        (fresh, again)
    }

    fn write(&mut self, fresh: &[(Submission, u64)]) -> Result<(), SubmitError> {
        if self.broken {
            return Err(SubmitError::Broken);
        }
        if fresh.is_empty() {
            return Ok(());
        }
        if self.active.length >= self.segment_bytes {
            self.rotate()?;
        }
        let mut buffer = Vec::new();
        for (submission, position) in fresh {
            frame::write(&mut buffer, Kind::Batch, *position, &submission.payload);
        }
        if let Err(source) = self.media.append(&mut self.active.file, &buffer) {
            return Err(self.take_back(&source));
        }
        if let Err(source) = self.media.sync(&self.active.file) {
            tracing::error!(error = %source, "sync of the spool failed; nothing more is accepted");
            self.broken = true;
            return Err(SubmitError::Broken);
        }
        let mut seen = self.shared.seen();
        for (submission, position) in fresh {
            if let Some(sequence) = submission.sequence {
                seen.insert(&submission.sender, sequence, *position);
            }
        }
        drop(seen);
        self.next += fresh.len() as u64;
        self.active.length += buffer.len() as u64;
        self.shared.segments().grow_last(buffer.len() as u64);
        self.synced.send_replace(Synced { segment: self.active.first, offset: self.active.length });
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), SubmitError> {
        match begin_segment(&self.media, &self.directory, &self.shared, self.next) {
            Ok(active) => {
                self.active = active;
                Ok(())
            }
            Err(source) => {
                tracing::error!(error = %source, "a new spool segment could not be begun");
                Err(SubmitError::Disk)
            }
        }
    }

    /// After a write that failed, as on a full disk, the segment must end where it last synced.
    fn take_back(&mut self, source: &io::Error) -> SubmitError {
        tracing::error!(error = %source, "write to the spool failed");
        if let Err(source) = self.media.truncate(&self.active.file, self.active.length) {
            tracing::error!(error = %source, "a half-written frame could not be taken back");
            self.broken = true;
            return SubmitError::Broken;
        }
        SubmitError::Disk
    }
}

/// Takes what is queued already, up to a group's size, and whether the end was among it.
fn collect(first: Request, queue: &mut mpsc::Receiver<Request>) -> (Vec<Submission>, bool) {
    let (mut group, mut bytes) = (Vec::new(), 0);
    let mut request = first;
    loop {
        match request {
            Request::End => return (group, true),
            Request::Store(submission) => {
                bytes += submission.payload.len();
                group.push(submission);
            }
        }
        if bytes >= GROUP_BYTES_MAX {
            return (group, false);
        }
        match queue.try_recv() {
            Ok(next) => request = next,
            Err(_) => return (group, false),
        }
    }
}

fn begin_segment<M: Media>(
    media: &M,
    directory: &std::path::Path,
    shared: &Shared,
    next: u64,
) -> io::Result<Active<M::File>> {
    let path = segment::path(directory, next);
    let mut bytes = segment::header(next);
    frame::write(
        &mut bytes,
        Kind::Seen,
        next.saturating_sub(1),
        &serde_json::to_vec(&*shared.seen())?,
    );
    let mut file = media.create(&path)?;
    media.append(&mut file, &bytes)?;
    media.sync(&file)?;
    media.sync_directory(directory)?;
    let length = bytes.len() as u64;
    shared.segments().push(Segment { first: next, path, bytes: length });
    Ok(Active { file, first: next, length })
}
