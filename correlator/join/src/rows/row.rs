//! Hops and paths as records of fixed size, before they become rows or columns.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::address::{Address, Tuple};
use crate::id::Id;
use crate::names::Name;
use crate::reason::{Reason, Reasons};

/// One end of a hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Party {
    pub(crate) pod_uid: Option<Name>,
    pub(crate) pod: Option<Name>,
    pub(crate) namespace: Option<Name>,
    pub(crate) workload: Option<Name>,
    pub(crate) node: Option<Name>,
    pub(crate) end: Option<(Address, u16)>,
}

/// Values of a column that holds one of a few words.
pub(crate) trait Word: Copy {
    const ALL: &[&'static str];

    fn index(self) -> usize;

    fn word(self) -> &'static str {
        Self::ALL[self.index()]
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident => $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($variant,)* }

        impl Word for $name {
            const ALL: &[&'static str] = &[$($text,)*];

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

words! { Kind {
    Edge => "edge",
    Ingress => "ingress",
    Service => "service",
    Endpoint => "endpoint",
    App => "app",
} }

words! { Nat {
    Unknown => "unknown",
    None => "none",
    Destination => "dnat",
    Source => "snat",
    Both => "dnat+snat",
} }

words! { Failure {
    NoResponse => "no_response",
    Reset => "reset",
    Refused => "refused",
    Timeout => "timeout",
    Status5xx => "status_5xx",
} }

words! {
    /// What a hop rests on, in the order in which a row lists it.
    Evidence {
        SpanParent => "span_parent",
        Thread => "thread",
        Containment => "containment",
        Statistical => "statistical",
        ClientExchange => "client_exchange",
        ServerExchange => "server_exchange",
        TcpSeq => "tcp_seq",
        Stream => "stream",
        NatBinding => "nat_binding",
        SourceByNetns => "source_by_netns",
        SourceByCgroup => "source_by_cgroup",
        DestinationByNetns => "destination_by_netns",
        DestinationByCgroup => "destination_by_cgroup",
        DestinationByIp => "destination_by_ip",
        AccessLog => "access_log",
        ServerSpan => "server_span",
    }
}

/// A set of [`Evidence`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EvidenceSet(u32);

impl EvidenceSet {
    pub(crate) fn insert(&mut self, evidence: Evidence) {
        self.0 |= 1 << evidence as u32;
    }

    /// Positions in [`Evidence::ALL`].
    pub(crate) fn bits(self) -> impl Iterator<Item = i32> {
        (0..Evidence::ALL.len() as i32).filter(move |bit| self.0 & 1 << bit != 0)
    }

    pub(crate) fn words(self) -> impl Iterator<Item = &'static str> {
        self.bits().map(|bit| Evidence::ALL[bit as usize])
    }
}

/// One leg of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HopRow {
    pub(crate) path_id: u128,
    pub(crate) position: i32,
    pub(crate) parent: Option<i32>,
    pub(crate) kind: Kind,
    pub(crate) attempt: i32,
    pub(crate) source: Party,
    pub(crate) requested: Option<(Address, u16)>,
    pub(crate) service: Option<Name>,
    pub(crate) service_namespace: Option<Name>,
    pub(crate) destination: Party,
    pub(crate) nat: Nat,
    pub(crate) nat_node: Option<Name>,
    /// Original and reply tuple, where something was translated.
    pub(crate) translation: Option<(Tuple, Tuple)>,
    pub(crate) start_ns: i64,
    pub(crate) end_ns: i64,
    pub(crate) network_ns: Option<i64>,
    pub(crate) server_ns: Option<i64>,
    pub(crate) bytes: Option<(i64, i64)>,
    pub(crate) status: Option<i32>,
    pub(crate) method: Option<Name>,
    pub(crate) route: Option<Name>,
    pub(crate) failure: Option<Failure>,
    pub(crate) evidence: EvidenceSet,
    pub(crate) confidence: f64,
    pub(crate) reasons: Reasons,
}

/// The line one request took; its hops, names and missing segments are ranges of [`Found`]'s.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PathRow {
    pub(crate) path_id: u128,
    pub(crate) request_id: Option<Id>,
    pub(crate) trace: Option<Id>,
    pub(crate) status: Option<i32>,
    pub(crate) outcome: &'static str,
    pub(crate) end_ns: i64,
    pub(crate) hops: Range<u32>,
    pub(crate) services: Range<u32>,
    pub(crate) pods: Range<u32>,
    pub(crate) nodes: Range<u32>,
    pub(crate) final_pod: Option<Name>,
    pub(crate) failing_hop: Option<i32>,
    pub(crate) failure: Option<Failure>,
    pub(crate) verdict: &'static str,
    pub(crate) missing: Range<u32>,
    pub(crate) reasons: Reasons,
    pub(crate) conf_min: f64,
    pub(crate) conf_joint: f64,
}

/// What was found of the paths of one grove.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) hops: Vec<HopRow>,
    pub(crate) paths: Vec<PathRow>,
    /// Lists of names, one after another.
    pub(crate) names: Vec<Name>,
    /// `segment: REASON_CODE`.
    pub(crate) missing: Vec<String>,
    /// How often each reason is in `missing`.
    pub(crate) missing_of: BTreeMap<Reason, i64>,
}
