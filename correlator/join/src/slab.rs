//! The raw rows whose event time lies in one window, sorted and indexed once.
//!
//! A slab is the piece in which rows are read, kept and forgotten. Everything in it is in an order
//! of its content, so that nothing later depends on the order of arrival.

mod grouped;
mod lines;
mod numbered;
mod turns;

use std::collections::BTreeMap;
use std::ops::Range;

use hashbrown::HashTable;

use crate::address::{End, MIX};
use crate::columns::{AccessLog, Attempt, Ending, Exchange, Kind, Malformed, Role, Span};
use crate::id::Id;
use crate::names::Names;
use crate::slab::grouped::Grouped;
use crate::slab::numbered::Numbered;
use crate::slab::turns::Turns;
use crate::{order, parallel};

pub(crate) use turns::Turn;

/// A row of one slab: the slab's window, counted since the epoch, and the position in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RowId {
    pub(crate) window: u32,
    pub(crate) row: u32,
}

pub(crate) type ExchangeId = RowId;
pub(crate) type SpanId = RowId;
pub(crate) type LogId = RowId;

#[derive(Debug, Default)]
pub(crate) struct Slab {
    /// By end; of several rows of one exchange only the last word.
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) spans: Vec<Span>,
    /// What came since these were sorted.
    new_exchanges: Vec<Vec<Exchange>>,
    new_spans: Vec<Vec<Span>>,
    /// When the first request that was received here began.
    earliest_ns: Option<i64>,
    /// In the order in which the proxies wrote them, as far as the collector can tell.
    pub(crate) access_logs: Vec<AccessLog>,
    pub(crate) attempts: Vec<Attempt>,
    lines_by_id: lines::ById,
    pub(crate) malformed: Vec<Malformed>,
    pub(crate) endings: Vec<Ending>,
    /// Copies of spans that were left out, by trace.
    pub(crate) copied_spans: BTreeMap<Id, i64>,
    by_seq: Numbered,
    /// Those that may be reported again: few, and looked for in each window before a request's.
    unended: HashTable<u32>,
    /// The same, one bit a row: it is asked of nearly every row, and mostly there are none.
    going_on: Vec<u64>,
    by_span: HashTable<u32>,
    servers: Grouped,
    /// Those of them without a response: nobody knows how long they were served.
    unanswered: Grouped,
    clients: Grouped,
    turns: Turns,
    server_spans: Vec<u32>,
    is_sealed: bool,
}

impl Slab {
    pub(crate) fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// Rows may be added again after this.
    pub(crate) fn open(&mut self) {
        self.is_sealed = false;
    }

    pub(crate) fn add_exchanges(&mut self, rows: Vec<Exchange>) {
        let requests = rows.iter().filter(|e| e.role == Role::Server).map(|e| e.start_ns);
        self.earliest_ns = requests.chain(self.earliest_ns).min();
        self.new_exchanges.push(rows);
    }

    pub(crate) fn add_spans(&mut self, rows: Vec<Span>) {
        self.new_spans.push(rows);
    }

    /// Bytes of its rows, and of indexes and links to them, about.
    pub(crate) fn bytes(&self) -> usize {
        let new_exchanges: usize = self.new_exchanges.iter().map(Vec::len).sum();
        let new_spans: usize = self.new_spans.iter().map(Vec::len).sum();
        let rows = (self.exchanges.len() + new_exchanges) * size_of::<Exchange>()
            + (self.spans.len() + new_spans) * size_of::<Span>()
            + self.access_logs.len() * size_of::<AccessLog>()
            + self.attempts.len() * size_of::<Attempt>()
            + self.endings.len() * size_of::<Ending>();
        rows + rows / 2
    }

    /// Drops the other exchanges.
    pub(crate) fn keep_exchanges(&mut self, is_kept: impl Fn(&Exchange) -> bool) {
        self.exchanges.retain(&is_kept);
        self.new_exchanges.iter_mut().for_each(|rows| rows.retain(&is_kept));
        self.open();
    }

    /// Sorts and indexes what was added.
    pub(crate) fn seal(&mut self, names: &Names, threads: usize) {
        let mut others = Self {
            spans: std::mem::take(&mut self.spans),
            new_spans: std::mem::take(&mut self.new_spans),
            access_logs: std::mem::take(&mut self.access_logs),
            attempts: std::mem::take(&mut self.attempts),
            copied_spans: std::mem::take(&mut self.copied_spans),
            ..Self::default()
        };
        let has_spans = !others.spans.is_empty() || !others.new_spans.is_empty();
        let others = parallel::both(
            threads,
            || self.seal_exchanges(names, has_spans),
            || {
                others.seal_spans(names);
                lines::seal(&mut others.access_logs, &others.attempts, names);
                others
            },
        );
        let (_, others) = others;
        self.spans = others.spans;
        self.access_logs = others.access_logs;
        self.lines_by_id = lines::ById::default();
        self.attempts = others.attempts;
        self.copied_spans = others.copied_spans;
        self.by_span = others.by_span;
        self.server_spans = others.server_spans;
        order::sort(&mut self.malformed, names);
        order::sort(&mut self.endings, names);
        self.is_sealed = true;
    }

    fn seal_spans(&mut self, names: &Names) {
        let mut parts = std::mem::take(&mut self.new_spans);
        parts.push(std::mem::take(&mut self.spans));
        self.spans = order::merged(parts, names, |span| span.end_ns);
        // Equal rows may come by two ways; different ones under one id are both kept, for neither
        // can be told to be the true one.
        let copied = &mut self.copied_spans;
        self.spans.dedup_by(|copy, span| {
            let is_copy = copy == span;
            if is_copy {
                *copied.entry(span.trace).or_default() += 1;
            }
            is_copy
        });
        let spans = &self.spans;
        self.by_span = HashTable::with_capacity(spans.len());
        let hash = |row: u32| span_hash(spans[row as usize].span);
        for row in (0..spans.len()).map(index) {
            self.by_span.insert_unique(hash(row), row, |&r| hash(r));
        }
        let is_server = |row: &u32| spans[*row as usize].kind == Kind::Server;
        self.server_spans = (0..spans.len()).map(index).filter(is_server).collect();
    }

    fn seal_exchanges(&mut self, names: &Names, has_spans: bool) {
        let mut parts = std::mem::take(&mut self.new_exchanges);
        parts.push(std::mem::take(&mut self.exchanges));
        self.exchanges = order::merged(parts, names, |exchange| exchange.end_ns);
        self.keep_last_words();
        let exchanges = &self.exchanges;
        self.unended = HashTable::new();
        self.going_on = vec![0; exchanges.len().div_ceil(u64::BITS as usize)];
        for (row, exchange) in (0..).zip(exchanges).filter(|(_, e)| e.may_go_on()) {
            let hash = |&r: &u32| hash_of(exchanges, r);
            self.unended.insert_unique(exchange_hash(exchange), row, hash);
            self.going_on[(row / u64::BITS) as usize] |= 1 << (row % u64::BITS);
        }
        let starts = exchanges.iter().map(|exchange| exchange.start_ns).zip(0..);
        let by_start = order::by_key(starts.collect());
        // Exchanges are large; what is looked at in another order than theirs is put together first.
        let is_server: Vec<bool> = exchanges.iter().map(|e| e.role == Role::Server).collect();
        let places: Vec<u32> = exchanges.iter().map(|e| e.place).collect();
        let (servers, clients): (Vec<u32>, Vec<u32>) =
            by_start.partition(|&row| is_server[row as usize]);
        self.servers = Grouped::new(&servers, &places);
        self.clients = Grouped::new(&clients, &places);
        let rows = (0..exchanges.len()).map(index).zip(exchanges);
        let unanswered = rows.filter(|(_, e)| e.role == Role::Server && !e.has_response());
        let unanswered: Vec<u32> = unanswered.map(|(row, _)| row).collect();
        self.unanswered = Grouped::new(&unanswered, &places);
        if has_spans {
            self.turns = Turns::new(&servers, exchanges);
        }
    }

    /// The same exchange may come again with a later end: the last word counts.
    fn keep_last_words(&mut self) {
        let mut hashes: Vec<u64> = self.exchanges.iter().map(exchange_hash).collect();
        self.by_seq = Numbered::new(&hashes);
        let dead = self.superseded();
        if dead.is_empty() {
            return;
        }
        keep_others(&mut self.exchanges, &dead);
        keep_others(&mut hashes, &dead);
        self.by_seq = Numbered::new(&hashes);
    }

    /// Rows of exchanges of which another row is the last word, ascending.
    fn superseded(&self) -> Vec<u32> {
        let mut dead: Vec<u32> = Vec::new();
        for alike in self.by_seq.alike() {
            // Of each exchange its last word so far.
            let mut last_words: Vec<u32> = Vec::new();
            for row in alike.iter().map(|entry| entry.row) {
                let exchange = &self.exchanges[row as usize];
                let is_its = |last: &&mut u32| self.exchanges[**last as usize].is_same(exchange);
                let Some(known) = last_words.iter_mut().find(is_its) else {
                    last_words.push(row);
                    continue;
                };
                let last = &self.exchanges[*known as usize];
                if (exchange.end_ns, exchange.bytes_response) > (last.end_ns, last.bytes_response) {
                    dead.push(std::mem::replace(known, row));
                } else {
                    dead.push(row);
                }
            }
        }
        dead.sort_unstable();
        dead
    }

    /// Exchanges of one role whose request begins with this sequence number, ascending.
    pub(crate) fn with_seq(&self, seq: i64, role: Role, found: &mut Vec<u32>) {
        if seq < 0 {
            return;
        }
        found.extend(self.by_seq.of(seq_hash(seq, role)).filter(|&row| {
            let exchange = &self.exchanges[row as usize];
            exchange.seq_req == seq && exchange.role == role
        }));
    }

    /// Another row of the same exchange.
    pub(crate) fn same_exchange(&self, exchange: &Exchange) -> Option<u32> {
        let mut rows = self.by_seq.of(exchange_hash(exchange));
        rows.find(|&row| self.exchanges[row as usize].is_same(exchange))
    }

    /// Whether an exchange may be reported again.
    pub(crate) fn may_go_on(&self, row: u32) -> bool {
        let bits = self.going_on.get((row / u64::BITS) as usize);
        bits.is_some_and(|bits| bits >> (row % u64::BITS) & 1 == 1)
    }

    /// Another row of the same exchange that may be reported again.
    pub(crate) fn same_unended(&self, exchange: &Exchange) -> Option<u32> {
        if self.unended.is_empty() {
            return None;
        }
        let hash = exchange_hash(exchange);
        self.unended.find(hash, |&row| self.exchanges[row as usize].is_same(exchange)).copied()
    }

    /// Spans of one trace with this id, ascending.
    pub(crate) fn with_span_id(&self, trace: u128, span: u64, found: &mut Vec<u32>) {
        let from = found.len();
        let rows = self.by_span.iter_hash(span_hash(span)).copied();
        found.extend(rows.filter(|&row| {
            let known = &self.spans[row as usize];
            known.span == span && known.trace == trace
        }));
        found[from..].sort_unstable();
    }

    /// Traces in which different spans have one id; those of a trace that has several come as often.
    pub(crate) fn traces_with_twin_spans(&self) -> impl Iterator<Item = Id> + '_ {
        let has_twin = |row: &usize| {
            let span = &self.spans[*row];
            let twin = |&other: &u32| {
                let other = other as usize;
                other > *row
                    && self.spans[other].span == span.span
                    && self.spans[other].trace == span.trace
            };
            self.by_span.find(span_hash(span.span), twin).is_some()
        };
        (0..self.spans.len()).filter(has_twin).map(|row| self.spans[row].trace)
    }

    /// Requests received in a place, by start.
    pub(crate) fn servers(&self, place: u32) -> &[u32] {
        self.servers.of(place)
    }

    /// Those of them without a response, by end.
    pub(crate) fn unanswered(&self, place: u32) -> &[u32] {
        self.unanswered.of(place)
    }

    /// Calls made in a place, by start.
    pub(crate) fn clients(&self, place: u32) -> &[u32] {
        self.clients.of(place)
    }

    /// Requests that one peer sent to a place, by start.
    pub(crate) fn turns(&self, place: u32, peer: End) -> &[Turn] {
        self.turns.of(place, peer)
    }

    /// Spans of kind server, by end.
    pub(crate) fn server_spans(&self) -> &[u32] {
        &self.server_spans
    }

    /// Lines that carry the id of a request, in their order.
    pub(crate) fn lines_with_id(&self, id: Id) -> Vec<&AccessLog> {
        self.lines_by_id.of(id, &self.access_logs)
    }

    /// How many exchanges ended before a moment: they are the first ones.
    pub(crate) fn ended_before(&self, ns: i64) -> usize {
        self.exchanges.partition_point(|e| e.end_ns < ns)
    }

    pub(crate) fn attempts(&self, range: &Range<u32>) -> &[Attempt] {
        &self.attempts[range.start as usize..range.end as usize]
    }

    /// Whether a request ended here that began before a moment.
    pub(crate) fn has_request_since_before(&self, ns: i64) -> bool {
        self.earliest_ns.is_some_and(|earliest_ns| earliest_ns < ns)
    }
}

fn index(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}

/// Drops rows by their positions, which ascend.
fn keep_others<T>(rows: &mut Vec<T>, dead: &[u32]) {
    let mut row = 0;
    rows.retain(|_| {
        row += 1;
        dead.binary_search(&(row - 1)).is_err()
    });
}

fn hash_of(exchanges: &[Exchange], row: u32) -> u64 {
    exchange_hash(&exchanges[row as usize])
}

/// Exchanges without a sequence number are many, and are told apart by their start.
fn exchange_hash(exchange: &Exchange) -> u64 {
    let known = (exchange.seq_req >= 0).then_some(exchange.seq_req);
    seq_hash(known.unwrap_or(exchange.start_ns), exchange.role)
}

fn seq_hash(seq: i64, role: Role) -> u64 {
    let mixed = (seq as u64 ^ (role as u64) << 33).wrapping_mul(MIX);
    mixed ^ mixed >> 29
}

fn span_hash(span: u64) -> u64 {
    let mixed = span.wrapping_mul(MIX);
    mixed ^ mixed >> 29
}
