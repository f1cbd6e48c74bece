//! Receives telemetry, lets the allow-list decide, spools what passed, and writes raw tables.
//!
//! Reading order: [`batch`] (what everything is made of), [`receive`] (the doors), [`admit`] (the
//! allow-list), [`spool`] (where an ACK comes from), [`append`] (raw tables, exactly once), and
//! [`run`], which wires them.
//!
//! Invariants: nothing is acknowledged before it is on disk; appends are idempotent per (source,
//! boot, sequence); a sender's text never names a file, a partition, a column or a metric, and
//! never reaches a log; what was refused leaves its reason and a keyed hash, not its bytes.

pub mod admit;
pub mod append;
pub mod batch;
pub mod cluster;
pub mod config;
pub mod format;
pub mod ledger;
pub mod limits;
pub mod receive;
pub mod run;
pub mod secret;
pub mod shutdown;
pub mod spool;
