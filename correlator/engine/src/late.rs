//! Rows that came after their window was final: counted, named, and left to a backfill.
//!
//! Every round judges the raw rows that came since the last one, before it makes windows final. So
//! whatever a final commit could see has been judged by then, and what comes after it is late for
//! its windows. Final commits and those of late rows carry how far was seen, which is where another
//! process or the next start goes on.

use std::collections::BTreeMap;
use std::ops::Range;

use join::window::window_start;
use join::{Reason, SECOND, Settings, Stage};
use store::{Commit, Progress, Store, StoreError, Table};
use tables::data_quality::check;
use tables::{Ambiguous, DataQuality, Row, hour_of_ns, micros_of_ns};

use crate::EngineError;
use crate::failpoint::{self, Step, Work};
use crate::input::{Arrival, Input, Look};
use crate::output::{Entry, app_id};
use crate::pins::Pins;

/// Late rows of one window, table and commit that get a row of their own. All are counted.
const NAMED_MAX: usize = 100;

/// How many late rows of each raw table each window has, by its start in seconds.
pub(crate) type Counts = BTreeMap<i64, BTreeMap<String, i64>>;

pub(crate) struct Late {
    app_id: String,
    final_app_id: String,
    path: Table,
    ambiguous: Table,
    quality: Table,
    /// The look up to which rows were judged.
    look: Look,
    /// Rows that were judged by an earlier process or another one.
    judged: Pins,
    /// Commits of late rows, and final commits, that `judged` rests on.
    known: (Option<i64>, Option<i64>),
}

impl Late {
    pub(crate) async fn open(store: &Store, job: &str) -> Result<Self, StoreError> {
        Ok(Self {
            app_id: format!("{job}/late"),
            final_app_id: app_id(job, Stage::Final),
            path: store.table(&tables::spec::<tables::Path>()).await?,
            ambiguous: store.table(&tables::spec::<Ambiguous>()).await?,
            quality: store.table(&tables::spec::<DataQuality>()).await?,
            look: 0,
            judged: Pins::default(),
            known: (None, None),
        })
    }

    /// Judges the rows that came since: those before `final_ns` are too late.
    pub(crate) async fn record(
        &mut self,
        input: &mut Input,
        final_ns: i64,
        settings: &Settings,
    ) -> Result<(), EngineError> {
        let version = self.catch_up().await?;
        if self.look == 0 && self.judged == Pins::default() {
            // Nobody has said yet what late is: what is there now belongs to windows to come, or to
            // a past that this job never saw.
            self.judged = input.visible();
        }
        let arrived: Range<Look> = self.look..input.look();
        let late = input.arrived(arrived, final_ns, &self.judged).await?;
        if late.is_empty() {
            self.look = input.look();
            return Ok(());
        }
        let (counts, named) = judge(&late, settings);
        let entry = Entry { seen: input.visible(), late: counts, ..Entry::default() };
        tracing::warn!(rows = late.len(), windows = entry.late.len(), "rows came too late");
        failpoint::reach(Work::Late, Step::Computed);
        let staged = stage(&self.ambiguous, &named).await?;
        let progress = Progress::new(&self.app_id, version + 1).with_metadata(entry.to_text());
        failpoint::reach(Work::Late, Step::Decided(Ambiguous::TABLE));
        let outcome = self.ambiguous.append(staged, progress).await?;
        // Somebody else judged these rows at the same time: what is left is judged next time.
        if let Commit::Committed { .. } = outcome {
            failpoint::reach(Work::Late, Step::Committed(Ambiguous::TABLE));
            self.count(&entry, version + 1).await?;
            self.look = input.look();
        }
        Ok(())
    }

    /// Learns what others judged, and completes what a crash left. Answers the number of the newest
    /// commit of late rows.
    async fn catch_up(&mut self) -> Result<i64, EngineError> {
        let late = self.ambiguous.progress(&self.app_id).await?;
        let finals = self.path.progress(&self.final_app_id).await?;
        if self.known != (late, finals) {
            let entries = [
                self.ambiguous.newest_of(&self.app_id).await?,
                self.path.newest_of(&self.final_app_id).await?,
            ];
            for metadata in entries.into_iter().flatten().filter_map(|entry| entry.metadata) {
                if let Some(entry) = Entry::from_text(&metadata) {
                    self.judged.merge(&entry.seen);
                }
            }
            self.known = (late, finals);
        }
        let version = late.unwrap_or(0);
        if self.quality.progress(&self.app_id).await?.unwrap_or(0) < version {
            let newest = self.ambiguous.newest_of(&self.app_id).await?;
            let entry = newest.and_then(|p| p.metadata).and_then(|text| Entry::from_text(&text));
            if let Some(entry) = entry {
                self.count(&entry, version).await?;
            }
        }
        Ok(version)
    }

    async fn count(&self, entry: &Entry, version: i64) -> Result<(), EngineError> {
        let mut rows = Vec::new();
        for (win, counts) in &entry.late {
            rows.extend(counts.iter().map(|(table, count)| DataQuality {
                hour: hour_of_ns(win * SECOND),
                win: *win,
                stage: Stage::Final.code().into(),
                finality: Stage::Final.finality().into(),
                check: check::TOO_LATE.into(),
                subject: table.clone(),
                count: *count,
                ..DataQuality::default()
            }));
        }
        let staged = stage(&self.quality, &rows).await?;
        failpoint::reach(Work::Late, Step::Decided(DataQuality::TABLE));
        let progress = Progress::new(&self.app_id, version).with_metadata(entry.to_text());
        self.quality.append(staged, progress).await?;
        failpoint::reach(Work::Late, Step::Committed(DataQuality::TABLE));
        Ok(())
    }
}

/// A row that is about one window.
trait OfWindow: Row {
    fn win(&self) -> i64;
}

impl OfWindow for Ambiguous {
    fn win(&self) -> i64 {
        self.win
    }
}

impl OfWindow for DataQuality {
    fn win(&self) -> i64 {
        self.win
    }
}

/// Uploads rows that are in the order of their windows, a file for each window.
async fn stage<R: OfWindow>(
    table: &Table,
    rows: &[R],
) -> Result<Vec<store::StagedFile>, StoreError> {
    let mut staged = Vec::new();
    for rows in rows.chunk_by(|a, b| a.win() == b.win()) {
        let prefix = format!("{}-{}", rows[0].win(), Stage::Final.code());
        staged.extend(table.stage_rows(rows, &prefix).await?);
    }
    failpoint::reach(Work::Late, Step::Uploaded(R::TABLE));
    Ok(staged)
}

/// Counts late rows by window and table, and names the first of each.
fn judge(late: &[Arrival], settings: &Settings) -> (Counts, Vec<Ambiguous>) {
    let mut counts = Counts::new();
    let mut named: BTreeMap<(i64, i64, String), Ambiguous> = BTreeMap::new();
    for row in late {
        let win = window_start(row.event_ns, settings) / SECOND;
        let count = counts.entry(win).or_default().entry(row.table.to_owned()).or_default();
        *count += 1;
        if usize::try_from(*count).is_ok_and(|count| count <= NAMED_MAX) {
            let row = too_late(row, win);
            named.insert((win, row.start_ns, row.segment.clone()), row);
        }
    }
    (counts, named.into_values().collect())
}

fn too_late(row: &Arrival, win: i64) -> Ambiguous {
    Ambiguous {
        hour: hour_of_ns(win * SECOND),
        win,
        stage: Stage::Final.code().into(),
        finality: Stage::Final.finality().into(),
        segment: format!("{} row {}/{} of {}", row.table, row.collector, row.ingest_seq, row.node),
        reason: Reason::FailTooLate.code().into(),
        start_time: micros_of_ns(row.event_ns),
        start_ns: row.event_ns,
        end_ns: row.event_ns,
        decided_by: "a backfill of its window".into(),
        ..Ambiguous::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(event_s: i64, ingest_seq: i64) -> Arrival {
        Arrival {
            table: "raw_span",
            node: "node-1".into(),
            collector: "collector-1".into(),
            ingest_seq,
            event_ns: event_s * SECOND,
        }
    }

    #[test]
    fn late_rows_are_counted_by_window_and_only_the_first_are_named() {
        let many = (0..=NAMED_MAX as i64).map(|seq| arrival(12, seq));
        let late: Vec<Arrival> = many.chain([arrival(25, 1_000)]).collect();
        let (counts, named) = judge(&late, &Settings::default());
        let of = |win: i64| counts[&win]["raw_span"];
        assert_eq!((of(10), of(20)), (NAMED_MAX as i64 + 1, 1));
        assert_eq!(named.len(), NAMED_MAX + 1);
        assert_eq!(named.last().unwrap().segment, "raw_span row collector-1/1000 of node-1");
    }
}
