//! What a correlator is told: where the tables are, under which name it works, and how.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Folder or URL of the tables.
    pub tables: String,
    /// Name of this correlator in the tables' progress.
    pub job: String,
    pub settings: join::Settings,
    /// How often the raw tables are looked at.
    pub poll: Duration,
    /// Bytes of raw rows that a live correlator holds, sorted and linked: those of the newest windows,
    /// for every stage of these. Older windows are read again for each stage.
    pub raw_bytes_max: usize,
    /// Adjacent windows that a backfill computes at once: the guard band is paid once for them, and
    /// their rows are in memory together.
    pub windows_per_run: u32,
}

/// Five minutes of windows of the default length.
const WINDOWS_PER_RUN: u32 = 30;

/// A quarter of an hour of 1,000 requests a second, two minutes of 10,000.
const RAW_BYTES_MAX: usize = 1 << 30;

impl Config {
    /// The default settings over these tables, on all cores.
    pub fn new(tables: impl Into<String>) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            tables: tables.into(),
            job: "live".to_owned(),
            settings: join::Settings { threads, ..join::Settings::default() },
            poll: Duration::from_secs(1),
            raw_bytes_max: RAW_BYTES_MAX,
            windows_per_run: WINDOWS_PER_RUN,
        }
    }
}
