//! Paths become table rows: names from the cluster history at event time, evidence, verdicts.

mod hop;

use std::collections::BTreeSet;
use std::ops::Range;

use tables::{Ambiguous, Candidate, Hop, Path, PathHop};

use crate::coverage::Coverage;
use crate::link::Links;
use crate::observation::{ExchangeId, Seen};
use crate::ownership::{Owner, Ownership};
use crate::path::{Entry, Paths, Root, Tree, entry};
use crate::reason::Reason;
use crate::relay::{Cause, Relays};
use crate::verdict::Findings;
use crate::{SECOND, Settings, Stage, WindowRows};

/// Candidates of one ambiguous row; the rest would not help anybody.
const CANDIDATES_MAX: usize = 5;

/// Everything the rows of one window are made from.
pub(crate) struct Scope<'a> {
    pub(crate) seen: &'a Seen<'a>,
    pub(crate) owners: &'a Ownership,
    pub(crate) coverage: &'a Coverage,
    pub(crate) links: &'a Links,
    pub(crate) relays: &'a Relays,
    pub(crate) window: Range<i64>,
    /// Event times that were read.
    pub(crate) rows: &'a Range<i64>,
    pub(crate) stage: Stage,
    pub(crate) settings: &'a Settings,
}

pub(crate) fn write(scope: &Scope<'_>, paths: &Paths) -> WindowRows {
    let mut rows = WindowRows { win: scope.window.start / SECOND, ..WindowRows::default() };
    let ids: Vec<String> = paths.trees.iter().map(|t| path_id(scope, t)).collect();
    let mut undecided_in = vec![0; paths.trees.len()];
    for tree in paths.undecided.iter().flat_map(|(_, trees)| trees) {
        undecided_in[*tree] += 1;
    }
    for (index, tree) in paths.trees.iter().enumerate() {
        if let Some(orphan) = unseen_caller(scope, tree) {
            rows.ambiguous.push(orphan);
            continue;
        }
        let contested = contested(scope, tree, &ids[index]);
        let undecided = contested.len() + undecided_in[index];
        let (path, hops) = path(scope, tree, &ids[index], undecided);
        rows.ambiguous.extend(contested);
        rows.ambiguous.extend(unlabelled(scope, tree, &ids[index]));
        rows.paths.push(path);
        rows.hops.extend(hops);
    }
    for (call, trees) in &paths.undecided {
        rows.ambiguous.extend(undecided(scope, *call, trees, &ids));
    }
    for (call, why) in &paths.orphans {
        rows.ambiguous.push(orphan_call(scope, *call, *why));
    }
    rows.ambiguous.extend(scope.seen.malformed.iter().map(|e| malformed(scope, e)));
    rows.ambiguous.sort_by(|a, b| {
        (a.start_ns, &a.segment, &a.path_id, a.end_ns)
            .cmp(&(b.start_ns, &b.segment, &b.path_id, b.end_ns))
    });
    rows
}

/// 128 bits over the root's evidence: the same request has the same id in every run.
fn path_id(scope: &Scope<'_>, tree: &Tree) -> String {
    let (Root::Arrival(id) | Root::Call(id)) = tree.root;
    let e = &scope.seen.exchanges[id];
    let evidence = format!(
        "{}|{}|{}|{}|{}|{}|{}",
        scope.settings.cluster,
        e.row.node,
        e.row.role,
        e.local,
        e.remote,
        e.row.tcp_seq_req,
        e.row.start_ns
    );
    blake3::hash(evidence.as_bytes()).to_hex()[..32].to_owned()
}

fn path(scope: &Scope<'_>, tree: &Tree, path_id: &str, undecided: usize) -> (Path, Vec<Hop>) {
    let mut findings = Findings { undecided, ..Findings::default() };
    if matches!(tree.root, Root::Call(_)) && scope.stage == Stage::Provisional {
        // The request that caused it may still be going on.
        findings.miss("cause of the first call".into(), Reason::MissingLate);
    }
    let writer = hop::Writer::new(scope, tree);
    let mut hops: Vec<Hop> = Vec::with_capacity(tree.legs.len());
    for position in 0..tree.legs.len() {
        let mut hop = writer.hop(position, &mut findings);
        hop.path_id = path_id.to_owned();
        hops.push(hop);
    }
    let log = writer.root_log();
    let first_span = tree
        .legs
        .iter()
        .filter_map(|leg| leg.server)
        .find_map(|s| scope.links.spans.span_of.get(&s))
        .map(|&s| scope.seen.spans[s]);
    let root = &hops[0];
    let status = root.status;
    let failing = failing_hop(&hops);
    let mut reasons: BTreeSet<&str> = BTreeSet::new();
    for hop in &hops {
        reasons.extend(hop.reasons.iter().map(String::as_str).filter(|r| !r.starts_with("OK_")));
    }
    if log.is_some_and(|l| !l.attempts.is_empty() && l.attempts.iter().all(|a| a.ip.is_none())) {
        reasons.insert(Reason::MissingUpstreamNeverSent.code());
    }
    let root_exchange = match tree.root {
        Root::Arrival(id) | Root::Call(id) => &scope.seen.exchanges[id],
    };
    let last_attempt = hops.iter().rfind(|h| h.parent == Some(0) && h.kind == "ingress");
    let path = Path {
        hour: tables::hour_of_ns(scope.window.start),
        win: scope.window.start / SECOND,
        stage: scope.stage.code().into(),
        revision: 0,
        finality: scope.stage.finality().into(),
        path_id: path_id.to_owned(),
        request_id: log
            .and_then(|l| l.request_id.clone())
            .or_else(|| first_span.and_then(|s| s.request_id.clone())),
        trace_id: first_span
            .map(|s| s.trace_id.clone())
            .or_else(|| log.and_then(|l| l.trace_id.clone())),
        client_token: root.source_ip.clone().filter(|ip| ip.starts_with("ext-")),
        entry_service: root.service.clone(),
        method: root.method.clone(),
        route: root.route.clone(),
        status,
        outcome: outcome(status, root_exchange.has_response()).into(),
        start_time: tables::micros_of_ns(root.start_ns),
        start_ns: root.start_ns,
        end_ns: tree.end_ns,
        duration_ns: tree.end_ns - root.start_ns,
        hop_count: i32::try_from(hops.len()).unwrap_or(i32::MAX),
        services: distinct(hops.iter().map(|h| h.service.clone())),
        pods: distinct(hops.iter().flat_map(|h| [h.source_pod.clone(), h.destination_pod.clone()])),
        nodes: distinct(
            hops.iter().flat_map(|h| {
                [h.source_node.clone(), h.nat_node.clone(), h.destination_node.clone()]
            }),
        ),
        final_pod: last_attempt.unwrap_or(root).destination_pod.clone(),
        failing_hop: failing.map(|h| h.position),
        failure_cause: failing.and_then(|h| h.failure_cause.clone()),
        verdict: findings.verdict().into(),
        missing: findings.missing.iter().map(|(s, r)| format!("{s}: {r}")).collect(),
        reasons: reasons.into_iter().map(str::to_owned).collect(),
        conf_min: findings.conf_min(),
        conf_joint: findings.conf_joint(),
        hops: hops.iter().map(in_path).collect(),
    };
    (path, hops)
}

fn outcome(status: Option<i32>, has_response: bool) -> &'static str {
    match status {
        Some(499) => "aborted",
        Some(status) if status >= 500 => "error",
        Some(_) => "ok",
        None if has_response => "unknown",
        None => "aborted",
    }
}

/// The deepest hop that failed, and of several as deep the last: where the fault began.
fn failing_hop(hops: &[Hop]) -> Option<&Hop> {
    let depth = |hop: &Hop| {
        let mut depth = 0;
        let mut at = hop.parent;
        while let Some(parent) = at.and_then(|p| hops.get(usize::try_from(p).ok()?)) {
            depth += 1;
            at = parent.parent;
        }
        depth
    };
    hops.iter().filter(|h| h.failure_cause.is_some()).max_by_key(|h| (depth(h), h.position))
}

/// Values in the order of their first appearance.
fn distinct(values: impl Iterator<Item = Option<String>>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for value in values.flatten() {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

fn in_path(hop: &Hop) -> PathHop {
    PathHop {
        position: hop.position,
        parent: hop.parent,
        kind: hop.kind.clone(),
        attempt: hop.attempt,
        source_pod: hop.source_pod.clone(),
        source_node: hop.source_node.clone(),
        source_ip: hop.source_ip.clone(),
        source_port: hop.source_port,
        requested_ip: hop.requested_ip.clone(),
        requested_port: hop.requested_port,
        service: hop.service.clone(),
        destination_pod: hop.destination_pod.clone(),
        destination_node: hop.destination_node.clone(),
        destination_ip: hop.destination_ip.clone(),
        destination_port: hop.destination_port,
        nat: hop.nat.clone(),
        nat_node: hop.nat_node.clone(),
        nat_original: hop.nat_original.clone(),
        nat_reply: hop.nat_reply.clone(),
        start_ns: hop.start_ns,
        end_ns: hop.end_ns,
        status: hop.status,
        failure_cause: hop.failure_cause.clone(),
        evidence: hop.evidence.clone(),
        confidence: hop.confidence,
        reasons: hop.reasons.clone(),
    }
}

/// A row of `ambiguous` without what names the case.
fn blank(scope: &Scope<'_>, id: ExchangeId) -> Ambiguous {
    let row = scope.seen.exchanges[id].row;
    Ambiguous {
        hour: tables::hour_of_ns(scope.window.start),
        win: scope.window.start / SECOND,
        stage: scope.stage.code().into(),
        finality: scope.stage.finality().into(),
        start_time: tables::micros_of_ns(row.start_ns),
        start_ns: row.start_ns,
        end_ns: row.end_ns,
        ..Ambiguous::default()
    }
}

/// An arrival from a pod whose own end was not seen: a piece of some path, not a path.
fn unseen_caller(scope: &Scope<'_>, tree: &Tree) -> Option<Ambiguous> {
    let (id, client) = match tree.root {
        Root::Arrival(server) => {
            let exchange = &scope.seen.exchanges[server];
            let client = match entry(scope.seen, scope.links, server) {
                Entry::Translated(chain) => scope.seen.bindings[*chain.first()?].original.source,
                _ => exchange.remote,
            };
            match scope.owners.holder(client.ip, exchange.row.start_ns) {
                Owner::Pod(pod) => {
                    let node = pod.node.clone().unwrap_or_default();
                    (server, Some((node, pod.name.clone())))
                }
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
    let row = scope.seen.exchanges[id].row;
    let (node, segment) = match &client {
        Some((node, name)) => {
            (node.as_str(), format!("caller of {} in {name}", place_name(scope, id)))
        }
        None => (row.node.as_str(), format!("cause of a call by {}", place_name(scope, id))),
    };
    let from_ns = row.start_ns - SECOND;
    let why = scope.coverage.whole(node, from_ns, row.end_ns).err();
    let reason = match (client.is_some(), why) {
        (_, Some(why)) => why,
        (true, None) => Reason::FailOrphan,
        (false, None) => return None,
    };
    Some(Ambiguous {
        segment,
        reason: reason.code().into(),
        decided_by: format!("an agent's exchanges on node {node} at that time"),
        ..blank(scope, id)
    })
}

/// Calls of a path that more than one server exchange fits.
fn contested(scope: &Scope<'_>, tree: &Tree, path_id: &str) -> Vec<Ambiguous> {
    let calls = tree.legs.iter().filter_map(|leg| leg.client);
    let with_servers = calls.filter_map(|c| Some((c, scope.links.contested.get(&c)?)));
    with_servers
        .map(|(call, servers)| Ambiguous {
            path_id: Some(path_id.to_owned()),
            segment: format!("server of {}", scope.seen.exchanges[call].remote),
            reason: Reason::AmbigNatPortReuse.code().into(),
            candidates: servers
                .iter()
                .take(CANDIDATES_MAX)
                .map(|&s| Candidate {
                    path_id: None,
                    what: format!("{} ({})", place_name(scope, s), scope.seen.exchanges[s].local),
                    p: 1.0 / servers.len() as f64,
                    evidence: vec!["tcp_seq".into()],
                })
                .collect(),
            decided_by: "the response's sequence number at both ends".into(),
            ..blank(scope, call)
        })
        .collect()
}

/// A request of a proxy that more than one log line fits: its hops are known, its id is not.
fn unlabelled(scope: &Scope<'_>, tree: &Tree, path_id: &str) -> Option<Ambiguous> {
    let Root::Arrival(server) = tree.root else { return None };
    let logs = scope.links.proxies.log_candidates.get(&server)?;
    Some(Ambiguous {
        path_id: Some(path_id.to_owned()),
        segment: format!("log line of {}", place_name(scope, server)),
        reason: Reason::AmbigCoarseTime.code().into(),
        candidates: logs
            .iter()
            .take(CANDIDATES_MAX)
            .map(|&log| Candidate {
                path_id: None,
                what: format!(
                    "request id {}",
                    scope.seen.access_logs[log].request_id.as_deref().unwrap_or("unknown")
                ),
                p: 1.0 / logs.len() as f64,
                evidence: vec!["access_log".into()],
            })
            .collect(),
        decided_by: "the client's port or $msec in the access log".into(),
        ..blank(scope, server)
    })
}

/// One row for each path that an undecided call may belong to; one without a path if none is here.
fn undecided(
    scope: &Scope<'_>,
    call: ExchangeId,
    trees: &[usize],
    ids: &[String],
) -> Vec<Ambiguous> {
    let Some(Cause::Undecided { candidates, why }) = scope.relays.causes.get(&call) else {
        return Vec::new();
    };
    let row = Ambiguous {
        segment: format!(
            "relay in {}: call to {}",
            place_name(scope, call),
            scope.seen.exchanges[call].remote
        ),
        reason: why.code().into(),
        candidates: candidates
            .iter()
            .take(CANDIDATES_MAX)
            .map(|&s| Candidate {
                path_id: None,
                what: format!("request from {}", scope.seen.exchanges[s].remote),
                p: 1.0 / candidates.len() as f64,
                evidence: vec!["containment".into()],
            })
            .collect(),
        decided_by: "span ids, or one thread a request".into(),
        ..blank(scope, call)
    };
    if trees.is_empty() {
        return vec![row];
    }
    trees.iter().map(|&t| Ambiguous { path_id: Some(ids[t].clone()), ..row.clone() }).collect()
}

fn orphan_call(scope: &Scope<'_>, call: ExchangeId, why: Reason) -> Ambiguous {
    let row = scope.seen.exchanges[call].row;
    let reason = scope.coverage.whole(&row.node, row.start_ns - SECOND, row.end_ns).err();
    Ambiguous {
        segment: format!("cause of a call by {}", place_name(scope, call)),
        reason: reason.unwrap_or(why).code().into(),
        decided_by: "the request that the proxy was serving".into(),
        ..blank(scope, call)
    }
}

fn malformed(scope: &Scope<'_>, row: &tables::Exchange) -> Ambiguous {
    Ambiguous {
        hour: tables::hour_of_ns(scope.window.start),
        win: scope.window.start / SECOND,
        stage: scope.stage.code().into(),
        finality: scope.stage.finality().into(),
        segment: format!("exchange that node {} reported", row.node),
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
    let row = scope.seen.exchanges[id].row;
    let pod = row.pod_uid.as_deref().and_then(|uid| scope.owners.pod(uid));
    pod.map_or_else(|| format!("node {}", row.node), |p| p.name.clone())
}
