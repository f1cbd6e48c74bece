//! How much the collector takes on at once: bytes being decoded and open connections.
//!
//! Over a limit the sender is told to come back (HTTP 503, gRPC UNAVAILABLE) or is disconnected,
//! and that is counted. Nothing here waits: a queue in front of a full house only hides it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::ledger::Ledger;

/// Largest message of OTLP over gRPC and of an agent, after decompression: gRPC's custom.
pub const GRPC_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest OTLP/HTTP body, before and after decompression, unless configured.
pub const HTTP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Spans of one request. SDKs send 512 and forwarders 8,192; smallest spans could be 90,000, and a
/// row of a span takes a kilobyte.
pub const SPANS_MAX: usize = 20_000;
/// Records of one agent's batch: the largest batch full of exchanges has 32,000.
pub const RECORDS_MAX: usize = 50_000;
/// Sixty-four of the largest requests at once. As rows a request takes up to 24 MiB, which stays
/// below the 2 GiB that a collector may use.
pub const BYTES_IN_FLIGHT_MAX: usize = 256 * 1024 * 1024;
/// 250 agents and 250 nodes' worth of SDK connections twice over, for all doors together.
pub const CONNECTIONS_MAX: usize = 1_024;
/// How long the body of a refused request is still read, so that a client that writes before it
/// reads gets to see the answer, as in nginx's lingering close.
pub const LINGER: Duration = Duration::from_secs(5);
/// A connection without a byte from its other end for this long is closed: nobody there, or a slow
/// loris. HTTP/2 is pinged every 30 s, so a live one is never this silent.
pub const IDLE_MAX: Duration = Duration::from_secs(5 * 60);
/// One whole request: body, decoding, and the wait for the disk.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

const KIB: usize = 1024;

#[derive(Clone)]
pub struct Limits {
    kibibytes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    ledger: Arc<Ledger>,
    pub http_bytes_max: usize,
}

/// Room for one request, given back when dropped.
pub struct Room {
    permit: OwnedSemaphorePermit,
}

impl Limits {
    pub fn new(
        http_bytes_max: usize,
        bytes_in_flight_max: usize,
        connections_max: usize,
        ledger: Arc<Ledger>,
    ) -> Self {
        Self {
            kibibytes: Arc::new(Semaphore::new(bytes_in_flight_max / KIB)),
            connections: Arc::new(Semaphore::new(connections_max)),
            ledger,
            http_bytes_max,
        }
    }

    /// Room for a request of at most this many bytes, or `None` when the house is full.
    pub fn room(&self, bytes: usize) -> Option<Room> {
        let kibibytes = u32::try_from(bytes.div_ceil(KIB)).ok()?;
        let permit = Arc::clone(&self.kibibytes).try_acquire_many_owned(kibibytes).ok()?;
        Some(Room { permit })
    }

    pub fn listener(&self, listener: TcpListener) -> Listener {
        Listener { listener, limits: self.clone() }
    }
}

impl Room {
    /// Gives back what the request turned out not to need.
    pub fn shrink(&mut self, bytes: usize) {
        let surplus = self.permit.num_permits().saturating_sub(bytes.div_ceil(KIB));
        drop(self.permit.split(surplus));
    }
}

/// Accepts connections while there is room for them; others are closed at once.
pub struct Listener {
    listener: TcpListener,
    limits: Limits,
}

/// A connection that counts for as long as it is open.
pub struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    idle_max: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    pub async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if let Ok(permit) = Arc::clone(&self.limits.connections).try_acquire_owned() {
                        // Answers are small and waited for. Failing to say so only costs time.
                        let _ = stream.set_nodelay(true);
                        return (Connection::new(stream, permit, IDLE_MAX), peer);
                    }
                    self.limits.ledger.connection_refused();
                }
                Err(source) => {
                    // Out of descriptors, or the peer was gone already: the first needs a pause.
                    tracing::warn!(error = %source, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connection {
    fn new(stream: TcpStream, permit: OwnedSemaphorePermit, idle_max: Duration) -> Self {
        let idle = Box::pin(tokio::time::sleep(idle_max));
        Self { stream, idle, idle_max, _permit: permit }
    }

    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            let idle_max = self.idle_max;
            self.idle.as_mut().reset(Instant::now() + idle_max);
        } else if self.idle.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_connection_over_the_limit_is_closed_at_once_and_counted() {
        let ledger = Arc::new(Ledger::default());
        let limits = Limits::new(KIB, KIB, 1, Arc::clone(&ledger));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut listener = limits.listener(listener);
        let address = listener.local_addr().unwrap();
        let _first = TcpStream::connect(address).await.unwrap();
        let (accepted, _) = listener.accept().await;
        let accepting = tokio::spawn(async move { listener.accept().await.1 });
        let mut second = TcpStream::connect(address).await.unwrap();
        assert_eq!(second.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(ledger.connections_refused(), 1);
        drop(accepted);
        let third = TcpStream::connect(address).await.unwrap();
        assert_eq!(accepting.await.unwrap(), third.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_silent_connection_ends_and_a_slow_one_does_not() {
        const IDLE: Duration = Duration::from_millis(400);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let mut connection = Connection::new(listener.accept().await.unwrap().0, permit, IDLE);
        let mut byte = [0; 1];
        for _ in 0..3 {
            tokio::time::sleep(IDLE / 2).await;
            tokio::io::AsyncWriteExt::write_all(&mut client, b"x").await.unwrap();
            assert_eq!(connection.read(&mut byte).await.unwrap(), 1);
        }
        let error = connection.read(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_full_house_refuses_and_has_room_again_when_requests_end() {
        let limits = Limits::new(KIB, 8 * KIB, 1, Arc::new(Ledger::default()));
        let mut first = limits.room(6 * KIB).unwrap();
        assert!(limits.room(3 * KIB).is_none());
        first.shrink(KIB);
        let second = limits.room(7 * KIB).unwrap();
        assert!(limits.room(1).is_none());
        drop((first, second));
        assert!(limits.room(8 * KIB).is_some());
    }
}
