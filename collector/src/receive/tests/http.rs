//! OTLP over HTTP: encodings, and what is refused how.

use std::io::Write;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

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
async fn http_takes_json_gzip_chunks_and_an_empty_message() {
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
    assert_eq!(post(address, JSON, b"{}").await.0, 200);
    assert_eq!(post(address, JSON, b"").await.0, 400);

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
async fn http_says_come_back_when_the_house_is_full() {
    let house = House::with(tempfile::tempdir().unwrap(), 1024 * 1024);
    let address = house.http().await;
    assert_eq!(post(address, PROTOBUF, &request(vec![span(1)])).await.0, 503);
    assert_eq!(house.intake.ledger.account().rejected, 1);
}
