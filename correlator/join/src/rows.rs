//! Paths become table rows: names from the cluster history at event time, evidence, verdicts.

mod hop;
mod undecided;

use std::collections::BTreeSet;

use tables::{Hop, Path, PathHop};

use crate::columns::{AccessLog, Attempt, Role, Span};
use crate::id::Id;
use crate::names::Name;
use crate::path::{Paths, Root, Tree};
use crate::reason::Reason;
use crate::relay::Relays;
use crate::rows::undecided::{
    contested, malformed, orphan_call, undecided, unlabelled, unseen_caller,
};
use crate::sight::Sight;
use crate::slab::ExchangeId;
use crate::verdict::Findings;
use crate::{SECOND, Stage, WindowRows};

/// Everything the rows of one window are made from.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) sight: &'a Sight<'a>,
    pub(crate) relays: &'a Relays,
}

impl<'a> Scope<'a> {
    /// The columns that every row of the window carries.
    fn head(&self) -> Head {
        let start_ns = self.sight.time.start;
        Head {
            hour: tables::hour_of_ns(start_ns),
            win: start_ns / SECOND,
            stage: self.sight.stage.code().into(),
            finality: self.sight.stage.finality().into(),
        }
    }

    /// The line that a proxy wrote of a request it received.
    fn line_of(&self, server: ExchangeId) -> Option<(&'a AccessLog, &'a [Attempt])> {
        let log = *self.relays.proxies.log_of.get(&server)?;
        Some((self.sight.slabs.log(log), self.sight.slabs.attempts(log)))
    }

    /// The span that tells of a request that a server received.
    fn span_of(&self, server: ExchangeId) -> Option<&'a Span> {
        self.sight.span_of(server).one().map(|span| self.sight.slabs.span(span))
    }

    fn name(&self, name: Option<Name>) -> Option<String> {
        self.sight.slabs.names.text_of(name).map(str::to_owned)
    }

    fn text(&self, name: Name) -> &'a str {
        self.sight.slabs.names.text(name)
    }

    fn id(&self, id: Option<Id>) -> Option<String> {
        id.map(|id| self.sight.slabs.odd_ids.show(id))
    }

    /// Whether everything that happened on a node was seen.
    fn whole(&self, node: &str, from_ns: i64, to_ns: i64) -> Result<(), Reason> {
        self.sight.coverage.whole(self.sight.slabs.names.find(node), from_ns, to_ns)
    }
}

struct Head {
    hour: String,
    win: i64,
    stage: String,
    finality: String,
}

pub(crate) fn write(scope: &Scope<'_>, paths: &Paths) -> WindowRows {
    let mut rows = WindowRows { win: scope.sight.time.start / SECOND, ..WindowRows::default() };
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
    if let Some(slab) = scope.sight.slabs.slab(scope.sight.window) {
        rows.ambiguous.extend(slab.malformed.iter().map(|row| malformed(scope, row)));
    }
    rows.ambiguous.sort_by(|a, b| {
        (a.start_ns, &a.segment, &a.path_id, a.end_ns)
            .cmp(&(b.start_ns, &b.segment, &b.path_id, b.end_ns))
    });
    rows
}

/// 128 bits over the root's evidence: the same request has the same id in every run.
fn path_id(scope: &Scope<'_>, tree: &Tree) -> String {
    let e = scope.sight.exchange(tree.root.id());
    let role = match e.role {
        Role::Client => "client",
        Role::Server => "server",
    };
    let evidence = format!(
        "{}|{}|{role}|{}|{}|{}|{}",
        scope.sight.settings.cluster,
        scope.text(e.node),
        e.local(),
        e.remote(),
        e.seq_req,
        e.start_ns
    );
    blake3::hash(evidence.as_bytes()).to_hex()[..32].to_owned()
}

fn path(scope: &Scope<'_>, tree: &Tree, path_id: &str, undecided: usize) -> (Path, Vec<Hop>) {
    let mut findings = Findings { undecided, ..Findings::default() };
    if matches!(tree.root, Root::Call(_)) && scope.sight.stage != Stage::Final {
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
    let line = tree.legs[0].server.and_then(|server| scope.line_of(server));
    let log = line.map(|(log, _)| log);
    let servers = tree.legs.iter().filter_map(|leg| leg.server);
    let first_span = servers.filter_map(|server| scope.span_of(server)).next();
    let root = &hops[0];
    let status = root.status;
    let failing = failing_hop(&hops);
    let mut reasons: BTreeSet<&str> = BTreeSet::new();
    for hop in &hops {
        reasons.extend(hop.reasons.iter().map(String::as_str).filter(|r| !r.starts_with("OK_")));
    }
    if line.is_some_and(|(_, tries)| !tries.is_empty() && tries.iter().all(|a| a.server.is_none()))
    {
        reasons.insert(Reason::MissingUpstreamNeverSent.code());
    }
    let root_exchange = scope.sight.exchange(tree.root.id());
    let head = scope.head();
    let last_attempt = hops.iter().rfind(|h| h.parent == Some(0) && h.kind == "ingress");
    let path = Path {
        hour: head.hour,
        win: head.win,
        stage: head.stage,
        revision: 0,
        finality: head.finality,
        path_id: path_id.to_owned(),
        request_id: scope
            .id(log.and_then(|l| l.request_id).or(first_span.and_then(|s| s.request_id))),
        trace_id: scope.id(first_span.map(|s| s.trace).or(log.and_then(|l| l.trace))),
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
