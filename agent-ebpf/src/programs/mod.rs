//! One file a hook.

mod connection;
mod exchange;
mod failure;
mod nat;
