//! The slow lane's reads: rows of some pods, from before the range of a window.
//!
//! Files are chosen by their event times, rows by what names the pods in them. What is read is handed
//! on file by file, so that the limits of the join bound the memory too.

use std::collections::BTreeSet;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use futures::TryStreamExt as _;
use join::{Columns, Earlier};
use store::Wanted;

use super::columns::of_join;
use super::followed::{Followed, Observed};
use super::{Input, InputError, Limit, NO_LOOK};
use crate::pins::Pins;

type Texts = Arc<BTreeSet<String>>;

impl Input {
    /// Hands over what is asked for, and answers what it rests on and how many rows it was.
    pub(crate) async fn earlier(
        &self,
        asked: &Earlier,
        limit: Limit<'_>,
        mut take: impl FnMut(Columns) + Send,
    ) -> Result<(Pins, usize), InputError> {
        let (pods, addresses) = (Arc::new(asked.pods.clone()), Arc::new(asked.addresses.clone()));
        let nodes = Arc::new(asked.nodes.clone());
        let rows = &asked.rows;
        let mut hand = Handing { limit, take: &mut take, pins: Pins::default(), rows: 0 };
        hand.over(&self.exchanges, rows, &[("pod_uid", &pods)]).await?;
        let spans = [("pod_uid", &pods), ("sender_ip", &addresses)];
        hand.over(&self.spans, rows, &spans).await?;
        let lines = [("pod_uid", &pods), ("emitter_ip", &addresses)];
        hand.over(&self.access_logs, rows, &lines).await?;
        hand.over(&self.connections, rows, &[("node", &nodes)]).await?;
        let bindings = [("original_source_ip", &addresses)];
        hand.over(&self.nat_bindings, &asked.connections, &bindings).await?;
        hand.over(&self.heartbeats, rows, &[]).await?;
        Ok((hand.pins, hand.rows))
    }
}

struct Handing<'a, T> {
    limit: Limit<'a>,
    take: &'a mut T,
    pins: Pins,
    rows: usize,
}

impl<T: FnMut(Columns) + Send> Handing<'_, T> {
    /// The rows of one table that name one of these.
    async fn over<R: Observed>(
        &mut self,
        table: &Followed<R>,
        events: &Range<i64>,
        any_of: &[(&'static str, &Texts)],
    ) -> Result<(), InputError> {
        let wanted = Wanted {
            within: vec![("event_ns", events.clone())],
            any_of: any_of.iter().map(|(column, texts)| (*column, (*texts).clone())).collect(),
            ..of_join(R::TABLE)
        };
        let mut parts = pin!(table.parts(&wanted, NO_LOOK, self.limit));
        while let Some((columns, pins, rows)) = parts.try_next().await? {
            (self.take)(columns);
            self.pins.merge(&pins);
            self.rows += rows;
        }
        Ok(())
    }
}
