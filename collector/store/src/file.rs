//! Data files: as the log names them, and as they wait for their commit.

use std::collections::BTreeMap;

/// Smallest and largest value of an integer column in a file, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub min: i64,
    pub max: i64,
}

/// A data file of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    /// Relative to the table's root.
    pub path: String,
    /// Value of the partition column.
    pub hour: String,
    pub size: u64,
    pub rows: u64,
    /// Ranges of the integer columns that carry statistics.
    pub stats: BTreeMap<String, Range>,
}

impl FileRef {
    /// Whether a row of this file may have `column` in `[start, end)`. Unknown counts as may.
    pub fn may_overlap(&self, column: &str, start: i64, end: i64) -> bool {
        self.stats.get(column).is_none_or(|range| range.min < end && range.max >= start)
    }

    /// The name without its folder.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// An uploaded file that no commit names yet.
#[derive(Clone, Debug)]
pub struct StagedFile {
    pub(crate) file: FileRef,
    /// Statistics as the log wants them.
    pub(crate) stats_json: String,
    pub(crate) modified_at_ms: i64,
}

impl StagedFile {
    pub fn file(&self) -> &FileRef {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_overlaps_half_open_ranges_and_unknown_columns() {
        let file = FileRef {
            path: "hour=2026-11-21T12/a.parquet".into(),
            hour: "2026-11-21T12".into(),
            size: 1,
            rows: 1,
            stats: BTreeMap::from([("win".to_owned(), Range { min: 10, max: 20 })]),
        };
        for (start, end, expected) in
            [(0, 10, false), (0, 11, true), (20, 21, true), (21, 30, false), (12, 13, true)]
        {
            assert_eq!(file.may_overlap("win", start, end), expected, "[{start}, {end})");
        }
        assert!(file.may_overlap("event_ns", 0, 1));
        assert_eq!(file.name(), "a.parquet");
    }
}
