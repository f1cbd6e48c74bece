//! Paths become table rows: names from the cluster history at event time, evidence, verdicts.

mod hop;
mod undecided;

use std::collections::BTreeSet;
use std::ops::Range;

use tables::{Hop, Path, PathHop};

use crate::coverage::Coverage;
use crate::link::Links;
use crate::observation::Seen;
use crate::ownership::Ownership;
use crate::path::{Paths, Root, Tree};
use crate::reason::Reason;
use crate::relay::Relays;
use crate::rows::undecided::{
    contested, malformed, orphan_call, undecided, unlabelled, unseen_caller,
};
use crate::verdict::Findings;
use crate::{SECOND, Settings, Stage, WindowRows};

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
