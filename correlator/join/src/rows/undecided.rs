//! Rows of `ambiguous`: what could not be decided, and what belongs to no path.

use std::cmp::Reverse;

use tables::{Ambiguous, Candidate};

use crate::SECOND;
use crate::columns::{AccessLog, Malformed};
use crate::names::Name;
use crate::ownership::Owner;
use crate::path::{Entry, Root, Tree};
use crate::reason::Reason;
use crate::relay::Cause;
use crate::rows::Scope;
use crate::rows::structs::hex;
use crate::slab::ExchangeId;

/// Candidates of one ambiguous row; the rest would not help anybody.
const CANDIDATES_MAX: usize = 5;

/// Requests that may have caused a call are all listed, up to as many as one pod can serve at once
/// and their times still tell anything; of more it is said how many and how likely.
const REQUESTS_MAX: usize = 32;

/// A row of `ambiguous` without what names the case.
fn blank(scope: &Scope<'_>, id: ExchangeId) -> Ambiguous {
    let row = scope.sight.exchange(id);
    let head = scope.head();
    Ambiguous {
        hour: head.hour,
        win: head.win,
        stage: head.stage.into(),
        finality: head.finality.into(),
        start_time: tables::micros_of_ns(row.start_ns),
        start_ns: row.start_ns,
        end_ns: row.end_ns,
        ..Ambiguous::default()
    }
}

/// An arrival from a pod whose own end was not seen: a piece of some path, not a path.
pub(super) fn unseen_caller(
    scope: &Scope<'_>,
    tree: &Tree<'_>,
    entry: &Entry,
) -> Option<Ambiguous> {
    let (id, client) = match tree.root {
        Root::Arrival(server) => {
            let exchange = scope.sight.exchange(server);
            let client = match entry {
                Entry::Translated(chain) => scope.sight.nat.get(*chain.first()?).original.source,
                _ => exchange.remote(),
            };
            match scope.sight.owners.holder(client.ip, exchange.start_ns) {
                Owner::Pod(pod) => (server, Some((pod.node, pod.name))),
                Owner::Several => {
                    return Some(Ambiguous {
                        segment: format!("caller of {}", place_name(scope, server)),
                        reason: Reason::AmbigPodIpReuse.code().into(),
                        decided_by: format!(
                            "an agent's exchanges of the pod that had {}",
                            client.ip
                        ),
                        ..blank(scope, server)
                    });
                }
                _ => return None,
            }
        }
        // A call that seems to have begun in a pod did so only if nothing before it was missed.
        Root::Call(call) => (call, None),
    };
    let row = scope.sight.exchange(id);
    let lines = match tree.root {
        Root::Arrival(server) => lines_with_its_id(scope, server),
        Root::Call(_) => Vec::new(),
    };
    let (node, segment) = match &client {
        Some((node, name)) => {
            let caller = scope.text(*name);
            (*node, format!("caller of {} in {caller}", place_name(scope, id)))
        }
        None => (Some(row.node), format!("cause of a call by {}", place_name(scope, id))),
    };
    let from_ns = row.start_ns - SECOND;
    let why = scope.whole(node, from_ns, row.end_ns).err();
    let reason = match (client.is_some(), why) {
        _ if lines.len() > 1 => Reason::AmbigDupRequestId,
        (_, Some(why)) => why,
        (true, None) => Reason::FailOrphan,
        (false, None) => return None,
    };
    Some(Ambiguous {
        segment,
        reason: reason.code().into(),
        candidates: if lines.len() > 1 { told_by(scope, &lines) } else { Vec::new() },
        decided_by: format!(
            "an agent's exchanges on node {} at that time",
            scope.sight.slabs.names.text_of(node).unwrap_or_default()
        ),
        ..blank(scope, id)
    })
}

/// Lines that the caller of a request wrote with the request's id.
fn lines_with_its_id<'a>(scope: &Scope<'a>, server: ExchangeId) -> Vec<&'a AccessLog> {
    let Some(id) = scope.span_of(server).and_then(|span| span.request_id) else {
        return Vec::new();
    };
    let caller = scope.sight.exchange(server).remote_ip;
    let slabs = scope.sight.windows().filter_map(|(window, _)| scope.sight.slabs.slab(window));
    let lines = slabs.flat_map(|slab| slab.lines_with_id(id));
    lines.filter(|line| line.emitter_ip == Some(caller)).collect()
}

/// Lines as candidates for the request that caused something.
fn told_by(scope: &Scope<'_>, lines: &[&AccessLog]) -> Vec<Candidate> {
    let what = |line: &AccessLog| {
        let text = |name: Option<Name>| name.map_or("-", |name| scope.text(name));
        format!(
            "{} {} of {} bytes in {} ms",
            text(line.method),
            text(line.route),
            line.bytes_received.unwrap_or(0),
            line.duration_ns.unwrap_or(0) / 1_000_000
        )
    };
    let candidates = lines.iter().take(CANDIDATES_MAX).map(|line| Candidate {
        path_id: None,
        what: what(line),
        p: 1.0 / lines.len() as f64,
        evidence: vec!["access_log".into(), "request_id".into()],
    });
    candidates.collect()
}

/// Calls of a path that more than one server exchange fits.
pub(super) fn contested(scope: &Scope<'_>, tree: &Tree<'_>, path_id: u128) -> Vec<Ambiguous> {
    let calls = tree.legs.iter().filter_map(|leg| leg.client);
    let with_servers = calls.filter_map(|c| Some((c, scope.sight.contested(c)?)));
    with_servers
        .map(|(call, servers)| (call, servers, scope.sight.exchange(call).seq_req < 0))
        .map(|(call, servers, is_multiplexed)| Ambiguous {
            path_id: Some(hex(path_id)),
            segment: format!("server of {}", scope.sight.exchange(call).remote()),
            reason: if is_multiplexed {
                Reason::AmbigH2Multiplex
            } else if scope.sight.is_skew_unknown(call) {
                Reason::AmbigSkewUnknown
            } else {
                Reason::AmbigNatPortReuse
            }
            .code()
            .into(),
            candidates: servers
                .iter()
                .take(CANDIDATES_MAX)
                .map(|&s| Candidate {
                    path_id: None,
                    what: format!("{} ({})", place_name(scope, s), scope.sight.exchange(s).local()),
                    p: 1.0 / servers.len() as f64,
                    evidence: vec![if is_multiplexed { "connection" } else { "tcp_seq" }.into()],
                })
                .collect(),
            decided_by: if is_multiplexed {
                "numbers of the streams at both ends"
            } else {
                "the response's sequence number at both ends"
            }
            .into(),
            ..blank(scope, call)
        })
        .collect()
}

/// Calls of a path whose server times alone would have to tell.
pub(super) fn open_by_time(scope: &Scope<'_>, tree: &Tree<'_>, path_id: u128) -> Vec<Ambiguous> {
    let calls = tree.legs.iter().filter(|leg| leg.server.is_none()).filter_map(|leg| leg.client);
    let open = calls.filter_map(|call| Some((call, scope.sight.undecided(call)?)));
    open.map(|(call, undecided)| Ambiguous {
        path_id: Some(hex(path_id)),
        segment: format!("server of {}", scope.sight.exchange(call).remote()),
        reason: undecided.why.code().into(),
        candidates: undecided
            .candidates
            .iter()
            .map(|&(server, p)| Candidate {
                path_id: None,
                what: format!(
                    "{} ({})",
                    place_name(scope, server),
                    scope.sight.exchange(server).local()
                ),
                p,
                evidence: vec!["statistical".into()],
            })
            .collect(),
        decided_by: "TCP sequence numbers at both ends".into(),
        ..blank(scope, call)
    })
    .collect()
}

/// A request of a proxy that more than one log line fits, or one that may be another's: its hops are
/// known, its id is not.
pub(super) fn unlabelled(scope: &Scope<'_>, tree: &Tree<'_>, path_id: u128) -> Option<Ambiguous> {
    let Root::Arrival(server) = tree.root else { return None };
    let logs = scope.relays.proxies.log_candidates.get(&server)?;
    // Lines without ids would label the request with nothing; one among others is a candidate.
    let ids: Vec<Option<String>> =
        logs.iter().map(|&log| scope.id(scope.sight.slabs.log(log).request_id)).collect();
    if ids.iter().all(Option::is_none) {
        return None;
    }
    let request = scope.sight.exchange(server);
    let (node, coverage) = (Some(request.node), scope.sight.coverage);
    let is_torn = coverage.nearly_whole(node, request.start_ns, request.end_ns).is_err();
    let is_of_lost = logs.len() == 1 && is_torn;
    let reason = if is_of_lost { Reason::MissingLostEvents } else { Reason::AmbigCoarseTime };
    // A line that is in doubt all alone may be that of another request.
    let count = logs.len().max(2);
    Some(Ambiguous {
        path_id: Some(hex(path_id)),
        segment: format!("log line of {}", place_name(scope, server)),
        reason: reason.code().into(),
        candidates: ids
            .iter()
            .take(CANDIDATES_MAX)
            .map(|id| Candidate {
                path_id: None,
                what: format!("request id {}", id.as_deref().unwrap_or("unknown")),
                p: 1.0 / count as f64,
                evidence: vec!["access_log".into()],
            })
            .collect(),
        decided_by: "the client's port or $msec in the access log".into(),
        ..blank(scope, server)
    })
}

/// One row for each path that an undecided call may belong to; one without a path if none is here.
pub(super) fn undecided(
    scope: &Scope<'_>,
    call: ExchangeId,
    trees: &[usize],
    ids: &[u128],
) -> Vec<Ambiguous> {
    let Some(Cause::Undecided { candidates, why }) = scope.relays.others.get(&call) else {
        return Vec::new();
    };
    // Without posteriors every candidate is as good as another. One that is alone and not proven
    // stands beside a request that nobody saw.
    let p = 1.0 / candidates.len().max(2) as f64;
    let even = || most_present(scope, candidates).into_iter().map(|s| (s, p)).collect();
    let posteriors = scope.relays.statistics.likely(call);
    let evidence = posteriors.map_or("containment", |_| "statistical");
    let likely: Vec<(ExchangeId, f64)> = posteriors.map_or_else(even, <[_]>::to_vec);
    let candidate = |what: String, p: f64| Candidate {
        path_id: None,
        what,
        p,
        evidence: vec![evidence.into()],
    };
    let request = |&(s, p): &(ExchangeId, f64)| {
        candidate(format!("request from {}", scope.sight.exchange(s).remote()), p)
    };
    let mut listed: Vec<Candidate> = likely.iter().take(REQUESTS_MAX).map(request).collect();
    let more = candidates.len().saturating_sub(listed.len());
    if more > 0 {
        let of_more = posteriors
            .map_or(more as f64 * p, |_| likely.iter().skip(REQUESTS_MAX).map(|(_, p)| p).sum());
        listed.push(candidate(format!("one of {more} more requests"), of_more));
    }
    let row = Ambiguous {
        segment: format!(
            "relay in {}: call to {}",
            place_name(scope, call),
            scope.sight.exchange(call).remote()
        ),
        reason: why.code().into(),
        candidates: listed,
        decided_by: match scope.relays.proxy_places.contains(&scope.sight.exchange(call).place) {
            true => "an access log line of the request that lists the call, or span ids",
            false => "span ids, or one thread a request",
        }
        .into(),
        ..blank(scope, call)
    };
    if trees.is_empty() {
        return vec![row];
    }
    trees.iter().map(|&t| Ambiguous { path_id: Some(hex(ids[t])), ..row.clone() }).collect()
}

/// As many of the requests as are listed: rather those that were answered than those that nobody
/// knows how long were served, and rather those that began last. In their order.
fn most_present(scope: &Scope<'_>, requests: &[ExchangeId]) -> Vec<ExchangeId> {
    let mut present = requests.to_vec();
    if present.len() > REQUESTS_MAX {
        let row = |request: &ExchangeId| scope.sight.exchange(*request);
        present.sort_by_key(|r| (!row(r).has_response(), Reverse(row(r).start_ns), *r));
        present.truncate(REQUESTS_MAX);
        present.sort_by_key(|r| (row(r).start_ns, *r));
    }
    present
}

pub(super) fn orphan_call(scope: &Scope<'_>, call: ExchangeId, why: Reason) -> Ambiguous {
    let row = scope.sight.exchange(call);
    let reason = scope.whole(Some(row.node), row.start_ns - SECOND, row.end_ns).err();
    Ambiguous {
        segment: format!("cause of a call by {}", place_name(scope, call)),
        reason: reason.unwrap_or(why).code().into(),
        decided_by: "the request that the proxy was serving".into(),
        ..blank(scope, call)
    }
}

pub(super) fn malformed(scope: &Scope<'_>, row: &Malformed) -> Ambiguous {
    let head = scope.head();
    Ambiguous {
        hour: head.hour,
        win: head.win,
        stage: head.stage.into(),
        finality: head.finality.into(),
        segment: match row.receiver {
            Some(receiver) => {
                format!("input of {} from {}", scope.text(receiver), scope.text(row.node))
            }
            None => format!("exchange that node {} reported", scope.text(row.node)),
        },
        reason: Reason::FailMalformed.code().into(),
        start_time: tables::micros_of_ns(row.event_ns),
        start_ns: row.event_ns,
        end_ns: row.event_ns,
        decided_by: "a row that does not contradict itself".into(),
        ..Ambiguous::default()
    }
}

/// Name of the pod an exchange happened in, or its node where the pod is not known.
fn place_name(scope: &Scope<'_>, id: ExchangeId) -> String {
    let row = scope.sight.exchange(id);
    let pod = row.pod.and_then(|uid| scope.sight.owners.pod(uid));
    let node = || format!("node {}", scope.text(row.node));
    pod.map_or_else(node, |pod| scope.text(pod.name).to_owned())
}
