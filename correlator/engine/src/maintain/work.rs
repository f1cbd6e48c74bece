//! What maintenance did, or would do, in words.

use std::fmt;

use store::FileRef;
use store::maintain::Unneeded;

/// One piece of work on one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub table: &'static str,
    pub work: Work,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Hours before the retention were dropped.
    Dropped {
        first_hour: String,
        last_hour: String,
        files: usize,
        bytes: u64,
    },
    /// Files of one hour became one.
    Compacted {
        hour: String,
        files: usize,
        rows: u64,
        bytes: u64,
    },
    /// Files that no version needs were removed from the store.
    Removed {
        files: usize,
        bytes: u64,
    },
    Checkpoint {
        version: u64,
    },
    /// Old entries of the log were removed.
    Trimmed {
        entries: usize,
    },
}

impl Work {
    pub(super) fn compaction(group: &[FileRef]) -> Self {
        Self::Compacted {
            hour: group.first().map(|file| file.hour.clone()).unwrap_or_default(),
            files: group.len(),
            rows: group.iter().map(|file| file.rows).sum(),
            bytes: group.iter().map(|file| file.size).sum(),
        }
    }
}

/// Files are those of [`store::Table::expired`], in the order of their hours.
pub(super) fn dropped(files: &[FileRef]) -> Option<Work> {
    let (first, last) = (files.first()?, files.last()?);
    Some(Work::Dropped {
        first_hour: first.hour.clone(),
        last_hour: last.hour.clone(),
        files: files.len(),
        bytes: files.iter().map(|file| file.size).sum(),
    })
}

pub(super) fn removed(files: &[Unneeded]) -> Option<Work> {
    let bytes = files.iter().map(|file| file.bytes).sum();
    (!files.is_empty()).then(|| Work::Removed { files: files.len(), bytes })
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.table, self.work)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dropped { first_hour, last_hour, files, bytes } => {
                let mib = mib(*bytes);
                write!(f, "drop hours {first_hour} to {last_hour}, {files} files, {mib}")
            }
            Self::Compacted { hour, files, rows, bytes } => {
                let mib = mib(*bytes);
                write!(f, "compact hour {hour}, {files} files to one, {rows} rows, {mib}")
            }
            Self::Removed { files, bytes } => {
                write!(f, "remove {files} files that no version needs, {}", mib(*bytes))
            }
            Self::Checkpoint { version } => write!(f, "write a checkpoint of version {version}"),
            Self::Trimmed { entries } => write!(f, "trim the log by {entries} entries"),
        }
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_of_work_is_a_line() {
        let compacted =
            Work::Compacted { hour: "2026-11-21T12".into(), files: 360, rows: 7, bytes: 3 << 19 };
        assert_eq!(
            Task { table: "hop", work: compacted }.to_string(),
            "hop: compact hour 2026-11-21T12, 360 files to one, 7 rows, 1.5 MiB"
        );
        assert_eq!(removed(&[]), None);
        assert_eq!(dropped(&[]), None);
    }
}
