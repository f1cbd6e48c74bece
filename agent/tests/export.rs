//! The exporter against a collector that misbehaves in each way that a collector can.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use agent::batch::{Outbox, Totals};
use agent::export::{Exporter, Shelf};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, body::Body};
use tonic_prost::ProstCodec;
use wire::{Batch, PushReply, Record, RecordKind};

/// Answers from a script, then agrees to everything; remembers the sequence of each batch.
#[derive(Clone, Default)]
struct Collector {
    script: Arc<Mutex<VecDeque<Status>>>,
    seen: Arc<Mutex<Vec<u64>>>,
}

impl Collector {
    fn saying(script: impl IntoIterator<Item = Status>) -> Self {
        Self { script: Arc::new(Mutex::new(script.into_iter().collect())), ..Self::default() }
    }

    fn seen(&self) -> Vec<u64> {
        self.seen.lock().expect("no panic in a handler").clone()
    }

    async fn serve(self, address: SocketAddr) -> SocketAddr {
        let incoming = TcpIncoming::bind(address).expect("a free port");
        let bound = incoming.local_addr().expect("an address");
        tokio::spawn(async move {
            tonic::transport::Server::builder().serve_with_incoming(self, incoming).await
        });
        bound
    }
}

impl UnaryService<Batch> for Collector {
    type Response = PushReply;
    type Future = std::future::Ready<Result<Response<PushReply>, Status>>;

    fn call(&mut self, request: Request<Batch>) -> Self::Future {
        let sequence = request.into_inner().sequence;
        self.seen.lock().expect("no panic in a handler").push(sequence);
        let answer = self.script.lock().expect("no panic in a handler").pop_front();
        std::future::ready(match answer {
            Some(status) => Err(status),
            None => Ok(Response::new(PushReply { sequence, rejected: 0 })),
        })
    }
}

impl Service<http::Request<Body>> for Collector {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        assert_eq!(request.uri().path(), "/throughline.agent.v1.Ingest/Push");
        let collector = self.clone();
        Box::pin(async move {
            let codec: ProstCodec<PushReply, Batch> = ProstCodec::default();
            Ok(Grpc::new(codec).unary(collector, request).await)
        })
    }
}

fn shelf_of(batches: usize) -> Shelf {
    let shelf = Shelf::new(Outbox::new("node-1".to_owned(), "boot".to_owned(), 1 << 20));
    for _ in 0..batches {
        let kind = Some(RecordKind::Heartbeat(wire::Heartbeat::default()));
        shelf.outbox().push(Record { kind }, 0);
        shelf.seal(0);
    }
    shelf
}

/// Exports until everything is settled.
async fn export(shelf: &Shelf, collector: SocketAddr) -> Totals {
    let exporter =
        Exporter::new(&format!("http://{collector}"), shelf.clone()).expect("an address");
    let exporting = tokio::spawn(exporter.run());
    let settled = async {
        while !shelf.outbox().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), settled).await.expect("settled in time");
    exporting.abort();
    shelf.outbox().totals()
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[tokio::test]
async fn a_batch_that_could_not_be_stored_is_sent_again_before_the_next() {
    let collector =
        Collector::saying([Status::unavailable("busy"), Status::resource_exhausted("full")]);
    let address = collector.clone().serve(any_port()).await;
    let totals = export(&shelf_of(2), address).await;
    assert_eq!(collector.seen(), [0, 0, 0, 1]);
    assert_eq!((totals.acknowledged, totals.refused, totals.shed), (2, 0, 0));
}

#[tokio::test]
async fn an_invalid_batch_is_dropped_counted_and_not_sent_again() {
    let collector = Collector::saying([Status::invalid_argument("not a batch")]);
    let address = collector.clone().serve(any_port()).await;
    let totals = export(&shelf_of(2), address).await;
    assert_eq!(collector.seen(), [0, 1]);
    assert_eq!((totals.acknowledged, totals.refused), (1, 1));
}

#[tokio::test]
async fn a_collector_that_comes_later_is_waited_for() {
    let reserved = std::net::TcpListener::bind(any_port()).expect("a free port");
    let address = reserved.local_addr().expect("an address");
    drop(reserved);
    let collector = Collector::default();
    let late = collector.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        late.serve(address).await;
    });
    let totals = export(&shelf_of(1), address).await;
    assert_eq!(collector.seen(), [0]);
    assert_eq!(totals.acknowledged, 1);
}
