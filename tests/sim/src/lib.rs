//! A seeded cluster: requests through it, what every source tells of them, and the truth.
//!
//! Enter through [`Simulation`]: it is an iterator of [`Batch`]es in the order of their arrival at
//! the collector. [`Columns`] makes Arrow columns of them in the tables' schemas, [`Rows`] the row
//! types of `tables`, and [`write`] Delta tables. What really happened comes from [`Simulation::take_truth`]
//! and goes to files that the product never reads. The same [`Dials`] give the same rows and the
//! same truth, byte for byte. `README.md` beside the manifest says what the truth's columns mean.

pub mod address;
pub mod chance;
pub mod clock;
pub mod cluster;
pub mod columns;
mod delivery;
pub mod dials;
pub mod engine;
pub mod fate;
pub mod names;
mod network;
pub mod observation;
pub mod shape;
mod slab;
mod text;
pub mod truth;
pub mod write;

pub use columns::{Columns, Rows};
pub use dials::Dials;
pub use engine::{SetUpError, Simulation};
pub use names::Names;
pub use network::Client;
pub use observation::Batch;

#[cfg(test)]
mod tests;
