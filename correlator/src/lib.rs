//! The user's side of the correlator: the command line, its settings, and what it prints.
//!
//! Each verb is a file of [`cli`]. What follows, computes and commits is the package `engine`; what
//! reads is `query`.

pub mod cli;
pub mod settings;

mod shutdown;
