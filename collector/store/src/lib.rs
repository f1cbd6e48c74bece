//! The only door to Delta tables and object stores.
//!
//! Enter through [`Store::open`], then [`Store::table`] (created when missing) or
//! [`Store::existing`] (never created). A writer stages rows as parquet files named by their content
//! ([`Table::stage_rows`]) and makes them visible with one commit that also records how far the
//! writer has come ([`Table::append`], [`Table::swap`]). A reader takes a [`Snapshot`] or follows
//! new versions ([`Table::follow`]), and reads files with [`Table::read`]. What keeps tables small is
//! in [`maintain`].
//!
//! What holds here, always:
//! - A file is uploaded and synced before the commit that names it, so a crash leaves nothing to
//!   undo and a repeat writes the same bytes under the same name.
//! - A commit and the progress it stands for are one entry of the log: both are there or neither.
//! - An error from a commit says nothing about whether it landed; the log is read before deciding.
//! - Protocol features stay low (reader 1, writer 2), so that any engine opens the tables.

mod basis;
mod checkpoint;
mod commit;
mod create;
mod durable;
mod encode;
mod error;
#[cfg(test)]
mod faults;
mod file;
mod history;
mod lease;
mod log;
pub mod maintain;
mod probe;
mod read;
mod stage;
mod statistics;
mod store;
mod table;
mod widen;

pub use basis::Basis;
pub use error::StoreError;
pub use file::{FileRef, Range, StagedFile};
pub use lease::{Acquired, Lease};
pub use read::Wanted;
pub use stage::{Draft, Writing};
pub use store::Store;
pub use table::{Commit, Progress, Snapshot, Table, VersionFiles};
