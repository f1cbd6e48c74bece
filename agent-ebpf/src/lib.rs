//! The contract between the kernel programs and the agent, and the logic that both can be tested by.
//!
//! [`abi`] is what crosses the ring buffer and the maps, [`field`] the kernel structure fields whose
//! offsets the agent resolves before it loads the programs, [`turn`] how socket calls become
//! exchanges, [`parse`] how header bytes become a tuple. Everything here is `no_std`, names `core`
//! alone and runs on the host in tests.
//!
//! What the programs promise: a packet is never modified, delayed or dropped, nothing past the
//! transport header is read, and every failure to record is counted.

#![cfg_attr(not(test), no_std)]

pub mod abi;
pub mod field;
pub mod parse;
pub mod turn;
