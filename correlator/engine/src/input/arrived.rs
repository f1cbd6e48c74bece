//! Which rows came since: of them only the columns are read that say where and when they are from.

use std::ops::Range;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use store::Wanted;

use super::followed::{Followed, Observed, reach};
use super::{InputError, Look};
use crate::pins::Pins;

/// A raw row that came: which one, and when it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) table: &'static str,
    pub(crate) node: String,
    pub(crate) collector: String,
    pub(crate) ingest_seq: i64,
    pub(crate) event_ns: i64,
}

impl<R: Observed> Followed<R> {
    /// Whether rows with event times in a range, and with other columns in theirs, came after a
    /// look.
    pub(crate) async fn touched_since(
        &self,
        look: Look,
        events: &Range<i64>,
        others: &[(&'static str, Range<i64>)],
    ) -> Result<bool, InputError> {
        let Some(table) = self.table() else { return Ok(false) };
        let mut wanted = wanted(&["event_ns"], events);
        wanted.within.extend_from_slice(others);
        for file in self.overlapping(events, |file| self.came(file) > Some(look)) {
            let rows = table.read_columns(&file, &wanted).await?;
            if rows.iter().any(|rows| rows.num_rows() > 0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Rows about events before a moment that came in these looks and are not known.
    pub(crate) async fn arrived(
        &self,
        looks: &Range<Look>,
        before_ns: i64,
        known: &Pins,
    ) -> Result<Vec<Arrival>, InputError> {
        let Some(table) = self.table() else { return Ok(Vec::new()) };
        let before = i64::MIN..before_ns;
        let files = self.overlapping(&before, |file| {
            let came = self.came(file).is_some_and(|look| looks.start < look && look <= looks.end);
            let is_known = |(collector, seq)| known.admit(R::TABLE, collector, seq);
            came && !reach(file).is_some_and(is_known)
        });
        let wanted = wanted(&["node", "event_ns", "collector", "ingest_seq"], &before);
        let mut arrivals = Vec::new();
        for file in files {
            for rows in table.read_columns(&file, &wanted).await? {
                arrivals.extend(arrivals_of(R::TABLE, &rows, known));
            }
        }
        Ok(arrivals)
    }
}

fn wanted(columns: &[&str], events: &Range<i64>) -> Wanted {
    Wanted {
        columns: columns.iter().map(|&column| column.to_owned()).collect(),
        within: vec![("event_ns", events.clone())],
        ..Wanted::default()
    }
}

fn arrivals_of(table: &'static str, rows: &RecordBatch, known: &Pins) -> Vec<Arrival> {
    let text = |name: &str| rows.column_by_name(name)?.as_string_opt::<i32>();
    let number = |name: &str| rows.column_by_name(name)?.as_primitive_opt::<Int64Type>();
    let texts = text("node").zip(text("collector"));
    let Some(((nodes, collectors), (seqs, events))) =
        texts.zip(number("ingest_seq").zip(number("event_ns")))
    else {
        return Vec::new();
    };
    let is_new = |row: &usize| !known.admit(table, collectors.value(*row), seqs.value(*row));
    let arrival = |row: usize| Arrival {
        table,
        node: nodes.value(row).to_owned(),
        collector: collectors.value(row).to_owned(),
        ingest_seq: seqs.value(row),
        event_ns: events.value(row),
    };
    (0..rows.num_rows()).filter(is_new).map(arrival).collect()
}

#[cfg(test)]
mod tests {
    use store::{Progress, Store};
    use tables::Exchange;

    use super::*;

    /// Exchanges from and until these times.
    async fn follow(store: &Store, times: &[(i64, i64)]) -> Followed<Exchange> {
        let exchange = |&(start_ns, event_ns): &(i64, i64)| {
            let hour = tables::hour_of_ns(event_ns);
            Exchange { hour, event_ns, start_ns, ..Exchange::default() }
        };
        let table = store.table(&tables::spec::<Exchange>()).await.unwrap();
        let rows: Vec<Exchange> = times.iter().map(exchange).collect();
        let staged = table.stage_rows(&rows, "collector-1-1").await.unwrap();
        table.append(staged, Progress::new("collector-1", 1)).await.unwrap();
        let mut followed = Followed::new(store);
        followed.refresh(2).await.unwrap();
        followed
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn range_is_touched_by_rows_in_it_that_began_in_time_and_came_later() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).await.unwrap();
        let followed = follow(&store, &[(0, 10), (20, 30)]).await;
        let touched = async |look: Look, events: Range<i64>, began: Range<i64>| {
            followed.touched_since(look, &events, &[("start_ns", began)]).await.unwrap()
        };
        assert!(touched(1, 10..20, 0..20).await);
        assert!(!touched(2, 10..20, 0..20).await);
        assert!(!touched(1, 11..30, 0..30).await);
        assert!(touched(1, 20..40, 0..30).await);
        assert!(!touched(1, 20..40, 0..20).await);
    }
}
