//! Raw rows in the join's eyes: those of one read range, each once, in an order of their own.
//!
//! Everything later speaks of observations by their index here. Sorting by content makes the
//! result independent of the order of arrival.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;

use crate::address::{Address, End, Tuple};
use crate::window::ReadRange;

/// Raw rows as read. Rows outside the read range and duplicates are allowed.
#[derive(Clone, Debug, Default)]
pub struct Observations {
    pub exchanges: Vec<tables::Exchange>,
    pub connections: Vec<tables::Connection>,
    pub nat_bindings: Vec<tables::NatBinding>,
    pub failures: Vec<tables::Failure>,
    pub spans: Vec<tables::Span>,
    pub access_logs: Vec<tables::AccessLog>,
    pub heartbeats: Vec<tables::Heartbeat>,
    pub cluster_objects: Vec<tables::ClusterObject>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Client,
    Server,
}

/// Index of an exchange in [`Seen::exchanges`].
pub(crate) type ExchangeId = usize;

/// One request/response turn at one socket end.
#[derive(Clone, Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) row: &'a tables::Exchange,
    pub(crate) role: Role,
    pub(crate) local: End,
    pub(crate) remote: End,
    /// Pod, or namespace on a node where the pod is not known: what "inside one pod" means.
    pub(crate) place: usize,
    /// The end by which it belongs to a window. An exchange that was shipped, fell silent and went
    /// on later stays with the window that took its earlier end for the last.
    pub(crate) home_ns: i64,
}

impl Exchange<'_> {
    /// The last moment at which this exchange can still have been served. Without a response the
    /// end that was seen is only the end of the request.
    pub(crate) fn upper_ns(&self) -> i64 {
        if self.row.first_response_ns.is_some() { self.row.end_ns } else { i64::MAX }
    }

    pub(crate) fn has_response(&self) -> bool {
        self.row.first_response_ns.is_some()
    }
}

/// A conntrack entry that translates.
#[derive(Clone, Debug)]
pub(crate) struct Binding<'a> {
    pub(crate) row: &'a tables::NatBinding,
    pub(crate) original: Tuple,
    pub(crate) reply: Tuple,
    pub(crate) first_ns: i64,
}

/// The observations of one read range.
#[derive(Debug, Default)]
pub(crate) struct Seen<'a> {
    pub(crate) exchanges: Vec<Exchange<'a>>,
    /// Exchanges of each place: servers and clients, each by start.
    pub(crate) places: Vec<Place>,
    place_of_pod: BTreeMap<&'a str, usize>,
    /// Exchanges of the window that contradict themselves.
    pub(crate) malformed: Vec<&'a tables::Exchange>,
    pub(crate) bindings: Vec<Binding<'a>>,
    pub(crate) connections: Vec<&'a tables::Connection>,
    pub(crate) failures: Vec<&'a tables::Failure>,
    pub(crate) spans: Vec<&'a tables::Span>,
    pub(crate) access_logs: Vec<&'a tables::AccessLog>,
    pub(crate) heartbeats: Vec<&'a tables::Heartbeat>,
    pub(crate) cluster_objects: Vec<&'a tables::ClusterObject>,
}

/// One pod (or namespace) as a scene of relaying.
#[derive(Debug, Default)]
pub(crate) struct Place {
    pub(crate) servers: Vec<ExchangeId>,
    pub(crate) clients: Vec<ExchangeId>,
}

impl<'a> Seen<'a> {
    pub(crate) fn within(all: &'a Observations, window: Range<i64>, range: &ReadRange) -> Self {
        let mut seen = Self {
            bindings: bindings(all, range),
            connections: all
                .connections
                .iter()
                .filter(|c| range.connections.contains(&c.event_ns))
                .collect(),
            failures: all.failures.iter().filter(|f| range.rows.contains(&f.event_ns)).collect(),
            spans: spans(all, range),
            access_logs: access_logs(all, range),
            heartbeats: all
                .heartbeats
                .iter()
                .filter(|h| {
                    range.heartbeats.contains(&h.event_ns) && h.covered_from_ns < range.rows.end
                })
                .collect(),
            cluster_objects: all
                .cluster_objects
                .iter()
                .filter(|o| o.event_ns < range.cluster.end)
                .collect(),
            ..Self::default()
        };
        seen.connections.sort_by_key(|c| (c.event_ns, &c.node, c.socket_cookie, identity(c)));
        seen.failures.sort_by_key(|f| (f.event_ns, &f.node, f.local_port, f.remote_port, &f.kind));
        seen.heartbeats.sort_by_key(|h| (&h.source, &h.node, h.covered_from_ns, h.covered_to_ns));
        seen.cluster_objects
            .sort_by_key(|o| (&o.kind, &o.uid, o.event_ns, &o.resource_version, &o.change));
        seen.take_exchanges(all, &window, range);
        seen
    }

    pub(crate) fn place_of_pod(&self, uid: &str) -> Option<usize> {
        self.place_of_pod.get(uid).copied()
    }

    fn take_exchanges(&mut self, all: &'a Observations, window: &Range<i64>, range: &ReadRange) {
        let mut rows: Vec<&tables::Exchange> =
            all.exchanges.iter().filter(|e| range.rows.contains(&e.event_ns)).collect();
        // The same exchange may come again with a later end: the last word counts.
        rows.sort_by_key(|e| {
            (same_exchange(e), Reverse((e.end_ns, e.bytes_response)), identity_of_exchange(e))
        });
        let mut last_words: Vec<(&tables::Exchange, i64)> = rows
            .chunk_by(|a, b| same_exchange(a) == same_exchange(b))
            .map(|sightings| (sightings[0], home_ns(sightings, window, range)))
            .collect();
        last_words.sort_by_key(|(e, _)| (e.start_ns, same_exchange(e)));

        let mut place_of: BTreeMap<(&str, i64, Option<&str>), usize> = BTreeMap::new();
        for (row, home_ns) in last_words {
            let Some((role, local, remote)) = read(row) else {
                if window.contains(&row.event_ns) {
                    self.malformed.push(row);
                }
                continue;
            };
            let key = match row.pod_uid.as_deref() {
                Some(uid) => ("", 0, Some(uid)),
                None => (row.node.as_str(), row.netns_cookie, None),
            };
            let places = &mut self.places;
            let place = *place_of.entry(key).or_insert_with(|| {
                if let Some(uid) = row.pod_uid.as_deref() {
                    self.place_of_pod.insert(uid, places.len());
                }
                places.push(Place::default());
                places.len() - 1
            });
            let id = self.exchanges.len();
            match role {
                Role::Client => self.places[place].clients.push(id),
                Role::Server => self.places[place].servers.push(id),
            }
            self.exchanges.push(Exchange { row, role, local, remote, place, home_ns });
        }
    }
}

/// What makes two rows the same exchange: one turn of one socket.
fn same_exchange(e: &tables::Exchange) -> (&str, i64, i64, i64, &str) {
    (&e.node, e.netns_cookie, e.socket_cookie, e.tcp_seq_req, &e.role)
}

/// Role and both ends of a row that can be true.
fn read(e: &tables::Exchange) -> Option<(Role, End, End)> {
    let role = match e.role.as_str() {
        "client" => Role::Client,
        "server" => Role::Server,
        _ => return None,
    };
    let in_order = sane(e.start_ns) && sane(e.end_ns) && e.start_ns <= e.end_ns;
    let answered_within = e.first_response_ns.is_none_or(|at| e.start_ns <= at && at <= e.end_ns);
    if !in_order || !answered_within {
        return None;
    }
    let local = End::parse(&e.local_ip, e.local_port)?;
    Some((role, local, End::parse(&e.remote_ip, e.remote_port)?))
}

/// Within 73 years of the epoch: sums of three such times never overflow.
fn sane(ns: i64) -> bool {
    ns.unsigned_abs() < 1 << 61
}

/// The end by which an exchange belongs to a window, its sightings given with the last end first.
/// Each earlier window is asked what it took for the last end, with the rows that it could read.
fn home_ns(sightings: &[&tables::Exchange], window: &Range<i64>, range: &ReadRange) -> i64 {
    let last_ns = sightings[0].end_ns;
    let length_ns = window.end - window.start;
    let read_after_ns = range.rows.end - window.end;
    for earlier in sightings.iter().rev().map(|e| e.end_ns).filter(|&end| sane(end)) {
        let start_ns = window.start + (earlier - window.start).div_euclid(length_ns) * length_ns;
        if start_ns >= window.start {
            break;
        }
        let end_ns = start_ns + length_ns;
        let taken_ns = sightings.iter().map(|e| e.end_ns).find(|&end| end < end_ns + read_after_ns);
        if let Some(taken_ns) = taken_ns.filter(|taken| (start_ns..end_ns).contains(taken)) {
            return taken_ns;
        }
    }
    last_ns
}

fn identity_of_exchange(e: &tables::Exchange) -> (&str, i64, i32) {
    (&e.boot_id, e.sequence, e.item)
}

fn identity(c: &tables::Connection) -> (&str, i64, i32) {
    (&c.boot_id, c.sequence, c.item)
}

/// Sightings of one conntrack entry become one binding. Entries that began at different times stay
/// apart even where they translate alike: between them the tuple may have been translated otherwise.
fn bindings<'a>(all: &'a Observations, range: &ReadRange) -> Vec<Binding<'a>> {
    let mut sightings: Vec<Binding<'a>> = all
        .nat_bindings
        .iter()
        .filter(|n| range.connections.contains(&n.event_ns))
        .filter_map(|row| {
            let end = |ip: &str, port| End::parse(ip, port);
            Some(Binding {
                row,
                original: Tuple {
                    source: end(&row.original_source_ip, row.original_source_port)?,
                    destination: end(&row.original_destination_ip, row.original_destination_port)?,
                },
                reply: Tuple {
                    source: end(&row.reply_source_ip, row.reply_source_port)?,
                    destination: end(&row.reply_destination_ip, row.reply_destination_port)?,
                },
                first_ns: row.first_seen_ns,
            })
        })
        .filter(|b| sane(b.first_ns))
        .collect();
    sightings.sort_by(|a, b| {
        let key = |x: &Binding<'a>| (x.original, x.reply, x.first_ns, x.row.last_seen_ns);
        (key(a), &a.row.node, a.row.netns_cookie, a.row.zone, &a.row.evidence).cmp(&(
            key(b),
            &b.row.node,
            b.row.netns_cookie,
            b.row.zone,
            &b.row.evidence,
        ))
    });
    sightings.dedup_by_key(|b| {
        (b.original, b.reply, b.first_ns, &b.row.node, b.row.netns_cookie, b.row.zone)
    });
    sightings
}

/// Each content once. Equal rows may come by two ways; different ones under one id are both kept,
/// for neither can be told to be the true one.
fn spans<'a>(all: &'a Observations, range: &ReadRange) -> Vec<&'a tables::Span> {
    fn content(s: &tables::Span) -> impl Ord + '_ {
        (
            (&s.trace_id, &s.span_id, s.start_ns, s.end_ns, &s.kind, &s.parent_span_id),
            (&s.pod_uid, &s.sender_ip, &s.peer_ip, s.peer_port),
            (&s.request_id, &s.method, &s.route, s.status_code),
        )
    }
    let mut spans: Vec<_> = all
        .spans
        .iter()
        .filter(|s| range.rows.contains(&s.event_ns) && sane(s.start_ns) && sane(s.end_ns))
        .collect();
    spans.sort_by(|a, b| content(a).cmp(&content(b)));
    spans.dedup_by(|a, b| content(a) == content(b));
    spans
}

/// In the order in which the proxy wrote them, as far as the collector can tell.
fn access_logs<'a>(all: &'a Observations, range: &ReadRange) -> Vec<&'a tables::AccessLog> {
    let mut logs: Vec<_> = all
        .access_logs
        .iter()
        .filter(|l| range.rows.contains(&l.event_ns))
        .filter(|l| sane(l.end_lo_ns) && sane(l.end_hi_ns) && sane(l.duration_error_ns))
        .filter(|l| l.duration_ns.is_none_or(sane))
        .collect();
    logs.sort_by_key(|l| {
        (&l.emitter_ip, &l.collector, l.ingest_seq, l.item, l.event_ns, &l.request_id)
    });
    logs.dedup_by_key(|l| (&l.collector, l.ingest_seq, l.item));
    logs
}

/// Parses an optional address column.
pub(crate) fn address(text: Option<&str>) -> Option<Address> {
    text.and_then(Address::parse)
}
