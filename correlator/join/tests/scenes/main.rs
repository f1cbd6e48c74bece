//! Scenes of a small cluster, and what the join makes of them.

mod bytes;
mod calls;
mod clocks;
mod concurrent;
mod doubt;
mod durations;
mod hostile;
mod lines;
mod losses;
mod order;
mod scene;
mod slow;
mod spans;
mod statistics;
mod steps;
mod sums;
mod threads;
mod times;
mod told;
