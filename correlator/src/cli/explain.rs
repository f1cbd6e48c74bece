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
        "INTERNAL_REDIRECT" => ("the proxy went on to another group of servers", ""),
        "HAIRPIN" => ("the pod called its own Service and was chosen itself", ""),
        "SNAT_HIDDEN_CLIENT" => (
            "the server saw a node's address, and the record of that masquerade is missing",
            "run the agent on every node that outside traffic enters",
        ),
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
            "raise --guard above the longest request",
        ),
        "MISSING_UPSTREAM_NEVER_SENT" => ("the proxy answered without choosing a server", ""),
        "AMBIG_TIME_ONLY" => (
            "more than one fits by time, and nothing else tells them apart",
            "pass a trace context on, or serve one request a thread",
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
        "NAT_TARGET_NOT_IN_ENDPOINTSLICE" => {
            ("translated to an address that was no endpoint of the Service at that time", "")
        }
        "FAIL_MALFORMED" => ("a row that contradicts itself, such as an end before its start", ""),
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
