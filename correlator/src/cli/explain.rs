//! Reason codes in words: what each one means, and what to do where something can be done.

/// What a reason code says to a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Explanation {
    pub(super) meaning: &'static str,
    pub(super) remedy: Option<&'static str>,
}

/// None for codes that need no words (`OK_*`) and for those of a newer release.
pub(super) fn explain(code: &str) -> Option<Explanation> {
    let (meaning, remedy) = match code {
        "RETRY_ATTEMPTS" => ("the proxy tried more than one server for this request", ""),
        "HEDGED_WINNER" => ("of several tries at once, the one whose answer was passed on", ""),
        "HEDGED_LOSER" => ("one of several tries at once; its answer came too late to count", ""),
        "MIRROR_COPY" => ("a copy of the request for another service; nobody waits for it", ""),
        "AUTH_SUBREQUEST" => ("the proxy asked whether the request may pass", ""),
        "INTERNAL_REDIRECT" => ("the proxy went on to another group of servers", ""),
        "HAIRPIN" => ("the pod called its own Service and was chosen itself", ""),
        "SNAT_HIDDEN_CLIENT" => (
            "the server saw a node's address, and the record of that masquerade is missing",
            "run the agent on every node that outside traffic enters",
        ),
        "HOST_NETWORK" => ("the pod shares its node's address and was told by its socket", ""),
        "HEADLESS" => ("a headless Service gave out the pod's own address", ""),
        "EXTERNAL_NAME" => ("the Service stands for a name outside the cluster", ""),
        "STREAM_OPEN" => ("a stream that has not ended; the row is updated when it does", ""),
        "LB_SHORT_CIRCUIT" => ("the node answered in the place of the load balancer", ""),
        "MISSING_NO_COVERAGE" => (
            "no agent reported from there at that time",
            "see `throughline doctor`, and run the agent on that node",
        ),
        "MISSING_LOST_EVENTS" => (
            "the agent there says that it lost events at that time",
            "see `throughline doctor` for how many, and give the agent more memory",
        ),
        "MISSING_LATE" => {
            ("expected from a live source, and not there yet", "ask again once the window is final")
        }
        "MISSING_BEYOND_GUARD" => (
            "it began longer ago than the correlator reads back",
            "raise --slow-back above the longest request; data_quality (slow_lane) says which limit",
        ),
        "MISSING_SAMPLED_OUT" => (
            "its pods send spans of some requests and not of this one; nothing else is lacking",
            "sample more traces to see more spans",
        ),
        "PROXY_LOCAL_REPLY" => ("the proxy answered by itself, as it was told to", ""),
        "MISSING_UPSTREAM_NEVER_SENT" => ("the proxy answered without choosing a server", ""),
        "AMBIG_TIME_ONLY" => (
            "more than one fits by time, and nothing else tells them apart",
            "pass a trace context on, or serve one request a thread",
        ),
        "AMBIG_DENSE" => (
            "too many were being served at once for their times to tell them apart",
            "pass a trace context on",
        ),
        "AMBIG_H2_MULTIPLEX" => (
            "calls share one HTTP/2 connection, and nothing tells their streams apart",
            "pass a trace context on",
        ),
        "AMBIG_DUP_REQUEST_ID" => (
            "several requests carry this request id",
            "let the proxy make ids, and don't take them from clients",
        ),
        "AMBIG_DUP_TRACE_ID" => (
            "several spans carry one trace and span id",
            "find the client that sends one trace context with every request",
        ),
        "AMBIG_SKEW_UNKNOWN" => (
            "the times to compare are of clocks whose difference is not known",
            "see `throughline doctor`; a clock that is slewed and never set keeps its bound",
        ),
        "AMBIG_POD_IP_REUSE" => ("the address passed from one pod to another at that time", ""),
        "AMBIG_NAT_PORT_REUSE" => ("the translated port was given again at that time", ""),
        "AMBIG_SHARED_HOST_IP" => ("the address is the node's, shared by its hostNetwork pods", ""),
        "AMBIG_COARSE_TIME" => (
            "the access log's times are too coarse to pair its lines with requests",
            "log $msec and the connection, or the client's port",
        ),
        "CONFLICT_ID_VS_TUPLE" => {
            ("ids and connections contradict each other; the connections are believed", "")
        }
        "CONFLICT_STATUS" => ("the two ends of one exchange tell of different statuses", ""),
        "CONFLICT_NEGATIVE_LATENCY" => ("the server took longer than its client waited", ""),
        "STALE_CONNTRACK_DNAT" => (
            "an old translation led to an address that another pod has now",
            "delete the entry on that node: `conntrack -D`",
        ),
        "POD_DELETED_BEFORE_REQUEST" => {
            ("the pod answered a connection that began after the API said it was gone", "")
        }
        "NAT_TARGET_NOT_IN_ENDPOINTSLICE" => {
            ("translated to an address that was no endpoint of the Service at that time", "")
        }
        "FAIL_MALFORMED" => ("a row that contradicts itself, such as an end before its start", ""),
        "FAIL_TOO_LATE" => (
            "it came after its window was final",
            "`throughline backfill` of that time takes it up; raise --lateness if this goes on",
        ),
        "FAIL_CLOCK_STEP" => {
            ("what it belongs to can't be told, for its node's clock was being set", "")
        }
        "FAIL_ORPHAN" => ("a request whose caller should have been seen, and was not", ""),
        _ => return None,
    };
    Some(Explanation { meaning, remedy: Some(remedy).filter(|remedy| !remedy.is_empty()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_that_is_no_plain_success_has_words() {
        for reason in join::Reason::ALL {
            let code = reason.code();
            assert_eq!(explain(code).is_none(), code.starts_with("OK_"), "{code}");
        }
    }
}
