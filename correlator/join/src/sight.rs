//! What is looked at to decide one window: rows, exact links, and who watched and owned what.
//!
//! It reaches back by the guard, for calls of requests that end in the window, and ahead by a
//! little more than clocks may differ; further back only at the places where requests of the window's
//! paths were served then (`slow.rs`). Every decision is a function of what is in sight here, so
//! that it is the same in a run of any length.

mod counterparts;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::clock::NodeClocks;
use crate::columns::{EndCause, Ended, Ending, Exchange, Role};
use crate::comparison::Known;
use crate::coverage::Coverage;
use crate::link::claim::Claim;
use crate::link::ids::Served;
use crate::link::nat::Translations;
use crate::link::statistical::Undecided;
use crate::link::unseen::Unseen;
use crate::link::{Evidence, View, half};
use crate::ownership::Ownership;
use crate::row_map::RowMap;
use crate::slab::{ExchangeId, RowId, SpanId};
use crate::slabs::Slabs;
use crate::slow::Reached;
use crate::window::{longest_ns, window_start};
use crate::{Settings, Stage};

pub(crate) use counterparts::Counterparts;

/// An exchange is reported again within so many windows, or taken for another one.
const REPEATS_WITHIN: u32 = 3;

pub(crate) struct Sight<'a> {
    pub(crate) slabs: &'a Slabs,
    pub(crate) settings: &'a Settings,
    pub(crate) owners: &'a Ownership,
    pub(crate) coverage: &'a Coverage,
    pub(crate) node_clocks: &'a NodeClocks,
    pub(crate) nat: Translations<'a>,
    pub(crate) stage: Stage,
    /// The window, counted since the epoch, and its time.
    pub(crate) window: u32,
    pub(crate) time: Range<i64>,
    /// Event times of rows that paths are made of.
    pub(crate) rows: Range<i64>,
    /// Calls that end before this are known to have been open.
    pub(crate) calls_until_ns: i64,
    /// Requests that end before this are known to have been open.
    pub(crate) horizon_ns: i64,
    /// Of each window from the first one in sight on. The last is of the rows after the window's
    /// end, up to the end of `rows`.
    pub(crate) evidence: &'a [Option<&'a Evidence>],
    /// The first window in sight, and the last that may hold a request that was open.
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) reached: &'a Reached<'a>,
    /// None until all are asked for at once.
    pub(crate) counterparts: Counterparts,
}

impl<'a> Sight<'a> {
    /// The same with what links say of the exchanges in it found once, for many questions.
    pub(crate) fn with_counterparts(mut self) -> Self {
        self.counterparts = Counterparts::new(&self);
        self
    }

    pub(crate) fn view(&self) -> View<'a> {
        View {
            slabs: self.slabs,
            owners: self.owners,
            nat: self.nat,
            node_clocks: self.node_clocks,
            settings: self.settings,
            window: self.window,
            until_ns: self.rows.end,
        }
    }

    pub(crate) fn exchange(&self, id: ExchangeId) -> &'a Exchange {
        self.slabs.exchange(id)
    }

    /// Windows whose rows may be part of a path, each with how many of its exchanges.
    pub(crate) fn windows(&self) -> impl Iterator<Item = (u32, usize)> + use<'a> {
        let view = self.view();
        (self.first..self.window + 2).map(move |window| (window, view.visible(window)))
    }

    /// The first window in which anything is in sight.
    pub(crate) fn earliest(&self) -> u32 {
        self.reached.first.unwrap_or(self.first)
    }

    /// Since when everything is known of a place.
    pub(crate) fn known_from(&self, place: u32) -> i64 {
        self.reached.places.get(&place).copied().unwrap_or(self.rows.start)
    }

    /// The first window in which a place is in sight.
    pub(crate) fn first_of(&self, place: u32) -> u32 {
        if self.reached.places.contains_key(&place) { self.earliest() } else { self.first }
    }

    /// Whether a request that ended is short enough to be followed whole.
    pub(crate) fn is_followed(&self, request: &Exchange) -> bool {
        let end_ns = window_start(request.end_ns, self.settings) + self.settings.window_ns;
        request.start_ns >= end_ns - longest_ns(self.settings)
    }

    /// Whether an exchange is known, at this stage, and may have gone on in the time in sight.
    pub(crate) fn was_open(&self, exchange: &Exchange) -> bool {
        let until_ns = match exchange.role {
            Role::Client => self.calls_until_ns,
            Role::Server => self.horizon_ns,
        };
        exchange.end_ns < until_ns && exchange.start_ns < self.rows.end
    }

    /// A map in which most rows that decisions are about are found at once.
    pub(crate) fn row_map<T: Copy>(&self) -> RowMap<T> {
        let view = self.view();
        RowMap::new(self.window, [view.visible(self.window), view.visible(self.window + 1)])
    }

    fn evidence(&self, window: u32) -> Option<&'a Evidence> {
        match window.checked_sub(self.first) {
            // A run may know links of later windows, which rest on rows that are not in sight.
            Some(at) => self.evidence.get(at as usize).copied().flatten(),
            None => self.reached.evidence?.get(&window),
        }
    }

    /// The server's end of a call.
    pub(crate) fn server_of(&self, client: ExchangeId) -> Option<ExchangeId> {
        if let Some(known) = self.counterparts.end(client) {
            return known;
        }
        let evidence = self.evidence(client.window)?;
        let exact = evidence.pairs.server_of.get(client.row as usize).copied().flatten();
        let server = exact.or_else(|| evidence.likely.server_of(client))?;
        // A client of another window may claim the same server.
        let is_its_own = self.client_of(server) == Claim::One(client);
        is_its_own.then(|| self.last_word(server))
    }

    pub(crate) fn contested(&self, client: ExchangeId) -> Option<&'a [ExchangeId]> {
        let pairs = &self.evidence(client.window)?.pairs;
        pairs.contested.get(&client).map(Vec::as_slice)
    }

    /// Whether a contested call is so because nobody can compare its clock with its servers'.
    pub(crate) fn is_skew_unknown(&self, client: ExchangeId) -> bool {
        self.evidence(client.window).is_some_and(|e| e.pairs.skew_unknown.contains(&client))
    }

    /// The nodes' clocks as they are known near the window.
    pub(crate) fn clocks(&self) -> Known<'a> {
        self.nat.clocks
    }

    /// Servers that a contested or undecided call fits.
    pub(crate) fn contested_servers(&self) -> impl Iterator<Item = ExchangeId> + use<'a> {
        self.all_evidence().flat_map(|e| {
            e.pairs.contested.values().flatten().copied().chain(e.likely.candidates())
        })
    }

    /// Requests of which only the client's end was seen.
    pub(crate) fn unseen_requests(&self) -> impl Iterator<Item = Unseen> + use<'a> {
        let earlier = self.reached.evidence.into_iter().flat_map(BTreeMap::values);
        let earlier = earlier.flat_map(|e| e.unseen.iter().copied());
        let places = &self.reached.places;
        let earlier = earlier.filter(|unseen| places.contains_key(&unseen.place));
        self.all_evidence().flat_map(|e| e.unseen.iter().copied()).chain(earlier)
    }

    /// What spans tell of requests of which no exchange is known.
    pub(crate) fn spans_alone(&self) -> impl Iterator<Item = Served> + use<'a> {
        let earlier = self.reached.evidence.into_iter().flat_map(BTreeMap::values);
        let places = &self.reached.places;
        let earlier = earlier.flat_map(|e| e.spans.alone.iter().copied());
        let earlier = earlier.filter(|served| places.contains_key(&served.place));
        self.all_evidence().flat_map(|e| e.spans.alone.iter().copied()).chain(earlier)
    }

    /// Calls of which only the server's end was seen.
    pub(crate) fn half_calls(&self) -> Vec<half::Call> {
        let contested: BTreeSet<ExchangeId> = self.contested_servers().collect();
        let all = self.all_evidence().flat_map(|e| e.unclaimed.iter());
        let is_half = |of: &&half::Unclaimed| {
            self.client_of(of.server) == Claim::Nobody && !contested.contains(&of.server)
        };
        let calls = all.filter(is_half).map(|of| of.as_call(&self.clocks()));
        // Where only some pods' rows were read, most clients' are not there.
        let was_read = |call: &half::Call| {
            call.from_ns.saturating_sub(call.bound_ns) >= self.known_from(call.place)
        };
        calls.filter(was_read).collect()
    }

    /// Places that send spans of some of their requests, and of less than half of them.
    pub(crate) fn sampled_places(&self) -> BTreeSet<u32> {
        let mut spans: BTreeMap<u32, usize> = BTreeMap::new();
        for (place, count) in self.all_evidence().flat_map(|e| &e.spans.of_place) {
            *spans.entry(*place).or_default() += count;
        }
        let requests = |place: u32| -> usize {
            let seen = |(window, visible): (u32, usize)| {
                let servers = self.slabs.slab(window).map_or(&[][..], |slab| slab.servers(place));
                servers.iter().filter(|&&row| (row as usize) < visible).count()
            };
            self.windows().map(seen).sum()
        };
        spans.retain(|&place, count| *count * 2 < requests(place));
        spans.into_keys().collect()
    }

    fn all_evidence(&self) -> impl Iterator<Item = &'a Evidence> + use<'a> {
        self.evidence.iter().copied().flatten()
    }

    /// The client's end of a request that a server received.
    pub(crate) fn client_of(&self, server: ExchangeId) -> Claim {
        if let Some(known) = self.counterparts.end(server) {
            return known.map_or(Claim::Nobody, Claim::One);
        }
        match self.claims(server, |evidence, server| evidence.pairs.claims.of(server)) {
            Claim::Nobody if self.may_be_likely(server) => {
                self.claims(server, |evidence, server| evidence.likely.claim_of(server))
            }
            exact => exact,
        }
    }

    /// Whether times decided anything near a request.
    fn may_be_likely(&self, server: ExchangeId) -> bool {
        let mut near = server.window.saturating_sub(1)..server.window + 2;
        near.any(|window| self.evidence(window).is_some_and(|e| !e.likely.is_empty()))
    }

    /// How probable the server of a call is, where times alone found it.
    pub(crate) fn probability(&self, client: ExchangeId) -> Option<f64> {
        self.evidence(client.window)?.likely.probability(client)
    }

    /// What times leave open of a call's server.
    pub(crate) fn undecided(&self, client: ExchangeId) -> Option<&'a Undecided> {
        self.evidence(client.window)?.likely.undecided(client)
    }

    /// What times were worth in the window.
    pub(crate) fn calibration(
        &self,
        template: &tables::Calibration,
    ) -> Option<tables::Calibration> {
        self.evidence(self.window)?.likely.calibration(template)
    }

    /// The span that tells of a request that a server received.
    pub(crate) fn span_of(&self, server: ExchangeId) -> Claim {
        if let Some(known) = self.counterparts.span(server) {
            return known.map_or(Claim::Nobody, Claim::One);
        }
        self.claims(server, |evidence, server| evidence.spans.claims.of(server))
    }

    fn claims(&self, server: ExchangeId, of: impl Fn(&'a Evidence, ExchangeId) -> Claim) -> Claim {
        let of_row = |server: ExchangeId| {
            let window = server.window;
            (window.saturating_sub(1)..window + 2)
                .filter_map(|window| self.evidence(window))
                .map(|evidence| of(evidence, server))
                .fold(Claim::Nobody, Claim::and)
        };
        match of_row(server) {
            Claim::Nobody => self.earlier(server).map_or(Claim::Nobody, of_row),
            claim => claim,
        }
    }

    /// The row with the last end of the same exchange, as far as it is in sight.
    pub(crate) fn last_word(&self, id: ExchangeId) -> ExchangeId {
        if !self.slabs.may_go_on(id) {
            return id;
        }
        let exchange = self.exchange(id);
        let later = (id.window + 1..self.window + 2).rev().find_map(|window| {
            let row = self.slabs.slab(window)?.same_exchange(exchange)?;
            let is_visible =
                self.slabs.slab(window)?.exchanges[row as usize].end_ns < self.rows.end;
            is_visible.then_some(RowId { window, row })
        });
        later.unwrap_or(id)
    }

    /// The last row of the same exchange that is known, however late it ended.
    pub(crate) fn latest(&self, id: ExchangeId) -> ExchangeId {
        if !self.slabs.may_go_on(id) {
            return id;
        }
        let exchange = self.exchange(id);
        let later = (id.window + 1..self.last + 1).rev().find_map(|window| {
            let slab = self.slabs.slab(window)?;
            let row = slab.same_exchange(exchange)?;
            self.was_open(&slab.exchanges[row as usize]).then_some(RowId { window, row })
        });
        later.unwrap_or(id)
    }

    /// Whether a row stands for its exchange: as the last word in sight, or, where nothing of it is
    /// in sight, as the last that is known.
    pub(crate) fn stands_for_exchange(&self, id: ExchangeId) -> bool {
        let exchange = self.exchange(id);
        if exchange.end_ns < self.rows.end {
            return self.is_last_word(id);
        }
        let in_sight = |window: u32| {
            let slab = self.slabs.slab(window)?;
            let row = &slab.exchanges[slab.same_unended(exchange)? as usize];
            (row.end_ns < self.rows.end).then_some(())
        };
        let first = self.first_of(exchange.place);
        self.latest(id) == id && (first..self.window + 2).all(|window| in_sight(window).is_none())
    }

    /// The newest row of the same exchange that was reported before this one.
    fn earlier(&self, id: ExchangeId) -> Option<ExchangeId> {
        let from = id.window.saturating_sub(REPEATS_WITHIN).max(self.earliest().saturating_sub(1));
        (from..id.window).rev().find_map(|window| {
            let row = self.slabs.slab(window)?.same_unended(self.exchange(id))?;
            Some(RowId { window, row })
        })
    }

    pub(crate) fn is_last_word(&self, id: ExchangeId) -> bool {
        self.last_word(id) == id
    }

    /// The window that an exchange belongs to. One that was shipped, fell silent and went on later
    /// stays with the window that took its earlier end for the last.
    ///
    /// One that is still open belongs where its response began; where it ends, it belongs there.
    pub(crate) fn home(&self, id: ExchangeId) -> u32 {
        let exchange = self.exchange(id);
        if exchange.ended == Ended::Open {
            let begun_ns = exchange.first_response_ns().unwrap_or(exchange.start_ns);
            let window = begun_ns.div_euclid(self.settings.window_ns).max(0);
            return u32::try_from(window).unwrap_or(u32::MAX);
        }
        let mut home = id;
        let was_taken = |id: &ExchangeId| self.exchange(*id).ended == Ended::Quiet;
        while let Some(earlier) = self.earlier(home).filter(was_taken) {
            // What that window could read when it was computed.
            let ahead_ns = self.rows.end - self.time.end;
            let end_ns = i64::from(earlier.window + 1) * self.settings.window_ns;
            if self.exchange(home).end_ns < end_ns + ahead_ns {
                return home.window;
            }
            home = earlier;
        }
        home.window
    }

    /// The request that a server span tells of, and whether times alone say so.
    pub(crate) fn turn_of(&self, span: SpanId) -> Option<(ExchangeId, bool)> {
        let spans = &self.evidence(span.window)?.spans;
        let exchange = spans.turn(span.row)?;
        // Another span may claim the same.
        let is_its_own = self.span_of(exchange).one() == Some(span);
        is_its_own.then(|| (exchange, spans.is_by_time(span.row)))
    }

    /// Whether a server span tells of a request that was not seen, for all that is in sight.
    pub(crate) fn is_unseen(&self, span: SpanId) -> bool {
        self.evidence(span.window).is_some() && self.turn_of(span).is_none()
    }

    /// How the connection of an exchange ended, as far as it has.
    pub(crate) fn end_cause(&self, exchange: &Exchange) -> Option<EndCause> {
        let windows = (self.earliest()..self.window + 2).rev();
        windows.filter_map(|window| self.slabs.slab(window)).find_map(|slab| {
            let of_socket = |e: &&Ending| e.node == exchange.node && e.event_ns < self.rows.end;
            let from = slab.endings.partition_point(|e| e.socket_cookie < exchange.socket_cookie);
            let ends = slab.endings[from..].iter();
            let ends = ends.take_while(|e| e.socket_cookie == exchange.socket_cookie);
            ends.filter(of_socket).last().map(|e| e.cause)
        })
    }
}
