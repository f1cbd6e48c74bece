//! The correlator's life around the pure join: raw tables in, hop, path and ambiguous tables out.
//!
//! Enter through [`run::follow`] (live) and [`backfill::backfill`] (past windows). Both read the
//! same raw rows, call the same pure function in `join` and commit through the same door, so that
//! a backfill equals what live computed. Always: each window reaches each table once per stage,
//! across crashes, and there is no state that the tables can't rebuild.

pub mod backfill;
pub mod failpoint;
pub mod maintain;
pub mod moment;
pub mod run;

mod compacted;
mod config;
mod correlation;
mod error;
mod input;
mod late;
mod output;
mod pins;

pub use config::Config;
pub use error::EngineError;
pub use input::InputError;
pub use output::{OutputError, RevisionError};
