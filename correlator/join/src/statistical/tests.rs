//! Situations inside one pod, and what must hold for any input.

use proptest::prelude::*;

use super::*;

const OPERATION: u32 = 0;

fn request(start: i64, end: i64, operation: u32, place: u32) -> Request {
    Request { start, end, operation, place, key: start as u64 }
}

fn call(start: i64, end: i64, destination: u32, place: u32) -> Call {
    Call { start, end, destination, place, key: start as u64, served_as: None, caused_by: None }
}

fn workload(requests: Vec<Request>, calls: Vec<Call>) -> Workload {
    Workload { requests, calls, resolution: 1 }
}

/// The forced choice for each call.
fn check(workload: &Workload, expected: &[Option<u32>]) {
    let assignment = assign(workload, Effort::default());
    let forced: Vec<_> = assignment.choices.iter().map(Choice::forced).collect();
    assert_eq!(forced, expected);
}

/// Requests that meet nobody, each with a call 100 to 119 after its start and 50 before its end.
fn quiet(count: i64, place: u32) -> Workload {
    let mut quiet = workload(Vec::new(), Vec::new());
    for i in 0..count {
        let at = i * 10_000;
        let starts = at + 100 + i * 7 % 20;
        quiet.requests.push(request(at, starts + 1050, OPERATION, place));
        quiet.calls.push(call(starts, starts + 1000, 0, place));
    }
    quiet
}

#[test]
fn requests_that_meet_nobody_own_their_calls() {
    let quiet = quiet(30, 0);
    let expected: Vec<_> = (0..30).map(Some).collect();
    check(&quiet, &expected);
    let assignment = assign(&quiet, Effort::default());
    assert!(assignment.is_settled);
    assert!((0..30).all(|call| assignment.sure(call, 0.97, 0.5).is_some()));
}

#[test]
fn what_quiet_requests_teach_tells_overlapping_ones_apart() {
    let mut busy = quiet(30, 0);
    // The second request comes 80 later, so its call comes later too.
    busy.requests.extend([request(500_000, 501_155, 0, 0), request(500_080, 501_240, 0, 0)]);
    busy.calls.extend([call(500_105, 501_105, 0, 0), call(500_190, 501_190, 0, 0)]);
    let assignment = assign(&busy, Effort::default());
    assert_eq!(assignment.sure(30, 0.97, 0.5).map(|(r, _)| r), Some(30));
    assert_eq!(assignment.sure(31, 0.97, 0.5).map(|(r, _)| r), Some(31));
}

#[test]
fn two_requests_at_one_moment_are_not_told_apart() {
    let mut twins = quiet(30, 0);
    let twin = request(500_000, 501_160, 0, 0);
    twins.requests.extend([twin, Request { key: 1, ..twin }]);
    twins.calls.extend([call(500_105, 501_105, 0, 0), call(500_106, 501_106, 0, 0)]);
    let assignment = assign(&twins, Effort::default());
    for call in [30, 31] {
        assert_eq!(assignment.sure(call, 0.97, 0.5), None);
        assert!((assignment.choices[call].candidates[0].1 - 0.5).abs() < 0.1);
    }
}

#[test]
fn a_known_cause_is_taken_and_leaves_its_twin_to_the_other() {
    let mut twins = quiet(30, 0);
    let twin = request(500_000, 501_160, 0, 0);
    twins.requests.extend([twin, Request { key: 1, ..twin }]);
    twins.calls.push(Call { caused_by: Some(31), ..call(500_105, 501_105, 0, 0) });
    twins.calls.push(call(500_106, 501_106, 0, 0));
    let assignment = assign(&twins, Effort::default());
    assert_eq!(assignment.choices[30].candidates, [(31, 1.0)]);
    assert_eq!(assignment.sure(31, 0.97, 0.5).map(|(r, _)| r), Some(30));
}

#[test]
fn a_known_cause_that_has_ended_gives_the_call_to_no_other() {
    let mut left = quiet(30, 0);
    left.requests.push(request(500_000, 501_160, 0, 0));
    left.calls.push(Call { caused_by: Some(3), ..call(500_105, 501_105, 0, 0) });
    let choice = &assign(&left, Effort::default()).choices[30];
    assert_eq!(choice, &Choice { candidates: Vec::new(), none: 1.0 });
}

#[test]
fn what_there_was_no_room_for_stays_a_doubt() {
    let mut twins = quiet(30, 0);
    let twin = request(500_000, 501_160, 0, 0);
    twins.requests.extend([twin, Request { key: 1, ..twin }]);
    twins.calls.extend([call(500_105, 501_105, 0, 0), call(500_106, 501_106, 0, 0)]);
    let assignment = assign(&twins, Effort { hypotheses: 1, ..Effort::default() });
    assert_eq!((assignment.sure(30, 0.97, 0.5), assignment.sure(31, 0.97, 0.5)), (None, None));
}

/// One thread takes what is ready in the order in which it became so, and is slow at times.
fn queue(requests: i64) -> (Workload, Vec<Option<u32>>) {
    let (mut queue, mut truth) = (workload(Vec::new(), Vec::new()), Vec::new());
    let mut ready: Vec<(i64, i64, bool)> = (0..requests).map(|i| (i * 700, i, false)).collect();
    let mut free = 0;
    while let Some(next) = (0..ready.len()).min_by_key(|at| ready[*at]) {
        let (since, i, is_answered) = ready.swap_remove(next);
        let works = 50 + (i * 7919 + since) % 13 * 80;
        free = since.max(free) + works;
        if is_answered {
            queue.requests.push(request(i * 700, free, 0, 0));
        } else {
            let end = free + 9_000 + i * 4_127 % 3_000;
            queue.calls.push(call(free, end, 0, 0));
            truth.push(i * 700);
            ready.push((end, i, true));
        }
    }
    let request_at = |start: i64| queue.requests.iter().position(|r| r.start == start);
    let truth = truth.into_iter().map(|at| request_at(at).map(|r| r as u32)).collect();
    (queue, truth)
}

#[test]
fn a_queue_is_learned_where_nobody_was_ever_alone() {
    let (queue, truth) = queue(400);
    check(&queue, &truth);
}

#[test]
fn an_operation_that_never_calls_causes_nothing() {
    let mut mixed = quiet(30, 0);
    let probes = (0..30).map(|i| request(i * 10_000 + 5_000, i * 10_000 + 6_500, 1, 0));
    mixed.requests.extend(probes);
    mixed.requests.extend([request(500_000, 501_160, 0, 0), request(500_001, 501_500, 1, 0)]);
    mixed.calls.push(call(500_110, 501_110, 0, 0));
    let assignment = assign(&mixed, Effort::default());
    assert_eq!(assignment.sure(30, 0.97, 0.5).map(|(r, _)| r), Some(60));
}

#[test]
fn a_call_while_nothing_is_served_belongs_to_none() {
    let mut quiet = quiet(30, 0);
    quiet.calls.push(call(305_000, 305_500, 0, 0));
    let choice = &assign(&quiet, Effort::default()).choices[30];
    assert_eq!(choice, &Choice { candidates: Vec::new(), none: 1.0 });
}

#[test]
fn a_call_belongs_to_a_request_of_its_own_replica() {
    let mut replicas = quiet(30, 0);
    replicas.requests.extend([request(500_000, 501_160, 0, 0), request(500_000, 501_160, 0, 1)]);
    replicas.calls.push(call(500_110, 501_110, 0, 1));
    let choice = &assign(&replicas, Effort::default()).choices[30];
    assert_eq!(choice.forced(), Some(31));
    assert_eq!(choice.candidates.len(), 1);
}

#[test]
fn a_pod_that_calls_itself_is_not_its_own_cause() {
    let mut hairpin = quiet(30, 0);
    hairpin.requests.extend([request(500_000, 501_160, 0, 0), request(500_105, 501_100, 1, 0)]);
    hairpin.calls.push(Call { served_as: Some(31), ..call(500_104, 501_102, 0, 0) });
    let choice = &assign(&hairpin, Effort::default()).choices[30];
    assert!(choice.candidates.iter().all(|(request, _)| *request != 31), "{choice:?}");
    assert_eq!(choice.forced(), Some(30));
}

#[test]
fn calls_at_once_belong_to_one_request() {
    let mut fans = workload(Vec::new(), Vec::new());
    for i in 0..40 {
        // From the thirtieth on the requests overlap.
        let at = if i < 30 { i * 10_000 } else { 300_000 + i * 600 };
        fans.requests.push(request(at, at + 1300, 0, 0));
        for destination in 0..3 {
            let starts = at + 100 + i64::from(destination) * 5;
            fans.calls.push(call(starts, starts + 1000 + i * 3, destination, 0));
        }
    }
    let expected: Vec<_> = (0..40).flat_map(|i| [Some(i); 3]).collect();
    check(&fans, &expected);
}

#[test]
fn millisecond_stamps_may_differ_by_one_step() {
    let mut coarse = workload(Vec::new(), Vec::new());
    coarse.resolution = 1000;
    for i in 0..30 {
        let at = i * 100_000;
        coarse.requests.push(request(at, at + 5000, 0, 0));
        // The call seems to start before its request and to end after it.
        coarse.calls.push(call(at - 1000, at + 6000, 0, 0));
    }
    let expected: Vec<_> = (0..30).map(Some).collect();
    check(&coarse, &expected);
}

#[test]
fn nothing_at_all_is_an_answer() {
    assert!(assign(&Workload::default(), Effort::default()).is_settled);
}

fn any_workload() -> impl Strategy<Value = Workload> {
    let request = (0i64..2000, 1i64..400, 0u32..3, 0u32..2);
    let call = (0i64..2000, 1i64..200, 0u32..3, 0u32..2);
    let requests = prop::collection::vec(request, 0..25);
    (requests, prop::collection::vec(call, 0..40), prop::sample::select(vec![1i64, 10])).prop_map(
        |(requests, calls, resolution)| Workload {
            requests: (0..)
                .zip(requests)
                .map(|(key, (start, lasts, operation, place))| Request {
                    start,
                    end: start + lasts,
                    operation,
                    place,
                    key,
                })
                .collect(),
            calls: (0..)
                .zip(calls)
                .map(|(key, (start, lasts, destination, place))| Call {
                    start,
                    end: start + lasts,
                    destination,
                    place,
                    key,
                    served_as: None,
                    caused_by: None,
                })
                .collect(),
            resolution,
        },
    )
}

/// Key of a call, its candidates by key with the bits of their posteriors, and those of none.
type Said = (u64, Vec<(u64, u64)>, u64);

/// Choices by key: what they say must not depend on positions in the input.
fn by_key(workload: &Workload, assignment: &Assignment) -> Vec<Said> {
    let mut choices: Vec<_> = workload
        .calls
        .iter()
        .zip(&assignment.choices)
        .map(|(call, choice)| {
            let candidates = choice
                .candidates
                .iter()
                .map(|(request, p)| (workload.requests[*request as usize].key, p.to_bits()));
            (call.key, candidates.collect(), choice.none.to_bits())
        })
        .collect();
    choices.sort();
    choices
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn posteriors_sum_to_one(workload in any_workload()) {
        for choice in assign(&workload, Effort::default()).choices {
            let sum: f64 = choice.candidates.iter().map(|(_, p)| p).sum::<f64>() + choice.none;
            prop_assert!((sum - 1.0).abs() < 1e-9, "{choice:?}");
            prop_assert!(choice.candidates.windows(2).all(|c| c[0].1 >= c[1].1));
        }
    }

    #[test]
    fn the_order_of_the_input_changes_nothing(
        (workload, requests, calls) in any_workload().prop_flat_map(|w| {
            let (requests, calls) = (w.requests.clone(), w.calls.clone());
            (Just(w), Just(requests).prop_shuffle(), Just(calls).prop_shuffle())
        })
    ) {
        let shuffled = Workload { requests, calls, resolution: workload.resolution };
        let expected = by_key(&workload, &assign(&workload, Effort::default()));
        prop_assert_eq!(expected, by_key(&shuffled, &assign(&shuffled, Effort::default())));
    }
}
