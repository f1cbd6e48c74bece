//! Shipping batches to the collector, one at a time and in order: the only tonic client.
//!
//! A batch is kept until it is acknowledged. What the network or a busy collector did wrong is
//! tried again, later and later and never in step with other agents; what the collector calls
//! invalid is dropped and counted, because it would be invalid again.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tracing::{info, warn};
use wire::{Batch, PushReply};

use crate::batch::Outbox;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
#[error("failed to read the collector's address {address}")]
pub struct AddressError {
    address: String,
    source: tonic::transport::Error,
}

/// The outbox, shared by the loop that fills it and the task that empties it.
#[derive(Clone)]
pub struct Shelf {
    outbox: Arc<Mutex<Outbox>>,
    sealed: Arc<Notify>,
}

impl Shelf {
    pub fn new(outbox: Outbox) -> Self {
        Self { outbox: Arc::new(Mutex::new(outbox)), sealed: Arc::new(Notify::new()) }
    }

    /// The lock is held for moves of memory only. A panic elsewhere leaves the outbox whole.
    pub fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seals the open batch and wakes the exporter.
    pub fn seal(&self, clock_epoch_ns: i64) {
        self.outbox().seal(clock_epoch_ns);
        self.sealed.notify_one();
    }
}

pub struct Exporter {
    channel: Channel,
    shelf: Shelf,
}

/// What became of one attempt.
enum Attempt {
    Acknowledged { rejected: u64 },
    Refused(Status),
    Later(Status),
}

impl Exporter {
    /// # Errors
    /// When `collector` is no URI. A collector that is not there yet is waited for.
    pub fn new(collector: &str, shelf: Shelf) -> Result<Self, AddressError> {
        let endpoint = Endpoint::from_shared(collector.to_owned())
            .map_err(|source| AddressError { address: collector.to_owned(), source })?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_while_idle(true);
        Ok(Self { channel: endpoint.connect_lazy(), shelf })
    }

    /// Ships until the task is aborted.
    pub async fn run(self) {
        let mut failures = 0;
        loop {
            let Some(batch) = self.shelf.outbox().take_off() else {
                self.shelf.sealed.notified().await;
                continue;
            };
            let sequence = batch.sequence;
            match self.push(batch).await {
                Attempt::Acknowledged { rejected } => {
                    if failures > 0 {
                        info!(failures, sequence, "collector answers again");
                    }
                    failures = 0;
                    self.shelf.outbox().acknowledged(sequence, rejected);
                }
                Attempt::Refused(status) => {
                    warn!(sequence, %status, "collector refused a batch: it is dropped");
                    failures = 0;
                    self.shelf.outbox().refused(sequence);
                }
                Attempt::Later(status) => {
                    if failures == 0 {
                        warn!(sequence, %status, "failed to push a batch, trying again");
                    }
                    let random = RandomState::new().hash_one(sequence);
                    tokio::time::sleep(backoff(failures, random)).await;
                    failures += 1;
                }
            }
        }
    }

    async fn push(&self, batch: Batch) -> Attempt {
        match self.call(batch).await {
            Ok(reply) => Attempt::Acknowledged { rejected: reply.rejected },
            Err(status) if status.code() == Code::InvalidArgument => Attempt::Refused(status),
            Err(status) => Attempt::Later(status),
        }
    }

    async fn call(&self, batch: Batch) -> Result<PushReply, Status> {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = format!("/{}/{}", wire::SERVICE, wire::METHOD);
        let path = path.parse().map_err(|_| Status::internal("the method's path is no path"))?;
        let codec: ProstCodec<Batch, PushReply> = ProstCodec::default();
        Ok(client.unary(Request::new(batch), path, codec).await?.into_inner())
    }
}

/// Full jitter: anything up to the doubled wait, so that agents that failed together do not come
/// back together.
fn backoff(failures: u32, random: u64) -> Duration {
    let ceiling = BACKOFF_FIRST.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX);
    let ceiling_ms = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random % ceiling_ms.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_ceiling_and_never_pass_it() {
        for failures in 0..40 {
            let longest = backoff(failures, u64::MAX / 7 * 5);
            assert!(longest < BACKOFF_MAX, "{failures} failures: {longest:?}");
        }
        assert!(backoff(0, 199) < BACKOFF_FIRST);
        assert_eq!(backoff(3, 1_599), Duration::from_millis(1_599));
    }
}
