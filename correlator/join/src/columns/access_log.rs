//! `raw_access_log` in the join's eyes: lines, and their attempts in a column of their own.

use std::ops::Range;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use tables::Row as _;

use crate::address::{Address, End};
use crate::columns::Columns;
use crate::columns::read::{Batch, ColumnError, int, long};
use crate::id::Id;
use crate::names::{Name, Translation};

/// One try of one server, in the order the proxy made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// `None` where no server was selectable, or it was in the proxy's own pod.
    pub(crate) server: Option<End>,
    /// The server was in the proxy's own pod: a sidecar's application.
    pub(crate) is_inside: bool,
    pub(crate) status: Option<i32>,
    pub(crate) response_length: Option<i64>,
    pub(crate) duration_ns: Option<i64>,
    /// Upstream group, counted from 0; grows at an internal redirect.
    pub(crate) group: i32,
}

impl Attempt {
    /// Whether no server answered, by what the proxy made of it: a status of its own, no byte.
    pub(crate) fn was_refused(&self) -> bool {
        matches!(self.status, None | Some(502 | 504)) && self.response_length.unwrap_or(0) == 0
    }

    /// Whether a server answered: no proxy tells of a success, or of bytes, of its own making.
    pub(crate) fn was_answered(&self) -> bool {
        self.response_length.unwrap_or(0) > 0
            || self.status.is_some_and(|status| (100..400).contains(&status))
    }
}

/// One line: what a proxy says of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccessLog {
    pub(crate) event_ns: i64,
    pub(crate) end_lo_ns: i64,
    pub(crate) end_hi_ns: i64,
    pub(crate) duration_ns: Option<i64>,
    pub(crate) duration_error_ns: i64,
    pub(crate) request_id: Option<Id>,
    pub(crate) trace: Option<Id>,
    pub(crate) bytes_received: Option<i64>,
    pub(crate) body_bytes_sent: Option<i64>,
    pub(crate) emitter_ip: Option<Address>,
    pub(crate) remote_ip: Option<Address>,
    pub(crate) remote_port: Option<i32>,
    pub(crate) pod: Option<Name>,
    pub(crate) method: Option<Name>,
    pub(crate) route: Option<Name>,
    pub(crate) status: Option<i32>,
    pub(crate) attempts_malformed: bool,
    /// Upstream group by its name.
    pub(crate) upstream: Option<Name>,
    /// The proxy's end of its last try's connection.
    pub(crate) upstream_local: Option<End>,
    /// Tries that the proxy counted, where it names only the last one.
    pub(crate) tries: Option<i32>,
    /// Envoy's flags.
    pub(crate) flags: Option<Name>,
    pub(crate) collector: Name,
    pub(crate) ingest_seq: i64,
    pub(crate) item: i32,
    /// In the column of attempts.
    pub(crate) attempts: Range<u32>,
}

impl AccessLog {
    pub(super) fn rename(&mut self, names: &Translation) {
        names.apply_to(&mut self.pod);
        names.apply_to(&mut self.method);
        names.apply_to(&mut self.route);
        names.apply_to(&mut self.upstream);
        names.apply_to(&mut self.flags);
        names.apply(&mut self.collector);
    }
}

/// Appends the rows of a batch whose times can be.
pub(super) fn take(columns: &mut Columns, batch: &RecordBatch) -> Result<(), ColumnError> {
    let batch = Batch { table: tables::AccessLog::TABLE, batch };
    let (names, odd) = (&mut columns.names, &mut columns.odd_ids);
    let request_id = batch.texts("request_id", None, |t| Some(odd.read(t)))?;
    let trace = batch.texts("trace_id", None, |t| Some(odd.read(t)))?;
    let emitter_ip = batch.texts("emitter_ip", None, Address::parse)?;
    let remote_ip = batch.texts("remote_ip", None, Address::parse)?;
    let pod = batch.texts("pod_uid", None, |t| Some(names.name(t)))?;
    let method = batch.texts("method", None, |t| Some(names.name(t)))?;
    let route = batch.texts("route", None, |t| Some(names.name(t)))?;
    let upstream = batch.texts("upstream_name", None, |t| Some(names.name(t)))?;
    let flags = batch.texts("response_flags", None, |t| Some(names.name(t)))?;
    let local_ip = batch.texts("upstream_local_ip", None, Address::parse)?;
    let (local_port, tries) = (batch.ints("upstream_local_port")?, batch.ints("attempt_count")?);
    let absent = names.name("");
    let collector = batch.texts("collector", absent, |t| names.name(t))?;
    let (status, remote_port) = (batch.ints("status")?, batch.ints("remote_port")?);
    let (end_lo_ns, end_hi_ns) = (batch.longs("end_lo_ns")?, batch.longs("end_hi_ns")?);
    let event_ns = batch.longs("event_ns")?;
    let duration_ns = batch.longs("duration_ns")?;
    let duration_error_ns = batch.longs("duration_error_ns")?;
    let bytes_received = batch.longs("bytes_received")?;
    let body_bytes_sent = batch.longs("body_bytes_sent")?;
    let (ingest_seq, item) = (batch.longs("ingest_seq")?, batch.ints("item")?);
    let malformed = batch.flags("attempts_malformed")?;
    let attempts = attempts(&batch)?;
    let base = u32::try_from(columns.attempts.len()).unwrap_or(u32::MAX);

    for row in 0..batch.batch.num_rows() {
        let (lo, hi) = (end_lo_ns.value(row), end_hi_ns.value(row));
        let error_ns = duration_error_ns.value(row);
        let duration_ns = long(duration_ns, row);
        let can_be = [lo, hi, error_ns].into_iter().chain(duration_ns).all(super::sane);
        if !can_be {
            continue;
        }
        let of_row = &attempts.of_row[row];
        columns.access_logs.push(AccessLog {
            event_ns: event_ns.value(row),
            end_lo_ns: lo,
            end_hi_ns: hi,
            duration_ns,
            duration_error_ns: error_ns,
            request_id: request_id[row],
            trace: trace[row],
            bytes_received: long(bytes_received, row),
            body_bytes_sent: long(body_bytes_sent, row),
            emitter_ip: emitter_ip[row],
            remote_ip: remote_ip[row],
            remote_port: int(remote_port, row),
            pod: pod[row],
            method: method[row],
            route: route[row],
            status: int(status, row),
            attempts_malformed: malformed.value(row),
            upstream: upstream[row],
            upstream_local: local_ip[row].and_then(|ip| {
                let port = u16::try_from(int(local_port, row)?).ok()?;
                Some(End { ip, port })
            }),
            tries: int(tries, row),
            flags: flags[row],
            collector: collector[row],
            ingest_seq: ingest_seq.value(row),
            item: item.value(row),
            attempts: of_row.start + base..of_row.end + base,
        });
    }
    columns.attempts.extend(attempts.all);
    Ok(())
}

struct Attempts {
    all: Vec<Attempt>,
    of_row: Vec<Range<u32>>,
}

fn attempts(batch: &Batch<'_>) -> Result<Attempts, ColumnError> {
    let column = batch.batch.column_by_name("attempts");
    let lists = column.and_then(|c| c.as_list_opt::<i32>());
    let lists = lists.ok_or_else(|| batch.error("attempts", "no list"))?;
    let values = lists.values().as_struct_opt();
    let values = values.ok_or_else(|| batch.error("attempts", "no list of structs"))?;
    let values = RecordBatch::from(values.clone());
    let values = Batch { table: batch.table, batch: &values };
    let ip = values.texts("ip", None, Address::parse)?;
    let (port, status, group) =
        (values.ints("port")?, values.ints("status")?, values.ints("group")?);
    let (length, duration) = (values.longs("response_length")?, values.longs("duration_ns")?);
    let all = (0..values.batch.num_rows())
        .map(|row| Attempt {
            server: ip[row].filter(|ip| !ip.is_loopback()).and_then(|ip| {
                let port = u16::try_from(int(port, row)?).ok()?;
                Some(End { ip, port })
            }),
            is_inside: ip[row].is_some_and(|ip| ip.is_loopback()),
            status: int(status, row),
            response_length: long(length, row),
            duration_ns: long(duration, row),
            group: group.value(row),
        })
        .collect();
    let position = |offset: i32| u32::try_from(offset).unwrap_or(0);
    let of_row = (0..lists.len())
        .map(|row| {
            let offsets = lists.value_offsets();
            position(offsets[row])..position(offsets[row + 1])
        })
        .collect();
    Ok(Attempts { all, of_row })
}
