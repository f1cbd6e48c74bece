//! Links between observation points: one stage a file, exact ones first.
//!
//! What exact keys say is found once for each window, from it and the windows beside it. What
//! depends on who else was there is decided for each window that asks (`relay.rs`).

pub(crate) mod balancer;
pub(crate) mod claim;
pub(crate) mod half;
pub(crate) mod ids;
pub(crate) mod multiplex;
pub(crate) mod nat;
pub(crate) mod proxy;
pub(crate) mod statistical;
pub(crate) mod tuple;
pub(crate) mod unseen;

use crate::Settings;
use crate::address::Address;
use crate::clock::NodeClocks;
use crate::link::nat::Translations;
use crate::ownership::{Owner, Ownership};
use crate::parallel;
use crate::reason::Reason;
use crate::slab::ExchangeId;
use crate::slabs::Slabs;

/// What the links of one window may look at.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) slabs: &'a Slabs,
    pub(crate) owners: &'a Ownership,
    pub(crate) nat: Translations<'a>,
    pub(crate) node_clocks: &'a NodeClocks,
    pub(crate) settings: &'a Settings,
    pub(crate) window: u32,
    /// Rows with an event time from here on are not looked at.
    pub(crate) until_ns: i64,
}

impl View<'_> {
    /// How many exchanges of a window may be looked at: the first ones.
    pub(crate) fn visible(&self, window: u32) -> usize {
        self.slabs.slab(window).map_or(0, |slab| slab.ended_before(self.until_ns))
    }

    /// The place of the pod that had an address.
    pub(crate) fn place_of_address(&self, ip: Address, at_ns: i64) -> Option<u32> {
        match self.owners.holder(ip, at_ns) {
            Owner::Pod(pod) => self.slabs.place_of_pod(pod.uid),
            _ => None,
        }
    }
}

/// What exact keys say of the rows of one window.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) pairs: tuple::Pairs,
    pub(crate) spans: ids::SpanLinks,
    pub(crate) likely: statistical::Likely,
    pub(crate) unseen: Vec<unseen::Unseen>,
    pub(crate) unclaimed: Vec<half::Unclaimed>,
}

impl Evidence {
    pub(crate) fn new(view: &View<'_>) -> Self {
        let count = view.visible(view.window);
        let of_streams = || {
            let pairs = tuple::Pairs::new(view, count);
            let likely = statistical::Likely::new(view, &pairs, count);
            let unseen = unseen::unseen(view, &pairs, &likely);
            let unclaimed = half::unclaimed(view, &pairs, count);
            (pairs, likely, unseen, unclaimed)
        };
        let of_spans = || ids::SpanLinks::new(view, count);
        let ((pairs, likely, unseen, unclaimed), spans) =
            parallel::both(view.settings.threads, of_streams, of_spans);
        Self { pairs, likely, spans, unseen, unclaimed }
    }
}

/// A call and the request that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) server: ExchangeId,
    pub(crate) by: Reason,
}
