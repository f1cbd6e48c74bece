//! The spool against time, failing disks, damage and restarts.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc as gate;
use std::time::Duration;

use super::*;
use crate::batch::Rows;

fn batch(sequence: Option<u64>) -> Batch {
    let sender = Sender { source: "agent".into(), node: "node-1".into(), boot_id: "b".into() };
    let spans = vec![tables::Span { sequence: 7, ..tables::Span::default() }];
    Batch { sender, sequence, rows: Rows { spans, ..Rows::default() } }
}

fn config(directory: &Path) -> Config {
    Config { directory: directory.into(), segment_bytes: SEGMENT_BYTES, bytes_max: u64::MAX }
}

fn open_at(directory: &Path) -> Opened {
    open(Disk, &config(directory), 0, Arc::default()).unwrap()
}

/// Sequences and positions of everything the reader has.
fn read_all(reader: &mut Reader) -> Vec<(u64, Option<u64>)> {
    let portion = reader.read(usize::MAX).unwrap();
    portion.batches.iter().map(|(position, batch)| (*position, batch.sequence)).collect()
}

async fn end(opened: Opened) {
    opened.spool.close().await;
    opened.writer.join().unwrap();
}

/// A disk that syncs only when told to, or fails when told to.
struct Hostile {
    syncs: Option<gate::Receiver<()>>,
    full: Arc<AtomicBool>,
    sync_fails: Arc<AtomicBool>,
}

impl Media for Hostile {
    type File = std::fs::File;

    fn create(&self, path: &Path) -> io::Result<Self::File> {
        Disk.create(path)
    }

    fn append(&self, file: &mut Self::File, bytes: &[u8]) -> io::Result<()> {
        if self.full.load(SeqCst) {
            // As a full disk does it: some of the bytes are there.
            Disk.append(file, &bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Disk.append(file, bytes)
    }

    fn sync(&self, file: &Self::File) -> io::Result<()> {
        if let Some(syncs) = &self.syncs {
            syncs.recv().map_err(io::Error::other)?;
        }
        if self.sync_fails.load(SeqCst) {
            return Err(io::Error::other("EIO"));
        }
        Disk.sync(file)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        Disk.sync_directory(directory)
    }

    fn truncate(&self, file: &Self::File, length: u64) -> io::Result<()> {
        Disk.truncate(file, length)
    }
}

#[tokio::test]
async fn an_answer_waits_for_the_sync_also_for_a_batch_sent_again_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (allow, syncs) = gate::channel();
    allow.send(()).unwrap(); // The header of the first segment.
    let media = Hostile { syncs: Some(syncs), full: Arc::default(), sync_fails: Arc::default() };
    let opened = open(media, &config(folder.path()), 0, Arc::default()).unwrap();
    let submit = || {
        let spool = opened.spool.clone();
        tokio::spawn(async move { spool.submit(&batch(Some(1))).await })
    };
    let (first, again) = (submit(), submit());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!first.is_finished() && !again.is_finished(), "answered before the sync");
    let mut reader = opened.reader;
    assert!(read_all(&mut reader).is_empty(), "read before the sync");
    allow.send(()).unwrap();
    // The two may have met in one group or not; whichever came second is the duplicate.
    let mut answers = [first.await.unwrap().unwrap(), again.await.unwrap().unwrap()];
    answers.sort_by_key(|stored| *stored == Stored::Duplicate);
    assert_eq!(answers, [Stored::New, Stored::Duplicate]);
    assert_eq!(read_all(&mut reader), [(1, Some(1))]);
}

#[tokio::test]
async fn nothing_is_acknowledged_after_a_failed_sync() {
    let folder = tempfile::tempdir().unwrap();
    let sync_fails = Arc::new(AtomicBool::new(false));
    let media = Hostile { syncs: None, full: Arc::default(), sync_fails: Arc::clone(&sync_fails) };
    let opened = open(media, &config(folder.path()), 0, Arc::default()).unwrap();
    assert_eq!(opened.spool.submit(&batch(Some(1))).await, Ok(Stored::New));
    sync_fails.store(true, SeqCst);
    assert_eq!(opened.spool.submit(&batch(Some(2))).await, Err(SubmitError::Broken));
    sync_fails.store(false, SeqCst);
    opened.spool.closed().await;
    assert_eq!(opened.spool.submit(&batch(Some(3))).await, Err(SubmitError::Closed));
    assert!(!opened.writer.join().unwrap());
}

#[tokio::test]
async fn a_full_disk_refuses_and_takes_up_where_it_was_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let media = Hostile { syncs: None, full: Arc::clone(&full), sync_fails: Arc::default() };
    let mut opened = open(media, &config(folder.path()), 0, Arc::default()).unwrap();
    opened.spool.submit(&batch(Some(1))).await.unwrap();
    full.store(true, SeqCst);
    assert_eq!(opened.spool.submit(&batch(Some(2))).await, Err(SubmitError::Disk));
    full.store(false, SeqCst);
    assert_eq!(opened.spool.submit(&batch(Some(2))).await, Ok(Stored::New));
    assert_eq!(read_all(&mut opened.reader), [(1, Some(1)), (2, Some(2))]);
    end(opened).await;
    assert_eq!(open_at(folder.path()).recovery.damaged_bytes, 0);
}

#[tokio::test]
async fn over_its_limit_the_spool_refuses_until_it_is_trimmed() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { segment_bytes: 1, bytes_max: 4_000, ..config(folder.path()) };
    let opened = open(Disk, &config, 0, Arc::default()).unwrap();
    let mut stored = 0;
    while opened.spool.submit(&batch(Some(stored))).await.is_ok() {
        stored += 1;
    }
    assert!(stored > 0, "the limit leaves room for some");
    assert_eq!(opened.spool.submit(&batch(Some(stored))).await, Err(SubmitError::Full));
    opened.trim.through(stored).unwrap();
    assert_eq!(opened.spool.submit(&batch(Some(stored))).await, Ok(Stored::New));
}

#[tokio::test]
async fn a_batch_sent_again_is_known_across_rotation_trim_and_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { segment_bytes: 1, ..config(folder.path()) };
    let mut opened = open(Disk, &config, 0, Arc::default()).unwrap();
    for sequence in 0..4 {
        assert_eq!(opened.spool.submit(&batch(Some(sequence))).await, Ok(Stored::New));
    }
    assert_eq!(opened.spool.submit(&batch(Some(0))).await, Ok(Stored::Duplicate));
    let expected = [(1, Some(0)), (2, Some(1)), (3, Some(2)), (4, Some(3))];
    assert_eq!(read_all(&mut opened.reader), expected);
    opened.trim.through(4).unwrap();
    assert_eq!(opened.spool.submit(&batch(None)).await, Ok(Stored::New));
    assert_eq!(read_all(&mut opened.reader), [(5, None)], "reading goes on behind a trim");
    end(opened).await;

    let mut opened = open(Disk, &config, 0, Arc::default()).unwrap();
    for sequence in 0..4 {
        assert_eq!(opened.spool.submit(&batch(Some(sequence))).await, Ok(Stored::Duplicate));
    }
    assert_eq!(opened.spool.resumes_after(&batch(None).sender), Some(3));
    assert_eq!(opened.spool.submit(&batch(Some(4))).await, Ok(Stored::New));
    assert_eq!(read_all(&mut opened.reader).last(), Some(&(6, Some(4))));
}

#[tokio::test]
async fn positions_grow_over_restarts_and_over_what_the_tables_hold() {
    let folder = tempfile::tempdir().unwrap();
    for (floor, expected) in [(0, 1), (0, 2), (40, 41), (3, 42)] {
        let mut opened = open(Disk, &config(folder.path()), floor, Arc::default()).unwrap();
        opened.spool.submit(&batch(None)).await.unwrap();
        assert_eq!(read_all(&mut opened.reader).last(), Some(&(expected, None)), "floor {floor}");
        end(opened).await;
    }
}

#[tokio::test]
async fn a_flipped_byte_and_a_torn_tail_cost_what_they_touch_and_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open_at(folder.path());
    for sequence in 0..3 {
        opened.spool.submit(&batch(Some(sequence))).await.unwrap();
    }
    end(opened).await;
    let path = segment::path(folder.path(), 1);
    let length = path.metadata().unwrap().len();
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(length - 5).unwrap();
    // Inside the first batch: behind the header and the frame of what was seen.
    let frame_of_a_batch = frame::size(serde_json::to_vec(&batch(Some(0))).unwrap().len()) as u64;
    file.seek(SeekFrom::Start(length - 3 * frame_of_a_batch + 30)).unwrap();
    file.write_all(b"\xff").unwrap();

    let ledger = Arc::new(Ledger::default());
    let mut opened = open(Disk, &config(folder.path()), 0, ledger).unwrap();
    assert_eq!(opened.recovery.batches, 1);
    assert_eq!(opened.recovery.damaged_bytes, 2 * frame_of_a_batch - 5);
    assert_eq!(read_all(&mut opened.reader), [(2, Some(1))]);
    assert_eq!(opened.spool.submit(&batch(Some(0))).await, Ok(Stored::New), "lost, so sent again");
}

#[tokio::test]
async fn damage_anywhere_never_blocks_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open_at(folder.path());
    opened.spool.submit(&batch(Some(1))).await.unwrap();
    end(opened).await;
    let path = segment::path(folder.path(), 1);
    let bytes = std::fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        std::fs::write(&path, &flipped).unwrap();
        let segments = Segments::find(folder.path()).unwrap();
        let recovery = reader::recover(&segments).unwrap().1;
        assert!(recovery.damaged_bytes > 0, "byte {at}");
    }
}

#[test]
fn a_spool_of_a_release_to_come_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut header = segment::header(1);
    header[8] = 2;
    let checksum = crc32fast::hash(&header[..20]).to_le_bytes();
    header[20..].copy_from_slice(&checksum);
    std::fs::write(segment::path(folder.path(), 1), header).unwrap();
    let refused = open(Disk, &config(folder.path()), 0, Arc::default()).err();
    assert!(matches!(refused, Some(OpenError::Version { found: 2, known: 1 })));
}
