//! That the score asks the right question, and that what it asks of made-up services is answered.

use join::statistical::{Effort, assign};

use crate::score::Score;
use crate::shapes::{SHAPES, make};
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

/// Share of traces that are right by force, share of commits that are right, and coverage.
fn score(name: &str, seed: u64) -> (f64, f64, f64) {
    let shape = SHAPES.iter().find(|s| s.name == name).unwrap();
    let (tasks, traces) = tasks(&make(shape, 600, seed));
    let mut score = Score::default();
    for task in &tasks {
        score.add(task, &assign(&task.workload, Effort::default()));
    }
    let line = score.line(name, traces, 0.0);
    let share = |key: &str| line.number(key).unwrap_or(1.0);
    (share("forced_accuracy"), share("committed_precision"), share("coverage"))
}

#[test]
fn made_up_services_of_every_kind_are_seen_through() {
    for (name, forced_min) in [
        ("loop-one", 0.99),
        ("loop-several", 0.98),
        ("loop-fans-replicas", 0.98),
        ("pool-one", 0.98),
        ("pool-caches", 0.99),
        ("pool-fans", 0.99),
        ("pool-dense-ms", 0.97),
        ("pool-dense", 0.97),
    ] {
        let (forced, precision, coverage) = score(name, 1);
        assert!(forced >= forced_min, "{name}: seed 1, forced {forced}");
        assert!(precision >= 0.999, "{name}: seed 1, precision {precision}");
        assert!(coverage >= 0.95, "{name}: seed 1, coverage {coverage}");
    }
}

#[test]
fn a_service_that_times_cannot_tell_is_not_committed() {
    // Three events a millisecond, stamped in milliseconds, fifty requests in flight.
    let (_, precision, coverage) = score("loop-several-ms", 1);
    assert!(precision >= 0.999 || coverage == 0.0, "precision {precision} at {coverage}");
}
