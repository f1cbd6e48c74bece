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
    /// A conntrack entry that translates one end's tuple to the other's.
    OkNatChain => "OK_NAT_CHAIN",
    /// The only call that fits what the proxy logged.
    OkUpstreamUnique => "OK_UPSTREAM_UNIQUE",
    /// Made by the thread that was serving the request.
    OkThread => "OK_THREAD",
    /// The only assignment of calls to requests in which each call lies inside its request.
    OkContainment => "OK_CONTAINMENT",
    RetryAttempts => "RETRY_ATTEMPTS",
    InternalRedirect => "INTERNAL_REDIRECT",
    /// A pod called its own Service and was chosen itself.
    Hairpin => "HAIRPIN",
    /// The client stands behind a masquerade whose record is missing.
    SnatHiddenClient => "SNAT_HIDDEN_CLIENT",
    /// No agent watched there at that time.
    MissingNoCoverage => "MISSING_NO_COVERAGE",
    /// An agent watched and says that it lost events.
    MissingLostEvents => "MISSING_LOST_EVENTS",
    /// Expected from a live source, not there yet.
    MissingLate => "MISSING_LATE",
    /// Began longer ago than what is read for a window.
    MissingBeyondGuard => "MISSING_BEYOND_GUARD",
    /// The proxy answered without choosing a server.
    MissingUpstreamNeverSent => "MISSING_UPSTREAM_NEVER_SENT",
    /// More than one request fits by time and nothing else tells them apart.
    AmbigTimeOnly => "AMBIG_TIME_ONLY",
    AmbigPodIpReuse => "AMBIG_POD_IP_REUSE",
    AmbigNatPortReuse => "AMBIG_NAT_PORT_REUSE",
    /// The address is a node's, shared by all its hostNetwork pods.
    AmbigSharedHostIp => "AMBIG_SHARED_HOST_IP",
    /// Log lines and exchanges can be paired in more than one way.
    AmbigCoarseTime => "AMBIG_COARSE_TIME",
    ConflictIdVsTuple => "CONFLICT_ID_VS_TUPLE",
    NatTargetNotInEndpointslice => "NAT_TARGET_NOT_IN_ENDPOINTSLICE",
    /// An exchange of a client that should have been seen, and was not.
    FailOrphan => "FAIL_ORPHAN",
    /// A row that contradicts itself: an end before its start, a port that is none.
    FailMalformed => "FAIL_MALFORMED",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
