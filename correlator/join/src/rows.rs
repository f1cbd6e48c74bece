//! Paths become table rows: names from the cluster history at event time, evidence, verdicts.

mod arrays;
mod edge;
mod hop;
mod path;
mod quality;
mod row;
mod structs;
mod sums;
mod undecided;

use crate::columns::{AccessLog, Attempt, Exchange, Role, Span};
use crate::id::Id;
use crate::names::Name;
use crate::path::{Paths, Planted};
use crate::reason::Reason;
use crate::relay::Relays;
use crate::rows::row::{Found, Party};
use crate::rows::undecided::{
    contested, malformed, open_by_time, orphan_call, undecided, unlabelled, unseen_caller,
};
use crate::sight::Sight;
use crate::slab::ExchangeId;
use crate::{SECOND, WindowBatches, WindowRows};

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
            stage: self.sight.stage.code(),
            finality: self.sight.stage.finality(),
        }
    }

    /// The line that a proxy wrote of a request it received.
    fn line_of(&self, server: ExchangeId) -> Option<(&'a AccessLog, &'a [Attempt])> {
        let log = self.relays.proxies.log_of.get(server)?;
        Some((self.sight.slabs.log(log), self.sight.slabs.attempts(log)))
    }

    /// The line that a balancer outside the cluster wrote of an arrival.
    fn balancer_line_of(&self, server: ExchangeId) -> Option<&'a AccessLog> {
        self.relays.balancers.get(&server).map(|&log| self.sight.slabs.log(log))
    }

    /// The span that tells of a request that a server received.
    fn span_of(&self, server: ExchangeId) -> Option<&'a Span> {
        self.sight.span_of(server).one().map(|span| self.sight.slabs.span(span))
    }

    fn text(&self, name: Name) -> &'a str {
        self.sight.slabs.names.text(name)
    }

    fn id(&self, id: Option<Id>) -> Option<String> {
        id.map(|id| self.sight.slabs.odd_ids.show(id))
    }

    fn attributed_by(&self, exchange: &Exchange) -> Option<&'a str> {
        self.sight.slabs.names.text_of(exchange.attributed_by)
    }

    /// Names a party's pod. False where only its uid is known, or nothing.
    fn set_pod(&self, party: &mut Party, uid: Option<Name>) -> bool {
        party.pod_uid = uid;
        let Some(pod) = uid.and_then(|uid| self.sight.owners.pod(uid)) else { return false };
        party.pod = Some(pod.name);
        party.namespace = Some(pod.namespace);
        party.workload = pod.workload;
        true
    }

    /// Whether everything that happened on a node was seen.
    fn whole(&self, node: Option<Name>, from_ns: i64, to_ns: i64) -> Result<(), Reason> {
        self.sight.coverage.whole(node, from_ns, to_ns)
    }
}

struct Head {
    hour: String,
    win: i64,
    stage: &'static str,
    finality: &'static str,
}

/// The rows of the window as structs.
pub(crate) fn structs(scope: &Scope<'_>, paths: &Paths) -> WindowRows {
    structs::window(scope, find(scope, paths))
}

/// The rows of the window as Arrow columns.
pub(crate) fn batches(scope: &Scope<'_>, paths: &Paths) -> WindowBatches {
    let found = find(scope, paths);
    // Columns of this release fit its tables.
    let arrays::Batches { hops, paths } = arrays::batches(scope, &found)
        .unwrap_or_else(|e| panic!("rows do not fit their tables' columns: {e}"));
    WindowBatches { win: scope.head().win, hops, paths, rest: structs::rest(scope, found) }
}

fn find(scope: &Scope<'_>, paths: &Paths) -> Found {
    let mut found = Found::default();
    let ids: Vec<u128> = paths.trees.iter().map(|tree| path_id(scope, tree)).collect();
    let mut undecided_in = vec![0; paths.trees.len()];
    for tree in paths.undecided.iter().flat_map(|(_, trees)| trees) {
        undecided_in[*tree] += 1;
    }
    for (index, tree) in paths.trees.iter().enumerate() {
        let tree = &tree.with(&paths.legs);
        if let Some(orphan) = unseen_caller(scope, tree) {
            found.ambiguous.push(orphan);
            continue;
        }
        let mut contested = contested(scope, tree, ids[index]);
        contested.extend(open_by_time(scope, tree, ids[index]));
        let undecided = contested.len() + undecided_in[index];
        path::push(scope, &mut found, tree, ids[index], undecided);
        found.ambiguous.extend(contested);
        found.ambiguous.extend(unlabelled(scope, tree, ids[index]));
    }
    for (call, trees) in &paths.undecided {
        found.ambiguous.extend(undecided(scope, *call, trees, &ids));
    }
    for (call, why) in &paths.orphans {
        found.ambiguous.push(orphan_call(scope, *call, *why));
    }
    if let Some(slab) = scope.sight.slabs.slab(scope.sight.window) {
        found.ambiguous.extend(slab.malformed.iter().map(|row| malformed(scope, row)));
    }
    found.ambiguous.sort_by(|a, b| {
        (a.start_ns, &a.segment, &a.path_id, a.end_ns)
            .cmp(&(b.start_ns, &b.segment, &b.path_id, b.end_ns))
    });
    found
}

/// 128 bits over the root's evidence: the same request has the same id in every run.
fn path_id(scope: &Scope<'_>, tree: &Planted) -> u128 {
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
    let hash = blake3::hash(evidence.as_bytes());
    let (first, _) = hash.as_bytes().split_at(16);
    first.iter().fold(0, |id: u128, byte| id << 8 | u128::from(*byte))
}
