//! The doors over real sockets, with good, broken and hostile input.

use std::io::Write;
use std::net::SocketAddr;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;

use super::*;
use crate::limits::{BYTES_IN_FLIGHT_MAX, CONNECTIONS_MAX, HTTP_BYTES_MAX};
use crate::shutdown::{self, Stop};
use crate::spool::{self, Disk, Reader, SEGMENT_BYTES};

const NOW_NS: i64 = 1_795_262_400_000_000_000;
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const PUSH: &str = "/throughline.agent.v1.Ingest/Push";

/// Everything behind the doors, and what came to rest in the spool.
struct House {
    intake: Arc<Intake>,
    reader: Reader,
    shutdown: Shutdown,
    _stop: Stop,
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::with(folder, BYTES_IN_FLIGHT_MAX)
    }

    fn with(folder: tempfile::TempDir, bytes_in_flight_max: usize) -> Self {
        let ledger = Arc::new(Ledger::default());
        let config = spool::Config {
            directory: folder.path().join("spool"),
            segment_bytes: SEGMENT_BYTES,
            bytes_max: u64::MAX,
        };
        let opened = spool::open(Disk, &config, 0, Arc::clone(&ledger)).unwrap();
        let limits =
            Limits::new(HTTP_BYTES_MAX, bytes_in_flight_max, CONNECTIONS_MAX, Arc::clone(&ledger));
        let intake = Intake {
            spool: opened.spool,
            admission: crate::admit::for_tests(),
            limits,
            ledger,
            collector: "c0".into(),
            life: "life".into(),
            now_ns: || NOW_NS,
        };
        let (stop, shutdown) = shutdown::channel();
        Self { intake: Arc::new(intake), reader: opened.reader, shutdown, _stop: stop, folder }
    }

    async fn listen(&self) -> (crate::limits::Listener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (self.intake.limits.listener(listener), address)
    }

    async fn http(&self) -> SocketAddr {
        let (listener, address) = self.listen().await;
        tokio::spawn(otlp_http::serve(Arc::clone(&self.intake), listener, self.shutdown.clone()));
        address
    }

    async fn grpc(&self) -> Channel {
        let (listener, address) = self.listen().await;
        tokio::spawn(otlp_grpc::serve(Arc::clone(&self.intake), listener, self.shutdown.clone()));
        Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
    }

    async fn agents(&self) -> Channel {
        let (listener, address) = self.listen().await;
        tokio::spawn(agent::serve(Arc::clone(&self.intake), listener, self.shutdown.clone()));
        Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
    }

    /// All rows that are in the spool by now and were not asked for before.
    fn rows(&mut self) -> Rows {
        let mut rows = Rows::default();
        for (position, mut batch) in self.reader.read(usize::MAX).unwrap().batches {
            batch.rows.stamp(position.cast_signed(), batch.sequence.is_some());
            rows.take_uncommitted(batch.rows, position.cast_signed(), &Default::default());
        }
        rows
    }

    /// Waits, within bounds, until so many rows are there.
    async fn rows_when(&mut self, count: usize) -> Rows {
        let mut rows = Rows::default();
        for _ in 0..200 {
            rows.take_uncommitted(self.rows(), 1, &Default::default());
            if rows.len() >= count {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} of {count} rows came", rows.len());
    }

    /// Receiver, reason and length of each quarantine row.
    fn quarantine(&mut self) -> Vec<(String, String, i64)> {
        let rows = self.rows().quarantine;
        rows.into_iter().map(|row| (row.receiver, row.reason, row.length)).collect()
    }
}

fn span(id: u8) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![id; 8],
        start_time_unix_nano: NOW_NS as u64 - 1_000,
        end_time_unix_nano: NOW_NS as u64,
        ..Span::default()
    }
}

fn request(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Sends one HTTP request by hand; returns status and body.
async fn post(address: SocketAddr, headers: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    answer(stream).await
}

async fn answer(mut stream: TcpStream) -> (u16, Vec<u8>) {
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    let head_end = response.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let status = String::from_utf8_lossy(&response[9..12]).parse().unwrap();
    (status, response[head_end + 4..].to_vec())
}

const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

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
    let response = client.unary(request, PathAndQuery::from_static(path), grpc::Raw).await?;
    Ok(response.into_inner())
}

#[tokio::test]
async fn http_stores_good_spans_beside_bad_ones_and_counts_the_bad_exactly() {
    let mut house = House::new();
    let address = house.http().await;
    let without_ids = Span { trace_id: Vec::new(), ..span(9) };
    let body = request(vec![span(1), without_ids.clone(), span(2), without_ids.clone()]);
    let (status, response) = post(address, PROTOBUF, &body).await;
    let response = ExportTraceServiceResponse::decode(&response[..]).unwrap();
    assert_eq!((status, response.partial_success.unwrap().rejected_spans), (200, 2));
    let rows = house.rows();
    let spans: Vec<_> = rows.spans.iter().map(|row| (row.item, row.sequence)).collect();
    assert_eq!(spans, [(0, 1), (2, 1)]);
    let length = without_ids.encoded_len() as i64;
    for (row, item) in rows.quarantine.iter().zip([1, 3]) {
        assert_eq!((row.reason.as_str(), row.item, row.length), ("span_without_ids", item, length));
        assert_eq!(row.keyed_hash.len(), 64);
    }
    let account = house.intake.ledger.account();
    assert_eq!((account.received, account.spooled, account.quarantined), (4, 2, 2));
}

#[tokio::test]
async fn http_takes_json_gzip_chunks_and_nothing_at_all() {
    let mut house = House::new();
    let address = house.http().await;
    let gzipped = gzip(&request(vec![span(1)]));
    let headers = format!("{PROTOBUF}Content-Encoding: gzip\r\n");
    assert_eq!(post(address, &headers, &gzipped).await, (200, Vec::new()));

    let json = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{}","spanId":"{}","startTimeUnixNano":"{NOW_NS}","endTimeUnixNano":"{NOW_NS}","name":"canary"}},{{"spanId":"","startTimeUnixNano":"1"}}]}}]}}]}}"#,
        "0a".repeat(16),
        "0b".repeat(8)
    );
    let (status, body) = post(address, JSON, json.as_bytes()).await;
    assert_eq!(status, 200);
    assert!(String::from_utf8(body).unwrap().contains("rejectedSpans"));

    assert_eq!(post(address, PROTOBUF, b"").await.0, 200);
    assert_eq!(post(address, JSON, b"").await.0, 200);

    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{PROTOBUF}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for chunk in request(vec![span(3)]).chunks(7) {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await.unwrap();
        stream.write_all(&[chunk, b"\r\n"].concat()).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(answer(stream).await.0, 200);

    let ids: Vec<_> = house.rows().spans.into_iter().map(|row| row.span_id).collect();
    assert_eq!(ids, ["01".repeat(8), "0b".repeat(8), "03".repeat(8)]);
}

#[tokio::test]
async fn http_refuses_what_it_cannot_read_by_the_protocols_codes() {
    let mut house = House::new();
    let address = house.http().await;
    let gzip_header = format!("{PROTOBUF}Content-Encoding: gzip\r\n");
    let bomb = gzip(&vec![0; HTTP_BYTES_MAX + 1]);
    for (headers, body, status, reason) in [
        (PROTOBUF, &b"\x01\x02\x03"[..], 400, Some("protobuf_invalid")),
        (JSON, b"{\"resourceSpans\":7}", 400, Some("json_invalid")),
        (&gzip_header, b"\x01\x02\x03", 400, Some("gzip_invalid")),
        (&gzip_header, &bomb, 413, Some("too_large")),
        ("Content-Type: text/plain\r\n", b"x", 415, None),
        (&format!("{PROTOBUF}Content-Encoding: br\r\n"), b"x", 415, None),
    ] {
        assert_eq!(post(address, headers, body).await.0, status, "{headers}");
        let quarantine = house.quarantine();
        let reasons: Vec<_> = quarantine.iter().map(|(_, reason, _)| reason.as_str()).collect();
        assert_eq!(reasons, reason.into_iter().collect::<Vec<_>>());
    }
    assert_eq!(post(address, PROTOBUF, &request(vec![span(1)])).await.0, 200, "still there");
}

#[tokio::test]
async fn http_answers_413_to_a_hundred_mebibytes_announced_or_not() {
    let mut house = House::new();
    let address = house.http().await;
    let body = vec![b'x'; 100 * 1024 * 1024];
    assert_eq!(post(address, PROTOBUF, &body).await.0, 413);

    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{PROTOBUF}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mebibyte = [b"100000\r\n", &body[..1024 * 1024], b"\r\n"].concat();
    for _ in 0..100 {
        stream.write_all(&mebibyte).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(answer(stream).await.0, 413);
    let lengths: Vec<_> = house.quarantine().into_iter().map(|(_, _, length)| length).collect();
    assert_eq!(lengths, [100 * 1024 * 1024, HTTP_BYTES_MAX as i64 + 1]);
}

#[tokio::test]
async fn a_full_house_says_come_back() {
    let house = House::with(tempfile::tempdir().unwrap(), 1024 * 1024);
    let address = house.http().await;
    assert_eq!(post(address, PROTOBUF, &request(vec![span(1)])).await.0, 503);
    let status = call(&house.grpc().await, EXPORT, request(vec![span(1)])).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(house.intake.ledger.account().rejected, 2);
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

fn line(id: char) -> String {
    let id = id.to_string().repeat(32);
    format!(
        r#"10.0.0.5 - - [21/Nov/2026:12:00:00 +0000] "GET /x/7?canary=canary HTTP/1.1" 200 10 "-" "canary" 90 0.005 [shop-cart-80] [] 10.0.0.1:80 5 0.004 200 {id}"#
    )
}

fn ids(rows: &Rows) -> Vec<String> {
    let mut ids: Vec<_> =
        rows.access_logs.iter().filter_map(|row| row.request_id.clone()).collect();
    ids.iter_mut().for_each(|id| id.truncate(1));
    ids.sort();
    ids
}

#[tokio::test]
async fn syslog_lines_come_by_udp_and_by_either_framing_of_tcp() {
    let mut house = House::new();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let udp_address = udp.local_addr().unwrap();
    tokio::spawn(syslog::serve_udp(Arc::clone(&house.intake), udp, house.shutdown.clone()));
    let (listener, tcp_address) = house.listen().await;
    tokio::spawn(syslog::serve_tcp(Arc::clone(&house.intake), listener, house.shutdown.clone()));

    let envelope = |line: &str| format!("<190>Nov 21 12:00:00 ingress-0 nginx: {line}");
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.send_to(envelope(&line('a')).as_bytes(), udp_address).await.unwrap();
    sender.send_to(&envelope(&line('b')).as_bytes()[..120], udp_address).await.unwrap();
    let mut stream = TcpStream::connect(tcp_address).await.unwrap();
    let counted = envelope(&line('d'));
    let framed = format!("{}\n{} {counted}{}", envelope(&line('c')), counted.len(), "<190>cut");
    for part in framed.as_bytes().chunks(50) {
        stream.write_all(part).await.unwrap();
        stream.flush().await.unwrap();
    }
    drop(stream);

    let rows = house.rows_when(5).await;
    assert_eq!(ids(&rows), ["a", "c", "d"]);
    let mut reasons: Vec<_> = rows.quarantine.iter().map(|row| row.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["line_cut", "syslog_header"]);
    assert!(rows.access_logs.iter().all(|row| row.emitter_ip.as_deref() == Some("127.0.0.1")));
    let spooled = std::fs::read(house.folder.path().join("spool/00000000000000000001.spool"));
    assert!(!String::from_utf8_lossy(&spooled.unwrap()).contains("canary"));
}

#[tokio::test]
async fn a_followed_file_gives_each_line_once_over_rotation_and_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let write = |text: String| {
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(true).open(&path).unwrap().write_all(text.as_bytes()).unwrap();
    };
    write(format!("{}\n{}\n{}", line('a'), line('b'), &line('c')[..40]));

    let mut house = House::with(folder, BYTES_IN_FLIGHT_MAX);
    let following =
        tokio::spawn(file::follow(Arc::clone(&house.intake), path.clone(), house.shutdown.clone()));
    assert_eq!(ids(&house.rows_when(2).await), ["a", "b"]);
    write(format!("{}\n", &line('c')[40..]));
    assert_eq!(ids(&house.rows_when(1).await), ["c"]);
    following.abort();
    let _ = following.await;

    // A second follower knows from the spool alone where the first one stood.
    write(format!("{}\n", line('d')));
    tokio::spawn(file::follow(Arc::clone(&house.intake), path.clone(), house.shutdown.clone()));
    assert_eq!(ids(&house.rows_when(1).await), ["d"]);
    std::fs::rename(&path, path.with_extension("1")).unwrap();
    write(format!("{}\n", line('e')));
    let rotated = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let rows = house.rows();
            if !rows.is_empty() {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert_eq!(ids(&rotated.await.unwrap()), ["e"]);
}
