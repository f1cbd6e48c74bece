//! Derived files that maintenance has put together: the final windows of an hour in one file.
//!
//! A window inside of such a file is as final as one in a file of its own. What writes a window goes
//! by files of one window each, so a compacted file counts as the files it was made of: its rows are
//! kept in their order, which gives the same bytes and so the same names. Only where a window is to
//! be others' rows is the file taken apart, in a commit that changes no row.

use std::collections::BTreeSet;
use std::ops::Range;

use join::Stage;
use store::{FileRef, StagedFile, StoreError, Table};

use crate::output::prefix;

/// Names of compacted files begin with this, and not with a window.
pub(crate) const PREFIX: &str = "compacted";

/// The column by which derived rows are put together.
pub(crate) const WINDOW: &str = "win";

pub(crate) fn is_compacted(file: &FileRef) -> bool {
    file.name().split('-').next() == Some(PREFIX)
}

/// Whether a compacted file may hold rows of windows, given by their starts in seconds.
pub(crate) fn overlaps(file: &FileRef, seconds: &Range<i64>) -> bool {
    is_compacted(file) && file.may_overlap(WINDOW, seconds.start, seconds.end)
}

/// What compacted files hold of a run of windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nothing that stands against what is wanted.
    AsWanted(Windows),
    /// Some window is to have other rows: these files are in the way.
    Otherwise(Vec<FileRef>),
}

/// Windows of which nothing has to be written, because compacted files hold them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Windows {
    /// Paths of the files that compacted files stand for.
    files: BTreeSet<String>,
    /// First and last window of compacted files that no provisional rows may come after.
    closed: Vec<(i64, i64)>,
}

impl Windows {
    pub(crate) fn contains(&self, staged: &StagedFile) -> bool {
        let file = staged.file();
        let is_closed =
            |win| self.closed.iter().any(|(first, last)| (*first..=*last).contains(&win));
        self.files.contains(&file.path)
            || file.stats.get(WINDOW).is_some_and(|range| is_closed(range.min))
    }
}

/// Compares what compacted files hold of windows, given in seconds, with what these should be.
/// Provisional rows never come after final ones, whatever they say.
///
/// # Errors
/// When a compacted file can't be read.
pub(crate) async fn held(
    table: &Table,
    seconds: &Range<i64>,
    wanted: &[StagedFile],
    stage: Stage,
) -> Result<Held, StoreError> {
    let compacted = table.select(|file| overlaps(file, seconds)).await?.files;
    let mut windows = Windows::default();
    if stage != Stage::Final {
        let range = |file: &FileRef| file.stats.get(WINDOW).map(|range| (range.min, range.max));
        windows.closed = compacted.iter().filter_map(range).collect();
        return Ok(Held::AsWanted(windows));
    }
    let wanted: BTreeSet<&str> = wanted.iter().map(|staged| staged.file().path.as_str()).collect();
    let mut in_the_way = Vec::new();
    for file in compacted {
        let names = window_files(table, &file, seconds).await?;
        if names.iter().all(|name| wanted.contains(name.as_str())) {
            windows.files.extend(names);
        } else {
            in_the_way.push(file);
        }
    }
    Ok(if in_the_way.is_empty() { Held::AsWanted(windows) } else { Held::Otherwise(in_the_way) })
}

/// Makes windows' own files of compacted ones. Another writer may be faster: the caller looks anew.
///
/// # Errors
/// When a file can't be read, its parts can't be written, or the commit's fate is unknown.
pub(crate) async fn take_apart(table: &Table, files: &[FileRef]) -> Result<(), StoreError> {
    for file in files {
        table.take_apart(file, WINDOW, |win| prefix(win, Stage::Final, 0)).await?;
    }
    Ok(())
}

async fn window_files(
    table: &Table,
    file: &FileRef,
    seconds: &Range<i64>,
) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for (win, rows) in table.contents(file, WINDOW, seconds.clone()).await? {
        names.push(table.name(&rows, &prefix(win, Stage::Final, 0)).await?.path);
    }
    Ok(names)
}
