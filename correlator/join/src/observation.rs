//! Raw rows in the join's eyes: those of one read range, each once, in an order of their own.
//!
//! Everything later speaks of observations by their index here. Sorting by content makes the
//! result independent of the order of arrival.

use std::cmp::Reverse;
use std::collections::BTreeMap;

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
    pub(crate) last_ns: i64,
}

/// The observations of one read range.
#[derive(Debug, Default)]
pub(crate) struct Seen<'a> {
    pub(crate) exchanges: Vec<Exchange<'a>>,
    /// Exchanges of each place: servers and clients, each by start.
    pub(crate) places: Vec<Place>,
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
    pub(crate) pod_uid: Option<String>,
    pub(crate) servers: Vec<ExchangeId>,
    pub(crate) clients: Vec<ExchangeId>,
}

impl<'a> Seen<'a> {
    pub(crate) fn within(all: &'a Observations, range: &ReadRange) -> Self {
        let mut seen = Self {
            bindings: bindings(all, range),
            connections: all
                .connections
                .iter()
                .filter(|c| range.connections.contains(&c.event_ns))
                .collect(),
            failures: all.failures.iter().filter(|f| range.rows.contains(&f.event_ns)).collect(),
            spans: all.spans.iter().filter(|s| range.rows.contains(&s.event_ns)).collect(),
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
        seen.spans.sort_by_key(|s| (&s.trace_id, &s.span_id, s.start_ns, s.end_ns));
        seen.spans.dedup_by_key(|s| (&s.trace_id, &s.span_id, s.start_ns, s.end_ns));
        seen.heartbeats.sort_by_key(|h| (&h.source, &h.node, h.covered_from_ns, h.covered_to_ns));
        seen.cluster_objects
            .sort_by_key(|o| (&o.kind, &o.uid, o.event_ns, &o.resource_version, &o.change));
        seen.take_exchanges(all, range);
        seen
    }

    pub(crate) fn place_of_pod(&self, uid: &str) -> Option<usize> {
        self.places.iter().position(|p| p.pod_uid.as_deref() == Some(uid))
    }

    fn take_exchanges(&mut self, all: &'a Observations, range: &ReadRange) {
        let mut rows: Vec<&tables::Exchange> =
            all.exchanges.iter().filter(|e| range.rows.contains(&e.event_ns)).collect();
        // The same exchange may come again with a later end: the last word counts.
        rows.sort_by_key(|e| {
            (same_exchange(e), Reverse((e.end_ns, e.bytes_response)), identity_of_exchange(e))
        });
        rows.dedup_by_key(|e| same_exchange(e));
        rows.sort_by_key(|e| (e.start_ns, same_exchange(e)));

        let mut place_of: BTreeMap<(&str, i64, Option<&str>), usize> = BTreeMap::new();
        for row in rows {
            let role = match row.role.as_str() {
                "client" => Role::Client,
                "server" => Role::Server,
                _ => continue,
            };
            let ends = (
                End::parse(&row.local_ip, row.local_port),
                End::parse(&row.remote_ip, row.remote_port),
            );
            let (Some(local), Some(remote)) = ends else { continue };
            let key = match row.pod_uid.as_deref() {
                Some(uid) => ("", 0, Some(uid)),
                None => (row.node.as_str(), row.netns_cookie, None),
            };
            let places = &mut self.places;
            let place = *place_of.entry(key).or_insert_with(|| {
                places.push(Place { pod_uid: row.pod_uid.clone(), ..Place::default() });
                places.len() - 1
            });
            let id = self.exchanges.len();
            match role {
                Role::Client => self.places[place].clients.push(id),
                Role::Server => self.places[place].servers.push(id),
            }
            self.exchanges.push(Exchange { row, role, local, remote, place });
        }
    }
}

/// What makes two rows the same exchange: one turn of one socket.
fn same_exchange(e: &tables::Exchange) -> (&str, i64, i64, i64, &str) {
    (&e.node, e.netns_cookie, e.socket_cookie, e.tcp_seq_req, &e.role)
}

fn identity_of_exchange(e: &tables::Exchange) -> (&str, i64, i32) {
    (&e.boot_id, e.sequence, e.item)
}

fn identity(c: &tables::Connection) -> (&str, i64, i32) {
    (&c.boot_id, c.sequence, c.item)
}

/// Sightings of one conntrack entry become one binding that lasts from the first to the last.
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
                last_ns: row.last_seen_ns,
            })
        })
        .collect();
    sightings.sort_by(|a, b| {
        let key = |x: &Binding<'a>| (x.original, x.reply, x.first_ns, x.last_ns);
        (key(a), &a.row.node, a.row.netns_cookie, a.row.zone, &a.row.evidence).cmp(&(
            key(b),
            &b.row.node,
            b.row.netns_cookie,
            b.row.zone,
            &b.row.evidence,
        ))
    });
    sightings.dedup_by(|later, kept| {
        let same = (later.original, later.reply) == (kept.original, kept.reply)
            && (&later.row.node, later.row.netns_cookie, later.row.zone)
                == (&kept.row.node, kept.row.netns_cookie, kept.row.zone);
        if same {
            kept.last_ns = kept.last_ns.max(later.last_ns);
        }
        same
    });
    sightings
}

/// In the order in which the proxy wrote them, as far as the collector can tell.
fn access_logs<'a>(all: &'a Observations, range: &ReadRange) -> Vec<&'a tables::AccessLog> {
    let mut logs: Vec<_> =
        all.access_logs.iter().filter(|l| range.rows.contains(&l.event_ns)).collect();
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
