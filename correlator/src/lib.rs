//! The correlator: raw tables in, hop, path and ambiguous tables out, and the user's commands.
//!
//! Enter through [`run::run`] (live) and [`backfill::run`] (past windows). Both read the same raw
//! rows, call the same pure function in `join` and commit through the same door, so that a
//! backfill equals what live computed. Always: each window reaches each table once per stage,
//! across crashes, and there is no state that the tables can't rebuild.

pub mod backfill;
pub mod cli;
pub mod config;
pub mod run;

mod correlation;
mod input;
mod moment;
mod output;

pub use input::InputError;
pub use output::OutputError;
