//! Links become paths: trees of legs under a root, one window's roots at a time.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::columns::{Ended, Role};
use crate::link::claim::Claim;
use crate::link::nat;
use crate::parallel;
use crate::reason::Reason;
use crate::relay::{Cause, Made, Relays};
use crate::row_map::RowMap;
use crate::sight::Sight;
use crate::slab::{ExchangeId, LogId, RowId};
use tries::Tries;

mod tries;

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
    /// Which try of its request it is, counted from 0, as far as that is known without knowing which
    /// of several lines is the request's.
    pub(crate) nth: Option<u32>,
}

/// One attempt of one log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) log: LogId,
    pub(crate) index: usize,
}

/// Trees that are written together. Their legs lie in one list.
#[derive(Debug, Default)]
pub(crate) struct Grove {
    /// Position of the first tree among those of the window.
    pub(crate) first: usize,
    trees: Vec<Planted>,
    legs: Vec<Leg>,
}

#[derive(Clone, Debug, PartialEq)]
struct Planted {
    root: Root,
    legs: Range<u32>,
    end_ns: i64,
}

impl Grove {
    /// How many legs its trees have.
    pub(crate) fn legs(&self) -> usize {
        self.legs.len()
    }

    pub(crate) fn trees(&self) -> impl Iterator<Item = Tree<'_>> {
        self.trees.iter().map(|planted| {
            let legs = &self.legs[planted.legs.start as usize..planted.legs.end as usize];
            Tree { root: planted.root, legs, end_ns: planted.end_ns }
        })
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
    pub(crate) groves: Vec<Grove>,
    /// Undecided calls, with the indexes of the window's trees that hold a candidate.
    pub(crate) undecided: Vec<(ExchangeId, Vec<usize>)>,
    /// Exchanges of the window whose other end or cause should have been seen.
    pub(crate) orphans: Vec<(ExchangeId, Reason)>,
}

/// Trees of one grove: their rows stay in a core's cache until they are columns.
const GROVE_TREES: usize = 2_048;

/// Exchanges among which one thread looks for roots at a time.
const ROWS_AT_ONCE: usize = 65_536;

/// Deeper or larger than any real request; a bound against a loop in hostile input.
const LEGS_MAX: usize = 4_096;

pub(crate) fn build(sight: &Sight<'_>, relays: &Relays) -> Paths {
    let roots = roots(sight, relays);
    let groves = roots.chunks(GROVE_TREES).enumerate();
    let groves = parallel::map(sight.settings.threads, groves, |(nth, roots)| {
        plant(sight, relays, nth * GROVE_TREES, roots)
    });
    let mut paths = Paths { groves, ..Paths::default() };
    let mut tree_of: RowMap<u32> = sight.row_map();
    let mut placed: RowMap<()> = sight.row_map();
    for grove in &paths.groves {
        for (index, tree) in (grove.first as u32..).zip(grove.trees()) {
            let servers = tree.legs.iter().filter_map(|leg| leg.server);
            servers.for_each(|server| tree_of.insert(server, index));
            let clients = tree.legs.iter().filter_map(|leg| leg.client);
            clients.for_each(|client| placed.insert(client, ()));
        }
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

/// Where the window's paths begin, by start.
fn roots(sight: &Sight<'_>, relays: &Relays) -> Vec<Root> {
    let Some(slab) = sight.slabs.slab(sight.window) else { return Vec::new() };
    let contested: BTreeSet<ExchangeId> = sight.contested_servers().collect();
    let root = |row: usize| {
        let id = RowId { window: sight.window, row: row as u32 };
        let exchange = &slab.exchanges[row];
        let root = match exchange.role {
            Role::Server if sight.client_of(id) == Claim::Nobody && !contested.contains(&id) => {
                Root::Arrival(id)
            }
            Role::Client if relays.others.get(&id) == Some(&Cause::Root) => Root::Call(id),
            _ => return None,
        };
        let is_here = sight.is_last_word(id) && sight.home(id) == sight.window;
        is_here.then_some((exchange.start_ns, id, root))
    };
    let rows = slab.exchanges.len();
    let starts = (0..rows).step_by(ROWS_AT_ONCE);
    let found = parallel::map(sight.settings.threads, starts, |from| {
        let found = (from..rows.min(from + ROWS_AT_ONCE)).filter_map(root);
        found.collect::<Vec<_>>()
    });
    let mut roots: Vec<(i64, RowId, Root)> = found.into_iter().flatten().collect();
    roots.sort_unstable_by_key(|&(start_ns, id, _)| (start_ns, id));
    roots.into_iter().map(|(_, _, root)| root).collect()
}

fn plant(sight: &Sight<'_>, relays: &Relays, first: usize, roots: &[Root]) -> Grove {
    let mut grove = Grove { first, ..Grove::default() };
    let mut stack = Vec::new();
    for &root in roots {
        let from = grove.legs.len() as u32;
        grow(sight, relays, root, &mut grove.legs, &mut stack);
        let legs = from..grove.legs.len() as u32;
        let end_ns = sight.exchange(root.id()).end_ns;
        grove.trees.push(Planted { root, legs, end_ns });
    }
    grove
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
    let bare = Leg { client: None, server: None, parent: None, by: None, logged: None, nth: None };
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
        nth: None,
    };
    let mut legs: Vec<Leg> = relays.calls_of(server).iter().map(leg).collect();
    let Some(log) = relays.proxies.log_of.get(server) else {
        number(sight, relays, server, &mut legs);
        return legs;
    };
    let attempts = sight.slabs.attempts(log);
    // Nearly every request of a proxy is one call that its line tells of.
    if let ([attempt], [call]) = (attempts, &mut legs[..])
        && let Some(client) = call.client
        && attempt.server == Some(sight.exchange(client).remote())
        && tries::may_be(sight, attempt, client)
    {
        call.logged = Some(Attempt { log, index: 0 });
        return legs;
    }
    let tries = Tries::new(sight, legs.iter().filter_map(|leg| leg.client), attempts);
    let mut placed = Vec::new();
    for (index, attempt) in attempts.iter().enumerate() {
        if attempt.server.is_none() {
            continue;
        }
        let logged = Some(Attempt { log, index });
        match tries.call_of.get(&index) {
            Some(call) => {
                let at = legs.iter().position(|l| l.client == Some(*call));
                placed.extend(at.map(|at| Leg { logged, ..legs.remove(at) }));
            }
            None if tries.stood_for.contains(&index) => {}
            // The line alone knows.
            None => placed.push(Leg {
                client: None,
                server: None,
                parent: None,
                by: Some(Reason::OkUpstreamUnique),
                logged,
                nth: None,
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

/// Numbers the calls of a request as all lines do that may be its own.
fn number(sight: &Sight<'_>, relays: &Relays, server: ExchangeId, legs: &mut [Leg]) {
    if legs.len() < 2 {
        return;
    }
    let Some(lines) = relays.proxies.log_candidates.get(&server) else { return };
    let calls: Vec<ExchangeId> = legs.iter().filter_map(|leg| leg.client).collect();
    let tries = lines.iter().map(|&log| sight.slabs.attempts(log));
    let Some(order) = tries::agreed(sight, &calls, tries) else { return };
    for leg in legs {
        leg.nth = leg.client.and_then(|call| order.get(&call).copied());
    }
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
