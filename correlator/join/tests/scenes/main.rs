//! Scenes of a small cluster, and what the join makes of them.

mod clocks;
mod doubt;
mod hostile;
mod lines;
mod losses;
mod scene;
mod slow;
mod statistics;
mod sums;
mod threads;
mod times;
mod told;
