//! The row of one path, from the rows of its hops.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::Stage;
use crate::columns::{AccessLog, Attempt};
use crate::names::Name;
use crate::path::{Entry, Root, Tree};
use crate::reason::{Reason, Reasons};
use crate::rows::Scope;
use crate::rows::hop;
use crate::rows::row::{Found, HopRow, Kind, PathRow};
use crate::verdict::Findings;

/// Flags of Envoy for answers of its own that its configuration asks for: no route, a rate limit, a
/// refused authorisation, an injected fault, a malformed request, overload.
const ANSWERED_AS_TOLD: [&str; 8] = ["NR", "RL", "RLSE", "UAEX", "FI", "IH", "OM", "DPE"];

/// Writes a path and its hops.
pub(super) fn push(
    scope: &Scope<'_>,
    found: &mut Found,
    tree: &Tree<'_>,
    entry: &Entry,
    path_id: u128,
    undecided: usize,
) {
    let mut findings = Findings { undecided, ..Findings::default() };
    if matches!(tree.root, Root::Call(_)) && scope.sight.stage != Stage::Final {
        // The request that caused it may still be going on.
        findings.miss("cause of the first call".into(), Reason::MissingLate);
    }
    if scope.sight.stage != Stage::Final {
        expect_lines(scope, tree, &mut findings);
    }
    let writer = hop::Writer::new(*scope, tree, entry);
    let first = found.hops.len();
    for position in 0..tree.legs.len() {
        let hop = writer.hop(position, path_id, &mut findings);
        found.hops.push(hop);
    }
    let hops = &found.hops[first..];
    let line = tree.legs[0].server.and_then(|server| scope.line_of(server));
    let balancers = tree.legs[0].server.and_then(|server| scope.balancer_line_of(server));
    let log = line.map(|(log, _)| log).or(balancers);
    let servers = tree.legs.iter().filter_map(|leg| leg.server);
    let first_span = servers.filter_map(|server| scope.span_of(server)).next();
    let root = &hops[0];
    let failing = failing_hop(hops);
    let mut reasons = Reasons::default();
    for hop in hops {
        reasons.extend(hop.reasons);
    }
    reasons.extend(line.map_or(Reasons::default(), |(log, tries)| never_sent(scope, log, tries)));
    if log
        .and_then(|l| l.request_id)
        .is_some_and(|id| scope.relays.proxies.shared_ids.contains(&id))
    {
        reasons.insert(Reason::AmbigDupRequestId);
    }
    if first_span.is_none() && is_sampled(scope, tree) {
        reasons.insert(Reason::MissingSampledOut);
    }
    let last_attempt = hops.iter().rfind(|h| h.parent == Some(0) && is_answer(h));
    let names = &mut found.names;
    let missing = found.missing.len();
    for (_, why) in &findings.missing {
        *found.missing_of.entry(*why).or_default() += 1;
    }
    found.missing.extend(findings.missing.iter().map(|(segment, why)| format!("{segment}: {why}")));
    found.paths.push(PathRow {
        path_id,
        request_id: log.and_then(|l| l.request_id).or(first_span.and_then(|s| s.request_id)),
        trace: first_span.map(|s| s.trace).or(log.and_then(|l| l.trace)),
        status: root.status,
        outcome: outcome(root.status, scope.sight.exchange(tree.root.id()).has_response()),
        end_ns: tree.end_ns,
        services: distinct(names, hops.iter().map(|h| h.service)),
        pods: distinct(names, hops.iter().flat_map(|h| [h.source.pod, h.destination.pod])),
        nodes: distinct(
            names,
            hops.iter().flat_map(|h| [h.source.node, h.nat_node, h.destination.node]),
        ),
        final_pod: last_attempt.unwrap_or(root).destination.pod,
        failing_hop: failing.map(|h| h.position),
        failure: failing.and_then(|h| h.failure),
        verdict: findings.verdict(),
        missing: range(missing, found.missing.len()),
        reasons,
        conf_min: findings.conf_min(),
        conf_joint: findings.conf_joint(),
        hops: range(first, found.hops.len()),
    });
}

/// Whether a pod of the path sends spans of some requests only.
fn is_sampled(scope: &Scope<'_>, tree: &Tree<'_>) -> bool {
    let servers = tree.legs.iter().filter_map(|leg| leg.server);
    let mut places = servers.map(|server| scope.sight.exchange(server).place);
    places.any(|place| scope.relays.sampled.contains(&place))
}

/// Why a line names no server.
fn never_sent(scope: &Scope<'_>, log: &AccessLog, tries: &[Attempt]) -> Reasons {
    let mut reasons = Reasons::default();
    if tries.is_empty() || tries.iter().any(|a| a.server.is_some() || a.is_inside) {
        return reasons;
    }
    let flags = log.flags.map_or("", |flags| scope.text(flags));
    let is_told = flags.split(',').any(|flag| ANSWERED_AS_TOLD.contains(&flag));
    let told = if is_told { Reason::ProxyLocalReply } else { Reason::MissingUpstreamNeverSent };
    reasons.insert(told);
    reasons
}

/// Whether a proxy may have passed on what this call answered.
fn is_answer(hop: &HopRow) -> bool {
    let beside = [Reason::AuthSubrequest, Reason::MirrorCopy, Reason::HedgedLoser];
    hop.kind == Kind::Ingress && !hop.reasons.iter().any(|reason| beside.contains(&reason))
}

/// Proxies write a line for every request; one that is not there yet has the status and the id, and
/// may tell of tries that nobody saw.
fn expect_lines(scope: &Scope<'_>, tree: &Tree<'_>, findings: &mut Findings) {
    for server in tree.legs.iter().filter_map(|leg| leg.server) {
        let exchange = scope.sight.exchange(server);
        let proxies = &scope.relays.proxies;
        let is_expected = scope.relays.proxy_places.contains(&exchange.place)
            && !proxies.log_of.contains(server)
            && !proxies.log_candidates.contains_key(&server);
        if is_expected {
            let pod = exchange.pod.and_then(|uid| scope.sight.owners.pod(uid));
            let name = pod.map_or("the proxy", |pod| scope.text(pod.name));
            findings.miss(format!("log line of {name}"), Reason::MissingLate);
        }
    }
}

fn range(from: usize, to: usize) -> Range<u32> {
    from as u32..to as u32
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
fn failing_hop(hops: &[HopRow]) -> Option<&HopRow> {
    if hops.iter().all(|hop| hop.failure.is_none()) {
        return None;
    }
    let mut depths: BTreeMap<i32, usize> = BTreeMap::new();
    for hop in hops {
        let above = hop.parent.and_then(|parent| depths.get(&parent).copied());
        depths.insert(hop.position, above.map_or(0, |depth| depth + 1));
    }
    let failed = hops.iter().filter(|h| h.failure.is_some());
    failed.max_by_key(|h| (depths.get(&h.position).copied(), h.position))
}

/// Appends the values in the order of their first appearance.
fn distinct(names: &mut Vec<Name>, values: impl Iterator<Item = Option<Name>>) -> Range<u32> {
    let from = names.len();
    for value in values.flatten() {
        if !names[from..].contains(&value) {
            names.push(value);
        }
    }
    range(from, names.len())
}
