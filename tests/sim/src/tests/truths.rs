//! The truth and the rows agree.

use std::collections::BTreeMap;

use super::{dials, run};
use crate::Dials;
use crate::dials::SECOND;
use crate::fate::Word;
use crate::network::Client;

#[test]
fn every_leg_has_exactly_the_rows_that_its_truth_tells_of() {
    let run = run(Dials {
        loss_agents: 0.1,
        late: 0.1,
        skew: SECOND / 2,
        failing: 0.03,
        agents_down: 1,
        down: 4 * SECOND,
        ..dials()
    });
    // (role, own end, other end, sequence number, start) of each row.
    let mut rows: BTreeMap<(String, String, String, i64, i64), usize> = BTreeMap::new();
    for e in &run.rows.exchanges {
        let local = format!("{}:{}", e.local_ip, e.local_port);
        let remote = format!("{}:{}", e.remote_ip, e.remote_port);
        *rows.entry((e.role.clone(), local, remote, e.tcp_seq_req, e.start_ns)).or_default() += 1;
    }
    let told = |word: Word| usize::from(matches!(word, Word::Seen | Word::Late));
    let mut expected = 0;
    for leg in run.truth.legs.iter().filter(|leg| leg.true_server.is_some()) {
        let seq = i64::from(leg.seq_request);
        let ends = [
            ("client", leg.original, leg.client_stamps, leg.client_exchange.word),
            ("server", leg.reply, leg.server_stamps, leg.server_exchange.word),
        ];
        for (role, (local, remote), stamps, word) in ends {
            let Some(stamps) = stamps else { continue };
            let key =
                (role.to_owned(), local.to_string(), remote.to_string(), seq, stamps.start_ns);
            assert_eq!(rows.get(&key).copied().unwrap_or(0), told(word), "{key:?} {word:?}");
            expected += told(word);
        }
    }
    assert_eq!(expected, run.rows.exchanges.len());
    assert!(run.truth.legs.iter().any(|leg| leg.missing().is_some_and(|m| m.0 == "lost")));
}

#[test]
fn legs_of_a_request_are_one_tree_that_is_nested_in_true_time() {
    let run = run(dials());
    let legs: BTreeMap<(u64, u32), _> =
        run.truth.legs.iter().map(|leg| ((leg.request, leg.leg), leg)).collect();
    assert_eq!(legs.len(), run.truth.legs.len());
    let mut counts: BTreeMap<u64, u32> = BTreeMap::new();
    for leg in &run.truth.legs {
        *counts.entry(leg.request).or_default() += 1;
        let server = leg.true_server.unwrap();
        assert!(leg.true_client.start_ns < server.start_ns);
        assert!(server.start_ns < server.end_ns && server.end_ns < leg.true_client.end_ns);
        match leg.parent_leg {
            None => assert!(leg.leg == 0 && matches!(leg.client, Client::Outside(_))),
            Some(parent) => {
                let parent = legs[&(leg.request, parent)];
                assert_eq!(leg.client, Client::Pod(parent.server));
                let around = parent.true_server.unwrap();
                assert!(around.start_ns <= leg.true_client.start_ns);
                assert!(leg.true_client.end_ns <= around.end_ns);
            }
        }
    }
    for request in &run.truth.requests {
        assert_eq!(counts[&request.key], request.legs);
        assert!(request.full_coverage);
    }
}

#[test]
fn a_call_that_nobody_waits_for_may_outlive_its_request() {
    let shape = crate::dials::Kind::Layers;
    let run = run(Dials { shape, detached: 0.5, ..dials() });
    let served: BTreeMap<(u64, u32), _> =
        run.truth.legs.iter().map(|l| ((l.request, l.leg), l.true_server.unwrap())).collect();
    assert_eq!(served.len(), run.truth.legs.len());
    let calls = run.truth.legs.iter().filter_map(|l| Some((l, l.parent_leg?)));
    let outlive =
        calls.filter(|(l, parent)| l.true_client.end_ns > served[&(l.request, *parent)].end_ns);
    assert!(outlive.count() > 100);
    let legs: u32 = run.truth.requests.iter().map(|r| r.legs).sum();
    assert_eq!(legs as usize, run.truth.legs.len());
}

#[test]
fn a_request_has_full_coverage_only_where_no_leg_lacks_evidence() {
    let run = run(Dials { loss_agents: 0.05, loss_logs: 0.05, ..dials() });
    for request in &run.truth.requests {
        let legs = run.truth.legs.iter().filter(|leg| leg.request == request.key);
        let is_whole = legs.clone().all(|leg| leg.missing().is_none());
        let line = legs.clone().find(|leg| leg.leg == 0).unwrap().access_log.word;
        assert_eq!(request.full_coverage, is_whole && line == Word::Seen);
    }
    let whole = run.truth.requests.iter().filter(|r| r.full_coverage).count();
    assert!(0 < whole && whole < run.truth.requests.len());
}

#[test]
fn recorded_traces_keep_their_trees_and_timings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.spans.csv.gz");
    let mut file = flate2::write::GzEncoder::new(
        std::fs::File::create(path).unwrap(),
        flate2::Compression::fast(),
    );
    let text = "trace_id,span_id,parent_span_id,service,pod,pod_ip,span_kind,operation,start_us,\
        duration_us,http_method,http_url,http_status,request_id\n\
        t,a,,front,front-0,10.0.0.1,server,GET /,1000000,20000,GET,/,200,\n\
        t,b,a,front,front-0,10.0.0.1,client,/geo,1002000,5000,,,,\n\
        t,c,b,geo,geo-0,10.0.0.2,server,/geo,1003000,3000,,,,\n\
        u,d,,front,front-0,10.0.0.1,server,GET /,1500000,20000,GET,/,200,\n";
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    file.finish().unwrap();
    let traces = Some(folder.path().to_owned());
    let run = run(Dials { traces, ingress: crate::dials::Ingress::None, rate: None, ..dials() });
    assert_eq!(run.truth.requests.len(), 2);
    let gap_ns = run.truth.requests[1].start_ns - run.truth.requests[0].start_ns;
    assert_eq!(gap_ns, SECOND / 2);
    let geo = run.truth.legs.iter().find(|leg| leg.leg == 1).unwrap();
    let served = geo.true_server.unwrap();
    assert_eq!(served.end_ns - served.start_ns, 3_000_000);
    let front = run.truth.legs.iter().find(|leg| leg.leg == 0).unwrap().true_server.unwrap();
    // The connection had to be opened, which the recording did not have to.
    let lasted_ns = front.end_ns - front.start_ns;
    assert!((20_000_000..21_500_000).contains(&lasted_ns), "{lasted_ns}");
}
