//! Which server exchange answered a call that no exact key links: what times alone prove.
//!
//! Asked are calls without a sequence number; candidates are requests that nobody claims, at the
//! addresses that the call may have reached. How long requests travel is learned from exact links
//! of the same two nodes, and what an answer is worth from exact links that are asked again with
//! their keys hidden. All of it is found from one window and the one before, like the exact links,
//! and never stands against one of those.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::End;
use crate::assignment::{self, Doubt, Partner, Thresholds};
use crate::calibration::{Calibration, Trials};
use crate::columns::{Exchange, Protocol, Role};
use crate::link::View;
use crate::link::claim::{Claim, Claims};
use crate::link::tuple::Pairs;
use crate::names::Name;
use crate::reason::Reason;
use crate::slab::{ExchangeId, RowId};

mod hidden;
mod stratum;

use hidden::Links;
use stratum::{Side, stratum};

/// What times say of the calls of one window.
#[derive(Debug, Default)]
pub(crate) struct Likely {
    /// Calls that were decided, with the probability that was seen to hold.
    servers: BTreeMap<ExchangeId, (ExchangeId, f64)>,
    claims: Claims,
    undecided: BTreeMap<ExchangeId, Undecided>,
    trials: Trials,
}

/// A call that times do not decide.
#[derive(Clone, Debug)]
pub(crate) struct Undecided {
    /// Most likely first; empty where nothing was weighed.
    pub(crate) candidates: Vec<(ExchangeId, f64)>,
    pub(crate) why: Reason,
}

/// Calls of one place to one address.
type Caller = (u32, End);

impl Likely {
    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.undecided.is_empty()
    }

    pub(crate) fn server_of(&self, client: ExchangeId) -> Option<ExchangeId> {
        self.servers.get(&client).map(|(server, _)| *server)
    }

    /// How probable it is that a call was answered by the server that it was given.
    pub(crate) fn probability(&self, client: ExchangeId) -> Option<f64> {
        self.servers.get(&client).map(|(_, p)| *p)
    }

    pub(crate) fn claim_of(&self, server: ExchangeId) -> Claim {
        if self.servers.is_empty() { Claim::Nobody } else { self.claims.of(server) }
    }

    pub(crate) fn undecided(&self, client: ExchangeId) -> Option<&Undecided> {
        self.undecided.get(&client)
    }

    /// Servers that an undecided call fits.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = ExchangeId> + '_ {
        self.undecided.values().flat_map(|u| &u.candidates).map(|(server, _)| *server)
    }

    /// The window's `calibration` row; none where nothing was tried.
    pub(crate) fn calibration(
        &self,
        template: &tables::Calibration,
    ) -> Option<tables::Calibration> {
        let row = Calibration::fit(&self.trials).row("hop", self.trials.raw_quality(), template);
        (row.samples > 0).then_some(row)
    }

    /// Asks about the calls among the first `count` exchanges of `view.window`.
    pub(crate) fn new(view: &View<'_>, exact: &Pairs, count: usize) -> Self {
        let mut likely = Self::default();
        let Some(slab) = view.slabs.slab(view.window) else { return likely };
        let mut asked: BTreeMap<Caller, Vec<u32>> = BTreeMap::new();
        for (row, client) in (0u32..).zip(&slab.exchanges[..count]) {
            let id = RowId { window: view.window, row };
            let is_open = is_asked(client) && exact.server_of[row as usize].is_none();
            if is_open && !exact.contested.contains_key(&id) {
                asked.entry((client.place, client.remote())).or_default().push(row);
            }
        }
        if asked.is_empty() {
            return likely;
        }
        let unclaimed = unclaimed(view, exact);
        let strata: Vec<(Side, Side, Name)> =
            asked.values().filter_map(|rows| stratum(view, slab, rows, &unclaimed)).collect();
        if strata.is_empty() {
            return likely;
        }
        likely.claims = Claims::new(view.window, count);
        let links = Links::new(view);
        links.try_hidden(view, &mut likely.trials);
        let worth = Calibration::fit(&likely.trials);
        for (clients, servers, node) in &strata {
            likely.decide(view, &links, &worth, (clients, servers, *node));
        }
        likely.withdraw_disputed(view.window);
        likely
    }

    fn decide(
        &mut self,
        view: &View<'_>,
        links: &Links<'_>,
        worth: &Calibration,
        (clients, servers, node): (&Side, &Side, Name),
    ) {
        let mut servers = servers.copy();
        let bound_ns = servers.correct(view, node);
        let delays = links.learned(node, servers.nodes(view)).at(view.until_ns);
        let stratum = clients.against(&servers, bound_ns, view.settings.window_ns);
        // No score is worth more than it says, also where too few like it were tried to tell.
        let worth = |raw: f64| worth.apply(raw).min(raw);
        let partners = assignment::assign(&stratum, &delays, &Thresholds::default(), worth);
        for ((&client, &kind), partner) in clients.ids.iter().zip(&clients.kind).zip(partners) {
            match partner {
                Partner::Committed(best) => {
                    self.servers.insert(client, (servers.ids[best.server], best.p));
                }
                Partner::Ambiguous { candidates, doubt } => {
                    let named = candidates.iter().map(|c| (servers.ids[c.server], c.p));
                    let mut candidates: Vec<(ExchangeId, f64)> = named.collect();
                    if candidates.is_empty() {
                        candidates = servers.all_of(kind);
                    }
                    self.undecided.insert(client, Undecided { candidates, why: reason(doubt) });
                }
                Partner::Nobody => {}
            }
        }
    }

    /// One server answered one call: of two that were given the same, neither is believed.
    fn withdraw_disputed(&mut self, window: u32) {
        let mut calls: BTreeMap<ExchangeId, Vec<ExchangeId>> = BTreeMap::new();
        for (client, (server, _)) in &self.servers {
            calls.entry(*server).or_default().push(*client);
        }
        for (server, clients) in calls {
            if let [client] = clients[..] {
                debug_assert_eq!(client.window, window, "only calls of the window are asked");
                self.claims.claim(server, client.row);
                continue;
            }
            for client in clients {
                if let Some((server, p)) = self.servers.remove(&client) {
                    let candidates = vec![(server, p / 2.0)];
                    let why = Reason::AmbigTimeOnly;
                    self.undecided.insert(client, Undecided { candidates, why });
                }
            }
        }
    }
}

/// Calls of HTTP/2 are told apart by their connection.
fn is_asked(client: &Exchange) -> bool {
    client.role == Role::Client
        && client.seq_req < 0
        && client.has_response()
        && client.protocol != Protocol::Http2
}

fn reason(doubt: Doubt) -> Reason {
    match doubt {
        Doubt::TimeOnly | Doubt::Unlearned => Reason::AmbigTimeOnly,
        Doubt::Dense => Reason::AmbigDense,
        Doubt::SkewUnknown => Reason::AmbigSkewUnknown,
    }
}

/// Requests received in and beside the window that no exact key gives to a client.
fn unclaimed(view: &View<'_>, exact: &Pairs) -> Vec<ExchangeId> {
    let contested: BTreeSet<ExchangeId> = exact.contested.values().flatten().copied().collect();
    let mut found = Vec::new();
    let mut rows = Vec::new();
    let near = view.window.saturating_sub(1)..view.window + 2;
    for window in near.clone() {
        let Some(slab) = view.slabs.slab(window) else { continue };
        for (row, server) in (0u32..).zip(&slab.exchanges[..view.visible(window)]) {
            let id = RowId { window, row };
            let is_open = server.role == Role::Server
                && server.has_response()
                && server.protocol != Protocol::Http2
                && exact.claims.of(id) == Claim::Nobody
                && !contested.contains(&id);
            if !is_open {
                continue;
            }
            rows.clear();
            for other in near.clone().filter_map(|window| view.slabs.slab(window)) {
                other.with_seq(server.seq_req, Role::Client, &mut rows);
            }
            // A client with its sequence number has it, or will be told why not.
            if rows.is_empty() {
                found.push(id);
            }
        }
    }
    found
}
