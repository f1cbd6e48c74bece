//! How far what a proxy measured is from what the kernel saw: as far as its lines show that fit one
//! request alone.
//!
//! A proxy takes the time once in an iteration of its event loop. How long that may be is a guess
//! ([`EVENT_LOOP_NS`]), and where requests last no longer than that, durations tell none of them
//! apart. A busy proxy's own lines show what it really is.
//!
//! It counts the bytes of bodies, and the kernel those of heads too. How long heads are is nobody's
//! to guess, but those of one proxy's servers differ by little more than the digits of a length.

use std::ops::RangeInclusive;

use crate::columns::{Attempt, Ended, Exchange, Protocol};
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

/// Heads may be shorter and longer than those that were seen by so many bytes: a cookie.
const HEAD_VARIES: i64 = 64;

/// A body that is sent in chunks grows by at most this part of it: each has a line of its own.
const CHUNKS_PART: i64 = 64;

/// By how much what a line tells may differ from its exchange, beside what the line's format rounds
/// off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slack {
    pub(super) of_request_ns: i64,
    pub(super) of_try_ns: i64,
    /// Bytes of responses beside their bodies.
    pub(super) head_of_response: RangeInclusive<i64>,
    /// The same of servers' responses to the proxy.
    pub(super) head_of_try: RangeInclusive<i64>,
}

impl Slack {
    /// Of a proxy that too little is known of.
    pub(super) const UNKNOWN: Self = Self {
        of_request_ns: EVENT_LOOP_NS,
        of_try_ns: EVENT_LOOP_NS,
        head_of_response: ANY_HEAD,
        head_of_try: ANY_HEAD,
    };

    /// `fitting` are the requests that each line fits with [`Self::UNKNOWN`].
    pub(super) fn learned(scene: &Scene<'_>) -> Self {
        let (mut of_requests, mut of_tries) = (Vec::new(), Vec::new());
        let (mut heads, mut heads_of_tries) = (Vec::new(), Vec::new());
        let only_one = scene.fitting.iter().enumerate().filter(|(_, fitting)| fitting.len() == 1);
        for (log, fitting) in only_one.take(LINES_MAX) {
            let request = scene.server(fitting[0]);
            let line = scene.line(log);
            let beyond = |d: i64, e: &Exchange| {
                let measured_ns = e.end_ns - e.start_ns;
                (measured_ns.saturating_sub(d).saturating_abs() - line.duration_error_ns).max(0)
            };
            of_requests.extend(line.duration_ns.map(|d| beyond(d, request)));
            heads.extend(head(line.body_bytes_sent, request));
            if let Some((attempt, call)) = scene.only_try(log, fitting[0]) {
                of_tries.extend(attempt.duration_ns.map(|d| beyond(d, call)));
                heads_of_tries.extend(head(attempt.response_length, call));
            }
        }
        Self {
            of_request_ns: slack_ns(of_requests),
            of_try_ns: slack_ns(of_tries),
            head_of_response: heads_between(heads),
            head_of_try: heads_between(heads_of_tries),
        }
    }
}

const ANY_HEAD: RangeInclusive<i64> = 0..=i64::MAX;

/// Bytes of a response beside a body of a known length, where all of it was seen and nothing else:
/// streams of one connection may be counted together.
fn head(body: Option<i64>, exchange: &Exchange) -> Option<i64> {
    let is_whole = exchange.has_response()
        && exchange.ended != Ended::Open
        && !exchange.is_stream
        && exchange.protocol != Protocol::Http2;
    body.filter(|_| is_whole).map(|body| exchange.bytes_response.saturating_sub(body))
}

/// Whether a body of that length and a head make as many bytes as were seen.
pub(super) fn is_body_of(
    body: Option<i64>,
    exchange: &Exchange,
    heads: &RangeInclusive<i64>,
) -> bool {
    head(body, exchange).is_none_or(|head| {
        let chunks = body.unwrap_or(0) / CHUNKS_PART;
        *heads.start() <= head && head <= heads.end().saturating_add(chunks)
    })
}

/// As long as nearly all are.
fn heads_between(mut heads: Vec<i64>) -> RangeInclusive<i64> {
    if heads.len() < LINES_MIN {
        return ANY_HEAD;
    }
    heads.sort_unstable();
    let strange = heads.len() / STRANGE_PART;
    let (least, most) = (heads[strange], heads[heads.len() - 1 - strange]);
    least.saturating_sub(HEAD_VARIES).max(0)..=most.saturating_add(HEAD_VARIES)
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
    /// The only try of a line, and the only call in its request that it can be.
    fn only_try(&self, log: usize, server: usize) -> Option<(&Attempt, &Exchange)> {
        let [attempt] = self.attempts(log) else { return None };
        let end = attempt.server?;
        let request = self.server(server);
        let from = self.clients_begun_before(request.start_ns);
        let inside = (from..self.clients.len()).map(|call| self.client(call));
        let inside = inside.take_while(|c| c.start_ns <= request.end_ns);
        let mut fitting =
            inside.filter(|c| c.remote() == end && c.has_response() && c.end_ns <= request.end_ns);
        let call = fitting.next()?;
        fitting.next().is_none().then_some((attempt, call))
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

    #[test]
    fn heads_are_as_long_as_nearly_all_lines_show_and_of_any_length_where_they_are_few() {
        let of = |count: usize, strange: usize| {
            let mut all: Vec<i64> = (0..count as i64).map(|n| 160 + n % 8).collect();
            all[..strange].fill(9_000);
            heads_between(all)
        };
        assert_eq!(of(63, 0), ANY_HEAD);
        assert_eq!(of(640, 10), 96..=231);
        assert_eq!(of(640, 11), 96..=9_064);
    }
}
