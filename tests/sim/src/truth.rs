//! What really happened, as integers: one record a request, one a leg, one a heartbeat interval.

pub mod parquet;

use crate::address::{Address, End};
use crate::fate::{Fate, Word};
use crate::network::Client;
use crate::observation::{NodeId, PodId, ServiceId};

/// The truth since it was last taken.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub requests: Vec<Request>,
    pub legs: Vec<Leg>,
    pub coverage: Vec<Coverage>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub key: u64,
    pub request_id: Option<u128>,
    pub trace_id: Option<u128>,
    pub sampled: bool,
    pub ids_stripped: bool,
    pub request_id_reused: bool,
    pub trace_id_reused: bool,
    pub client: Address,
    pub entry_service: ServiceId,
    pub legs: u32,
    pub start_ns: i64,
    pub end_ns: i64,
    pub status: Option<i32>,
    pub full_coverage: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Edge,
    Ingress,
    Service,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Ingress => "ingress",
            Self::Service => "service",
        }
    }
}

/// A start and an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    pub start_ns: i64,
    pub end_ns: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Leg {
    pub request: u64,
    pub leg: u32,
    pub parent_leg: Option<u32>,
    pub call: u32,
    pub attempt: u32,
    pub kind: Kind,
    pub protocol: &'static str,
    pub client: Client,
    pub client_node: Option<NodeId>,
    pub server: PodId,
    pub service: ServiceId,
    /// The client's own end and what it addressed; the server's own end and whom it saw.
    pub original: (End, End),
    pub reply: (End, End),
    pub nat_node: Option<NodeId>,
    pub seq_request: u32,
    pub seq_response: Option<u32>,
    pub ordinal: u32,
    pub true_client: Times,
    pub true_server: Option<Times>,
    pub client_stamps: Option<Times>,
    pub server_stamps: Option<Times>,
    pub client_start_alt_ns: Option<i64>,
    pub server_start_alt_ns: Option<i64>,
    pub status: Option<i32>,
    pub failure: Option<&'static str>,
    pub spans: Spans,
    pub client_exchange: Fate,
    pub server_exchange: Fate,
    pub nat_binding: Fate,
    pub client_span: Fate,
    pub server_span: Fate,
    pub access_log: Fate,
}

/// Ids of the spans that were made for a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    pub trace_id: Option<u128>,
    pub server: Option<u64>,
    pub client: Option<u64>,
    /// Parent of the server's span.
    pub parent: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    pub node: NodeId,
    pub from_ns: i64,
    pub to_ns: i64,
    pub lost: i64,
}

impl Leg {
    /// `none`, `dnat`, `snat` or `dnat+snat`.
    pub fn nat(&self) -> &'static str {
        let dnat = self.original.1 != self.reply.0;
        let snat = self.original.0 != self.reply.1;
        match (dnat, snat) {
            (false, false) => "none",
            (true, false) => "dnat",
            (false, true) => "snat",
            (true, true) => "dnat+snat",
        }
    }

    /// Why the tables lack evidence of this leg, and which.
    pub fn missing(&self) -> Option<(&'static str, &'static str)> {
        let needed = [
            (self.server_exchange, "server"),
            match self.client {
                Client::Outside(_) => (self.nat_binding, "nat"),
                Client::Pod(_) => (self.client_exchange, "client"),
            },
        ];
        let first = |word: Word| needed.iter().find(|(fate, _)| fate.word == word);
        [(Word::Down, "no_coverage"), (Word::Lost, "lost"), (Word::Late, "late")]
            .into_iter()
            .find_map(|(word, why)| first(word).map(|(_, segment)| (why, *segment)))
    }
}
