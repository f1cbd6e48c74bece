//! The records an agent ships. Field comments give units where the name does not.

use crate::Endpoint;
use kind::Kind;

/// What one agent ships at once. (node, boot_id, sequence) names a batch for ever.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Batch {
    #[prost(string, tag = "1")]
    pub node: String,
    /// Identity of this life of the agent: kernel boot id and agent start, so that a restarted
    /// agent, which counts from 0 again, is another sender.
    #[prost(string, tag = "2")]
    pub boot_id: String,
    #[prost(uint64, tag = "3")]
    pub sequence: u64,
    /// Wall clock minus boot clock when the batch was closed.
    #[prost(int64, tag = "4")]
    pub clock_epoch_ns: i64,
    #[prost(message, repeated, tag = "5")]
    pub records: Vec<Record>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PushReply {
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// Records refused by the collector; they are quarantined and never sent again.
    #[prost(uint64, tag = "2")]
    pub rejected: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Record {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<Kind>,
}

pub(crate) mod kind {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        #[prost(message, tag = "1")]
        Connection(super::Connection),
        #[prost(message, tag = "2")]
        NatBinding(super::NatBinding),
        #[prost(message, tag = "3")]
        Exchange(super::Exchange),
        #[prost(message, tag = "4")]
        Failure(super::Failure),
        #[prost(message, tag = "5")]
        Heartbeat(super::Heartbeat),
        #[prost(message, tag = "6")]
        Capability(super::Capability),
    }
}

/// Who owned the socket.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Owner {
    #[prost(uint64, tag = "1")]
    pub netns_cookie: u64,
    #[prost(uint64, tag = "2")]
    pub cgroup_id: u64,
    #[prost(string, optional, tag = "3")]
    pub pod_uid: Option<String>,
    /// `netns` or `cgroup`.
    #[prost(string, optional, tag = "4")]
    pub attributed_by: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Role {
    Unknown = 0,
    Client = 1,
    Server = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ConnectionState {
    Unknown = 0,
    Open = 1,
    Active = 2,
    Closed = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ConnectionEnd {
    None = 0,
    Fin = 1,
    Reset = 2,
    Refused = 3,
    Timeout = 4,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Connection {
    #[prost(message, required, tag = "1")]
    pub owner: Owner,
    #[prost(uint64, tag = "2")]
    pub socket_cookie: u64,
    #[prost(enumeration = "Role", tag = "3")]
    pub role: i32,
    #[prost(message, required, tag = "4")]
    pub local: Endpoint,
    #[prost(message, required, tag = "5")]
    pub remote: Endpoint,
    #[prost(enumeration = "ConnectionState", tag = "6")]
    pub state: i32,
    /// Moment of this row.
    #[prost(uint64, tag = "7")]
    pub at_ns: u64,
    #[prost(uint64, optional, tag = "8")]
    pub opened_ns: Option<u64>,
    #[prost(uint64, optional, tag = "9")]
    pub closed_ns: Option<u64>,
    #[prost(uint64, tag = "10")]
    pub bytes_sent: u64,
    #[prost(uint64, tag = "11")]
    pub bytes_received: u64,
    #[prost(uint32, tag = "12")]
    pub retransmits: u32,
    #[prost(uint32, tag = "13")]
    pub srtt_us: u32,
    #[prost(enumeration = "ConnectionEnd", tag = "14")]
    pub end: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum NatEvidence {
    Unknown = 0,
    Xmit = 1,
    Dump = 2,
    SocketLb = 3,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct NatBinding {
    #[prost(uint64, tag = "1")]
    pub netns_cookie: u64,
    #[prost(uint32, tag = "2")]
    pub zone: u32,
    #[prost(uint32, tag = "3")]
    pub protocol: u32,
    #[prost(message, required, tag = "4")]
    pub original_source: Endpoint,
    #[prost(message, required, tag = "5")]
    pub original_destination: Endpoint,
    #[prost(message, required, tag = "6")]
    pub reply_source: Endpoint,
    #[prost(message, required, tag = "7")]
    pub reply_destination: Endpoint,
    #[prost(uint64, tag = "8")]
    pub first_seen_ns: u64,
    #[prost(uint64, tag = "9")]
    pub last_seen_ns: u64,
    #[prost(enumeration = "NatEvidence", tag = "10")]
    pub evidence: i32,
    #[prost(uint64, tag = "11")]
    pub status: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ExchangeEnd {
    Unknown = 0,
    /// The next request began on the connection.
    Turn = 1,
    Close = 2,
    /// No byte for the sweep time. It may come again with a later end.
    Quiet = 3,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Exchange {
    #[prost(message, required, tag = "1")]
    pub owner: Owner,
    #[prost(uint64, tag = "2")]
    pub socket_cookie: u64,
    #[prost(enumeration = "Role", tag = "3")]
    pub role: i32,
    #[prost(message, required, tag = "4")]
    pub local: Endpoint,
    #[prost(message, required, tag = "5")]
    pub remote: Endpoint,
    /// From 0; absent when the start of the connection was not seen.
    #[prost(uint32, optional, tag = "6")]
    pub ordinal: Option<u32>,
    #[prost(uint32, tag = "7")]
    pub tcp_seq_req: u32,
    #[prost(uint32, optional, tag = "8")]
    pub tcp_seq_resp: Option<u32>,
    #[prost(uint64, tag = "9")]
    pub start_ns: u64,
    #[prost(uint64, optional, tag = "10")]
    pub first_response_ns: Option<u64>,
    #[prost(uint64, tag = "11")]
    pub end_ns: u64,
    #[prost(uint64, tag = "12")]
    pub bytes_request: u64,
    #[prost(uint64, tag = "13")]
    pub bytes_response: u64,
    #[prost(uint32, tag = "14")]
    pub process: u32,
    #[prost(uint32, tag = "15")]
    pub thread: u32,
    #[prost(uint32, optional, tag = "16")]
    pub response_thread: Option<u32>,
    #[prost(enumeration = "ExchangeEnd", tag = "17")]
    pub ended_by: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum FailureKind {
    Unknown = 0,
    ResetSent = 1,
    ResetReceived = 2,
    SynRetransmit = 3,
    Refused = 4,
    Drop = 5,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Failure {
    #[prost(message, required, tag = "1")]
    pub owner: Owner,
    #[prost(enumeration = "FailureKind", tag = "2")]
    pub kind: i32,
    #[prost(string, optional, tag = "3")]
    pub reason: Option<String>,
    #[prost(message, required, tag = "4")]
    pub local: Endpoint,
    #[prost(message, required, tag = "5")]
    pub remote: Endpoint,
    #[prost(uint64, tag = "6")]
    pub at_ns: u64,
}

/// See `raw_heartbeat`: what the agent covered and lost in an interval.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Heartbeat {
    #[prost(uint64, tag = "1")]
    pub covered_from_ns: u64,
    #[prost(uint64, tag = "2")]
    pub covered_to_ns: u64,
    #[prost(uint64, tag = "3")]
    pub lost_kernel: u64,
    #[prost(uint64, tag = "4")]
    pub lost_user: u64,
    #[prost(uint64, tag = "5")]
    pub shipped: u64,
    #[prost(uint64, tag = "6")]
    pub clock_boot_ns: u64,
    #[prost(uint64, tag = "7")]
    pub clock_wall_ns: u64,
    #[prost(string, tag = "8")]
    pub manifest_id: String,
    /// The agent asks to be taken for idle when it was silent for this long.
    #[prost(uint64, tag = "9")]
    pub idle_after_ns: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Capability {
    #[prost(string, tag = "1")]
    pub manifest_id: String,
    #[prost(string, tag = "2")]
    pub feature: String,
    #[prost(bool, tag = "3")]
    pub loaded: bool,
    #[prost(string, optional, tag = "4")]
    pub reason: Option<String>,
    #[prost(string, tag = "5")]
    pub lost: String,
    #[prost(string, tag = "6")]
    pub kernel: String,
    #[prost(uint64, tag = "7")]
    pub at_ns: u64,
}
