//! The node agent: it loads the kernel programs, says what it can see, and ships what they saw.
//!
//! One loop ([`run`]) drains the ring buffer, sweeps the socket map, dumps conntrack and beats the
//! heart; one task ([`export`]) ships batches. Between them [`observer`] decides whose an event is
//! and whether it is shipped. The deciding parts are pure: [`record`] turns kernel records into wire
//! records, [`flow`] and [`quiet`] say what is told again and when, [`coverage`] what a heartbeat
//! may vouch for, [`batch`] what is shipped together and dropped first.
//!
//! Invariant: memory is bounded by configuration; when it is full the oldest is dropped first, and
//! the stream says so. The agent writes no sysctl and alters no packet.

pub mod attribution;
pub mod batch;
pub mod clock;
pub mod config;
pub mod conntrack;
pub mod coverage;
pub mod dump;
pub mod export;
pub mod flow;
pub mod kernel;
pub mod manifest;
pub mod observer;
pub mod offsets;
pub mod quiet;
pub mod record;
pub mod run;
