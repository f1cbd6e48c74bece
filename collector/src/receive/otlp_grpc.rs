//! OTLP traces over gRPC.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tonic::Status;

use super::{Intake, Peer, Refused, grpc, otlp};
use crate::limits::Listener;
use crate::shutdown::Shutdown;

/// # Errors
/// When the listener fails for good.
pub async fn serve(
    intake: Arc<Intake>,
    listener: Listener,
    shutdown: Shutdown,
) -> Result<(), tonic::transport::Error> {
    grpc::serve(Arc::new(Export(intake)), listener, shutdown).await
}

struct Export(Arc<Intake>);

impl grpc::Method for Export {
    const PATH: &'static str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    const SOURCE: &'static str = otlp::SOURCE;
    const RECEIVER: &'static str = "otlp_grpc";

    fn intake(&self) -> &Intake {
        &self.0
    }

    async fn answer(&self, peer: Peer, message: Bytes) -> Result<Bytes, Status> {
        let intake = self.intake();
        let Ok(request) = ExportTraceServiceRequest::decode(message.clone()) else {
            let refused = Refused {
                receiver: Self::RECEIVER,
                reason: "protobuf_invalid",
                length: message.len(),
                input: &message,
            };
            intake.quarantine(otlp::SOURCE, peer.0, &refused).await;
            return Err(Status::invalid_argument("not an ExportTraceServiceRequest"));
        };
        match otlp::export(intake, peer, Self::RECEIVER, request).await {
            Ok(response) => Ok(response.encode_to_vec().into()),
            Err(error) => Err(grpc::status_of(&error)),
        }
    }
}
