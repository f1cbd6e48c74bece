//! The Delta tables and the truth's files.

use std::collections::BTreeMap;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use store::Store;

use super::dials;
use crate::Dials;
use crate::columns::Table;
use crate::write::{Plan, write};

async fn rows_in(out: &std::path::Path) -> BTreeMap<&'static str, u64> {
    let store = Store::open(&out.join("tables").to_string_lossy()).await.unwrap();
    let mut rows = BTreeMap::new();
    for table in Table::ALL {
        let table = store.existing(&table.spec()).await.unwrap().unwrap();
        let files = table.snapshot().await.unwrap().files;
        let count = files.iter().map(|file| file.rows).sum();
        if count > 0 {
            rows.insert(table.spec().name, count);
        }
    }
    rows
}

fn plan(folder: &tempfile::TempDir) -> Plan {
    Plan {
        out: folder.path().to_owned(),
        commit_every_ns: 2_000_000_000,
        live: false,
        truth_every: 1,
    }
}

#[tokio::test]
async fn a_run_is_delta_tables_and_a_truth_of_as_many_rows_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    // An hour begins in the middle of the run.
    let start = 1_795_003_200 - 1_795_003_200 % 3_600 - 10;
    let summary = write(Dials { start, late: 0.05, ..dials() }, &plan(&folder)).await.unwrap();
    assert!(summary.commits > 10);
    assert_eq!(rows_in(folder.path()).await, summary.rows);
    for (file, expected) in [("requests.parquet", summary.requests), ("legs.parquet", summary.legs)]
    {
        let file = std::fs::File::open(folder.path().join("truth").join(file)).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        assert_eq!(reader.metadata().file_metadata().num_rows() as u64, expected);
    }
    let text = std::fs::read_to_string(folder.path().join("truth/run.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["requests"], summary.requests);
}

#[tokio::test]
async fn legs_of_a_pod_that_came_with_the_batch_after_a_commit_are_told_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    // With this seed a pod comes and is called between two batches of one commit.
    let dials = Dials { churn: 60.0, seed: 3, ..dials() };
    let summary = write(dials, &plan(&folder)).await.unwrap();
    assert!(summary.legs > 1_000);
}
