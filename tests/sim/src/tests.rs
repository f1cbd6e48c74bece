//! Whole runs, looked at from outside.

mod clocks;
mod connections;
mod delivery;
mod ids;
mod presence;
mod resolution;
mod retries;
mod tables_written;
mod truths;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;

use crate::columns::Table;
use crate::dials::SECOND;
use crate::truth::{Leg, Truth};
use crate::{Batch, Columns, Dials, Names, Rows, Simulation};

/// Everything that a run gave.
struct Run {
    batches: Vec<Batch>,
    columns: Vec<(Table, RecordBatch)>,
    rows: Rows,
    truth: Truth,
    names: Names,
}

/// A short run of the shop, but for what the test turns.
fn dials() -> Dials {
    Dials { seconds: 20.0, rate: Some(40.0), tail: 30 * SECOND, ..Dials::default() }
}

fn run(dials: Dials) -> Run {
    let seed = dials.seed;
    let mut simulation = Simulation::new(dials).unwrap();
    let mut names = Names::of(simulation.cluster(), simulation.shape(), seed);
    let mut columns = Columns::default();
    let mut batches = Vec::new();
    while let Some(batch) = simulation.next() {
        names.follow(simulation.cluster());
        columns.take(&batch, &names);
        batches.push(batch);
    }
    let columns = columns.finish();
    let rows = Rows::of(&columns).unwrap();
    Run { batches, columns, rows, truth: simulation.take_truth(), names }
}

impl Run {
    fn agent_rows(&self) -> usize {
        self.rows.exchanges.len() + self.rows.connections.len() + self.rows.nat_bindings.len()
    }

    /// Legs by the client socket's port, the request's sequence number and the server's end.
    fn legs_by_stream(&self) -> BTreeMap<(String, i64), &Leg> {
        let key = |leg: &Leg| (leg.reply.0.to_string(), i64::from(leg.seq_request));
        self.truth.legs.iter().map(|leg| (key(leg), leg)).collect()
    }
}

fn within(value: f64, low: f64, high: f64) {
    assert!((low..=high).contains(&value), "{value} is not in {low}..{high}");
}

#[test]
fn the_same_seed_gives_the_same_rows_and_truth_and_another_one_others() {
    let all = Dials {
        loss_agents: 0.05,
        duplicates: 0.05,
        late: 0.05,
        reorder: 0.1,
        skew: SECOND / 4,
        churn: 10.0,
        failing: 0.05,
        ..dials()
    };
    let (first, again) = (run(all.clone()), run(all.clone()));
    assert_eq!(first.columns, again.columns);
    assert_eq!(first.truth.legs, again.truth.legs);
    assert_eq!(first.truth.requests, again.truth.requests);
    let other = run(Dials { seed: 2, ..all });
    assert_ne!(first.columns, other.columns);
}

#[test]
fn columns_are_those_that_the_tables_crate_makes_of_the_same_rows() {
    let run =
        run(Dials { loss_agents: 0.02, failing: 0.05, refused: 0.1, agents_down: 1, ..dials() });
    let envoy = crate::tests::run(Dials { ingress: crate::dials::Ingress::Envoy, ..dials() });
    for (table, batch) in run.columns.iter().chain(&envoy.columns) {
        macro_rules! same {
            ($row:ty) => {{
                let rows: Vec<$row> = tables::from_batch(batch).unwrap();
                assert_eq!(&tables::to_batch(&rows), batch, "{table:?}");
            }};
        }
        match table {
            Table::Exchange => same!(tables::Exchange),
            Table::Connection => same!(tables::Connection),
            Table::NatBinding => same!(tables::NatBinding),
            Table::Failure => same!(tables::Failure),
            Table::Span => same!(tables::Span),
            Table::AccessLog => same!(tables::AccessLog),
            Table::Heartbeat => same!(tables::Heartbeat),
            Table::Capability => same!(tables::Capability),
            Table::ClusterObject => same!(tables::ClusterObject),
        }
    }
}

#[test]
fn batches_come_in_the_order_of_their_arrival() {
    let run = run(Dials { late: 0.1, reorder: 0.1, duplicates: 0.1, ..dials() });
    assert!(run.batches.is_sorted_by_key(|batch| batch.received_ns));
    let mut last = BTreeMap::new();
    for batch in &run.batches {
        let before = last.insert(batch.collector, batch.ingest_seq);
        assert_eq!(batch.ingest_seq, before.unwrap_or(0) + 1);
    }
}
