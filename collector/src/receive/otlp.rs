//! OTLP traces, whichever transport brought them: a decoded request becomes one stored batch.

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tables::Origin;

use super::{Intake, Peer, Refused};
use crate::admit::{Dropped, ResourceNames};
use crate::batch::{Batch, Rows};
use crate::limits::SPANS_MAX;
use crate::spool::SubmitError;

pub(crate) const SOURCE: &str = "otlp";

/// Stores a request's spans. Bad ones are quarantined and counted in the answer; the others go on.
///
/// # Errors
/// When the spool did not take the batch: nothing of it is stored then.
pub(crate) async fn export(
    intake: &Intake,
    peer: Peer,
    receiver: &'static str,
    request: ExportTraceServiceRequest,
) -> Result<ExportTraceServiceResponse, SubmitError> {
    if count(&request) > SPANS_MAX {
        let length = request.encoded_len();
        let refused = Refused { receiver, reason: "too_many_spans", length, input: &[] };
        intake.quarantine(SOURCE, peer.0, &refused).await;
        return Err(SubmitError::TooLarge(length));
    }
    let sender = intake.sender(SOURCE, peer.0);
    let origin = intake.origin(&sender, None);
    let mut admission = Spans {
        intake,
        receiver,
        sender_ip: sender.node.clone(),
        origin,
        rows: Rows::default(),
        dropped: Dropped::default(),
    };
    for resource_spans in &request.resource_spans {
        let resource =
            intake.admission.resource(resource_spans.resource.as_ref(), &mut admission.dropped);
        for span in resource_spans.scope_spans.iter().flat_map(|scope| &scope.spans) {
            admission.take(span, &resource);
        }
    }
    let Spans { rows, dropped, .. } = admission;
    let rejected = rows.quarantine.len();
    intake.ledger.dropped(&dropped);
    intake.store(Batch { sender, sequence: None, rows }).await?;
    Ok(response(rejected))
}

fn count(request: &ExportTraceServiceRequest) -> usize {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

struct Spans<'a> {
    intake: &'a Intake,
    receiver: &'static str,
    sender_ip: String,
    origin: Origin,
    rows: Rows,
    dropped: Dropped,
}

impl Spans<'_> {
    fn take(&mut self, span: &Span, resource: &ResourceNames) {
        let admission = &self.intake.admission;
        let admitted =
            admission.span(span, resource, &self.origin, &self.sender_ip, &mut self.dropped);
        match admitted {
            Ok(row) => self.rows.spans.push(row),
            Err(error) => {
                let input = span.encode_to_vec();
                let (receiver, reason) = (self.receiver, error.reason());
                let refused = Refused { receiver, reason, length: input.len(), input: &input };
                self.rows.quarantine.push(self.intake.quarantine_row(&self.origin, &refused));
            }
        }
        self.origin.item = self.origin.item.saturating_add(1);
    }
}

fn response(rejected: usize) -> ExportTraceServiceResponse {
    let partial_success = (rejected > 0).then(|| ExportTracePartialSuccess {
        rejected_spans: i64::try_from(rejected).unwrap_or(i64::MAX),
        error_message: "spans need a trace id, a span id, and times in order".to_owned(),
    });
    ExportTraceServiceResponse { partial_success }
}
