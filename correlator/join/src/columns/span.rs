//! `raw_span` in the join's eyes.

use arrow::array::RecordBatch;
use tables::Row as _;

use crate::address::{Address, End};
use crate::columns::Columns;
use crate::columns::read::{Batch, ColumnError, int};
use crate::id::{self, Id};
use crate::names::{Name, Translation};
use crate::order::Named;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Server,
    Client,
    Other,
}

/// An OpenTelemetry span. Ordered by end, then by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) end_ns: i64,
    pub(crate) start_ns: i64,
    pub(crate) trace: Id,
    pub(crate) span: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) request_id: Option<Id>,
    pub(crate) kind: Kind,
    pub(crate) status: Option<i16>,
    pub(crate) peer_port: Option<u16>,
    peer_ip: Address,
    sender_ip: Address,
    pub(crate) pod: Option<Name>,
    pub(crate) method: Option<Name>,
    pub(crate) route: Option<Name>,
}

impl Span {
    /// The other end of the socket, as far as the span names it.
    pub(crate) fn peer(&self) -> Option<End> {
        let port = self.peer_port.filter(|_| self.peer_ip.is_some())?;
        Some(End { ip: self.peer_ip, port })
    }

    pub(crate) fn sender(&self) -> Option<Address> {
        self.sender_ip.is_some().then_some(self.sender_ip)
    }

    pub(super) fn rename(&mut self, names: &Translation) {
        names.apply_to(&mut self.pod);
        names.apply_to(&mut self.method);
        names.apply_to(&mut self.route);
    }
}

impl Named for Span {
    fn names(&self) -> [Option<Name>; 3] {
        [self.pod, self.method, self.route]
    }

    fn unnamed(self) -> Self {
        Self { pod: None, method: None, route: None, ..self }
    }
}

/// Appends the rows of a batch whose times can be.
pub(super) fn take(columns: &mut Columns, batch: &RecordBatch) -> Result<(), ColumnError> {
    let batch = Batch { table: tables::Span::TABLE, batch };
    let (names, odd) = (&mut columns.names, &mut columns.odd_ids);
    let trace = batch.texts("trace_id", 0, |t| odd.read(t))?;
    let span = batch.texts("span_id", 0, id::span_id)?;
    let parent = batch.texts("parent_span_id", None, |t| Some(id::span_id(t)))?;
    let request_id = batch.texts("request_id", None, |t| Some(odd.read(t)))?;
    let kind = batch.texts("kind", Kind::Other, |t| match t {
        "server" => Kind::Server,
        "client" => Kind::Client,
        _ => Kind::Other,
    })?;
    let address = |t: &str| Address::parse(t).unwrap_or(Address::NONE);
    let peer_ip = batch.texts("peer_ip", Address::NONE, address)?;
    let sender_ip = batch.texts("sender_ip", Address::NONE, address)?;
    let pod = batch.texts("pod_uid", None, |t| Some(names.name(t)))?;
    let method = batch.texts("method", None, |t| Some(names.name(t)))?;
    let route = batch.texts("route", None, |t| Some(names.name(t)))?;
    let (start_ns, end_ns) = (batch.longs("start_ns")?, batch.longs("end_ns")?);
    let (status, peer_port) = (batch.ints("status_code")?, batch.ints("peer_port")?);

    for row in 0..batch.batch.num_rows() {
        let (start_ns, end_ns) = (start_ns.value(row), end_ns.value(row));
        if !super::sane(start_ns) || !super::sane(end_ns) {
            continue;
        }
        columns.spans.push(Span {
            end_ns,
            start_ns,
            trace: trace[row],
            span: span[row],
            parent: parent[row],
            request_id: request_id[row],
            kind: kind[row],
            status: int(status, row).and_then(|s| i16::try_from(s).ok()),
            peer_port: int(peer_port, row).and_then(|p| u16::try_from(p).ok()),
            peer_ip: peer_ip[row],
            sender_ip: sender_ip[row],
            pod: pod[row],
            method: method[row],
            route: route[row],
        });
    }
    Ok(())
}
