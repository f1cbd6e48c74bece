//! What a change was decided on: a part of a table as its writer saw it.
//!
//! Two writers that look at the same windows and then both add files would leave both in the
//! table, for none of them removes what the other added. A change that names its basis is a
//! conflict once that part of the table is another.

use std::collections::BTreeSet;
use std::fmt;

use crate::StoreError;
use crate::commit::{Change, Rows};
use crate::file::{FileRef, StagedFile};
use crate::log::Log;
use crate::table::{Commit, Progress, Table};

type Part = Box<dyn Fn(&FileRef) -> bool + Send + Sync>;

/// The live files of one part of a table at one moment.
pub struct Basis {
    part: Part,
    files: Vec<FileRef>,
}

impl fmt::Debug for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Basis").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Basis {
    pub fn files(&self) -> &[FileRef] {
        &self.files
    }

    /// Whether the log still has exactly these files in this part.
    pub(crate) fn holds(&self, log: &Log) -> bool {
        let live = log.files.values().filter(|file| (self.part)(file));
        let seen: BTreeSet<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        live.map(|file| file.path.as_str()).eq(seen)
    }
}

impl Table {
    /// The live files that `part` accepts, to decide a change on.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn basis(
        &self,
        part: impl Fn(&FileRef) -> bool + Send + Sync + 'static,
    ) -> Result<Basis, StoreError> {
        let files = self.select(&part).await?.files;
        Ok(Basis { part: Box::new(part), files })
    }

    /// As [`Table::swap`], and a [`Commit::Conflict`] too where the basis has changed.
    ///
    /// # Errors
    /// As [`Table::append`].
    pub async fn swap_on(
        &self,
        basis: Basis,
        remove: Vec<FileRef>,
        add: Vec<StagedFile>,
        progress: Progress,
    ) -> Result<Commit, StoreError> {
        let change = Change { remove, add, progress, rows: Rows::Change, basis: Some(basis) };
        self.commit(change.with_each_path_once()).await
    }
}
