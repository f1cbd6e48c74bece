//! The doors: each speaks one protocol and ends in [`Intake::store`] with the same kind of batch.
//!
//! A door decodes, lets the allow-list decide, and answers its sender by its protocol's rules only
//! after the spool has answered. No door logs what it was sent.

pub mod agent;
pub mod file;
mod grpc;
mod lines;
pub mod otlp;
pub mod otlp_grpc;
pub mod otlp_http;
pub mod syslog;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tables::{Origin, Quarantine};

use crate::admit::Admission;
use crate::batch::{Batch, Rows, Sender};
use crate::format::Format;
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::shutdown::Shutdown;
use crate::spool::{Spool, Stored, SubmitError};

/// Pause before input that can wait is offered to the spool again.
const PATIENCE: Duration = Duration::from_millis(200);

/// What all doors share.
pub struct Intake {
    pub spool: Spool,
    pub admission: Admission,
    pub limits: Limits,
    pub ledger: Arc<Ledger>,
    /// What is sent by syslog.
    pub syslog_format: Format,
    /// Name of this collector.
    pub collector: String,
    /// Identity of this life of the collector, for senders that have none of their own.
    pub life: String,
    /// Wall clock, nanoseconds since the Unix epoch.
    pub now_ns: fn() -> i64,
}

/// What was refused: the facts that quarantine keeps.
pub(crate) struct Refused<'a> {
    pub(crate) receiver: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) length: usize,
    /// As much of the input as was read, for its keyed hash.
    pub(crate) input: &'a [u8],
}

/// Address of the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

impl Intake {
    /// Identity of a sender without one of its own: its address, for as long as we live.
    pub(crate) fn sender(&self, source: &str, peer: SocketAddr) -> Sender {
        Sender {
            source: source.to_owned(),
            node: self.admission.address(peer.ip()),
            boot_id: self.life.clone(),
        }
    }

    /// Origin of the rows of one batch. Position, and with it the sequence of senders without
    /// numbers, is known only once the batch is in the spool.
    pub(crate) fn origin(&self, sender: &Sender, sequence: Option<u64>) -> Origin {
        let received_ns = (self.now_ns)();
        Origin {
            source: sender.source.clone(),
            node: sender.node.clone(),
            boot_id: sender.boot_id.clone(),
            sequence: sequence.map_or(0, |sequence| i64::try_from(sequence).unwrap_or(i64::MAX)),
            item: 0,
            event_ns: received_ns,
            received_ns,
            collector: self.collector.clone(),
            ingest_seq: 0,
        }
    }

    /// Stores a batch and enters its fate into the ledger.
    pub(crate) async fn store(&self, batch: Batch) -> Result<Stored, SubmitError> {
        if batch.rows.is_empty() {
            return Ok(Stored::New);
        }
        let stored = self.spool.submit(&batch).await;
        let rows = batch.rows.len();
        match stored {
            Ok(Stored::New) => self.ledger.stored(rows, batch.rows.quarantine.len()),
            Ok(Stored::Duplicate) => self.ledger.duplicate(rows),
            Err(_) => self.ledger.rejected(rows),
        }
        stored
    }

    /// Stores a batch whose sender can wait: what is not read stays in its file or socket.
    /// Gives up only at shutdown.
    pub(crate) async fn store_patiently(&self, batch: Batch, shutdown: &Shutdown) -> bool {
        loop {
            match self.spool.submit(&batch).await {
                Ok(Stored::New) => {
                    self.ledger.stored(batch.rows.len(), batch.rows.quarantine.len());
                    return true;
                }
                Ok(Stored::Duplicate) => {
                    self.ledger.duplicate(batch.rows.len());
                    return true;
                }
                Err(SubmitError::Full | SubmitError::Disk) if !shutdown.is_requested() => {
                    tokio::time::sleep(PATIENCE).await;
                }
                Err(_) => {
                    self.ledger.rejected(batch.rows.len());
                    return false;
                }
            }
        }
    }

    /// A row about refused input; the input itself goes nowhere.
    pub(crate) fn quarantine_row(&self, origin: &Origin, refused: &Refused<'_>) -> Quarantine {
        let origin = Origin { event_ns: origin.received_ns, ..origin.clone() };
        Quarantine {
            receiver: refused.receiver.to_owned(),
            reason: refused.reason.to_owned(),
            length: i64::try_from(refused.length).unwrap_or(i64::MAX),
            keyed_hash: self.admission.input_hash(refused.input),
            ..Quarantine::from_origin(&origin)
        }
    }

    /// Stores one quarantine row for input that could not be taken apart at all.
    pub(crate) async fn quarantine(&self, source: &str, peer: SocketAddr, refused: &Refused<'_>) {
        let sender = self.sender(source, peer);
        let row = self.quarantine_row(&self.origin(&sender, None), refused);
        let rows = Rows { quarantine: vec![row], ..Rows::default() };
        // The sender gets the protocol's error either way; the ledger knows which it was.
        let _ = self.store(Batch { sender, sequence: None, rows }).await;
    }
}
