//! How socket calls become exchanges, driven by sequence numbers.
//!
//! A client's request is what it sends, a server's what it receives. A turn is one run of request
//! bytes and the run of response bytes after it; the next request byte ends it. Each call looks at
//! both positions of the socket (`write_seq`, `copied_seq`), not only at its own length, because
//! bytes can have moved without a call being seen to end.
//!
//! Where a reader meets sent bytes that nobody accounted for (their writer has not returned yet),
//! they came first: what is received answers or follows them. Where a writer meets received bytes,
//! they may have come before its own or answer them (`splice`, a reader on another CPU): then the
//! turn is given up, never guessed. The socket waits for a response and then for a request, which
//! begins a clean turn.

use crate::abi::{ORDINAL_UNKNOWN, Socket, Turn, role, state};

pub mod phase {
    /// Somewhere in a turn whose beginning was not seen.
    pub const UNSYNCHRONISED: u8 = 0;
    /// In a response whose request was not seen: the next request byte begins a clean turn.
    pub const DRAINING: u8 = 1;
    /// No request yet.
    pub const IDLE: u8 = 2;
    pub const REQUEST: u8 = 3;
    pub const RESPONSE: u8 = 4;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Sent,
    Received,
}

/// One finished call of `send` or `recv` and the socket as it stood then.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub at_ns: u64,
    pub direction: Direction,
    pub length: u32,
    pub write_seq: u32,
    pub copied_seq: u32,
    /// TCP state: after a FIN its position counts one number that is no byte.
    pub state: u8,
    pub process: u32,
    pub thread: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Followed,
    /// The bytes belong to a turn whose beginning was not seen: no exchange is made of them.
    Unfollowed,
    /// Bytes moved both ways in an order that cannot be known: the turn was given up.
    Resynchronised,
}

impl Socket {
    /// Has the connection a turn to report: a request, with or without its response?
    #[inline(always)]
    pub fn has_turn(&self) -> bool {
        self.phase >= phase::REQUEST
    }

    /// Starts following a socket in the middle of its life, at its first call seen.
    #[inline(always)]
    pub fn join(&mut self, call: &Call) {
        self.sent_seq = call.write_seq;
        self.received_seq = call.copied_seq;
        self.turn.ordinal = ORDINAL_UNKNOWN;
        self.phase = phase::UNSYNCHRONISED;
        self.drain(call.direction);
    }

    /// Follows one call. `finished` is given the socket just before a new request takes the place
    /// of a turn that is over.
    #[inline(always)]
    pub fn observe(&mut self, call: &Call, finished: impl FnOnce(&Socket)) -> Outcome {
        let sent = self.advance_sent(call);
        let received = self.advance_received(call);
        let (own, other) = match call.direction {
            Direction::Sent => (sent, received),
            Direction::Received => (received, sent),
        };
        if own == 0 && other == 0 {
            self.name_late_caller(call);
            return Outcome::Followed;
        }
        let in_order = call.direction == Direction::Received && own <= call.length;
        if other > 0 && !in_order {
            self.phase = phase::UNSYNCHRONISED;
            self.turn.ordinal = ORDINAL_UNKNOWN;
            return Outcome::Resynchronised;
        }
        if call.direction == self.request_direction() {
            self.respond(call, other, false);
            self.request(call, own, true, finished);
        } else {
            self.request(call, other, false, finished);
            self.respond(call, own, true);
        }
        if self.phase <= phase::DRAINING { Outcome::Unfollowed } else { Outcome::Followed }
    }

    /// Bytes sent since the last look. After our FIN the position is no longer one of bytes.
    #[inline(always)]
    fn advance_sent(&mut self, call: &Call) -> u32 {
        let fin_sent = call.state != state::ESTABLISHED && call.state != state::CLOSE_WAIT;
        if fin_sent && call.direction == Direction::Received {
            return 0;
        }
        let bytes = forward(self.sent_seq, call.write_seq);
        self.sent_seq = self.sent_seq.wrapping_add(bytes);
        self.bytes_sent += u64::from(bytes);
        bytes
    }

    /// Bytes received since the last look. After the peer's FIN the same holds, and the call that
    /// reads the last bytes may take the FIN's number along.
    #[inline(always)]
    fn advance_received(&mut self, call: &Call) -> u32 {
        let fin_received = call.state != state::ESTABLISHED
            && call.state != state::FIN_WAIT1
            && call.state != state::FIN_WAIT2;
        if fin_received && call.direction == Direction::Sent {
            return 0;
        }
        let bytes = forward(self.received_seq, call.copied_seq);
        let bytes = if fin_received && bytes > call.length { call.length } else { bytes };
        self.received_seq = self.received_seq.wrapping_add(bytes);
        self.bytes_received += u64::from(bytes);
        bytes
    }

    #[inline(always)]
    fn request_direction(&self) -> Direction {
        if self.role == role::CLIENT { Direction::Sent } else { Direction::Received }
    }

    #[inline(always)]
    fn drain(&mut self, direction: Direction) {
        if direction != self.request_direction() {
            self.phase = phase::DRAINING;
        }
    }

    #[inline(always)]
    fn request(&mut self, call: &Call, bytes: u32, own: bool, finished: impl FnOnce(&Socket)) {
        if bytes == 0 || self.phase == phase::UNSYNCHRONISED {
            return;
        }
        if self.phase != phase::REQUEST {
            if self.phase == phase::RESPONSE {
                finished(self);
            }
            self.begin(call, bytes, own);
        }
        self.turn.bytes_request += u64::from(bytes);
        self.turn.end_ns = call.at_ns;
    }

    #[inline(always)]
    fn begin(&mut self, call: &Call, bytes: u32, own: bool) {
        let position = if self.role == role::CLIENT { self.sent_seq } else { self.received_seq };
        let followed_from_start = self.turn.ordinal != ORDINAL_UNKNOWN;
        let ordinal = if !followed_from_start {
            ORDINAL_UNKNOWN
        } else if self.phase == phase::RESPONSE {
            self.turn.ordinal + 1
        } else {
            self.turn.ordinal
        };
        self.turn = Turn {
            start_ns: call.at_ns,
            end_ns: call.at_ns,
            tcp_seq_request: position.wrapping_sub(bytes),
            process: if own { call.process } else { 0 },
            thread: if own { call.thread } else { 0 },
            ordinal,
            ..Turn::default()
        };
        self.phase = phase::REQUEST;
    }

    #[inline(always)]
    fn respond(&mut self, call: &Call, bytes: u32, own: bool) {
        if bytes == 0 {
            return;
        }
        match self.phase {
            // A server that speaks first (a banner) answers no request.
            phase::IDLE => return,
            phase::UNSYNCHRONISED | phase::DRAINING => {
                self.phase = phase::DRAINING;
                return;
            }
            _ => {}
        }
        if self.phase == phase::REQUEST {
            let position =
                if self.role == role::CLIENT { self.received_seq } else { self.sent_seq };
            self.turn.tcp_seq_response = position.wrapping_sub(bytes);
            self.turn.first_response_ns = call.at_ns;
            self.turn.response_thread = if own { call.thread } else { 0 };
            self.phase = phase::RESPONSE;
        }
        self.turn.bytes_response += u64::from(bytes);
        self.turn.end_ns = call.at_ns;
    }

    /// A writer whose bytes were already accounted for by the reader of their answer.
    #[inline(always)]
    fn name_late_caller(&mut self, call: &Call) {
        if call.direction == self.request_direction() && self.turn.thread == 0 {
            self.turn.process = call.process;
            self.turn.thread = call.thread;
        }
    }
}

/// How far `to` is ahead of `from`; 0 when it is behind, which a stale read may show.
#[inline(always)]
fn forward(from: u32, to: u32) -> u32 {
    let distance = to.wrapping_sub(from);
    if distance > u32::MAX / 2 { 0 } else { distance }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
