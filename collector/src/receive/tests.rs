//! The doors over real sockets, with good, broken and hostile input.

mod grpc;
mod http;
mod lines;

use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::net::TcpListener;
use tonic::transport::Channel;

use super::*;
use crate::limits::{BYTES_IN_FLIGHT_MAX, CONNECTIONS_MAX, HTTP_BYTES_MAX, Listener};
use crate::shutdown::{self, Stop};
use crate::spool::{self, Disk, Reader, SEGMENT_BYTES};

const NOW_NS: i64 = 1_795_262_400_000_000_000;

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
            syslog_format: Format::default(),
            collector: "c0".into(),
            life: "life".into(),
            now_ns: || NOW_NS,
        };
        let (stop, shutdown) = shutdown::channel();
        Self { intake: Arc::new(intake), reader: opened.reader, shutdown, _stop: stop, folder }
    }

    async fn listen(&self) -> (Listener, SocketAddr) {
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
