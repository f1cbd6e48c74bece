//! Questions asked of small tables that the store itself wrote.

use datafusion::physical_plan::metrics::MetricValue;
use datafusion::physical_plan::{ExecutionPlan, collect as run};
use store::{Progress, Store};
use tables::{Ambiguous, Heartbeat, Hop, Micros, Origin, Path, Quarantine, Row};

use crate::current::current;
use crate::{AmbiguousFilter, Interval, PathFilter, QueryError, Reader, predicate};

const SECOND: i64 = 1_000_000_000;
/// 2026-11-21T12:00:00Z.
const NOON_S: i64 = 1_795_262_400;

/// A folder of tables that lives as long as the test.
struct Tables {
    folder: tempfile::TempDir,
    commits: i64,
}

impl Tables {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), commits: 0 }
    }

    fn at(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    /// Commits rows of one window as one file, removing the files that a final stage replaces.
    async fn write<R: Row>(&mut self, win: i64, stage: &str, rows: &[R]) {
        let store = Store::open(self.at()).await.unwrap();
        let table = store.table(&tables::spec::<R>()).await.unwrap();
        let staged = table.stage_rows(rows, &format!("{win}-{stage}")).await.unwrap();
        self.commits += 1;
        table.append(staged, Progress::new("test", self.commits)).await.unwrap();
    }

    async fn reader(&self) -> Reader {
        Reader::open(self.at()).await.unwrap()
    }
}

fn path(win: i64, stage: &str, id: u128) -> Path {
    let start_ns = win * SECOND + 1;
    Path {
        hour: tables::hour_of_ns(win * SECOND),
        win,
        stage: stage.into(),
        finality: if stage == "F" { "final" } else { "provisional" }.into(),
        path_id: format!("{id:032x}"),
        start_ns,
        start_time: tables::micros_of_ns(start_ns),
        verdict: "complete".into(),
        status: Some(200),
        ..Path::default()
    }
}

fn ids(paths: &[Path]) -> Vec<u128> {
    paths.iter().map(|path| u128::from_str_radix(&path.path_id, 16).unwrap()).collect()
}

async fn check(tables: &Tables, filter: PathFilter, expected: &[u128]) {
    let limit = if filter.limit == 0 { 100 } else { filter.limit };
    let answer = tables.reader().await.paths(&PathFilter { limit, ..filter }).await.unwrap();
    assert_eq!(ids(&answer.rows), expected);
}

#[tokio::test]
async fn a_folder_without_tables_is_named_in_the_error_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nothing");
    let error = Reader::open(missing.to_str().unwrap()).await.err().unwrap();
    assert!(matches!(error, QueryError::NoTables { .. }), "{error}");
    assert!(!missing.exists());

    let reader = Reader::open(folder.path().to_str().unwrap()).await.unwrap();
    let error = reader.paths(&PathFilter::default()).await.unwrap_err();
    assert!(matches!(error, QueryError::NoTables { .. }), "{error}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);

    let mut raw_only = Tables::new();
    raw_only.write(0, "agent", &[Heartbeat::from_origin(&Origin::default())]).await;
    let error = raw_only.reader().await.paths(&PathFilter::default()).await.unwrap_err();
    assert!(matches!(error, QueryError::NoTable { table: "path", .. }), "{error}");
}

#[tokio::test]
async fn rows_come_back_as_they_were_written_with_hops_and_partition() {
    let mut tables = Tables::new();
    let written = Path {
        services: vec!["shop/cart".into()],
        hops: vec![tables::PathHop { kind: "edge".into(), ..Default::default() }],
        missing: vec!["a: MISSING_LATE".into()],
        trace_id: Some("t".repeat(32)),
        ..path(NOON_S, "F", 1)
    };
    tables.write(NOON_S, "F", std::slice::from_ref(&written)).await;
    let answer =
        tables.reader().await.paths(&PathFilter { limit: 1, ..Default::default() }).await.unwrap();
    assert_eq!(answer.rows, [written]);
    assert!(!answer.is_cut);
}

#[tokio::test]
async fn an_id_is_looked_for_as_path_trace_and_request_id() {
    let mut tables = Tables::new();
    let hex = "8f14e45fceea467f9b8a1d2c3e4f5a6b";
    let number = u128::from_str_radix(hex, 16).unwrap();
    let by_path = path(NOON_S, "F", number);
    let by_trace = Path { trace_id: Some(hex.into()), ..path(NOON_S, "F", 2) };
    let by_request = Path { request_id: Some(hex.into()), ..path(NOON_S, "F", 3) };
    let twice = Path { request_id: Some(hex.into()), ..by_trace.clone() };
    let twice = Path { path_id: format!("{:032x}", 4), ..twice };
    let other = path(NOON_S, "F", 5);
    tables.write(NOON_S, "F", &[by_path, by_trace, by_request, twice, other]).await;
    let id = |text: &str| PathFilter { id: Some(text.parse().unwrap()), ..Default::default() };
    check(&tables, id("8F14E45F-CEEA-467F-9B8A-1D2C3E4F5A6B"), &[2, 3, 4, number]).await;
    check(&tables, id("' or 1=1 --"), &[]).await;
}

#[tokio::test]
async fn every_filter_must_hold() {
    let mut tables = Tables::new();
    let rows = [
        Path { services: vec!["cart".into()], status: Some(502), ..path(NOON_S, "F", 1) },
        Path { pods: vec!["cart-0".into()], status: Some(503), ..path(NOON_S, "F", 2) },
        Path { verdict: "partial".into(), status: None, ..path(NOON_S, "F", 3) },
    ];
    tables.write(NOON_S, "F", &rows).await;
    let all = PathFilter::default;
    check(&tables, PathFilter { service: Some("cart".parse().unwrap()), ..all() }, &[1]).await;
    check(&tables, PathFilter { pod: Some("cart-0".into()), ..all() }, &[2]).await;
    check(&tables, PathFilter { pod: Some("cart".into()), ..all() }, &[]).await;
    check(&tables, PathFilter { status: Some("5xx".parse().unwrap()), ..all() }, &[1, 2]).await;
    check(&tables, PathFilter { status: Some("503".parse().unwrap()), ..all() }, &[2]).await;
    check(&tables, PathFilter { verdict: Some("partial".parse().unwrap()), ..all() }, &[3]).await;
    let both =
        PathFilter { service: Some("cart".parse().unwrap()), pod: Some("cart-0".into()), ..all() };
    check(&tables, both, &[]).await;
}

#[tokio::test]
async fn a_service_can_be_asked_for_with_its_namespace() {
    let mut tables = Tables::new();
    let cart = |id| Path { services: vec!["cart".into()], ..path(NOON_S, "F", id) };
    let hop = |id: u128, namespace: &str| Hop {
        hour: tables::hour_of_ns(NOON_S * SECOND),
        win: NOON_S,
        stage: "F".into(),
        path_id: format!("{id:032x}"),
        service: Some("cart".into()),
        service_namespace: Some(namespace.into()),
        ..Hop::default()
    };
    tables.write(NOON_S, "F", &[cart(1), cart(2)]).await;
    tables.write(NOON_S, "F", &[hop(1, "shop"), hop(1, "shop"), hop(2, "other")]).await;
    let of = |service: &str| PathFilter {
        service: Some(service.parse().unwrap()),
        ..PathFilter::default()
    };
    check(&tables, of("cart"), &[1, 2]).await;
    check(&tables, of("shop/cart"), &[1]).await;
    check(&tables, of("none/cart"), &[]).await;
}

#[tokio::test]
async fn newest_come_first_and_a_cut_is_told() {
    let mut tables = Tables::new();
    tables.write(NOON_S, "F", &[path(NOON_S, "F", 1)]).await;
    tables.write(NOON_S + 10, "P", &[path(NOON_S + 10, "P", 2)]).await;
    tables.write(NOON_S + 20, "P", &[path(NOON_S + 20, "P", 3)]).await;
    let reader = tables.reader().await;
    let answer = reader.paths(&PathFilter { limit: 2, ..Default::default() }).await.unwrap();
    assert_eq!(ids(&answer.rows), [3, 2]);
    assert!(answer.is_cut);
    let answer = reader.paths(&PathFilter { limit: 3, ..Default::default() }).await.unwrap();
    assert_eq!(ids(&answer.rows), [3, 2, 1]);
    assert!(!answer.is_cut);
}

#[tokio::test]
async fn a_final_window_hides_what_was_provisional_in_it() {
    let mut tables = Tables::new();
    tables.write(NOON_S, "P", &[path(NOON_S, "P", 1), path(NOON_S, "P", 2)]).await;
    tables.write(NOON_S, "F", &[path(NOON_S, "F", 1)]).await;
    check(&tables, PathFilter::default(), &[1]).await;
}

#[tokio::test]
async fn a_filter_sees_the_newest_revision_only() {
    let mut tables = Tables::new();
    let first = Path { verdict: "partial".into(), ..path(NOON_S, "P", 1) };
    let second = Path { revision: 1, ..path(NOON_S, "R", 1) };
    tables.write(NOON_S, "P", &[first, path(NOON_S, "P", 2)]).await;
    tables.write(NOON_S, "R", &[second]).await;
    check(&tables, PathFilter::default(), &[1, 2]).await;
    let partial = PathFilter { verdict: Some("partial".parse().unwrap()), ..Default::default() };
    check(&tables, partial, &[]).await;
}

/// What a revision writes of a path that is gone.
fn withdrawn(win: i64, revision: i32, id: u128) -> Path {
    Path { revision, finality: tables::finality::WITHDRAWN.into(), ..path(win, "R", id) }
}

#[tokio::test]
async fn a_path_that_was_withdrawn_is_told_no_more_and_may_come_back() {
    let mut tables = Tables::new();
    tables.write(NOON_S, "P", &[path(NOON_S, "P", 1), path(NOON_S, "P", 2)]).await;
    tables.write(NOON_S, "R-1", &[withdrawn(NOON_S, 1, 1)]).await;
    check(&tables, PathFilter::default(), &[2]).await;
    let id = PathFilter { id: Some(format!("{:032x}", 1).parse().unwrap()), ..Default::default() };
    check(&tables, id, &[]).await;
    tables.write(NOON_S, "R-2", &[Path { revision: 2, ..path(NOON_S, "R", 1) }]).await;
    check(&tables, PathFilter::default(), &[1, 2]).await;
}

#[tokio::test]
async fn a_path_that_moved_on_is_told_once_before_and_after_its_withdrawal() {
    let mut tables = Tables::new();
    tables.write(NOON_S, "P", &[path(NOON_S, "P", 1)]).await;
    tables.write(NOON_S, "R-1", &[Path { revision: 1, ..path(NOON_S, "R", 1) }]).await;
    tables.write(NOON_S + 10, "P", &[path(NOON_S + 10, "P", 1)]).await;
    let wins = async |tables: &Tables| -> Vec<i64> {
        let filter = PathFilter { limit: 9, ..Default::default() };
        let answer = tables.reader().await.paths(&filter).await.unwrap();
        answer.rows.iter().map(|path| path.win).collect()
    };
    assert_eq!(wins(&tables).await, [NOON_S + 10]);
    tables.write(NOON_S, "R-2", &[withdrawn(NOON_S, 2, 1)]).await;
    assert_eq!(wins(&tables).await, [NOON_S + 10]);
}

#[tokio::test]
async fn what_belongs_to_no_path_is_revised_together() {
    let mut tables = Tables::new();
    let orphan = |stage: &str, revision: i32, segment: &str| Ambiguous {
        hour: tables::hour_of_ns(NOON_S * SECOND),
        win: NOON_S,
        stage: stage.into(),
        revision,
        finality: "provisional".into(),
        segment: segment.into(),
        ..Ambiguous::default()
    };
    let both = [orphan("P", 0, "one"), orphan("P", 0, "two")];
    let segments = async |tables: &Tables| -> Vec<String> {
        let filter = AmbiguousFilter { limit: 9, ..Default::default() };
        let answer = tables.reader().await.ambiguous(&filter).await.unwrap();
        let mut found: Vec<_> = answer.rows.into_iter().map(|row| row.segment).collect();
        found.sort();
        found
    };
    tables.write(NOON_S, "P", &both).await;
    assert_eq!(segments(&tables).await, ["one", "two"]);
    tables.write(NOON_S, "R-1", &[orphan("R", 1, "two")]).await;
    assert_eq!(segments(&tables).await, ["two"]);
    let gone = Ambiguous { finality: tables::finality::WITHDRAWN.into(), ..orphan("R", 2, "") };
    tables.write(NOON_S, "R-2", &[gone]).await;
    assert_eq!(segments(&tables).await, [""; 0]);
}

#[tokio::test]
async fn a_path_that_moved_to_a_final_window_is_told_once() {
    let mut tables = Tables::new();
    tables.write(NOON_S + 10, "P", &[path(NOON_S + 10, "P", 1)]).await;
    tables.write(NOON_S, "F", &[path(NOON_S, "F", 1)]).await;
    let reader = tables.reader().await;
    let answer = reader.paths(&PathFilter { limit: 9, ..Default::default() }).await.unwrap();
    let stages: Vec<_> = answer.rows.iter().map(|path| path.stage.as_str()).collect();
    assert_eq!(stages, ["F"]);
}

#[tokio::test]
async fn an_interval_is_half_open_and_skips_the_files_of_other_windows() {
    let mut tables = Tables::new();
    for n in 0..20 {
        let win = NOON_S + 10 * n;
        tables.write(win, "F", &[path(win, "F", n as u128)]).await;
    }
    let since_ns = Some((NOON_S + 170) * SECOND + 1);
    let until_ns = Some((NOON_S + 190) * SECOND + 1);
    let started = Interval { since_ns, until_ns };
    let reader = tables.reader().await;
    let answer =
        reader.paths(&PathFilter { started, limit: 9, ..Default::default() }).await.unwrap();
    assert_eq!(ids(&answer.rows), [18, 17]);
    // The window of the earliest request that can match begins 60 s before it.
    assert_eq!((answer.scanned.files, answer.scanned.of), (9, 20));
}

#[tokio::test]
async fn a_list_reads_only_as_many_windows_as_it_needs() {
    let mut tables = Tables::new();
    for n in 0..40 {
        let win = NOON_S + 10 * n;
        // Requests of the newest windows started long before them, but for one.
        let start_ns = if n > 5 && n != 39 { NOON_S * SECOND } else { win * SECOND };
        tables.write(win, "F", &[Path { start_ns, ..path(win, "F", n as u128) }]).await;
    }
    let reader = tables.reader().await;
    let newest = async |limit: usize| {
        let filter = PathFilter { limit, ..Default::default() };
        let answer = reader.paths(&filter).await.unwrap();
        (ids(&answer.rows), answer.scanned.files)
    };
    assert_eq!(newest(1).await, (vec![39], 32));
    assert_eq!(newest(3).await, (vec![39, 5, 4], 40));
}

#[tokio::test]
async fn bloom_filters_skip_the_files_that_lack_the_id() {
    const MIDDLE: u128 = 1 << 100;
    let mut tables = Tables::new();
    for n in 0..8_u128 {
        let win = NOON_S + 10 * n as i64;
        // Each file spans all ids, so that only the bloom filters can tell the files apart.
        let rows = [n, MIDDLE + n, u128::MAX - n].map(|id| {
            let text = Some(format!("{id:032x}"));
            Path { trace_id: text.clone(), request_id: text, ..path(win, "F", id) }
        });
        tables.write(win, "F", &rows).await;
    }
    let reader = tables.reader().await;
    let pinned = reader.pin(tables::spec::<Path>()).await.unwrap();
    let skipped = async |id: u128| {
        let id = Some(format!("{id:032x}").parse().unwrap());
        let filter = PathFilter { id, ..Default::default() };
        let mut skipped = Vec::new();
        for question in predicate::paths(&filter) {
            let (rows, _) = current(&reader.ctx, &pinned, question).unwrap();
            let context = std::sync::Arc::new(rows.task_ctx());
            let plan = rows.create_physical_plan().await.unwrap();
            run(plan.clone(), context).await.unwrap();
            skipped.push(bloom_pruned(plan.as_ref()));
        }
        skipped
    };
    assert_eq!(skipped(MIDDLE + 5).await, [7, 7, 7]);
    assert_eq!(skipped(MIDDLE + 1_000).await, [8, 8, 8]);
}

/// Row groups that a plan's bloom filters ruled out.
fn bloom_pruned(plan: &dyn ExecutionPlan) -> usize {
    let pruned = |value: &MetricValue| match value {
        MetricValue::PruningMetrics { name, pruning_metrics }
            if name == "row_groups_pruned_bloom_filter" =>
        {
            pruning_metrics.pruned()
        }
        _ => 0,
    };
    let own = plan.metrics().map_or(0, |all| all.iter().map(|metric| pruned(metric.value())).sum());
    own + plan.children().into_iter().map(|child| bloom_pruned(child.as_ref())).sum::<usize>()
}

#[tokio::test]
async fn hops_and_undecided_segments_of_a_path_come_in_order() {
    let mut tables = Tables::new();
    let owner = path(NOON_S, "F", 1);
    let hop = |position: i32| Hop {
        hour: owner.hour.clone(),
        win: NOON_S,
        stage: "F".into(),
        path_id: owner.path_id.clone(),
        position,
        ..Hop::default()
    };
    let segment = |start_ns: i64, path_id: Option<&str>| Ambiguous {
        hour: owner.hour.clone(),
        win: NOON_S,
        stage: "P".into(),
        path_id: path_id.map(str::to_owned),
        segment: format!("segment {start_ns}"),
        start_ns,
        start_time: Micros(start_ns / 1_000),
        reason: "AMBIG_TIME_ONLY".into(),
        ..Ambiguous::default()
    };
    let own = Some(owner.path_id.as_str());
    tables.write(NOON_S, "F", &[hop(1), hop(0)]).await;
    tables.write(NOON_S, "P", &[segment(2, own), segment(1, own), segment(3, None)]).await;
    let reader = tables.reader().await;
    let positions: Vec<_> =
        reader.hops_of(&owner).await.unwrap().iter().map(|hop| hop.position).collect();
    assert_eq!(positions, [0, 1]);
    let starts: Vec<_> =
        reader.ambiguous_of(&owner).await.unwrap().iter().map(|row| row.start_ns).collect();
    assert_eq!(starts, [1, 2]);
    let reason = Some("AMBIG_TIME_ONLY".into());
    let all = AmbiguousFilter { reason, limit: 9, ..Default::default() };
    assert_eq!(reader.ambiguous(&all).await.unwrap().rows.len(), 3);
    let none = AmbiguousFilter { reason: Some("OTHER".into()), limit: 9, ..Default::default() };
    assert_eq!(reader.ambiguous(&none).await.unwrap().rows.len(), 0);
}

#[tokio::test]
async fn the_state_of_the_data_is_counted_without_opening_derived_files() {
    let mut tables = Tables::new();
    let origin = |event_ns: i64| Origin { event_ns, node: "node-1".into(), ..Origin::default() };
    let old = Heartbeat::from_origin(&origin(NOON_S * SECOND - 3 * 3_600 * SECOND));
    let new = Heartbeat::from_origin(&origin(NOON_S * SECOND));
    tables.write(0, "agent", std::slice::from_ref(&old)).await;
    tables.write(1, "agent", std::slice::from_ref(&new)).await;
    let refused = Quarantine {
        receiver: "syslog".into(),
        reason: "line_cut".into(),
        ..Quarantine::from_origin(&origin(NOON_S * SECOND))
    };
    tables.write(2, "agent", &[refused.clone(), refused]).await;
    tables.write(NOON_S, "P", &[path(NOON_S, "P", 1)]).await;
    tables.write(NOON_S + 10, "F", &[path(NOON_S + 10, "F", 2)]).await;

    let reader = tables.reader().await;
    assert_eq!(reader.heartbeats().await.unwrap(), [new]);
    assert!(reader.capabilities().await.unwrap().is_empty());
    let refused = reader.refused().await.unwrap();
    assert_eq!((refused.len(), refused[0].count, refused[0].newest_ns), (1, 2, NOON_S * SECOND));
    let windows = reader.windows().await.unwrap();
    assert_eq!((windows.provisional, windows.fixed), (1, 1));
    assert_eq!(windows.newest_ns, Some((NOON_S + 10) * SECOND));
    let states = reader.tables().await.unwrap();
    let content =
        |name: &str| states.iter().find(|state| state.name == name).unwrap().content.clone();
    assert_eq!(content("raw_heartbeat").unwrap().rows, 2);
    assert_eq!(content("path").unwrap().newest_ns, Some((NOON_S + 10) * SECOND));
    assert_eq!(content("hop"), None);
}
