//! The few things the spool asks of a disk, so that tests can order them and make them fail.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

pub trait Media: Send + 'static {
    type File: Send;
    fn create(&self, path: &Path) -> io::Result<Self::File>;
    fn append(&self, file: &mut Self::File, bytes: &[u8]) -> io::Result<()>;
    /// Returns once the bytes appended so far survive a loss of power.
    fn sync(&self, file: &Self::File) -> io::Result<()>;
    /// Returns once the names in the directory do.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
    /// Takes back what was appended beyond this length.
    fn truncate(&self, file: &Self::File, length: u64) -> io::Result<()>;
}

/// A file system.
pub struct Disk;

impl Media for Disk {
    type File = File;

    fn create(&self, path: &Path) -> io::Result<File> {
        // Truncating first and appending afterwards keeps the position right after `truncate`.
        File::create(path)?;
        OpenOptions::new().append(true).open(path)
    }

    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }
}
