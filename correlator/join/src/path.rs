//! Links become paths: trees of legs under a root, one window's roots at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::address::End;
use crate::link::proxy::{self, addressed, was_refused};
use crate::link::{Links, nat};
use crate::observation::{ExchangeId, Role, Seen};
use crate::reason::Reason;
use crate::relay::{Cause, Relays};
use crate::window::ReadRange;

/// How a path begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Root {
    /// A request that came to a server exchange from a client that no agent saw.
    Arrival(ExchangeId),
    /// A call that began in a pod.
    Call(ExchangeId),
}

/// One leg: the two ends of one stream, either of which may be missing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leg {
    pub(crate) client: Option<ExchangeId>,
    pub(crate) server: Option<ExchangeId>,
    /// Index of the leg whose server made this call.
    pub(crate) parent: Option<usize>,
    /// What says that this call belongs to its parent; `None` at the root.
    pub(crate) by: Option<Reason>,
    /// The attempt that the parent's log line says this is. With neither end seen, the line alone
    /// tells of it.
    pub(crate) logged: Option<Attempt>,
}

/// One attempt of one log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) log: proxy::LogId,
    pub(crate) index: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tree {
    pub(crate) root: Root,
    /// Depth first, calls of one request by start.
    pub(crate) legs: Vec<Leg>,
    pub(crate) end_ns: i64,
}

/// The window's paths in the order of their root's start, and what belongs to none.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    pub(crate) trees: Vec<Tree>,
    /// Undecided calls, with the indexes of the window's trees that hold a candidate.
    pub(crate) undecided: Vec<(ExchangeId, Vec<usize>)>,
    /// Exchanges of the window whose other end or cause should have been seen.
    pub(crate) orphans: Vec<(ExchangeId, Reason)>,
}

/// Deeper or larger than any real request; a bound against a loop in hostile input.
const LEGS_MAX: usize = 4_096;

pub(crate) fn build(
    seen: &Seen<'_>,
    links: &Links,
    relays: &Relays,
    window: Range<i64>,
    range: &ReadRange,
) -> Paths {
    let mut paths = Paths::default();
    let mut tree_of: BTreeMap<ExchangeId, usize> = BTreeMap::new();
    for id in 0..seen.exchanges.len() {
        let Some(root) = root(links, relays, seen, id) else { continue };
        let end_ns = seen.exchanges[id].row.end_ns;
        if !window.contains(&seen.exchanges[id].home_ns) {
            continue;
        }
        let legs = legs(seen, links, relays, &root);
        for leg in &legs {
            if let Some(server) = leg.server {
                tree_of.insert(server, paths.trees.len());
            }
        }
        paths.trees.push(Tree { root, legs, end_ns });
    }
    for (&call, cause) in &relays.causes {
        match cause {
            Cause::Undecided { candidates, .. } => {
                let trees: BTreeSet<usize> =
                    candidates.iter().filter_map(|s| tree_of.get(s)).copied().collect();
                let in_window = window.contains(&seen.exchanges[call].home_ns);
                if !trees.is_empty() || in_window {
                    paths.undecided.push((call, trees.into_iter().collect()));
                }
            }
            Cause::Orphan(why) if window.contains(&seen.exchanges[call].home_ns) => {
                paths.orphans.push((call, *why));
            }
            Cause::Parent(_) if window.contains(&seen.exchanges[call].home_ns) => {
                let why = lost_to_every_window(seen, links, relays, &window, range, call);
                paths.orphans.extend(why.map(|why| (call, why)));
            }
            _ => {}
        }
    }
    paths
}

/// Why a call that has a cause is in no window's path all the same; `None` where it is in one, or
/// where a row of its own tells of an undecided call above it.
fn lost_to_every_window(
    seen: &Seen<'_>,
    links: &Links,
    relays: &Relays,
    window: &Range<i64>,
    range: &ReadRange,
    call: ExchangeId,
) -> Option<Reason> {
    let mut above = call;
    for _ in 0..LEGS_MAX {
        let root = match relays.causes.get(&above) {
            Some(Cause::Parent(parent)) => match links.client_of[parent.server] {
                Some(client) => {
                    above = client;
                    continue;
                }
                None if links.contested_servers.contains(&parent.server) => {
                    return Some(Reason::AmbigNatPortReuse);
                }
                None => parent.server,
            },
            Some(Cause::Root) => above,
            _ => return None,
        };
        let length_ns = window.end - window.start;
        let home_ns = seen.exchanges[root].home_ns;
        let shift_ns = (home_ns - window.start).div_euclid(length_ns) * length_ns;
        let read_there = range.rows.start + shift_ns..range.rows.end + shift_ns;
        let is_read = read_there.contains(&seen.exchanges[call].row.event_ns);
        return (!is_read).then_some(Reason::MissingBeyondGuard);
    }
    // Only ids of hostile spans can say that a call caused itself.
    Some(Reason::ConflictIdVsTuple)
}

/// A server exchange whose client no agent saw, or a call without a cause.
fn root(links: &Links, relays: &Relays, seen: &Seen<'_>, id: ExchangeId) -> Option<Root> {
    match seen.exchanges[id].role {
        Role::Server if links.client_of[id].is_none() && !links.contested_servers.contains(&id) => {
            Some(Root::Arrival(id))
        }
        Role::Client if relays.causes.get(&id) == Some(&Cause::Root) => Some(Root::Call(id)),
        _ => None,
    }
}

fn legs(seen: &Seen<'_>, links: &Links, relays: &Relays, root: &Root) -> Vec<Leg> {
    let bare = Leg { client: None, server: None, parent: None, by: None, logged: None };
    let first = match *root {
        Root::Arrival(server) => Leg { server: Some(server), ..bare },
        Root::Call(client) => Leg { client: Some(client), server: links.server_of[client], ..bare },
    };
    let mut legs = Vec::new();
    let mut walked = BTreeSet::new();
    // A stack of legs to place; calls are pushed latest first so that the earliest comes next.
    let mut stack = vec![first];
    while let Some(leg) = stack.pop() {
        let is_new = leg.server.is_none_or(|s| walked.insert(s));
        if !is_new || legs.len() == LEGS_MAX {
            continue;
        }
        let position = legs.len();
        if let Some(server) = leg.server {
            for call in calls(seen, links, relays, server).into_iter().rev() {
                stack.push(Leg { parent: Some(position), ..call });
            }
        }
        legs.push(leg);
    }
    legs
}

/// The calls made for one request: in the order of the log line's attempts where there is one,
/// else by start.
fn calls(seen: &Seen<'_>, links: &Links, relays: &Relays, server: ExchangeId) -> Vec<Leg> {
    let mut legs: Vec<Leg> = relays
        .calls
        .get(&server)
        .into_iter()
        .flatten()
        .map(|&call| Leg {
            client: Some(call),
            server: links.server_of[call],
            parent: None,
            by: match relays.causes.get(&call) {
                Some(Cause::Parent(parent)) => Some(parent.by),
                _ => None,
            },
            logged: None,
        })
        .collect();
    let Some(&log) = links.proxies.log_of.get(&server) else { return legs };
    let attempts = &seen.access_logs[log].attempts;
    let mut calls_to: BTreeMap<End, Vec<ExchangeId>> = BTreeMap::new();
    for client in legs.iter().filter_map(|l| l.client) {
        calls_to.entry(seen.exchanges[client].remote).or_default().push(client);
    }
    let mut attempts_at: BTreeMap<End, Vec<usize>> = BTreeMap::new();
    for (index, attempt) in attempts.iter().enumerate() {
        if let Some(end) = addressed(attempt) {
            attempts_at.entry(end).or_default().push(index);
        }
    }
    let mut call_of: BTreeMap<usize, ExchangeId> = BTreeMap::new();
    for (end, indexes) in &attempts_at {
        let made = calls_to.get(end).map_or(&[][..], Vec::as_slice);
        // A refused attempt sent nothing, so that no call is seen of it.
        let answered: Vec<usize> =
            indexes.iter().copied().filter(|&i| !was_refused(&attempts[i])).collect();
        if indexes.len() == made.len() {
            call_of.extend(indexes.iter().copied().zip(made.iter().copied()));
        } else if answered.len() == made.len() {
            call_of.extend(answered.into_iter().zip(made.iter().copied()));
        }
    }
    let mut placed = Vec::new();
    for (index, attempt) in attempts.iter().enumerate() {
        let Some(end) = addressed(attempt) else { continue };
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
    placed.append(&mut legs);
    placed
}

/// How a request reached the first server that was seen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    /// Through these translations, the first one first.
    Translated(Vec<nat::BindingId>),
    /// Straight to the server's socket.
    Direct,
    /// The same tuple was translated twice at nearly the same time.
    PortReused,
}

pub(crate) fn entry(seen: &Seen<'_>, links: &Links, server: ExchangeId) -> Entry {
    match links.nat.chain_to_server(seen, &seen.exchanges[server]) {
        Ok(chain) => Entry::Translated(chain),
        Err(nat::NoBinding::None) => Entry::Direct,
        Err(nat::NoBinding::PortReuse) => Entry::PortReused,
    }
}
