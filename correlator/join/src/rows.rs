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

use std::collections::BTreeMap;
use std::io::Write as _;

use arrow::error::ArrowError;

use crate::columns::{AccessLog, Attempt, Exchange, Role, Span};
use crate::id::Id;
use crate::names::Name;
use crate::parallel;
use crate::path::{Entry, Grove, Paths, Root, Tree, entry};
use crate::reason::Reason;
use crate::relay::Relays;
use crate::rows::edge::Edges;
use crate::rows::row::{Found, Party};
use crate::rows::undecided::{
    contested, malformed, open_by_time, orphan_call, undecided, unlabelled, unseen_caller,
};
use crate::sight::Sight;
use crate::slab::ExchangeId;
use crate::{Batches, SECOND, Stage, WindowRows};

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

/// What is told of the window beside its hops and paths.
#[derive(Default)]
struct Tally {
    ambiguous: Vec<tables::Ambiguous>,
    /// How often each reason is why a segment is missing.
    missing: BTreeMap<Reason, i64>,
    edges: Edges,
}

/// The rows of the window as structs.
pub(crate) fn structs(scope: &Scope<'_>, paths: &Paths) -> WindowRows {
    let (mut hops, mut all) = (Vec::new(), Vec::new());
    let take = |(of_grove, paths): (Vec<tables::Hop>, Vec<tables::Path>)| {
        hops.extend(of_grove);
        all.extend(paths);
    };
    let tally = find(scope, paths, |found| structs::rows(scope, &found), take);
    WindowRows { hops, paths: all, ..structs::rest(scope, tally) }
}

/// Hands over the hops and paths of the window as Arrow columns, and answers its other rows.
pub(crate) fn batches(
    scope: &Scope<'_>,
    paths: &Paths,
    mut take: impl FnMut(Batches),
) -> WindowRows {
    let columns = arrays::Columns::new(scope);
    let take = |batches: Result<Batches, ArrowError>| {
        // Columns of this release fit its tables.
        take(batches.unwrap_or_else(|e| panic!("rows do not fit their tables' columns: {e}")));
    };
    let tally = find(scope, paths, |found| columns.batches(&found), take);
    structs::rest(scope, tally)
}

/// Hands over what `of` makes of the rows of each grove, in their order, and answers what is told
/// beside them.
fn find<T: Send>(
    scope: &Scope<'_>,
    paths: &Paths,
    of: impl Fn(Found) -> T + Sync,
    mut take: impl FnMut(T),
) -> Tally {
    let mut undecided_in: BTreeMap<usize, usize> = BTreeMap::new();
    for tree in paths.undecided.iter().flat_map(|(_, trees)| trees) {
        *undecided_in.entry(*tree).or_default() += 1;
    }
    let work = |grove: &Grove| {
        let ids: Vec<u128> = grove.trees().map(|tree| path_id(scope, &tree)).collect();
        let (found, tally) = of_grove(scope, grove, &ids, &undecided_in);
        (of(found), tally, ids)
    };
    let (mut all, mut ids) = (Tally::default(), Vec::new());
    let add = |(made, tally, of_trees): (T, Tally, Vec<u128>)| {
        take(made);
        all.add(tally);
        ids.extend(of_trees);
    };
    parallel::in_order(scope.sight.settings.threads, paths.groves.iter(), work, add);
    for (call, trees) in &paths.undecided {
        all.ambiguous.extend(undecided(scope, *call, trees, &ids));
    }
    for (call, why) in &paths.orphans {
        all.ambiguous.push(orphan_call(scope, *call, *why));
    }
    if let Some(slab) = scope.sight.slabs.slab(scope.sight.window) {
        all.ambiguous.extend(slab.malformed.iter().map(|row| malformed(scope, row)));
    }
    all.ambiguous.sort_by(|a, b| {
        (a.start_ns, &a.segment, &a.path_id, a.end_ns)
            .cmp(&(b.start_ns, &b.segment, &b.path_id, b.end_ns))
    });
    all
}

/// The rows of the paths of one grove.
fn of_grove(
    scope: &Scope<'_>,
    grove: &Grove,
    ids: &[u128],
    undecided_in: &BTreeMap<usize, usize>,
) -> (Found, Tally) {
    let (mut found, mut tally) = (Found::default(), Tally::default());
    found.paths.reserve(ids.len());
    found.hops.reserve(grove.legs());
    for ((index, tree), &id) in (grove.first..).zip(grove.trees()).zip(ids) {
        let entry = match tree.root {
            Root::Arrival(server) => entry(scope.sight, server),
            Root::Call(_) => Entry::Direct,
        };
        if let Some(orphan) = unseen_caller(scope, &tree, &entry) {
            tally.ambiguous.push(orphan);
            continue;
        }
        let mut contested = contested(scope, &tree, id);
        contested.extend(open_by_time(scope, &tree, id));
        let undecided = contested.len() + undecided_in.get(&index).copied().unwrap_or(0);
        path::push(scope, &mut found, &tree, &entry, id, undecided);
        tally.ambiguous.extend(contested);
        tally.ambiguous.extend(unlabelled(scope, &tree, id));
    }
    tally.missing = std::mem::take(&mut found.missing_of);
    if scope.sight.stage == Stage::Final {
        tally.edges = Edges::new(&found.hops);
    }
    (found, tally)
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.ambiguous.extend(other.ambiguous);
        for (reason, count) in other.missing {
            *self.missing.entry(reason).or_default() += count;
        }
        self.edges.add(other.edges);
    }
}

/// What most paths' ids are made from is shorter.
const ID_EVIDENCE_BYTES: usize = 256;

/// 128 bits over the root's evidence: the same request has the same id in every run.
fn path_id(scope: &Scope<'_>, tree: &Tree<'_>) -> u128 {
    let e = scope.sight.exchange(tree.root.id());
    let role = match e.role {
        Role::Client => "client",
        Role::Server => "server",
    };
    let (cluster, node) = (&scope.sight.settings.cluster, scope.text(e.node));
    let mut evidence = Vec::with_capacity(ID_EVIDENCE_BYTES);
    for text in [cluster, node, role] {
        evidence.extend_from_slice(text.as_bytes());
        evidence.push(b'|');
    }
    e.local().write(&mut evidence);
    evidence.push(b'|');
    e.remote().write(&mut evidence);
    // Writing into memory does not fail.
    drop(write!(evidence, "|{}|{}", e.seq_req, e.start_ns));
    let hash = blake3::hash(&evidence);
    let (first, _) = hash.as_bytes().split_at(16);
    first.iter().fold(0, |id: u128, byte| id << 8 | u128::from(*byte))
}
