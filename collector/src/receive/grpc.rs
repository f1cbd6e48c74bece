//! Unary gRPC methods whose message reaches the handler as bytes: the only place that names tonic's
//! server.
//!
//! Generated servers decode before the handler runs, so that nobody could quarantine what they
//! refuse, and answer an oversize message with a code that OTLP senders retry for ever. Here the
//! call is taken as a stream of one message, which is the same on the wire, and every way in which
//! a message can be bad ends in the handler.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{ClientStreamingService, Grpc};
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Code, Request, Response, Status, Streaming, body::Body};

use super::{Intake, Peer, Refused};
use crate::limits::{Connection, GRPC_BYTES_MAX, Listener, REQUEST_TIMEOUT};
use crate::shutdown::Shutdown;
use crate::spool::SubmitError;

/// One method of one service.
pub(crate) trait Method: Send + Sync + 'static {
    /// `/package.Service/Method`.
    const PATH: &'static str;
    /// `source` of rows and `receiver` of quarantine rows about this door's input.
    const SOURCE: &'static str;
    const RECEIVER: &'static str;

    fn intake(&self) -> &Intake;

    /// Answers one message, which is within the limit.
    fn answer(
        &self,
        peer: Peer,
        message: Bytes,
    ) -> impl Future<Output = Result<Bytes, Status>> + Send;
}

/// Why there is no message.
enum Unreadable {
    /// Over the limit, as sent or after decompression.
    TooLarge,
    /// Not framed or not compressed as announced.
    Malformed,
    /// The sender went away; there is nobody to answer and nothing to keep.
    Gone,
}

/// Serves one method until shutdown, within limits that are all spelled out.
pub(crate) async fn serve<M: Method>(
    method: Arc<M>,
    listener: Listener,
    shutdown: Shutdown,
) -> Result<(), tonic::transport::Error> {
    let connections = futures::stream::unfold(listener, |mut listener| async {
        let (connection, _) = listener.accept().await;
        Some((Ok::<_, Infallible>(connection), listener))
    });
    Server::builder()
        // An exporter has one request under way, an agent a few: more than eight is no client of
        // ours, and eight of the largest are 32 MiB a connection.
        .max_concurrent_streams(8)
        .concurrency_limit_per_connection(8)
        .http2_max_header_list_size(16 * 1024)
        .max_frame_size(64 * 1024)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(2 * 1024 * 1024)
        .http2_max_pending_accept_reset_streams(Some(20))
        .http2_max_local_error_reset_streams(Some(100))
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .max_connection_age(Duration::from_secs(30 * 60))
        .max_connection_age_grace(Duration::from_secs(60))
        .timeout(REQUEST_TIMEOUT)
        .serve_with_incoming_shutdown(Door(method), connections, async move {
            shutdown.requested().await;
        })
        .await
}

impl Connected for Connection {
    type ConnectInfo = Option<Peer>;

    fn connect_info(&self) -> Option<Peer> {
        self.peer().ok().map(Peer)
    }
}

struct Door<M>(Arc<M>);

impl<M> Clone for Door<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Method> Service<http::Request<Body>> for Door<M> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let call = Call(self.clone());
        Box::pin(async move {
            if request.uri().path() != M::PATH {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            let mut grpc = Grpc::new(Raw)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(GRPC_BYTES_MAX);
            Ok(grpc.client_streaming(call, request).await)
        })
    }
}

struct Call<M>(Door<M>);

impl<M: Method> ClientStreamingService<Bytes> for Call<M> {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let method = Arc::clone(&self.0.0);
        Box::pin(async move {
            let peer = request.extensions().get::<Option<Peer>>().copied().flatten();
            let peer = peer.ok_or_else(|| Status::unavailable("the connection is gone"))?;
            receive(&*method, peer, request.into_inner()).await.map(Response::new)
        })
    }
}

async fn receive<M: Method>(
    method: &M,
    peer: Peer,
    stream: Streaming<Bytes>,
) -> Result<Bytes, Status> {
    let intake = method.intake();
    // The length is not announced, so the largest is assumed until the message is there.
    let Some(mut room) = intake.limits.room(GRPC_BYTES_MAX) else {
        intake.ledger.rejected(1);
        return Err(Status::unavailable("too much is being received"));
    };
    match only_message(stream).await {
        Ok(message) => {
            room.shrink(message.len());
            method.answer(peer, message).await
        }
        Err(unreadable) => Err(refuse::<M>(intake, peer, &unreadable).await),
    }
}

async fn refuse<M: Method>(intake: &Intake, peer: Peer, unreadable: &Unreadable) -> Status {
    // The message was not read to its end: of its length is known only that it is over the limit.
    let (reason, length, status) = match unreadable {
        Unreadable::Gone => {
            intake.ledger.rejected(1);
            return Status::cancelled("the sender went away");
        }
        // Without RetryInfo, which tells an exporter not to send the same again.
        Unreadable::TooLarge => (
            "too_large",
            GRPC_BYTES_MAX + 1,
            Status::resource_exhausted("a message may have 4 MiB at most"),
        ),
        Unreadable::Malformed => {
            ("grpc_frame_invalid", 0, Status::invalid_argument("not a gRPC message"))
        }
    };
    let refused = Refused { receiver: M::RECEIVER, reason, length, input: &[] };
    intake.quarantine(M::SOURCE, peer.0, &refused).await;
    status
}

/// Full and failing disks go away, so the sender is to come back; an oversize batch never fits.
pub(crate) fn status_of(error: &SubmitError) -> Status {
    match error {
        SubmitError::TooLarge(_) => Status::resource_exhausted("the batch is too large to store"),
        SubmitError::Full | SubmitError::Disk | SubmitError::Broken | SubmitError::Closed => {
            Status::unavailable("the batch could not be stored now")
        }
    }
}

async fn only_message(mut stream: Streaming<Bytes>) -> Result<Bytes, Unreadable> {
    match stream.message().await {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(Unreadable::Malformed),
        Err(status) => Err(match status.code() {
            Code::OutOfRange | Code::ResourceExhausted => Unreadable::TooLarge,
            Code::Internal | Code::Unimplemented => Unreadable::Malformed,
            _ => Unreadable::Gone,
        }),
    }
}

/// Passes messages through as bytes.
#[derive(Clone, Copy)]
pub(super) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
