//! Reason codes: stable strings that say why a row is as it is.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident => $code:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            pub const ALL: &[Reason] = &[$(Reason::$variant,)*];

            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }
        }
    };
}

reasons! {
    /// Linked by span ids.
    OkExactId => "OK_EXACT_ID",
    /// Both socket ends carry the same TCP sequence numbers.
    OkTupleSeq => "OK_TUPLE_SEQ",
    /// The same connection, and the same stream or turn on it.
    OkTupleOrdinal => "OK_TUPLE_ORDINAL",
    /// A conntrack entry that translates one end's tuple to the other's.
    OkNatChain => "OK_NAT_CHAIN",
    /// The only call that fits what the proxy logged.
    OkUpstreamUnique => "OK_UPSTREAM_UNIQUE",
    /// Made by the thread that was serving the request.
    OkThread => "OK_THREAD",
    /// The only assignment of calls to requests in which each call lies inside its request.
    OkContainment => "OK_CONTAINMENT",
    /// The likeliest by far, as times go where exact ids prove that they tell.
    OkStatistical => "OK_STATISTICAL",
    RetryAttempts => "RETRY_ATTEMPTS",
    /// The try among several at once whose answer was passed on.
    HedgedWinner => "HEDGED_WINNER",
    HedgedLoser => "HEDGED_LOSER",
    /// A copy of the request for another service; nobody waits for its answer.
    MirrorCopy => "MIRROR_COPY",
    /// The proxy asked whether the request may pass.
    AuthSubrequest => "AUTH_SUBREQUEST",
    InternalRedirect => "INTERNAL_REDIRECT",
    /// A pod called its own Service and was chosen itself.
    Hairpin => "HAIRPIN",
    /// The client stands behind a masquerade whose record is missing.
    SnatHiddenClient => "SNAT_HIDDEN_CLIENT",
    /// A pod that shares its node's address, told by its socket.
    HostNetwork => "HOST_NETWORK",
    /// Called by its own address, which a Service without an address gives out.
    Headless => "HEADLESS",
    /// A Service that stands for a name outside the cluster.
    ExternalName => "EXTERNAL_NAME",
    /// An exchange that still goes on.
    StreamOpen => "STREAM_OPEN",
    /// A pod asked for a load balancer's address, and its node answered in the balancer's place.
    LbShortCircuit => "LB_SHORT_CIRCUIT",
    /// No agent watched there at that time.
    MissingNoCoverage => "MISSING_NO_COVERAGE",
    /// An agent watched and says that it lost events.
    MissingLostEvents => "MISSING_LOST_EVENTS",
    /// Its pods send spans of some requests, and not of this one.
    MissingSampledOut => "MISSING_SAMPLED_OUT",
    /// Expected from a live source, not there yet.
    MissingLate => "MISSING_LATE",
    /// Began longer ago than what is read for a window, the slow lane included.
    MissingBeyondGuard => "MISSING_BEYOND_GUARD",
    /// The proxy answered without choosing a server.
    MissingUpstreamNeverSent => "MISSING_UPSTREAM_NEVER_SENT",
    /// The proxy answered by itself, as it was told to.
    ProxyLocalReply => "PROXY_LOCAL_REPLY",
    /// More than one request fits by time and nothing else tells them apart.
    AmbigTimeOnly => "AMBIG_TIME_ONLY",
    /// Too many were being served at once for their times to tell them apart.
    AmbigDense => "AMBIG_DENSE",
    /// Calls share one HTTP/2 connection, and nothing tells their streams apart.
    AmbigH2Multiplex => "AMBIG_H2_MULTIPLEX",
    AmbigPodIpReuse => "AMBIG_POD_IP_REUSE",
    AmbigNatPortReuse => "AMBIG_NAT_PORT_REUSE",
    /// Several requests carry one request id.
    AmbigDupRequestId => "AMBIG_DUP_REQUEST_ID",
    /// Several spans carry one trace and span id.
    AmbigDupTraceId => "AMBIG_DUP_TRACE_ID",
    /// The address is a node's, shared by all its hostNetwork pods.
    AmbigSharedHostIp => "AMBIG_SHARED_HOST_IP",
    /// The times to compare are of clocks whose difference is not known.
    AmbigSkewUnknown => "AMBIG_SKEW_UNKNOWN",
    /// Log lines and exchanges can be paired in more than one way.
    AmbigCoarseTime => "AMBIG_COARSE_TIME",
    ConflictIdVsTuple => "CONFLICT_ID_VS_TUPLE",
    /// The two ends of one exchange tell of different statuses.
    ConflictStatus => "CONFLICT_STATUS",
    /// The server took longer than its client waited.
    ConflictNegativeLatency => "CONFLICT_NEGATIVE_LATENCY",
    NatTargetNotInEndpointslice => "NAT_TARGET_NOT_IN_ENDPOINTSLICE",
    /// The target was an endpoint of the Service before, when another pod had the address.
    StaleConntrackDnat => "STALE_CONNTRACK_DNAT",
    /// The pod answered a connection that began after the API said it was gone.
    PodDeletedBeforeRequest => "POD_DELETED_BEFORE_REQUEST",
    /// An exchange of a client that should have been seen, and was not.
    FailOrphan => "FAIL_ORPHAN",
    /// A row that contradicts itself: an end before its start, a port that is none.
    FailMalformed => "FAIL_MALFORMED",
    /// What it belongs to can't be told, for its clock was being set.
    FailClockStep => "FAIL_CLOCK_STEP",
    /// Came after its window was final.
    FailTooLate => "FAIL_TOO_LATE",
}

/// A set of reasons, in the order of [`Reason::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reasons(u64);

const _: () = assert!(Reason::ALL.len() <= 64, "a set of reasons is a word");

impl Reasons {
    pub(crate) fn insert(&mut self, reason: Reason) {
        self.0 |= 1 << reason as u32;
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Reason> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let first = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            Reason::ALL.get(first).copied()
        })
    }

    /// Those that say what is particular, by code: not how a link was found.
    pub(crate) fn particular(self) -> Vec<&'static str> {
        let codes = self.iter().map(Reason::code);
        let mut codes: Vec<&str> = codes.filter(|code| !code.starts_with("OK_")).collect();
        codes.sort_unstable();
        codes
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
