//! The schemas as text: a change of any table shows in the diff of `schemas.txt`.

use std::fmt::Write;

const CONTRACT: &str = include_str!("../schemas.txt");

#[test]
fn schemas_are_those_of_the_contract_file() {
    let mut found = String::new();
    for table in tables::all() {
        writeln!(found, "{} ({:?})", table.name, table.layer).unwrap();
        for field in table.schema.fields() {
            let null = if field.is_nullable() { "" } else { " not null" };
            writeln!(found, "  {} {}{null}", field.name(), field.data_type()).unwrap();
        }
        writeln!(found, "  statistics: {}", table.statistics.join(" ")).unwrap();
        writeln!(found, "  bloom: {}", table.bloom.join(" ")).unwrap();
    }
    assert_eq!(
        found, CONTRACT,
        "a table changed: columns are added, never changed or reused; then update schemas.txt to\n{found}"
    );
}

#[test]
fn rows_come_back_from_columns_as_they_were() {
    let log = tables::AccessLog {
        request_id: Some("abc".into()),
        event_time: tables::Micros(-1),
        attempts: vec![
            tables::Attempt {
                ip: Some("10.0.0.1".into()),
                port: Some(80),
                group: 1,
                ..Default::default()
            },
            tables::Attempt::default(),
        ],
        ..Default::default()
    };
    let rows = vec![log, tables::AccessLog::default()];
    assert_eq!(tables::from_batch::<tables::AccessLog>(&tables::to_batch(&rows)).unwrap(), rows);

    let path = tables::Path {
        services: vec!["cart".into()],
        conf_min: 0.99999,
        hops: vec![tables::PathHop { evidence: vec!["tcp_seq".into()], ..Default::default() }],
        ..Default::default()
    };
    let rows = vec![path, tables::Path::default()];
    assert_eq!(tables::from_batch::<tables::Path>(&tables::to_batch(&rows)).unwrap(), rows);

    let edge = tables::EdgeMinute {
        source_workload: Some("cart".into()),
        latency: vec![tables::LatencyBucket { upper_ns: 1280, count: 2 }],
        ..Default::default()
    };
    let rows = vec![edge, tables::EdgeMinute::default()];
    assert_eq!(tables::from_batch::<tables::EdgeMinute>(&tables::to_batch(&rows)).unwrap(), rows);
}

#[test]
fn table_without_rows_is_a_batch_without_rows() {
    let batch = tables::to_batch::<tables::Hop>(&[]);
    assert_eq!((batch.num_rows(), batch.schema()), (0, tables::spec::<tables::Hop>().schema));
}

#[test]
fn missing_column_is_an_error_that_names_the_table() {
    let batch = tables::to_batch(&[tables::Hop::default()]);
    let without = batch.project(&[0, 1]).unwrap();
    let error = tables::from_batch::<tables::Hop>(&without).unwrap_err();
    assert!(error.to_string().contains("hop"), "{error}");
}
