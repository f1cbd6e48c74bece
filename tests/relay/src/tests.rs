//! That the score asks the right question, and that what it asks of made-up services is answered.

use join::statistical::{Effort, assign};

use crate::made::make;
use crate::score::{Line, Score};
use crate::shapes::SHAPES;
use crate::spans::parse;
use crate::task::{Task, compress, tasks};

const HEADER: &str =
    "trace_id,span_id,parent_span_id,service,pod,span_kind,operation,start_us,duration_us\n";

fn tasks_of(rows: &str) -> Vec<Task> {
    tasks(&parse(format!("{HEADER}{rows}").as_bytes()).unwrap()).0
}

#[test]
fn a_client_span_stands_for_the_call() {
    let tasks = tasks_of(
        "t,a,,front,f-1,server,GET /,100,50\n\
         t,b,a,front,f-1,client,get,110,30\n\
         t,c,b,back,b-1,server,get,999,20\n",
    );
    assert_eq!(tasks.len(), 1);
    let call = tasks[0].workload.calls[0];
    assert_eq!((tasks[0].workload.calls.len(), call.start, call.end), (1, 110, 140));
    assert_eq!(tasks[0].truth, [Some(0)]);
}

#[test]
fn without_a_client_span_the_callees_own_stands_for_both_sides() {
    let tasks = tasks_of(
        "t,a,,front,f-1,,GET /,100000,50000\n\
         t,i,a,front,f-1,,render,101000,5000\n\
         t,c,i,back,b-1,,get,110000,20000\n",
    );
    assert_eq!((tasks.len(), tasks[0].service.as_str()), (1, "front"));
    assert_eq!((tasks[0].workload.requests.len(), tasks[0].workload.calls.len()), (1, 1));
    assert_eq!(tasks[0].truth, [Some(0)], "the internal span is part of the request");
    assert_eq!(tasks[0].workload.resolution, 1000);
}

#[test]
fn compressing_keeps_what_happens_inside_a_trace() {
    let mut spans = parse(
        format!(
            "{HEADER}t,a,,front,f,server,GET /,0,50\nu,a,,front,f,server,GET /,100000,50\n\
             u,b,a,front,f,client,get,100010,30\n"
        )
        .as_bytes(),
    )
    .unwrap();
    compress(&mut spans, 5);
    let starts: Vec<i64> = spans.iter().map(|s| s.start).collect();
    assert_eq!(starts, [0, 20_000, 20_010]);
    assert_eq!(spans[2].end - spans[2].start, 30);
}

#[test]
fn a_file_without_a_needed_column_is_refused_by_its_name() {
    let error = parse("trace_id,span_id\nt,a\n".as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "no column parent_span_id");
}

#[test]
fn a_row_that_is_no_span_is_refused_by_its_line() {
    let refused = |row: &str| {
        let error = parse(format!("{HEADER}t,a,,front,f,server,GET /,0,50\n{row}\n").as_bytes());
        format!("{:#}", error.unwrap_err())
    };
    assert_eq!(refused("t,b,a,front"), "line 3: 4 fields of 9");
    assert_eq!(refused("t,b,a,front,f,client,get,soon,5"), "line 3: start_us is soon");
}

#[test]
fn kinds_are_told_apart_however_they_are_spelt() {
    let tasks = tasks_of(
        "t,a,,front,f-1,SPAN_KIND_SERVER,GET /,100,50\n\
         t,b,a,front,f-1,Client,get,110,30\n",
    );
    assert_eq!(tasks[0].workload.requests.len(), 1);
    assert_eq!(tasks[0].truth, [Some(0)]);
}

#[test]
fn a_call_whose_parent_is_lost_has_no_known_cause() {
    let tasks = tasks_of(
        "t,a,,front,f-1,server,GET /,100,50\n\
         t,b,gone,front,f-1,client,get,110,30\n",
    );
    assert_eq!(tasks[0].truth, [None]);
}

#[test]
fn a_span_that_was_sent_twice_is_one() {
    let row = "t,b,a,front,f-1,client,get,110,30\n";
    let tasks = tasks_of(&format!("t,a,,front,f-1,server,GET /,100,50\n{row}{row}"));
    assert_eq!(tasks[0].workload.calls.len(), 1);
}

#[test]
fn parents_in_a_circle_end_nowhere() {
    let tasks = tasks_of(
        "t,a,b,front,f-1,client,GET /,100,50\n\
         t,b,a,front,f-1,client,get,110,30\n",
    );
    assert_eq!(tasks[0].truth, [None, None]);
}

fn scored(name: &str, seed: u64) -> Line {
    let shape = SHAPES.iter().find(|s| s.name == name).unwrap();
    let (tasks, traces) = tasks(&make(shape, 600, seed));
    let mut score = Score::default();
    for task in &tasks {
        score.add(task, &assign(&task.workload, Effort::default()));
    }
    score.line(name, traces, 0.0)
}

#[test]
fn made_up_services_of_every_kind_are_seen_through() {
    let (mut committed, mut wrong) = (0.0, 0.0);
    for (name, forced_min, coverage_min) in [
        ("loop-one", 0.99, 0.95),
        ("loop-several", 0.99, 0.95),
        ("loop-fans-replicas", 0.98, 0.95),
        ("loop-light-ms", 0.99, 0.95),
        ("loop-slow-ms", 0.93, 0.9),
        ("loop-wide", 0.99, 0.95),
        ("async-many", 0.98, 0.95),
        ("async-clients", 0.98, 0.95),
        ("node-many", 0.93, 0.9),
        ("pool-callee", 0.98, 0.95),
        ("workers-parts", 0.96, 0.93),
        ("pool-shared", 0.98, 0.95),
        ("pool-one", 0.98, 0.95),
        ("pool-caches", 0.99, 0.95),
        ("pool-fans", 0.99, 0.95),
        ("pool-dense-ms", 0.97, 0.95),
        ("pool-dense", 0.97, 0.95),
    ] {
        let line = scored(name, 1);
        let number = |key: &str| line.number(key).unwrap_or(0.0);
        let (forced, coverage) = (number("forced_accuracy"), number("coverage"));
        assert!(forced >= forced_min, "{name}: seed 1, forced {forced}");
        assert!(coverage >= coverage_min, "{name}: seed 1, coverage {coverage}");
        let precision = number("committed_precision");
        assert!(precision >= 0.999, "{name}: seed 1, precision {precision}");
        committed += coverage * number("calls");
        wrong += number("committed_wrong");
    }
    let precision = 1.0 - wrong / committed;
    assert!(precision >= 0.999, "{wrong} of {committed} links are wrong");
}

#[test]
fn a_service_that_times_cannot_tell_is_not_committed() {
    // Three events a millisecond, stamped in milliseconds, fifty requests in flight.
    let line = scored("loop-several-ms", 1);
    let precision = line.number("committed_precision").unwrap_or(1.0);
    let coverage = line.number("coverage").unwrap_or(0.0);
    assert!(precision >= 0.999 || coverage == 0.0, "precision {precision} at {coverage}");
}

#[test]
fn compressed_made_up_services_are_harder_and_no_less_honest() {
    let dense = SHAPES.iter().find(|s| s.name == "pool-dense").unwrap();
    let mut spans = make(dense, 600, 1);
    compress(&mut spans, 4);
    let (tasks, traces) = tasks(&spans);
    let mut score = Score::default();
    score.add(&tasks[0], &assign(&tasks[0].workload, Effort::default()));
    let line = score.line("compressed", traces, 0.0);
    assert!(line.number("committed_precision").is_none_or(|p| p >= 0.999), "{line}");
}
