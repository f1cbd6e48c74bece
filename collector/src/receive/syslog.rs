//! Access logs by syslog, over UDP and TCP.
//!
//! Neither transport has an acknowledgement. Over TCP a full spool is felt as a socket that is not
//! read; over UDP a datagram that finds the queue full is lost, and counted.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::Intake;
use super::lines::Lines;
use crate::batch::{Batch, Rows};
use crate::format::syslog::{self, Framed};
use crate::limits::{Connection, Listener};
use crate::shutdown::Shutdown;

const SOURCE: &str = "syslog";
/// Datagrams that wait while one group is synced. A sync takes below 50 ms and a busy ingress
/// writes 10,000 lines a second: 500; sixteen times that is 8 MiB of full-sized lines.
const DATAGRAMS_MAX: usize = 8_192;
/// Lines stored as one batch.
const BATCH_LINES_MAX: usize = 2_048;
/// Largest datagram of UDP.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Read from a TCP stream at once.
const READ_BYTES: usize = 64 * 1024;

/// Receives datagrams until shutdown and then stores those that had arrived.
///
/// # Errors
/// When the socket fails for good.
pub async fn serve_udp(
    intake: Arc<Intake>,
    socket: UdpSocket,
    shutdown: Shutdown,
) -> io::Result<()> {
    let (queue, datagrams) = mpsc::channel(DATAGRAMS_MAX);
    let storing = tokio::spawn(store_datagrams(Arc::clone(&intake), datagrams));
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let (length, peer) = tokio::select! {
            () = shutdown.requested() => break,
            received = socket.recv_from(&mut buffer) => received?,
        };
        if queue.try_send((peer, Bytes::copy_from_slice(&buffer[..length]))).is_err() {
            intake.ledger.datagram_lost();
        }
    }
    drop(queue);
    storing.await.map_err(io::Error::other)
}

async fn store_datagrams(intake: Arc<Intake>, mut datagrams: mpsc::Receiver<(SocketAddr, Bytes)>) {
    let mut group = Vec::new();
    while datagrams.recv_many(&mut group, BATCH_LINES_MAX).await > 0 {
        let mut by_sender: BTreeMap<_, Vec<Bytes>> = BTreeMap::new();
        for (peer, datagram) in group.drain(..) {
            by_sender.entry(peer.ip()).or_default().push(datagram);
        }
        for (ip, lines) in by_sender {
            let lines = lines.iter().map(|line| line.trim_ascii_end());
            let batch = batch(&intake, SocketAddr::new(ip, 0), lines);
            // Nobody could be told; the ledger counts what the spool refused.
            let _ = intake.store(batch).await;
        }
    }
}

/// Accepts connections until shutdown.
pub async fn serve_tcp(intake: Arc<Intake>, mut listener: Listener, shutdown: Shutdown) {
    let mut streams = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            (connection, peer) = listener.accept() => {
                streams.spawn(read_stream(Arc::clone(&intake), connection, peer, shutdown.clone()));
            }
            Some(_) = streams.join_next() => {}
        }
    }
    while streams.join_next().await.is_some() {}
}

async fn read_stream(
    intake: Arc<Intake>,
    mut connection: Connection,
    peer: SocketAddr,
    shutdown: Shutdown,
) {
    let mut unread = Vec::new();
    loop {
        let mut chunk = vec![0; READ_BYTES];
        let read = tokio::select! {
            () = shutdown.requested() => Ok(0),
            read = connection.read(&mut chunk) => read,
        };
        let length = read.unwrap_or(0);
        unread.extend_from_slice(&chunk[..length]);
        let (batch, consumed) = stream_batch(&intake, peer, &unread, length == 0);
        unread.drain(..consumed);
        if !batch.rows.is_empty() && !intake.store_patiently(batch, &shutdown).await {
            return;
        }
        if length == 0 {
            return;
        }
    }
}

/// The whole lines among these bytes, and how many bytes they took. What is left at the end of the
/// stream is a line that was cut.
fn stream_batch(intake: &Intake, peer: SocketAddr, bytes: &[u8], is_end: bool) -> (Batch, usize) {
    let mut lines = Vec::new();
    let mut consumed = 0;
    loop {
        match syslog::first_line(&bytes[consumed..]) {
            Framed::Line(line, taken) => {
                lines.push(line);
                consumed += taken;
            }
            Framed::TooLong(taken) => {
                lines.push(&bytes[consumed..consumed + taken]);
                consumed += taken;
            }
            Framed::Incomplete => break,
        }
        if consumed >= bytes.len() {
            break;
        }
    }
    if is_end && consumed < bytes.len() {
        lines.push(&bytes[consumed..]);
        consumed = bytes.len();
    }
    (batch(intake, peer, lines.into_iter()), consumed)
}

fn batch<'a>(intake: &Intake, peer: SocketAddr, lines: impl Iterator<Item = &'a [u8]>) -> Batch {
    let sender = intake.sender(SOURCE, peer);
    let mut taken = Lines {
        intake,
        receiver: SOURCE,
        format: intake.syslog_format,
        emitter_ip: Some(&sender.node),
        origin: intake.origin(&sender, None),
        rows: Rows::default(),
    };
    for line in lines.filter(|line| !line.is_empty()) {
        taken.take_inside(line, |line| syslog::message(line).map(str::as_bytes));
    }
    let rows = taken.rows;
    Batch { sender, sequence: None, rows }
}
