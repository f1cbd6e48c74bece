//! What the two ends of one leg say, and cannot both be true.

use crate::path::Leg;
use crate::reason::Reason;
use crate::rows::hop::Writer;
use crate::rows::row::HopRow;
use crate::verdict::Findings;

/// A server's turn looks longer than its client's where its last write went on after the client had
/// read the end: up to some round trips and a scheduling slice.
const LAST_WRITE_NS: i64 = 200_000_000;

impl Writer<'_> {
    pub(super) fn contradictions(&self, leg: &Leg, hop: &mut HopRow, findings: &mut Findings) {
        let (Some(client), Some(server)) = (leg.client, leg.server) else { return };
        let answered = self.scope.span_of(server).and_then(|s| s.status).map(i32::from);
        let attempt = leg.logged.map(|a| &self.scope.sight.slabs.attempts(a.log)[a.index]);
        let received = attempt.filter(|a| !a.was_refused()).and_then(|a| a.status);
        if answered.zip(received).is_some_and(|(a, r)| a != r && !is_proxys_own(r)) {
            hop.reasons.insert(Reason::ConflictStatus);
            findings.conflicts += 1;
        }
        let client = self.exchange(client);
        let waited_ns = client.end_ns - client.start_ns;
        let is_longer = hop.server_ns.is_some_and(|ns| ns - waited_ns > LAST_WRITE_NS);
        if is_longer && client.has_response() {
            hop.reasons.insert(Reason::ConflictNegativeLatency);
            findings.conflicts += 1;
        }
    }
}

/// What a proxy writes where it stopped waiting for the server's status.
fn is_proxys_own(status: i32) -> bool {
    matches!(status, 0 | 499 | 502..=504)
}
