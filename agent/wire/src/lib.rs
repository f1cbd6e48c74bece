//! The contract between agent and collector: what a batch is and how it looks on the wire.
//!
//! The messages are protobuf by `prost` derive, so there is one definition and no generated file;
//! `golden.hex` beside the tests is one batch as bytes, so that a renumbered field fails a test.
//! Rules: decode(encode(x)) = x; a field is added, never renumbered; what is unknown is skipped.
//! This crate is pure: no sockets, no clocks, no kernel.
//!
//! Times are nanoseconds of the observing node's boot clock; [`Batch::clock_epoch_ns`] added to one
//! gives nanoseconds since the Unix epoch.

mod address;
mod record;

pub use address::{AddressError, Endpoint};
pub use record::{
    Batch, Capability, Connection, ConnectionEnd, ConnectionState, Exchange, ExchangeEnd, Failure,
    FailureKind, Heartbeat, NatBinding, NatEvidence, Owner, PushReply, Record, Role,
    kind::Kind as RecordKind,
};

/// gRPC path of the one method: unary, [`Batch`] in, [`PushReply`] out.
pub const SERVICE: &str = "throughline.agent.v1.Ingest";
pub const METHOD: &str = "Push";

/// Largest encoded batch: the collector refuses a larger one, the agent never builds one.
/// 4 MiB is gRPC's customary limit; 8,000 exchanges of about 130 bytes are 1 MiB.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
