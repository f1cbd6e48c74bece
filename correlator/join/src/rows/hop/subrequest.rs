//! What a call is that a proxy made for a request and did not list among its tries.
//!
//! That the call is the request's is known by the request id before anyone asks here. A proxy asks
//! an authorisation service before it tries any server, and waits for the answer. It sends a copy to
//! a mirror while it tries, and waits for nothing. And some name only the last of several tries, but
//! count them all: one more to the same Service is a try, at once (hedged) or before (a retry).

use crate::reason::Reason;

/// A call or a listed try: when, and to which Service.
#[derive(Clone, Debug)]
pub(crate) struct Made<S> {
    pub(crate) start_ns: i64,
    pub(crate) end_ns: i64,
    pub(crate) service: Option<S>,
}

impl<S: PartialEq> Made<S> {
    fn overlaps(&self, other: &Self) -> bool {
        self.start_ns < other.end_ns && other.start_ns < self.end_ns
    }
}

/// None where nothing but the id is known of the call. `tries` is how many the proxy counted.
pub(crate) fn meaning<S: PartialEq>(
    call: &Made<S>,
    listed: &[Made<S>],
    tries: Option<usize>,
) -> Option<Reason> {
    let service = call.service.as_ref()?;
    if listed.is_empty() || listed.iter().any(|l| l.service.is_none()) {
        return None;
    }
    let overlaps = listed.iter().any(|l| l.overlaps(call));
    let is_before = listed.iter().all(|l| call.end_ns <= l.start_ns);
    if listed.iter().any(|l| l.service.as_ref() == Some(service)) {
        let is_counted = tries.is_some_and(|tries| tries > listed.len());
        return match (is_counted, overlaps, is_before) {
            (true, true, _) => Some(Reason::HedgedLoser),
            (true, false, true) => Some(Reason::RetryAttempts),
            _ => None,
        };
    }
    match (overlaps, is_before) {
        (true, _) => Some(Reason::MirrorCopy),
        (false, true) => Some(Reason::AuthSubrequest),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(start_ns: i64, end_ns: i64, service: &'static str) -> Made<&'static str> {
        Made { start_ns, end_ns, service: Some(service).filter(|s| !s.is_empty()) }
    }

    #[test]
    fn time_and_service_say_what_an_unlisted_call_is() {
        let listed = [made(10, 20, "cart")];
        for (call, tries, expected) in [
            (made(1, 9, "auth"), None, Some(Reason::AuthSubrequest)),
            (made(9, 15, "shadow"), None, Some(Reason::MirrorCopy)),
            (made(21, 25, "audit"), None, None),
            (made(5, 40, "cart"), Some(2), Some(Reason::HedgedLoser)),
            (made(1, 9, "cart"), Some(2), Some(Reason::RetryAttempts)),
            (made(1, 9, "cart"), None, None),
            (made(5, 40, "cart"), Some(1), None),
            (made(1, 9, ""), None, None),
        ] {
            assert_eq!(meaning(&call, &listed, tries), expected, "{call:?}");
        }
        assert_eq!(meaning(&made(1, 9, "auth"), &[], None), None);
        assert_eq!(meaning(&made(1, 9, "auth"), &[made(10, 20, "")], None), None);
    }
}
