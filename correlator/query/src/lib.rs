//! Reading the tables: filters in, rows out. The only crate that names DataFusion.
//!
//! Enter through [`Reader::open`], then ask with a [`PathFilter`] or an [`AmbiguousFilter`], or for
//! the state of the data ([`Reader::tables`], [`Reader::windows`], [`Reader::heartbeats`]).
//!
//! What holds here, always:
//! - A question reads plain parquet files that one pinned snapshot names. Files are left out by
//!   window and statistics, row groups by statistics and bloom filters.
//! - A reader sees final rows, and for windows that are not final the newest revision of each path.
//! - Values that a user typed are literals of an expression; no text is ever parsed as SQL.
//! - Nothing is written, and a table that is missing is not created.

mod current;
mod error;
mod files;
mod filter;
mod id;
mod newest;
mod predicate;
mod reader;
mod scan;
mod state;
#[cfg(test)]
mod tests;

pub use current::Scanned;
pub use error::QueryError;
pub use filter::{
    AmbiguousFilter, Interval, PathFilter, ServiceName, StatusError, StatusFilter, Verdict,
    VerdictError,
};
pub use id::{Id, IdError};
pub use newest::Answer;
pub use reader::Reader;
pub use state::{Content, Refused, TableState, Windows};
