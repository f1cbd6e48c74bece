//! How far a proxy's durations are from those that the kernel saw: as far as its lines show that fit
//! one request alone.
//!
//! A proxy takes the time once in an iteration of its event loop. How long that may be is a guess
//! ([`EVENT_LOOP_NS`]), and where requests last no longer than that, durations tell none of them
//! apart. A busy proxy's own lines show what it really is.

use crate::link::proxy::line::EVENT_LOOP_NS;
use crate::link::proxy::scene::Scene;

/// Fewer lines show nothing.
const LINES_MIN: usize = 64;

/// More lines show nothing new.
const LINES_MAX: usize = 1_024;

/// One line in so many may fit a request that is not its own: that of its own was lost.
const STRANGE_PART: usize = 64;

/// Iterations may become longer than those that were seen by so much.
const LONGER_NS: i64 = 200_000;

/// By how much a duration in a line may differ from that of its exchange, beside what the line's
/// format rounds off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slack {
    pub(super) of_request_ns: i64,
    pub(super) of_try_ns: i64,
}

impl Slack {
    /// Of a proxy that too little is known of.
    pub(super) const UNKNOWN: Self =
        Self { of_request_ns: EVENT_LOOP_NS, of_try_ns: EVENT_LOOP_NS };

    /// `fitting` are the requests that each line fits with [`Self::UNKNOWN`].
    pub(super) fn learned(scene: &Scene<'_>) -> Self {
        let (mut of_requests, mut of_tries) = (Vec::new(), Vec::new());
        let only_one = scene.fitting.iter().enumerate().filter(|(_, fitting)| fitting.len() == 1);
        for (log, fitting) in only_one.take(LINES_MAX) {
            let request = scene.server(fitting[0]);
            let (line, lasted_ns) = (scene.line(log), request.end_ns - request.start_ns);
            let beyond = |d: i64, measured_ns: i64| {
                (measured_ns.saturating_sub(d).saturating_abs() - line.duration_error_ns).max(0)
            };
            of_requests.extend(line.duration_ns.map(|d| beyond(d, lasted_ns)));
            of_tries.extend(scene.only_try(log, fitting[0]).map(|(d, ns)| beyond(d, ns)));
        }
        Self { of_request_ns: slack_ns(of_requests), of_try_ns: slack_ns(of_tries) }
    }
}

/// Twice what nearly all are off by.
fn slack_ns(mut beyond_ns: Vec<i64>) -> i64 {
    if beyond_ns.len() < LINES_MIN {
        return EVENT_LOOP_NS;
    }
    beyond_ns.sort_unstable();
    let usual_ns = beyond_ns[beyond_ns.len() - 1 - beyond_ns.len() / STRANGE_PART];
    usual_ns.saturating_mul(2).saturating_add(LONGER_NS).min(EVENT_LOOP_NS)
}

impl Scene<'_> {
    /// How long the only try of a line lasted as the line tells it, and as the kernel saw the only
    /// call in its request that it can be.
    fn only_try(&self, log: usize, server: usize) -> Option<(i64, i64)> {
        let [attempt] = self.attempts(log) else { return None };
        let (end, told_ns) = (attempt.server?, attempt.duration_ns?);
        let request = self.server(server);
        let from = self.clients_begun_before(request.start_ns);
        let inside = (from..self.clients.len()).map(|call| self.client(call));
        let inside = inside.take_while(|c| c.start_ns <= request.end_ns);
        let mut fitting =
            inside.filter(|c| c.remote() == end && c.has_response() && c.end_ns <= request.end_ns);
        let call = fitting.next()?;
        fitting.next().is_none().then_some((told_ns, call.end_ns - call.start_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slack_is_what_nearly_all_lines_show_and_a_guess_where_they_are_few() {
        let ms = 1_000_000;
        let of = |count: usize, beyond_ns: i64, strange: usize| {
            let mut all = vec![beyond_ns; count];
            all[..strange].fill(4 * ms);
            slack_ns(all)
        };
        assert_eq!(of(63, 0, 0), EVENT_LOOP_NS);
        assert_eq!(of(64, 0, 1), LONGER_NS);
        assert_eq!(of(64, 0, 2), EVENT_LOOP_NS);
        assert_eq!(of(640, ms, 10), 2 * ms + LONGER_NS);
        assert_eq!(of(640, 3 * ms, 0), EVENT_LOOP_NS);
    }
}
