//! `raw_exchange` in the join's eyes.

use arrow::array::{Array as _, RecordBatch};
use tables::Row as _;

use crate::address::{Address, End};
use crate::columns::read::{Batch, ColumnError, long};
use crate::columns::{Columns, Malformed};
use crate::names::{Name, Translation};
use crate::order::Named;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Unknown,
    Http1,
    Http2,
}

/// How the turn ended, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ended {
    Known,
    /// With its connection.
    Closed,
    /// No byte for a while: it may go on, and be reported again.
    Quiet,
    /// It has not ended, and is reported again each active timeout.
    Open,
}

/// One request/response turn at one socket end.
///
/// Ordered by end, then by content, so that an order of exchanges never depends on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Exchange {
    pub(crate) end_ns: i64,
    pub(crate) start_ns: i64,
    pub(crate) local_ip: Address,
    pub(crate) remote_ip: Address,
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    pub(crate) role: Role,
    pub(crate) protocol: Protocol,
    pub(crate) ended: Ended,
    pub(crate) is_stream: bool,
    /// Absolute TCP sequence numbers of the first bytes; -1 where not known.
    pub(crate) seq_req: i64,
    seq_resp: i64,
    first_response_ns: i64,
    pub(crate) bytes_request: i64,
    pub(crate) bytes_response: i64,
    pub(crate) socket_cookie: i64,
    pub(crate) netns_cookie: i64,
    pub(crate) ordinal: i32,
    pub(crate) stream_id: i32,
    pub(crate) process: u32,
    pub(crate) thread: u32,
    response_thread: u32,
    pub(crate) node: Name,
    pub(crate) pod: Option<Name>,
    pub(crate) attributed_by: Option<Name>,
    /// Pod, or namespace on a node where the pod is not known: what "inside one pod" means.
    pub(crate) place: u32,
}

impl Named for Exchange {
    fn names(&self) -> [Option<Name>; 3] {
        [Some(self.node), self.pod, self.attributed_by]
    }

    fn unnamed(self) -> Self {
        Self { node: Name::FIRST, pod: None, attributed_by: None, place: 0, ..self }
    }
}

const NONE_NS: i64 = i64::MIN;
const NONE: u32 = u32::MAX;

impl Exchange {
    pub(crate) fn local(&self) -> End {
        End { ip: self.local_ip, port: self.local_port }
    }

    pub(crate) fn remote(&self) -> End {
        End { ip: self.remote_ip, port: self.remote_port }
    }

    pub(crate) fn has_response(&self) -> bool {
        self.first_response_ns != NONE_NS
    }

    /// Whether it ended with its connection, without a byte of a response.
    pub(crate) fn was_dropped(&self) -> bool {
        !self.has_response() && self.ended == Ended::Closed
    }

    pub(crate) fn first_response_ns(&self) -> Option<i64> {
        self.has_response().then_some(self.first_response_ns)
    }

    pub(crate) fn seq_resp(&self) -> Option<i64> {
        (self.seq_resp >= 0).then_some(self.seq_resp)
    }

    pub(crate) fn response_thread(&self) -> Option<u32> {
        (self.response_thread != NONE).then_some(self.response_thread)
    }

    /// The last moment at which this exchange can still have been served. Without a response the
    /// end that was seen is only the end of the request; of one that goes on it is none.
    pub(crate) fn upper_ns(&self) -> i64 {
        let has_ended = self.has_response() && self.ended != Ended::Open;
        if has_ended { self.end_ns } else { i64::MAX }
    }

    /// The same for a proxy, which drops a request with its client's connection.
    pub(crate) fn upper_in_proxy_ns(&self) -> i64 {
        if self.ended == Ended::Closed { self.end_ns } else { self.upper_ns() }
    }

    /// Whether it may be reported again, with a later end.
    pub(crate) fn may_go_on(&self) -> bool {
        matches!(self.ended, Ended::Quiet | Ended::Open)
    }

    /// Whether two rows tell of the same turn of the same socket.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.seq_req == other.seq_req
            && self.socket_cookie == other.socket_cookie
            && self.role == other.role
            && self.node == other.node
            && self.netns_cookie == other.netns_cookie
            && self.stream_id == other.stream_id
            && (self.seq_req >= 0 || self.start_ns == other.start_ns)
    }

    pub(super) fn rename(&mut self, names: &Translation) {
        names.apply(&mut self.node);
        names.apply_to(&mut self.pod);
        names.apply_to(&mut self.attributed_by);
    }
}

/// Appends the rows of a batch; those that contradict themselves are told apart.
pub(super) fn take(columns: &mut Columns, batch: &RecordBatch) -> Result<(), ColumnError> {
    let batch = Batch { table: tables::Exchange::TABLE, batch };
    let names = &mut columns.names;
    let absent = names.name("");
    let node = batch.texts("node", absent, |t| names.name(t))?;
    let pod = batch.texts("pod_uid", None, |t| Some(names.name(t)))?;
    let attributed_by = batch.texts("attributed_by", None, |t| Some(names.name(t)))?;
    let role = batch.texts("role", None, |t| match t {
        "client" => Some(Role::Client),
        "server" => Some(Role::Server),
        _ => None,
    })?;
    let ended = batch.texts("ended_by", Ended::Known, |t| match t {
        "quiet" => Ended::Quiet,
        "open" => Ended::Open,
        "close" => Ended::Closed,
        _ => Ended::Known,
    })?;
    let protocol = batch.texts("protocol", Protocol::Unknown, |t| match t {
        "http1" => Protocol::Http1,
        "http2" => Protocol::Http2,
        _ => Protocol::Unknown,
    })?;
    let local_ip = batch.texts("local_ip", None, Address::parse)?;
    let remote_ip = batch.texts("remote_ip", None, Address::parse)?;
    let (local_port, remote_port) = (batch.ints("local_port")?, batch.ints("remote_port")?);
    let event_ns = batch.longs("event_ns")?;
    let (start_ns, end_ns) = (batch.longs("start_ns")?, batch.longs("end_ns")?);
    let first_response_ns = batch.longs("first_response_ns")?;
    let (seq_req, seq_resp) = (batch.longs("tcp_seq_req")?, batch.longs("tcp_seq_resp")?);
    let bytes_request = batch.longs("bytes_request")?;
    let bytes_response = batch.longs("bytes_response")?;
    let (socket, netns) = (batch.longs("socket_cookie")?, batch.longs("netns_cookie")?);
    let (ordinal, stream_id) = (batch.longs("ordinal")?, batch.longs("stream_id")?);
    let (process, thread) = (batch.longs("process")?, batch.longs("thread")?);
    let response_thread = batch.longs("response_thread")?;
    let is_stream = batch.flags("is_stream")?;

    for row in 0..batch.batch.num_rows() {
        let read = || -> Option<Exchange> {
            let (start_ns, end_ns) = (start_ns.value(row), end_ns.value(row));
            let first_response_ns = long(first_response_ns, row);
            let in_order = super::sane(start_ns) && super::sane(end_ns) && start_ns <= end_ns;
            let answered_within = first_response_ns.is_none_or(|at| start_ns <= at && at <= end_ns);
            if !in_order || !answered_within {
                return None;
            }
            Some(Exchange {
                end_ns,
                start_ns,
                local_ip: local_ip[row]?,
                remote_ip: remote_ip[row]?,
                local_port: u16::try_from(local_port.value(row)).ok()?,
                remote_port: u16::try_from(remote_port.value(row)).ok()?,
                role: role[row]?,
                protocol: protocol[row],
                ended: ended[row],
                is_stream: is_stream.is_valid(row) && is_stream.value(row),
                seq_req: seq_req.value(row).max(-1),
                seq_resp: long(seq_resp, row).unwrap_or(-1),
                first_response_ns: first_response_ns.unwrap_or(NONE_NS),
                bytes_request: bytes_request.value(row),
                bytes_response: bytes_response.value(row),
                socket_cookie: socket.value(row),
                netns_cookie: netns.value(row),
                ordinal: i32::try_from(ordinal.value(row)).unwrap_or(i32::MAX),
                stream_id: long(stream_id, row).and_then(|s| i32::try_from(s).ok()).unwrap_or(-1),
                process: process.value(row) as u32,
                thread: thread.value(row) as u32,
                response_thread: long(response_thread, row).map_or(NONE, |t| t as u32),
                node: node[row],
                pod: pod[row],
                attributed_by: attributed_by[row],
                place: 0,
            })
        };
        match read() {
            Some(exchange) => columns.exchanges.push(exchange),
            None => {
                let event_ns = event_ns.value(row);
                columns.malformed.push(Malformed { event_ns, node: node[row], receiver: None });
            }
        }
    }
    Ok(())
}
