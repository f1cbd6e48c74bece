//! The raw tables with few rows, in the join's eyes: NAT bindings, ends of connections, heartbeats.

use arrow::array::RecordBatch;
use tables::Row as _;

use crate::address::{Address, End, Tuple};
use crate::columns::read::{Batch, ColumnError};
use crate::columns::{Columns, Malformed};
use crate::names::{Name, Translation};
use crate::order::Named;

/// One sighting of a conntrack entry that translates. Ordered by when it began, then by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Binding {
    pub(crate) first_ns: i64,
    pub(crate) original: Tuple,
    pub(crate) reply: Tuple,
    /// Event time: the moment of this sighting.
    pub(crate) event_ns: i64,
    pub(crate) netns_cookie: i64,
    pub(crate) zone: i32,
    pub(crate) node: Name,
}

/// How a connection ended. Ordered by socket, then time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ending {
    pub(crate) socket_cookie: i64,
    pub(crate) event_ns: i64,
    pub(crate) cause: EndCause,
    pub(crate) node: Name,
}

impl Named for Ending {
    fn names(&self) -> [Option<Name>; 3] {
        [Some(self.node), None, None]
    }

    fn unnamed(self) -> Self {
        Self { node: Name::FIRST, ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EndCause {
    Reset,
    Refused,
    Timeout,
    Other,
}

/// What a source covered, and whether it lost anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Heartbeat {
    pub(crate) covered_from_ns: i64,
    pub(crate) covered_to_ns: i64,
    pub(crate) event_ns: i64,
    pub(crate) clock_epoch_ns: i64,
    pub(crate) clock_boot_ns: i64,
    pub(crate) clock_wall_ns: i64,
    /// Rows that it lost, and that it sent.
    pub(crate) lost: i64,
    pub(crate) shipped: i64,
    pub(crate) is_agent: bool,
    pub(crate) node: Name,
}

impl Binding {
    pub(super) fn rename(&mut self, names: &Translation) {
        names.apply(&mut self.node);
    }
}

pub(super) fn take_bindings(columns: &mut Columns, batch: &RecordBatch) -> Result<(), ColumnError> {
    let batch = Batch { table: tables::NatBinding::TABLE, batch };
    let names = &mut columns.names;
    let absent = names.name("");
    let node = batch.texts("node", absent, |t| names.name(t))?;
    let tuple = |of: [&'static str; 4]| {
        let source = batch.texts(of[0], None, Address::parse)?;
        let source_port = batch.ints(of[1])?;
        let destination = batch.texts(of[2], None, Address::parse)?;
        let destination_port = batch.ints(of[3])?;
        Ok(move |row: usize| -> Option<Tuple> {
            let port = |port: i32| u16::try_from(port).ok();
            Some(Tuple {
                source: End { ip: source[row]?, port: port(source_port.value(row))? },
                destination: End {
                    ip: destination[row]?,
                    port: port(destination_port.value(row))?,
                },
            })
        })
    };
    let original = tuple([
        "original_source_ip",
        "original_source_port",
        "original_destination_ip",
        "original_destination_port",
    ])?;
    let reply = tuple([
        "reply_source_ip",
        "reply_source_port",
        "reply_destination_ip",
        "reply_destination_port",
    ])?;
    let (event_ns, first_ns) = (batch.longs("event_ns")?, batch.longs("first_seen_ns")?);
    let (netns, zone) = (batch.longs("netns_cookie")?, batch.ints("zone")?);
    for (row, &node) in node.iter().enumerate() {
        let first_ns = first_ns.value(row);
        if let (Some(original), Some(reply), true) =
            (original(row), reply(row), super::sane(first_ns))
        {
            columns.bindings.push(Binding {
                first_ns,
                original,
                reply,
                event_ns: event_ns.value(row),
                netns_cookie: netns.value(row),
                zone: zone.value(row),
                node,
            });
        }
    }
    Ok(())
}

/// Only ends say something of an exchange.
pub(super) fn take_endings(columns: &mut Columns, batch: &RecordBatch) -> Result<(), ColumnError> {
    let batch = Batch { table: tables::Connection::TABLE, batch };
    let names = &mut columns.names;
    let cause = batch.texts("end_cause", None, |t| {
        Some(match t {
            "reset" => EndCause::Reset,
            "refused" => EndCause::Refused,
            "timeout" => EndCause::Timeout,
            _ => EndCause::Other,
        })
    })?;
    let absent = names.name("");
    let node = batch.texts("node", absent, |t| names.name(t))?;
    let (event_ns, socket) = (batch.longs("event_ns")?, batch.longs("socket_cookie")?);
    for (row, cause) in cause.into_iter().enumerate() {
        if let Some(cause) = cause {
            let (event_ns, socket_cookie) = (event_ns.value(row), socket.value(row));
            columns.endings.push(Ending { socket_cookie, event_ns, cause, node: node[row] });
        }
    }
    Ok(())
}

pub(super) fn take_heartbeats(
    columns: &mut Columns,
    batch: &RecordBatch,
) -> Result<(), ColumnError> {
    let batch = Batch { table: tables::Heartbeat::TABLE, batch };
    let names = &mut columns.names;
    let absent = names.name("");
    let node = batch.texts("node", absent, |t| names.name(t))?;
    let is_agent = batch.texts("source", false, |t| t == "agent")?;
    let (from, to) = (batch.longs("covered_from_ns")?, batch.longs("covered_to_ns")?);
    let (kernel, user) = (batch.longs("lost_kernel")?, batch.longs("lost_user")?);
    let shipped = batch.longs("shipped")?;
    let (event_ns, epoch) = (batch.longs("event_ns")?, batch.longs("clock_epoch_ns")?);
    let (boot, wall) = (batch.longs("clock_boot_ns")?, batch.longs("clock_wall_ns")?);
    for row in 0..batch.batch.num_rows() {
        columns.heartbeats.push(Heartbeat {
            covered_from_ns: from.value(row),
            covered_to_ns: to.value(row),
            event_ns: event_ns.value(row),
            clock_epoch_ns: epoch.value(row),
            clock_boot_ns: boot.value(row),
            clock_wall_ns: wall.value(row),
            lost: kernel.value(row).max(0).saturating_add(user.value(row).max(0)),
            shipped: shipped.value(row).max(0),
            is_agent: is_agent[row],
            node: node[row],
        });
    }
    Ok(())
}

impl Ending {
    pub(super) fn rename(&mut self, names: &Translation) {
        names.apply(&mut self.node);
    }
}

impl Heartbeat {
    pub(super) fn rename(&mut self, names: &Translation) {
        names.apply(&mut self.node);
    }
}

/// Input that could be read and is no request is no failure.
const NOT_A_REQUEST: &str = "flow_aggregated";

pub(super) fn take_refused(columns: &mut Columns, batch: &RecordBatch) -> Result<(), ColumnError> {
    let batch = Batch { table: tables::Quarantine::TABLE, batch };
    let names = &mut columns.names;
    let absent = names.name("");
    let node = batch.texts("node", absent, |t| names.name(t))?;
    let receiver = batch.texts("receiver", absent, |t| names.name(t))?;
    let is_failure = batch.texts("reason", true, |t| t != NOT_A_REQUEST)?;
    let event_ns = batch.longs("event_ns")?;
    for row in (0..batch.batch.num_rows()).filter(|&row| is_failure[row]) {
        let receiver = Some(receiver[row]);
        columns.malformed.push(Malformed {
            event_ns: event_ns.value(row),
            node: node[row],
            receiver,
        });
    }
    Ok(())
}
