//! What sources tell, as integers: every raw row before it is text.
//!
//! A [`Batch`] is what one sender delivers at one moment. [`crate::columns`] makes Arrow columns of
//! it, as the product's own collector would have written them.

use crate::address::{Address, End};

/// Index of a pod in [`crate::cluster::Cluster::pods`], of a node in its `nodes`, and so on.
pub type PodId = u32;
pub type NodeId = u16;
pub type ServiceId = u16;

/// Who sent a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sender {
    /// The agent of a node, in its n-th life.
    Agent(NodeId, u8),
    Kubernetes,
    /// The SDK of a pod.
    Otlp(PodId),
    /// The log of a proxy's pod.
    Syslog(PodId),
}

/// Rows that arrive together.
#[derive(Clone, Debug)]
pub struct Batch {
    pub sender: Sender,
    /// Which collector took it.
    pub collector: u8,
    /// Position in that collector's spool.
    pub ingest_seq: i64,
    pub received_ns: i64,
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Number of the batch and index in it, in the sender's own counting.
    pub sequence: i64,
    pub item: i32,
    pub event_ns: i64,
    pub seen: Seen,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Exchange(Exchange),
    Connection(Connection),
    NatBinding(NatBinding),
    Failure(Failure),
    Span(Span),
    AccessLog(Box<AccessLog>),
    Heartbeat(Heartbeat),
    Capability(Capability),
    ClusterObject(Box<ClusterObject>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    Turn,
    Close,
    Quiet,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    pub pod: PodId,
    pub cookie: i64,
    pub role: Role,
    pub local: End,
    pub remote: End,
    pub ordinal: i64,
    pub seq_request: i64,
    pub seq_response: Option<u32>,
    pub start_ns: i64,
    pub first_response_ns: Option<i64>,
    pub end_ns: i64,
    pub bytes_request: i64,
    pub bytes_response: i64,
    pub process: u32,
    pub thread: u32,
    pub response_thread: Option<u32>,
    pub ended_by: EndedBy,
    /// `None` for HTTP/1, which the agent does not look at.
    pub stream: Option<Stream>,
}

/// An exchange of an HTTP/2 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    pub id: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Active,
    Closed,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    pub pod: PodId,
    pub cookie: i64,
    pub role: Role,
    pub local: End,
    pub remote: End,
    pub state: State,
    /// Of the handshake's end; `None` when the agent was not there.
    pub opened_ns: Option<i64>,
    pub bytes_sent: i64,
    pub bytes_received: i64,
    pub srtt_us: i64,
    /// `fin`, `reset` or `refused`.
    pub end_cause: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct NatBinding {
    pub node: NodeId,
    pub original: (End, End),
    pub reply: (End, End),
    pub first_seen_ns: i64,
    pub last_seen_ns: i64,
    /// Known from a dump, not from a packet.
    pub is_dump: bool,
}

/// A connection that was refused, as the kernel of one end saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub pod: PodId,
    /// `refused` or `reset_sent`.
    pub kind: &'static str,
    pub local: End,
    pub remote: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    Server,
    Client,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub trace_id: u128,
    pub span_id: u64,
    pub parent: Option<u64>,
    pub kind: SpanKind,
    pub pod: PodId,
    pub start_ns: i64,
    pub end_ns: i64,
    /// Operation, for its method and route.
    pub operation: u32,
    pub status: Option<i32>,
    pub peer: Option<End>,
    pub server_port: u16,
    pub request_id: Option<u128>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    pub format: &'static str,
    pub pod: PodId,
    pub request_id: Option<u128>,
    pub remote_ip: Address,
    pub remote_port: Option<u16>,
    pub operation: u32,
    pub status: i32,
    /// `None` where the format counts bodies alone.
    pub bytes_received: Option<i64>,
    pub body_bytes_sent: i64,
    pub end_lo_ns: i64,
    pub end_hi_ns: i64,
    pub duration_ns: i64,
    pub duration_error_ns: i64,
    pub upstream: ServiceId,
    pub attempts: Vec<Attempt>,
    /// Where the format has them: the proxy's own end upstream, and the tries that it counted.
    pub upstream_local: Option<End>,
    pub attempt_count: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub end: End,
    pub status: i32,
    pub response_length: Option<i64>,
    pub duration_ns: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    pub covered_from_ns: i64,
    pub covered_to_ns: i64,
    pub lost: i64,
    pub shipped: i64,
    /// Boot and wall clock and the epoch; zeros but for the wall clock from the Kubernetes watch.
    pub clock_boot_ns: i64,
    pub clock_wall_ns: i64,
    pub clock_epoch_ns: i64,
    pub idle_after_ns: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Capability {
    pub feature: &'static str,
    pub loaded: bool,
    pub reason: Option<&'static str>,
    pub lost: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ClusterObject {
    pub kind: &'static str,
    pub uid: String,
    pub namespace: &'static str,
    pub name: String,
    pub resource_version: String,
    pub change: &'static str,
    pub body: String,
}
