//! OTLP traces over HTTP: protobuf and JSON, plain and gzip, with the protocol's own errors.
//!
//! Limits hold before and after decompression. A body over the limit is never kept: what is still
//! coming is read and thrown away for a short while, so that the sender gets to see the 413.

use std::io::Read;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::IncomingStream;
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use futures::StreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::{Intake, Peer, Refused, otlp};
use crate::limits::{Connection, LINGER, Listener, REQUEST_TIMEOUT};
use crate::shutdown::Shutdown;
use crate::spool::SubmitError;

const RECEIVER: &str = "otlp_http";

/// # Errors
/// When the listener fails for good.
pub async fn serve(
    intake: Arc<Intake>,
    listener: Listener,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    let router = Router::new().route("/v1/traces", post(traces)).with_state(intake);
    axum::serve(listener, router.into_make_service_with_connect_info::<Peer>())
        .with_graceful_shutdown(async move { shutdown.requested().await })
        .await
}

impl axum::serve::Listener for Listener {
    type Io = Connection;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Connection, std::net::SocketAddr) {
        Self::accept(self).await
    }

    fn local_addr(&self) -> std::io::Result<std::net::SocketAddr> {
        Self::local_addr(self)
    }
}

impl Connected<IncomingStream<'_, Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// How request and answer are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Protobuf,
    Json,
}

/// Why a request has no spans to give.
#[derive(Debug)]
enum Refusal {
    MediaType,
    ContentEncoding,
    Busy,
    /// With the length announced, or reached before the rest was thrown away.
    TooLarge(usize),
    Slow,
    /// The connection broke inside the body.
    Gone,
    Compression(Bytes),
    Protobuf(Bytes),
    Json(Bytes),
    Spool(SubmitError),
}

async fn traces(
    State(intake): State<Arc<Intake>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let encoding = encoding_of(&parts.headers);
    let answered = answer(&intake, peer, &parts.headers, encoding, body);
    let result =
        tokio::time::timeout(REQUEST_TIMEOUT, answered).await.unwrap_or(Err(Refusal::Slow));
    let encoding = encoding.unwrap_or(Encoding::Protobuf);
    match result {
        Ok(response) => response,
        Err(refusal) => {
            refusal.record(&intake, peer).await;
            refusal.response(encoding)
        }
    }
}

async fn answer(
    intake: &Intake,
    peer: Peer,
    headers: &HeaderMap,
    encoding: Option<Encoding>,
    body: Body,
) -> Result<Response, Refusal> {
    let encoding = encoding.ok_or(Refusal::MediaType)?;
    let is_gzip = match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => false,
        Some(b"gzip") => true,
        Some(_) => return Err(Refusal::ContentEncoding),
    };
    let limit = intake.limits.http_bytes_max;
    // Body and what it decompresses to are held at once.
    let Some(mut room) = intake.limits.room(limit * 2) else { return Err(Refusal::Busy) };
    let body = read(headers, body, limit).await?;
    let message = if is_gzip { decompress(body, limit)? } else { body };
    room.shrink(message.len());
    let request = decode(encoding, message)?;
    let response = otlp::export(intake, peer, RECEIVER, request).await.map_err(Refusal::Spool)?;
    Ok(match encoding {
        Encoding::Protobuf => reply(StatusCode::OK, encoding, response.encode_to_vec()),
        // The response holds only a number and our own sentence.
        Encoding::Json => {
            reply(StatusCode::OK, encoding, serde_json::to_vec(&response).unwrap_or_default())
        }
    })
}

fn encoding_of(headers: &HeaderMap) -> Option<Encoding> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    match value.split(';').next()?.trim() {
        "application/x-protobuf" => Some(Encoding::Protobuf),
        "application/json" => Some(Encoding::Json),
        _ => None,
    }
}

async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut stream = body.into_data_stream();
    let mut read = BytesMut::new();
    let mut is_over = announced.is_some_and(|length| length > limit);
    while !is_over && let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Refusal::Gone)?;
        is_over = read.len() + chunk.len() > limit;
        if !is_over {
            read.extend_from_slice(&chunk);
        }
    }
    if !is_over {
        return Ok(read.freeze());
    }
    let length = announced.unwrap_or(limit + 1);
    drop(read);
    // A client that asked first has not begun to send and waits for the answer.
    if !headers.contains_key(header::EXPECT) {
        let rest = async { while let Some(Ok(_)) = stream.next().await {} };
        let _ = tokio::time::timeout(LINGER, rest).await;
    }
    Err(Refusal::TooLarge(length))
}

fn decompress(body: Bytes, limit: usize) -> Result<Bytes, Refusal> {
    let mut message = Vec::new();
    let mut decoder = MultiGzDecoder::new(&body[..]).take(limit as u64 + 1);
    if decoder.read_to_end(&mut message).is_err() {
        return Err(Refusal::Compression(body));
    }
    if message.len() > limit {
        return Err(Refusal::TooLarge(limit + 1));
    }
    Ok(message.into())
}

/// No bytes at all are an empty request in protobuf, and no JSON: that would be `{}`.
fn decode(encoding: Encoding, message: Bytes) -> Result<ExportTraceServiceRequest, Refusal> {
    match encoding {
        Encoding::Protobuf => ExportTraceServiceRequest::decode(message.clone())
            .map_err(|_| Refusal::Protobuf(message)),
        Encoding::Json => serde_json::from_slice(&message).map_err(|_| Refusal::Json(message)),
    }
}

impl Refusal {
    /// Malformed input leaves a quarantine row, anything else only a count.
    async fn record(&self, intake: &Intake, peer: Peer) {
        let (reason, length, input): (_, _, &[u8]) = match self {
            Self::TooLarge(length) => ("too_large", *length, &[]),
            Self::Compression(body) => ("gzip_invalid", body.len(), body),
            Self::Protobuf(body) => ("protobuf_invalid", body.len(), body),
            Self::Json(body) => ("json_invalid", body.len(), body),
            // The spool's own refusals are counted, span by span, where they happen.
            Self::Spool(_) => return,
            Self::MediaType | Self::ContentEncoding | Self::Busy | Self::Slow | Self::Gone => {
                intake.ledger.rejected(1);
                return;
            }
        };
        let refused = Refused { receiver: RECEIVER, reason, length, input };
        intake.quarantine(otlp::SOURCE, peer.0, &refused).await;
    }

    fn response(&self, encoding: Encoding) -> Response {
        let (status, text) = match self {
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "protobuf or JSON expected"),
            Self::ContentEncoding => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "gzip or none expected"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "too much is being received"),
            Self::TooLarge(_) | Self::Spool(SubmitError::TooLarge(_)) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "the request is too large")
            }
            Self::Slow | Self::Gone => (StatusCode::REQUEST_TIMEOUT, "the request did not arrive"),
            Self::Compression(_) => (StatusCode::BAD_REQUEST, "not gzip"),
            Self::Protobuf(_) => (StatusCode::BAD_REQUEST, "not an ExportTraceServiceRequest"),
            Self::Json(_) => (StatusCode::BAD_REQUEST, "not an ExportTraceServiceRequest in JSON"),
            Self::Spool(_) => (StatusCode::SERVICE_UNAVAILABLE, "it could not be stored now"),
        };
        let rpc_status = RpcStatus { code: rpc_code(status), message: text.to_owned() };
        let body = match encoding {
            Encoding::Protobuf => rpc_status.encode_to_vec(),
            Encoding::Json => serde_json::to_vec(&rpc_status).unwrap_or_default(),
        };
        let mut response = reply(status, encoding, body);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// `google.rpc.Status`, the body of OTLP's errors.
#[derive(Clone, PartialEq, Message, serde::Serialize)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

fn rpc_code(status: StatusCode) -> i32 {
    let code = match status {
        StatusCode::SERVICE_UNAVAILABLE => tonic::Code::Unavailable,
        StatusCode::PAYLOAD_TOO_LARGE => tonic::Code::ResourceExhausted,
        StatusCode::REQUEST_TIMEOUT => tonic::Code::DeadlineExceeded,
        _ => tonic::Code::InvalidArgument,
    };
    code as i32
}

fn reply(status: StatusCode, encoding: Encoding, body: Vec<u8>) -> Response {
    let content_type = match encoding {
        Encoding::Protobuf => "application/x-protobuf",
        Encoding::Json => "application/json",
    };
    (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
}
