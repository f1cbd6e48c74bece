//! Access logs from files: each line once, across rotation and across restarts of ours.
//!
//! A batch's sequence is the offset behind its last line, and the life is the file's identity. So
//! what the spool knows of a sender is the position to go on from, and no other state is kept.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Intake;
use super::lines::Lines;
use crate::batch::{Batch, Rows, Sender};
use crate::config::Tailed;
use crate::format::{Format, LINE_BYTES_MAX};
use crate::shutdown::Shutdown;

const SOURCE: &str = "file";
/// How often a file is looked at for more: well within the commit interval.
const PAUSE: Duration = Duration::from_millis(200);
/// After a file was replaced its writer may go on for a moment, as nginx does until it is told to
/// reopen. It is left when it was quiet for this many looks: five seconds.
const QUIET_LOOKS_MAX: u32 = 25;
/// Read at once: about 2,000 lines of the usual length.
const READ_BYTES: usize = 512 * 1024;
/// Stored as one batch. Half a megabyte of empty words would be a quarter of a million rows.
const BATCH_LINES_MAX: usize = 2_048;

/// Follows the file at this path, whichever file that is, until shutdown.
pub async fn follow(intake: Arc<Intake>, tailed: Tailed, shutdown: Shutdown) {
    let mut tail: Option<Tail> = None;
    while !shutdown.is_requested() {
        let progress = step(&intake, &tailed, &mut tail, &shutdown).await;
        let is_idle = progress.unwrap_or_else(|source| {
            tracing::warn!(path = %tailed.path.display(), error = %source, "a log can't be read");
            tail = None;
            true
        });
        if is_idle {
            tokio::select! {
                () = shutdown.requested() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

/// One open file and how far it was stored.
struct Tail {
    file: File,
    format: Format,
    inode: u64,
    sender: Sender,
    position: u64,
    quiet_looks: u32,
}

/// Stores what is new. Returns whether there was nothing to do.
async fn step(
    intake: &Intake,
    tailed: &Tailed,
    tail: &mut Option<Tail>,
    shutdown: &Shutdown,
) -> io::Result<bool> {
    let Some(open) = tail else {
        *tail = Tail::open(intake, tailed)?;
        return Ok(tail.is_none());
    };
    if open.is_cut()? {
        *tail = None;
        return Ok(false);
    }
    let bytes = open.read()?;
    let is_over = open.quiet_looks >= QUIET_LOOKS_MAX && open.is_replaced(&tailed.path);
    let whole = whole_lines(&bytes, is_over);
    if whole > 0 {
        let batch = open.batch(intake, &bytes[..whole]);
        if intake.store_patiently(batch, shutdown).await {
            open.position += whole as u64;
            open.quiet_looks = 0;
        }
        return Ok(false);
    }
    if is_over {
        *tail = None;
        return Ok(false);
    }
    open.quiet_looks += 1;
    Ok(true)
}

impl Tail {
    /// `None` while there is no file with a whole first line, which is what tells apart two files
    /// that got the same inode one after the other.
    fn open(intake: &Intake, tailed: &Tailed) -> io::Result<Option<Self>> {
        let path = &tailed.path;
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut start = vec![0; LINE_BYTES_MAX];
        let length = read_full(&mut file, &mut start)?;
        let Some(end) = start[..length].iter().position(|&byte| byte == b'\n') else {
            return Ok(None);
        };
        let inode = file.metadata()?.ino();
        let fingerprint = intake.admission.input_hash(&start[..end]);
        let sender = Sender {
            source: SOURCE.to_owned(),
            node: path.display().to_string(),
            boot_id: format!("{inode:x}-{}", &fingerprint[..16]),
        };
        let position = intake.spool.resumes_after(&sender).unwrap_or(0);
        Ok(Some(Self { file, format: tailed.format, inode, sender, position, quiet_looks: 0 }))
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; READ_BYTES];
        self.file.seek(SeekFrom::Start(self.position))?;
        let length = read_full(&mut self.file, &mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Whether the path leads to another file now.
    fn is_replaced(&self, path: &Path) -> bool {
        path.metadata().is_ok_and(|now| now.ino() != self.inode)
    }

    /// Whether this file was emptied to begin anew.
    fn is_cut(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() < self.position)
    }

    fn batch(&self, intake: &Intake, lines: &[u8]) -> Batch {
        let sequence = self.position + lines.len() as u64;
        let mut taken = Lines {
            intake,
            receiver: SOURCE,
            format: self.format,
            emitter_ip: None,
            origin: intake.origin(&self.sender, Some(sequence)),
            rows: Rows::default(),
        };
        for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            taken.take(line);
        }
        let rows = taken.rows;
        Batch { sender: self.sender.clone(), sequence: Some(sequence), rows }
    }
}

/// Bytes up to the last newline, or that of the last line a batch may have. A line longer than any
/// may be is taken as far as it goes, and so is the last one of a file that nobody writes to.
fn whole_lines(bytes: &[u8], is_final: bool) -> usize {
    let newlines = bytes.iter().enumerate().filter(|&(_, &byte)| byte == b'\n');
    match newlines.take(BATCH_LINES_MAX).last() {
        Some((last, _)) => last + 1,
        None if is_final || bytes.len() > LINE_BYTES_MAX => bytes.len(),
        None => 0,
    }
}

fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}
