//! What came of a leg, in the words of those who saw it: status, method, route, failure.

use crate::columns::{Attempt, EndCause, Exchange};
use crate::confidence;
use crate::path::Leg;
use crate::reason::Reason;
use crate::rows::hop::Writer;
use crate::rows::row::{Evidence, Failure, HopRow};

impl Writer<'_> {
    pub(super) fn outcome(&self, leg: &Leg, hop: &mut HopRow) {
        let span = leg.server.and_then(|s| self.scope.span_of(s));
        let attempt = leg.logged.map(|a| &self.scope.sight.slabs.attempts(a.log)[a.index]);
        let own_log = leg.server.and_then(|s| self.scope.line_of(s)).map(|(log, _)| log);
        let is_root = leg.parent.is_none();
        let balancers = leg.server.filter(|_| is_root).and_then(|s| self.scope.balancer_line_of(s));
        if balancers.is_some() {
            hop.reasons.insert(Reason::OkUpstreamUnique);
            hop.confidence = hop.confidence.min(confidence::of(Reason::OkUpstreamUnique));
        }
        let own_log = own_log.or(balancers);
        hop.status = own_log
            .and_then(|l| l.status)
            .or(attempt.and_then(|a| a.status))
            .or(span.and_then(|s| s.status).map(i32::from));
        hop.method = own_log.and_then(|l| l.method).or(span.and_then(|s| s.method));
        hop.route = own_log.and_then(|l| l.route).or(span.and_then(|s| s.route));
        if own_log.is_some() || attempt.is_some() {
            hop.evidence.insert(Evidence::AccessLog);
        }
        if span.is_some() {
            hop.evidence.insert(Evidence::ServerSpan);
        }
        let observed = leg.client.or(leg.server).map(|id| self.exchange(id));
        hop.failure = match observed {
            Some(e) if !e.has_response() => Some(self.end_cause(e)),
            None if attempt.is_some_and(Attempt::was_refused) => {
                let timed_out = hop.status == Some(504);
                Some(if timed_out { Failure::Timeout } else { Failure::Refused })
            }
            _ => hop.status.filter(|s| *s >= 500).map(|_| Failure::Status5xx),
        };
    }

    /// Why a connection ended without an answer.
    fn end_cause(&self, exchange: &Exchange) -> Failure {
        match self.scope.sight.end_cause(exchange) {
            Some(EndCause::Reset) => Failure::Reset,
            Some(EndCause::Refused) => Failure::Refused,
            Some(EndCause::Timeout) => Failure::Timeout,
            _ => Failure::NoResponse,
        }
    }
}
