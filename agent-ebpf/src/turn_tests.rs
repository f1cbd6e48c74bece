//! Transcripts of calls on one socket and the exchanges that they make.

use super::*;

const CLIENT_START: u32 = 1_000;
const SERVER_START: u32 = u32::MAX - 20;

/// One end of a connection, with its positions moved by the calls that a test writes down.
struct End {
    socket: Socket,
    write_seq: u32,
    copied_seq: u32,
    now_ns: u64,
    state: u8,
    finished: Vec<Turn>,
    outcomes: Vec<Outcome>,
}

fn socket(role: u8, sent_seq: u32, received_seq: u32, phase: u8) -> Socket {
    Socket { opened_ns: 1, sent_seq, received_seq, role, phase, ..Socket::default() }
}

impl End {
    fn client() -> Self {
        Self::new(role::CLIENT, CLIENT_START, SERVER_START)
    }

    fn server() -> Self {
        Self::new(role::SERVER, SERVER_START, CLIENT_START)
    }

    fn new(role: u8, write_seq: u32, copied_seq: u32) -> Self {
        Self {
            socket: socket(role, write_seq, copied_seq, phase::IDLE),
            write_seq,
            copied_seq,
            now_ns: 0,
            state: state::ESTABLISHED,
            finished: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    fn call(&mut self, direction: Direction, length: u32, thread: u32) -> Call {
        self.now_ns += 10;
        Call {
            at_ns: self.now_ns,
            direction,
            length,
            write_seq: self.write_seq,
            copied_seq: self.copied_seq,
            state: self.state,
            process: 7,
            thread,
        }
    }

    fn observe(&mut self, direction: Direction, length: u32, thread: u32) -> &mut Self {
        let call = self.call(direction, length, thread);
        let finished = &mut self.finished;
        let outcome = self.socket.observe(&call, |socket| finished.push(socket.turn));
        self.outcomes.push(outcome);
        self
    }

    fn send(&mut self, length: u32, thread: u32) -> &mut Self {
        self.write_seq = self.write_seq.wrapping_add(length);
        self.observe(Direction::Sent, length, thread)
    }

    fn receive(&mut self, length: u32, thread: u32) -> &mut Self {
        self.copied_seq = self.copied_seq.wrapping_add(length);
        self.observe(Direction::Received, length, thread)
    }

    /// All turns, the open one last.
    fn turns(&self) -> Vec<Turn> {
        let mut turns = self.finished.clone();
        if self.socket.has_turn() {
            turns.push(self.socket.turn);
        }
        turns
    }

    fn sequences(&self) -> Vec<(u32, u32)> {
        self.turns().iter().map(|turn| (turn.tcp_seq_request, turn.tcp_seq_response)).collect()
    }
}

#[test]
fn both_ends_give_one_exchange_the_same_numbers_whatever_the_pieces() {
    let mut client = End::client();
    client.send(100, 1).send(50, 1).receive(30, 1).receive(70, 1);
    client.send(150, 1).receive(100, 1);
    let mut server = End::server();
    server.receive(120, 9).receive(30, 9).send(100, 8);
    server.receive(150, 9).send(40, 9).send(60, 9);
    assert_eq!(client.sequences(), server.sequences());
    assert_eq!(
        client.sequences(),
        [(CLIENT_START, SERVER_START), (CLIENT_START + 150, SERVER_START.wrapping_add(100)),]
    );
}

#[test]
fn a_turn_carries_bytes_times_and_the_threads_of_its_first_calls() {
    let mut server = End::server();
    server.receive(120, 9).receive(30, 5).send(60, 8).send(40, 6);
    assert_eq!(
        server.turns(),
        [Turn {
            start_ns: 10,
            first_response_ns: 30,
            end_ns: 40,
            bytes_request: 150,
            bytes_response: 100,
            tcp_seq_request: CLIENT_START,
            tcp_seq_response: SERVER_START,
            process: 7,
            thread: 9,
            response_thread: 8,
            ordinal: 0,
        }]
    );
}

#[test]
fn ordinals_count_from_the_start_of_the_connection() {
    let mut client = End::client();
    for _ in 0..3 {
        client.send(1, 1).receive(1, 1);
    }
    assert_eq!(client.turns().iter().map(|turn| turn.ordinal).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_reader_that_sees_the_response_before_the_writer_returned_still_makes_one_turn() {
    let mut client = End::client();
    client.write_seq += 100;
    client.receive(40, 2);
    client.observe(Direction::Sent, 100, 1);
    client.send(10, 1);
    let turns = client.turns();
    assert_eq!(
        client.sequences(),
        [(CLIENT_START, SERVER_START), (CLIENT_START + 100, SERVER_START.wrapping_add(40))].map(
            |(request, response)| (request, if request == CLIENT_START { response } else { 0 })
        )
    );
    assert_eq!((turns[0].thread, turns[0].response_thread), (1, 2));
    assert_eq!(turns[0].bytes_request, 100);
}

#[test]
fn the_first_of_several_late_writers_names_the_request() {
    let mut client = End::client();
    client.write_seq += 100;
    client.receive(40, 2);
    client.observe(Direction::Sent, 60, 1).observe(Direction::Sent, 40, 3);
    assert_eq!(client.turns()[0].thread, 1);
}

#[test]
fn received_bytes_that_only_a_writer_meets_give_the_turn_up() {
    for mut end in [End::client(), End::server()] {
        end.send(10, 1).receive(10, 1);
        end.copied_seq = end.copied_seq.wrapping_add(80);
        end.send(20, 3);
        assert_eq!(end.outcomes.last(), Some(&Outcome::Resynchronised));
        assert!(!end.socket.has_turn());
    }
}

#[test]
fn after_a_turn_that_was_given_up_a_response_and_then_a_request_begin_a_clean_one() {
    let mut server = End::server();
    server.receive(10, 1).send(10, 1);
    // Two whole turns pass by splice, and then a call is seen.
    server.copied_seq += 50;
    server.write_seq = server.write_seq.wrapping_add(50);
    server.receive(10, 1);
    assert_eq!(server.outcomes.last(), Some(&Outcome::Resynchronised));
    server.receive(4, 1);
    assert!(!server.socket.has_turn(), "this may be the rest of a request");
    server.send(5, 1);
    let request = server.copied_seq;
    server.receive(7, 1).send(3, 1);
    let turn = server.turns()[0];
    assert_eq!((turn.tcp_seq_request, turn.bytes_request), (request, 7));
    assert_eq!(turn.ordinal, ORDINAL_UNKNOWN);
}

#[test]
fn a_position_behind_the_last_is_a_stale_read_and_no_bytes() {
    let mut client = End::client();
    client.send(100, 1);
    client.write_seq -= 50;
    client.observe(Direction::Sent, 50, 1);
    assert_eq!(client.turns()[0].bytes_request, 100);
}

#[test]
fn the_end_of_the_stream_read_with_the_last_bytes_is_no_byte() {
    let mut server = End::server();
    server.state = state::CLOSE_WAIT;
    server.copied_seq += 101;
    server.observe(Direction::Received, 100, 1);
    server.send(10, 1);
    assert_eq!(server.turns()[0].bytes_request, 100);
    assert_eq!(server.outcomes.last(), Some(&Outcome::Followed));
}

#[test]
fn a_socket_joined_in_the_middle_waits_for_a_response_and_then_a_request() {
    for role in [role::CLIENT, role::SERVER] {
        let (request, response) = if role == role::CLIENT {
            (Direction::Sent, Direction::Received)
        } else {
            (Direction::Received, Direction::Sent)
        };
        let mut end = End::new(role, 500, 900);
        end.socket = socket(role, 0, 0, phase::IDLE);
        let step = |end: &mut End, direction| match direction {
            Direction::Sent => end.send(10, 1).finished.len(),
            Direction::Received => end.receive(10, 1).finished.len(),
        };
        end.write_seq += 10;
        let call = end.call(request, 10, 1);
        end.socket.join(&call);
        for direction in [request, response, response] {
            step(&mut end, direction);
            assert!(!end.socket.has_turn(), "the beginning of this turn was not seen");
            assert_eq!(end.outcomes.last(), Some(&Outcome::Unfollowed));
        }
        let begin = if role == role::CLIENT { end.write_seq } else { end.copied_seq };
        step(&mut end, request);
        assert_eq!(end.outcomes.last(), Some(&Outcome::Followed));
        assert_eq!(end.turns()[0].tcp_seq_request, begin);
        assert_eq!(end.turns()[0].ordinal, ORDINAL_UNKNOWN);
    }
}

#[test]
fn a_server_that_speaks_first_answers_nothing() {
    let mut client = End::client();
    client.receive(60, 1);
    assert!(client.turns().is_empty());
    client.send(5, 1).receive(5, 1);
    assert_eq!(client.sequences(), [(CLIENT_START, SERVER_START.wrapping_add(60))]);
}

#[test]
fn a_half_close_is_no_request_byte() {
    let mut client = End::client();
    client.send(100, 1).receive(10, 1);
    // shutdown(SHUT_WR) while the response is still arriving: the FIN takes one number.
    client.write_seq += 1;
    client.state = state::FIN_WAIT2;
    client.receive(10, 1);
    assert_eq!(client.turns().len(), 1);
    assert_eq!(client.turns()[0].bytes_response, 20);

    let mut server = End::server();
    server.receive(100, 1).send(10, 1);
    // The server reads the end of the stream and goes on with its response.
    server.copied_seq += 1;
    server.state = state::CLOSE_WAIT;
    server.send(10, 1);
    assert_eq!(server.turns().len(), 1);
    assert_eq!(server.turns()[0].bytes_request, 100);
}
