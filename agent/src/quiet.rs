//! Which turns the sweep ships: those that have a response and have been silent for a while. Pure.
//!
//! The kernel ends a turn only when the next request comes or the connection closes, which may be
//! hours away on a pooled connection. The sweep does not end a turn, it reports it; if more bytes
//! come, the same turn is reported again with a later end.

use std::collections::HashMap;

use agent_ebpf::abi::{ExchangeEvent, Socket, Turn};
use agent_ebpf::turn::phase;

/// What was shipped last for each connection. Bounded by the socket map: [`Quiet::keep_seen`]
/// forgets connections that are gone.
#[derive(Default)]
pub struct Quiet {
    shipped: HashMap<u64, Shipped>,
    walk: u64,
}

struct Shipped {
    turn: Identity,
    seen_in_walk: u64,
}

/// A turn and how far it had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    tcp_seq_request: u32,
    start_ns: u64,
    end_ns: u64,
}

impl Identity {
    fn of(turn: &Turn) -> Self {
        Self { tcp_seq_request: turn.tcp_seq_request, start_ns: turn.start_ns, end_ns: turn.end_ns }
    }
}

impl Quiet {
    /// Begins a walk over all sockets.
    pub fn begin_walk(&mut self) {
        self.walk += 1;
    }

    /// Is the socket's turn one to ship, now that nothing happened on it until `silent_until_ns`?
    pub fn is_due(&mut self, cookie: u64, socket: &Socket, silent_until_ns: u64) -> bool {
        let turn = Identity::of(&socket.turn);
        if let Some(shipped) = self.shipped.get_mut(&cookie) {
            shipped.seen_in_walk = self.walk;
            if shipped.turn == turn {
                return false;
            }
        }
        socket.phase == phase::RESPONSE && turn.end_ns <= silent_until_ns
    }

    /// Remembers that the socket's turn was shipped as it stands.
    pub fn shipped(&mut self, cookie: u64, socket: &Socket) {
        let turn = Identity::of(&socket.turn);
        self.shipped.insert(cookie, Shipped { turn, seen_in_walk: self.walk });
    }

    /// Does the kernel report a turn that was shipped with the very same end?
    pub fn repeats(&mut self, event: &ExchangeEvent) -> bool {
        let shipped = self.shipped.remove(&event.socket_cookie);
        shipped.is_some_and(|shipped| shipped.turn == Identity::of(&event.turn))
    }

    /// Ends a walk: connections that neither it nor the one before met are gone. The close of one
    /// that the last walk did not meet may still be on its way through the ring buffer.
    pub fn keep_seen(&mut self) {
        let walk = self.walk;
        self.shipped.retain(|_, shipped| shipped.seen_in_walk + 1 >= walk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_ebpf::abi::{Header, Owner, Tuple, ended_by, kind, role};

    fn socket(phase: u8, end_ns: u64) -> Socket {
        Socket {
            turn: Turn { tcp_seq_request: 7, start_ns: 1, end_ns, ..Turn::default() },
            role: role::SERVER,
            phase,
            ..Socket::default()
        }
    }

    fn ended(end_ns: u64) -> ExchangeEvent {
        ExchangeEvent {
            header: Header::new(kind::EXCHANGE),
            at_ns: 0,
            owner: Owner::default(),
            socket_cookie: 1,
            tuple: Tuple::default(),
            turn: socket(phase::RESPONSE, end_ns).turn,
            role: role::SERVER,
            ended_by: ended_by::TURN,
            padding: [0; 6],
        }
    }

    fn walk(quiet: &mut Quiet, socket: &Socket, silent_until_ns: u64) -> bool {
        quiet.begin_walk();
        let due = quiet.is_due(1, socket, silent_until_ns);
        if due {
            quiet.shipped(1, socket);
        }
        quiet.keep_seen();
        due
    }

    #[test]
    fn only_an_answered_and_silent_turn_is_due() {
        let mut quiet = Quiet::default();
        assert!(!walk(&mut quiet, &socket(phase::REQUEST, 10), 50), "no response yet");
        assert!(!walk(&mut quiet, &socket(phase::RESPONSE, 51), 50), "still talking");
        assert!(walk(&mut quiet, &socket(phase::RESPONSE, 50), 50));
    }

    #[test]
    fn a_turn_is_shipped_again_only_when_it_went_on() {
        let mut quiet = Quiet::default();
        assert!(walk(&mut quiet, &socket(phase::RESPONSE, 10), 50));
        assert!(!walk(&mut quiet, &socket(phase::RESPONSE, 10), 60));
        assert!(walk(&mut quiet, &socket(phase::RESPONSE, 40), 70));
    }

    #[test]
    fn the_kernel_repeats_what_was_shipped_with_the_same_end_alone() {
        let mut quiet = Quiet::default();
        walk(&mut quiet, &socket(phase::RESPONSE, 10), 50);
        assert!(quiet.repeats(&ended(10)));
        walk(&mut quiet, &socket(phase::RESPONSE, 10), 50);
        assert!(!quiet.repeats(&ended(20)));
    }

    #[test]
    fn a_close_that_is_read_after_the_next_walk_is_still_known_to_repeat() {
        let mut quiet = Quiet::default();
        walk(&mut quiet, &socket(phase::RESPONSE, 10), 50);
        quiet.begin_walk();
        quiet.keep_seen();
        assert!(quiet.repeats(&ended(10)));
    }

    #[test]
    fn a_connection_that_is_gone_is_forgotten() {
        let mut quiet = Quiet::default();
        walk(&mut quiet, &socket(phase::RESPONSE, 10), 50);
        for _ in 0..2 {
            quiet.begin_walk();
            quiet.keep_seen();
        }
        assert!(quiet.shipped.is_empty());
    }
}
