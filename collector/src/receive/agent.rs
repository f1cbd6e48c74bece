//! The agents' door: unary `Push` of [`wire::Batch`], answered once the batch is on disk.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tables::Origin;
use tonic::Status;
use wire::{Batch as WireBatch, PushReply};

use super::{Intake, Peer, Refused, grpc};
use crate::admit::{self, Records};
use crate::batch::{Batch, Rows, Sender};
use crate::limits::{Listener, RECORDS_MAX};
use crate::shutdown::Shutdown;

const SOURCE: &str = "agent";

/// # Errors
/// When the listener fails for good.
pub async fn serve(
    intake: Arc<Intake>,
    listener: Listener,
    shutdown: Shutdown,
) -> Result<(), tonic::transport::Error> {
    grpc::serve(Arc::new(Push(intake)), listener, shutdown).await
}

struct Push(Arc<Intake>);

impl grpc::Method for Push {
    const PATH: &'static str = "/throughline.agent.v1.Ingest/Push";
    const SOURCE: &'static str = SOURCE;
    const RECEIVER: &'static str = SOURCE;

    fn intake(&self) -> &Intake {
        &self.0
    }

    async fn answer(&self, peer: Peer, message: Bytes) -> Result<Bytes, Status> {
        let Ok(batch) = WireBatch::decode(message.clone()) else {
            refuse(&self.0, peer, "protobuf_invalid", &message).await;
            return Err(Status::invalid_argument("not a Batch"));
        };
        if !admit::is_name(&batch.node) || !admit::is_life_id(&batch.boot_id) {
            refuse(&self.0, peer, "batch_identity_invalid", &message).await;
            return Err(Status::invalid_argument("node or boot id is no name"));
        }
        if batch.records.len() > RECORDS_MAX {
            refuse(&self.0, peer, "too_many_records", &message).await;
            return Err(Status::resource_exhausted("a batch may have 50,000 records at most"));
        }
        push(&self.0, &batch).await
    }
}

async fn push(intake: &Intake, batch: &WireBatch) -> Result<Bytes, Status> {
    let sender = Sender {
        source: SOURCE.to_owned(),
        node: batch.node.clone(),
        boot_id: batch.boot_id.clone(),
    };
    let origin = intake.origin(&sender, Some(batch.sequence));
    let rows = admit_records(intake, batch, origin);
    let rejected = rows.quarantine.len() as u64;
    let stored = intake.store(Batch { sender, sequence: Some(batch.sequence), rows }).await;
    stored.map_err(|error| grpc::status_of(&error))?;
    let reply = PushReply { sequence: batch.sequence, rejected };
    Ok(reply.encode_to_vec().into())
}

fn admit_records(intake: &Intake, batch: &WireBatch, origin: Origin) -> Rows {
    let mut rows = Rows::default();
    let mut records =
        Records { admission: &intake.admission, origin, epoch_ns: batch.clock_epoch_ns };
    for (item, record) in (0..).zip(&batch.records) {
        if let Err(error) = records.admit(item, record, &mut rows) {
            let input = record.encode_to_vec();
            let reason = error.reason();
            let refused = Refused { receiver: SOURCE, reason, length: input.len(), input: &input };
            rows.quarantine.push(intake.quarantine_row(&records.origin, &refused));
        }
    }
    rows
}

async fn refuse(intake: &Intake, peer: Peer, reason: &'static str, message: &[u8]) {
    let refused = Refused { receiver: SOURCE, reason, length: message.len(), input: message };
    intake.quarantine(SOURCE, peer.0, &refused).await;
}
