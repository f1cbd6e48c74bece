//! `finality`: may a row still change? A column of every derived table.
//!
//! Until a window is final, each revision adds rows instead of changing them. Of the rows of one
//! window that share a `path_id` the newest revision counts, and rows without a path count as one
//! such group. A row that is [`WITHDRAWN`] says that newest is nothing: the path merged into
//! another one, or what was undecided is decided. Final rows replace all of that.

/// Of the stages `P` and `R`.
pub const PROVISIONAL: &str = "provisional";
/// Of the stage `F`: right for anyone who reads the tables from outside.
pub const FINAL: &str = "final";
/// Of the stage `R`: the group that this row stands for is gone; its other columns only identify it.
pub const WITHDRAWN: &str = "withdrawn";
