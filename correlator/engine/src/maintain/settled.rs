//! Which hours will not be written any more, and which of their files belong together.
//!
//! An hour is settled when every window of it is final and the allowed lateness and some time more
//! have passed. Rows that come later than that make files of their own, which join the others once
//! there are enough of them.

use std::collections::BTreeMap;

use join::{SECOND, Settings, Stage};
use store::maintain::{Limits, groups, hour_number};
use store::{FileRef, Store, StoreError, Table};
use tables::{Layer, hour_of_ns};

use crate::compacted;
use crate::input::collector_of;
use crate::output;

/// An hour is left alone this long after its last window could be written: nothing presses, and
/// what a live correlator holds decoded stays valid.
const REST_NS: i64 = 3_600 * SECOND;

const EVENT: &str = "event_ns";

/// Files of one hour that become one.
pub(super) struct Group {
    pub(super) files: Vec<FileRef>,
    /// What the name of the new file begins with.
    pub(super) prefix: String,
}

/// Hours before this one are settled.
pub(super) struct Settled {
    /// In the form of the partition column.
    before: String,
}

impl Settled {
    pub(super) async fn of(
        store: &Store,
        job: &str,
        settings: &Settings,
        now_ns: i64,
    ) -> Result<Self, StoreError> {
        let by_clock_ns = now_ns.saturating_sub(settings.lateness_ns + REST_NS);
        let final_ns = match store.existing(&tables::spec::<tables::Path>()).await? {
            Some(path) => path.progress(&output::app_id(job, Stage::Final)).await?,
            None => None,
        };
        // Where no correlator runs live there is only the clock.
        let final_ns = final_ns.map(|index| (index + 1).saturating_mul(settings.window_ns));
        let settled_ns = final_ns.map_or(by_clock_ns, |by_progress| by_progress.min(by_clock_ns));
        let hour = hour_number(settled_ns);
        Ok(Self { before: hour_of_ns(hour.saturating_mul(3_600 * SECOND)) })
    }

    /// What to put together in a table, of hours from `first_kept` on, the oldest first.
    pub(super) async fn groups(
        &self,
        table: &Table,
        first_kept: i64,
        limits: Limits,
    ) -> Result<Vec<Group>, StoreError> {
        let first = hour_of_ns(first_kept.saturating_mul(3_600 * SECOND));
        let of_hours = |file: &FileRef| file.hour >= first && file.hour < self.before;
        let files = table.select(of_hours).await?.files;
        Ok(of_layer(table.spec().layer, files, limits))
    }
}

/// The column that a table's rows are put together by.
pub(super) fn column(table: &Table) -> &'static str {
    column_of(table.spec().layer)
}

fn column_of(layer: Layer) -> &'static str {
    match layer {
        Layer::Raw => EVENT,
        Layer::Derived => compacted::WINDOW,
    }
}

fn of_layer(layer: Layer, files: Vec<FileRef>, limits: Limits) -> Vec<Group> {
    // Raw files hold rows of one collector: what was read of it is known by its positions.
    let owner = |file: &FileRef| match layer {
        Layer::Raw => collector_of(file).to_owned(),
        Layer::Derived => String::new(),
    };
    let mut hours: BTreeMap<(String, String), Vec<FileRef>> = BTreeMap::new();
    for file in files.into_iter().filter(|file| layer == Layer::Raw || is_final(file)) {
        hours.entry((file.hour.clone(), owner(&file))).or_default().push(file);
    }
    let mut found = Vec::new();
    for ((_, owner), files) in hours {
        for files in groups(files, column_of(layer), limits) {
            found.push(Group { prefix: prefix(layer, &owner, &files), files });
        }
    }
    found
}

fn is_final(file: &FileRef) -> bool {
    compacted::is_compacted(file) || output::is_final_file(file)
}

/// Names say the same of compacted files as of others: of raw ones the collector and its first
/// position, of derived ones that no single window is in it.
fn prefix(layer: Layer, owner: &str, files: &[FileRef]) -> String {
    match layer {
        Layer::Raw => {
            let first = |file: &FileRef| file.stats.get("ingest_seq").map(|range| range.min);
            format!("{owner}-{}", files.iter().filter_map(first).min().unwrap_or(0))
        }
        Layer::Derived => compacted::PREFIX.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use store::Range;

    use super::*;

    fn file(name: &str, hour: &str, column: &str, at: i64) -> FileRef {
        let range = Range { min: at, max: at };
        FileRef {
            path: format!("hour={hour}/{name}.parquet"),
            hour: hour.into(),
            size: 1,
            rows: 1,
            stats: BTreeMap::from([(column.to_owned(), range), ("ingest_seq".to_owned(), range)]),
        }
    }

    fn check(layer: Layer, files: Vec<FileRef>, expected: &[(&str, &[i64])]) {
        let limits = Limits { files_min: 2, ..Limits::default() };
        let found: Vec<(String, Vec<i64>)> = of_layer(layer, files, limits)
            .into_iter()
            .map(|group| {
                (group.prefix, group.files.iter().map(|f| f.stats["ingest_seq"].min).collect())
            })
            .collect();
        let expected: Vec<(String, Vec<i64>)> =
            expected.iter().map(|(prefix, at)| ((*prefix).to_owned(), at.to_vec())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn final_windows_of_an_hour_go_together_and_provisional_ones_stay() {
        let files = vec![
            file("20-F-a", "2026-11-21T12", "win", 20),
            file("10-F-b", "2026-11-21T12", "win", 10),
            file("30-P-c", "2026-11-21T12", "win", 30),
            file("40-R-d", "2026-11-21T12", "win", 40),
            file("compacted-e", "2026-11-21T12", "win", 0),
            file("50-F-f", "2026-11-21T13", "win", 50),
            file("60-F-g", "2026-11-21T13", "win", 60),
        ];
        check(Layer::Derived, files, &[("compacted", &[0, 10, 20]), ("compacted", &[50, 60])]);
    }

    #[test]
    fn raw_files_go_together_by_collector_and_keep_their_form_of_name() {
        let files = vec![
            file("zone-a-7-aa", "2026-11-21T12", EVENT, 7),
            file("zone-b-3-bb", "2026-11-21T12", EVENT, 3),
            file("zone-a-5-cc", "2026-11-21T12", EVENT, 5),
            file("zone-b-4-dd", "2026-11-21T12", EVENT, 4),
        ];
        check(Layer::Raw, files, &[("zone-a-5", &[5, 7]), ("zone-b-3", &[3, 4])]);
    }
}
