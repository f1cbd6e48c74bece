//! OTLP and agents over gRPC: what is refused how, and batches that come again.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic::codegen::http::uri::PathAndQuery;

use super::*;
use crate::receive::grpc::Raw;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const PUSH: &str = "/throughline.agent.v1.Ingest/Push";

/// Sends one gRPC message as bytes.
async fn call(
    channel: &Channel,
    path: &'static str,
    message: Vec<u8>,
) -> Result<Bytes, tonic::Status> {
    call_with(tonic::client::Grpc::new(channel.clone()), path, message).await
}

async fn call_with(
    mut client: tonic::client::Grpc<Channel>,
    path: &'static str,
    message: Vec<u8>,
) -> Result<Bytes, tonic::Status> {
    client.ready().await.unwrap();
    let request = tonic::Request::new(Bytes::from(message));
    let response = client.unary(request, PathAndQuery::from_static(path), Raw).await?;
    Ok(response.into_inner())
}

#[tokio::test]
async fn grpc_stores_good_spans_and_answers_bad_input_by_the_protocols_codes() {
    let mut house = House::new();
    let channel = house.grpc().await;
    let bad = Span { span_id: vec![0; 8], ..span(1) };
    let reply = call(&channel, EXPORT, request(vec![span(1), bad])).await.unwrap();
    let reply = ExportTraceServiceResponse::decode(reply).unwrap();
    assert_eq!(reply.partial_success.unwrap().rejected_spans, 1);
    assert_eq!(house.rows().spans.len(), 1);

    assert!(call(&channel, EXPORT, Vec::new()).await.unwrap().is_empty());

    let status = call(&channel, EXPORT, vec![1, 2, 3]).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(house.quarantine(), [("otlp_grpc".into(), "protobuf_invalid".into(), 3)]);

    let too_large = vec![0; 4 * 1024 * 1024 + 1];
    let gzipping =
        tonic::client::Grpc::new(channel.clone()).send_compressed(CompressionEncoding::Gzip);
    for client in [tonic::client::Grpc::new(channel.clone()), gzipping] {
        let status = call_with(client, EXPORT, too_large.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.details().is_empty(), "RetryInfo would have it sent again");
        assert_eq!(house.quarantine()[0].1, "too_large");
    }
    let many = request(vec![span(1); crate::limits::SPANS_MAX + 1]);
    let status = call(&channel, EXPORT, many).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(house.quarantine()[0].1, "too_many_spans");

    let status = call(&channel, "/some.other/Method", Vec::new()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

fn heartbeat(to_ns: u64) -> wire::Record {
    let heartbeat = wire::Heartbeat { covered_to_ns: to_ns, ..wire::Heartbeat::default() };
    wire::Record { kind: Some(wire::RecordKind::Heartbeat(heartbeat)) }
}

#[tokio::test]
async fn an_agents_batch_is_stored_once_however_often_it_is_pushed() {
    let mut house = House::new();
    let channel = house.agents().await;
    let batch = wire::Batch {
        node: "node-1".into(),
        boot_id: "boot-1".into(),
        sequence: 5,
        clock_epoch_ns: NOW_NS - 1_000,
        records: vec![heartbeat(1_000), wire::Record { kind: None }, heartbeat(900)],
    };
    for _ in 0..3 {
        let reply = call(&channel, PUSH, batch.encode_to_vec()).await.unwrap();
        let reply = wire::PushReply::decode(reply).unwrap();
        assert_eq!((reply.sequence, reply.rejected), (5, 1));
    }
    let rows = house.rows();
    assert_eq!((rows.heartbeats.len(), rows.quarantine.len()), (2, 1));
    let row = &rows.heartbeats[0];
    assert_eq!((row.node.as_str(), row.sequence, row.event_ns), ("node-1", 5, NOW_NS));
    let account = house.intake.ledger.account();
    assert_eq!((account.received, account.duplicate), (9, 6));

    let nameless = wire::Batch { node: "../etc".into(), ..batch };
    let status = call(&channel, PUSH, nameless.encode_to_vec()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(house.quarantine()[0].1, "batch_identity_invalid");
}

#[tokio::test]
async fn grpc_says_come_back_when_the_house_is_full() {
    let house = House::with(tempfile::tempdir().unwrap(), 1024 * 1024);
    let status = call(&house.grpc().await, EXPORT, request(vec![span(1)])).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(house.intake.ledger.account().rejected, 1);
}
