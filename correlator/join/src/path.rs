//! Links become paths: trees of legs under a root, one window's roots at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::address::End;
use crate::columns::{Ended, Role};
use crate::link::claim::Claim;
use crate::link::nat;
use crate::reason::Reason;
use crate::relay::{Cause, Made, Relays};
use crate::row_map::RowMap;
use crate::sight::Sight;
use crate::slab::{ExchangeId, LogId, RowId};

/// How a path begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Root {
    /// A request that came to a server exchange from a client that no agent saw.
    Arrival(ExchangeId),
    /// A call that began in a pod.
    Call(ExchangeId),
}

impl Root {
    pub(crate) fn id(&self) -> ExchangeId {
        match *self {
            Self::Arrival(id) | Self::Call(id) => id,
        }
    }
}

/// One leg: the two ends of one stream, either of which may be missing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Leg {
    pub(crate) client: Option<ExchangeId>,
    pub(crate) server: Option<ExchangeId>,
    /// Position of the leg whose server made this call.
    pub(crate) parent: Option<u32>,
    /// What says that this call belongs to its parent; `None` at the root.
    pub(crate) by: Option<Reason>,
    /// The attempt that the parent's log line says this is. With neither end seen, the line alone
    /// tells of it.
    pub(crate) logged: Option<Attempt>,
}

/// One attempt of one log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) log: LogId,
    pub(crate) index: usize,
}

/// A tree, its legs in [`Paths::legs`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Planted {
    pub(crate) root: Root,
    legs: Range<u32>,
    end_ns: i64,
}

impl Planted {
    pub(crate) fn with<'a>(&self, legs: &'a [Leg]) -> Tree<'a> {
        let legs = &legs[self.legs.start as usize..self.legs.end as usize];
        Tree { root: self.root, legs, end_ns: self.end_ns }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tree<'a> {
    pub(crate) root: Root,
    /// Depth first, calls of one request by start.
    pub(crate) legs: &'a [Leg],
    pub(crate) end_ns: i64,
}

/// The window's paths in the order of their root's start, and what belongs to none.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    pub(crate) trees: Vec<Planted>,
    pub(crate) legs: Vec<Leg>,
    /// Undecided calls, with the indexes of the window's trees that hold a candidate.
    pub(crate) undecided: Vec<(ExchangeId, Vec<usize>)>,
    /// Exchanges of the window whose other end or cause should have been seen.
    pub(crate) orphans: Vec<(ExchangeId, Reason)>,
}

/// Deeper or larger than any real request; a bound against a loop in hostile input.
const LEGS_MAX: usize = 4_096;

pub(crate) fn build(sight: &Sight<'_>, relays: &Relays) -> Paths {
    let mut paths = Paths::default();
    let Some(slab) = sight.slabs.slab(sight.window) else { return paths };
    let contested: BTreeSet<ExchangeId> = sight.contested_servers().collect();
    let mut roots: Vec<(i64, Root)> = Vec::new();
    for row in (0..slab.exchanges.len()).map(|row| row as u32) {
        let id = RowId { window: sight.window, row };
        let root = match slab.exchanges[row as usize].role {
            Role::Server if sight.client_of(id) == Claim::Nobody && !contested.contains(&id) => {
                Root::Arrival(id)
            }
            Role::Client if relays.others.get(&id) == Some(&Cause::Root) => Root::Call(id),
            _ => continue,
        };
        if sight.is_last_word(id) && sight.home(id) == sight.window {
            roots.push((slab.exchanges[row as usize].start_ns, root));
        }
    }
    roots.sort_by_key(|(start_ns, root)| (*start_ns, root.id()));
    let mut tree_of: RowMap<u32> = sight.row_map();
    let mut placed: RowMap<()> = sight.row_map();
    let mut stack = Vec::new();
    for (_, root) in roots {
        let first = paths.legs.len();
        grow(sight, relays, root, &mut paths.legs, &mut stack);
        for leg in &paths.legs[first..] {
            if let Some(server) = leg.server {
                tree_of.insert(server, paths.trees.len() as u32);
            }
            if let Some(client) = leg.client {
                placed.insert(client, ());
            }
        }
        let legs = first as u32..paths.legs.len() as u32;
        let end_ns = sight.exchange(root.id()).end_ns;
        paths.trees.push(Planted { root, legs, end_ns });
    }
    let at_home = |call| sight.home(call) == sight.window;
    for (&call, cause) in &relays.others {
        match cause {
            Cause::Undecided { candidates, .. } => {
                let trees: BTreeSet<usize> =
                    candidates.iter().filter_map(|s| tree_of.get(*s)).map(|t| t as usize).collect();
                if !trees.is_empty() || at_home(call) {
                    paths.undecided.push((call, trees.into_iter().collect()));
                }
            }
            Cause::Orphan(why) if at_home(call) => paths.orphans.push((call, *why)),
            _ => {}
        }
    }
    let mut left: Vec<ExchangeId> =
        relays.caused().filter(|&call| !placed.contains(call)).collect();
    left.sort_unstable();
    for call in left {
        if call.window == sight.window && at_home(call) {
            let why = lost_to_every_window(sight, relays, call);
            paths.orphans.extend(why.map(|why| (call, why)));
        }
    }
    paths
}

/// Why a call that has a cause is in no window's path all the same; `None` where it is in one, or
/// where a row of its own tells of an undecided call above it.
fn lost_to_every_window(sight: &Sight<'_>, relays: &Relays, call: ExchangeId) -> Option<Reason> {
    let mut above = call;
    for _ in 0..LEGS_MAX {
        let root = match relays.parent_of(above) {
            Some(parent) => match sight.client_of(parent.server) {
                Claim::One(client) => {
                    above = client;
                    continue;
                }
                Claim::Several => return Some(Reason::AmbigNatPortReuse),
                Claim::Nobody if sight.contested_servers().any(|s| s == parent.server) => {
                    return Some(Reason::AmbigNatPortReuse);
                }
                Claim::Nobody => parent.server,
            },
            None if relays.others.get(&above) == Some(&Cause::Root) => above,
            None => return None,
        };
        return (!is_read_for(sight, root, call)).then_some(Reason::MissingBeyondGuard);
    }
    // Only ids of hostile spans can say that a call caused itself.
    Some(Reason::ConflictIdVsTuple)
}

/// Whether the window that a request's path is written in looks at a call of it.
fn is_read_for(sight: &Sight<'_>, root: ExchangeId, call: ExchangeId) -> bool {
    let root = sight.latest(root);
    let home = sight.home(root);
    if sight.exchange(root).ended == Ended::Open {
        // Still open: no later row of it is known, and none may come that reaches back so far.
        return call.window <= home;
    }
    home <= call.window + sight.window - sight.first || sight.is_followed(sight.exchange(root))
}

/// Appends the legs of a path.
fn grow(sight: &Sight<'_>, relays: &Relays, root: Root, legs: &mut Vec<Leg>, stack: &mut Vec<Leg>) {
    let bare = Leg { client: None, server: None, parent: None, by: None, logged: None };
    let root = match root {
        Root::Arrival(server) => Leg { server: Some(server), ..bare },
        Root::Call(client) => Leg { client: Some(client), server: sight.server_of(client), ..bare },
    };
    let first = legs.len();
    // A stack of legs to place; calls are pushed latest first so that the earliest comes next.
    stack.push(root);
    while let Some(leg) = stack.pop() {
        let walked = &legs[first..];
        let is_walked = leg.server.is_some() && walked.iter().any(|l| l.server == leg.server);
        if is_walked || walked.len() == LEGS_MAX {
            continue;
        }
        let parent = Some(walked.len() as u32);
        if let Some(server) = leg.server {
            let calls = calls(sight, relays, server);
            stack.extend(calls.into_iter().rev().map(|call| Leg { parent, ..call }));
        }
        legs.push(leg);
    }
}

/// The calls made for one request: in the order of the log line's attempts where there is one,
/// else by start.
fn calls(sight: &Sight<'_>, relays: &Relays, server: ExchangeId) -> Vec<Leg> {
    let leg = |made: &Made| Leg {
        client: Some(made.call),
        server: sight.server_of(made.call),
        parent: None,
        by: Some(made.by),
        logged: None,
    };
    let mut legs: Vec<Leg> = relays.calls_of(server).iter().map(leg).collect();
    let Some(log) = relays.proxies.log_of.get(server) else { return legs };
    let attempts = sight.slabs.attempts(log);
    let mut calls_to: BTreeMap<End, Vec<ExchangeId>> = BTreeMap::new();
    for client in legs.iter().filter_map(|l| l.client) {
        calls_to.entry(sight.exchange(client).remote()).or_default().push(client);
    }
    let mut attempts_at: BTreeMap<End, Vec<usize>> = BTreeMap::new();
    for (index, attempt) in attempts.iter().enumerate() {
        if let Some(end) = attempt.server {
            attempts_at.entry(end).or_default().push(index);
        }
    }
    let mut call_of: BTreeMap<usize, ExchangeId> = BTreeMap::new();
    for (end, indexes) in &attempts_at {
        let made = calls_to.get(end).map_or(&[][..], Vec::as_slice);
        // A refused attempt sent nothing, so that no call is seen of it.
        let answered: Vec<usize> =
            indexes.iter().copied().filter(|&i| !attempts[i].was_refused()).collect();
        if indexes.len() == made.len() {
            call_of.extend(indexes.iter().copied().zip(made.iter().copied()));
        } else if answered.len() == made.len() {
            call_of.extend(answered.into_iter().zip(made.iter().copied()));
        }
    }
    let mut placed = Vec::new();
    for (index, attempt) in attempts.iter().enumerate() {
        let Some(end) = attempt.server else { continue };
        let logged = Some(Attempt { log, index });
        match call_of.get(&index) {
            Some(call) => {
                let at = legs.iter().position(|l| l.client == Some(*call));
                placed.extend(at.map(|at| Leg { logged, ..legs.remove(at) }));
            }
            // Which of the attempts at this address the calls are is not known; all of them are
            // there already where none was lost.
            None if attempts_at[&end].iter().all(|i| !call_of.contains_key(i))
                && calls_to.contains_key(&end) => {}
            // The line alone knows.
            None => placed.push(Leg {
                client: None,
                server: None,
                parent: None,
                by: Some(Reason::OkUpstreamUnique),
                logged,
            }),
        }
    }
    // What the line does not list stands where it began.
    let start_ns = |leg: &Leg| leg.client.map(|client| sight.exchange(client).start_ns);
    for leg in legs {
        let is_later = |other: &Leg| start_ns(other).is_some_and(|ns| Some(ns) > start_ns(&leg));
        let at = placed.iter().position(is_later).unwrap_or(placed.len());
        placed.insert(at, leg);
    }
    placed
}

/// How a request reached the first server that was seen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    /// Through these translations, the first one first.
    Translated(Vec<nat::BindingId>),
    /// Straight to the server's socket.
    Direct,
    /// The same tuple was translated more than once, and which one it was can't be told.
    Undecided(Reason),
}

pub(crate) fn entry(sight: &Sight<'_>, server: ExchangeId) -> Entry {
    match sight.nat.chain_to_server(sight.exchange(server)) {
        Ok(chain) => Entry::Translated(chain),
        Err(none) => none.doubt().map_or(Entry::Direct, Entry::Undecided),
    }
}
