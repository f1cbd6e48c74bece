//! NAT: which conntrack entries translated a connection, on which node.
//!
//! The client's socket sees an entry's original tuple, the server's socket its reply tuple
//! inverted. Several nodes may translate one after the other.

use std::ops::Range;

use hashbrown::HashTable;

use crate::Settings;
use crate::address::{End, MIX, Tuple};
use crate::columns::{Binding, Exchange};

/// Position of a binding in [`Bindings`].
pub(crate) type BindingId = u32;

/// Node-to-node forwarding of a NodePort is two translations, a load balancer before it a third.
const CHAIN_MAX: usize = 3;

/// Two batches of one agent take their boot clock to wall time by samples of their own.
const SAME_NODE_SLACK_NS: i64 = 1_000_000;

/// Why no single binding is the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoBinding {
    None,
    /// The same tuple was translated differently at nearly the same time.
    PortReuse,
}

/// Sightings of bindings by both of their tuples.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    rows: Vec<Binding>,
    /// Newest row of each tuple; older ones are chained behind it.
    by_original: Chains,
    by_reply: Chains,
}

#[derive(Debug, Default)]
struct Chains {
    heads: HashTable<u32>,
    next: Vec<u32>,
}

const END: u32 = u32::MAX;

impl Chains {
    fn push(&mut self, rows: &[Binding], row: u32, tuple: impl Fn(&Binding) -> Tuple) {
        let key = |row: u32| tuple(&rows[row as usize]);
        let wanted = key(row);
        self.next.push(END);
        match self.heads.find_mut(hash(wanted), |&r| key(r) == wanted) {
            Some(head) => self.next[row as usize] = std::mem::replace(head, row),
            None => {
                self.heads.insert_unique(hash(wanted), row, |&r| hash(key(r)));
            }
        }
    }

    fn rows(&self, first: Option<u32>) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(first, |&row| {
            Some(self.next[row as usize]).filter(|&next| next != END)
        })
    }
}

fn hash(tuple: Tuple) -> u64 {
    let mixed = (tuple.source.hash() ^ tuple.destination.hash().rotate_left(17)).wrapping_mul(MIX);
    mixed ^ mixed >> 29
}

impl Bindings {
    pub(crate) fn add(&mut self, new: &mut Vec<Binding>) {
        for binding in new.drain(..) {
            let row = self.rows.len() as u32;
            self.rows.push(binding);
            self.by_original.push(&self.rows, row, |b| b.original);
            self.by_reply.push(&self.rows, row, |b| b.reply);
        }
    }

    /// Drops sightings before a moment, once they are most of what is held.
    pub(crate) fn forget_before(&mut self, ns: i64) {
        let old = self.rows.iter().filter(|b| b.event_ns < ns).count();
        if 2 * old > self.rows.len() {
            let mut rows = std::mem::take(&mut self.rows);
            rows.retain(|b| b.event_ns >= ns);
            *self = Self::default();
            self.add(&mut rows);
        }
    }

    pub(crate) fn get(&self, id: BindingId) -> &Binding {
        &self.rows[id as usize]
    }
}

/// The bindings that decisions about one window may look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Translations<'a> {
    bindings: &'a Bindings,
    sighted_from_ns: i64,
    sighted_until_ns: i64,
    skew_ns: i64,
}

impl<'a> Translations<'a> {
    pub(crate) fn new(bindings: &'a Bindings, sighted: &Range<i64>, settings: &Settings) -> Self {
        Self {
            bindings,
            sighted_from_ns: sighted.start,
            sighted_until_ns: sighted.end,
            skew_ns: settings.skew_ns,
        }
    }

    pub(crate) fn get(&self, id: BindingId) -> &'a Binding {
        self.bindings.get(id)
    }

    /// The binding that a client's connection went through, known from the client's end alone.
    pub(crate) fn of_client(&self, client: &Exchange) -> Result<BindingId, NoBinding> {
        let original = Tuple { source: client.local(), destination: client.remote() };
        self.newest_before(self.with_original(original), client)
    }

    /// The binding between two known ends of one stream.
    pub(crate) fn between(&self, client: &Exchange, server: &Exchange) -> Option<BindingId> {
        let original = Tuple { source: client.local(), destination: client.remote() };
        let reply = Tuple { source: server.local(), destination: server.remote() };
        self.with_original(original)
            .filter(|&id| self.get(id).reply == reply)
            .min_by_key(|&id| self.get(id))
    }

    /// Bindings from the outermost client to a server's socket, the first translation first.
    pub(crate) fn chain_to_server(&self, server: &Exchange) -> Result<Vec<BindingId>, NoBinding> {
        let mut chain = Vec::new();
        let mut ends: (End, End) = (server.local(), server.remote());
        while chain.len() < CHAIN_MAX {
            let reply = Tuple { source: ends.0, destination: ends.1 };
            match self.newest_before(self.with_reply(reply), server) {
                Ok(id) => {
                    chain.insert(0, id);
                    let original = self.get(id).original;
                    ends = (original.destination, original.source);
                }
                Err(NoBinding::None) if !chain.is_empty() => break,
                Err(none) => return Err(none),
            }
        }
        Ok(chain)
    }

    fn with_original(&self, tuple: Tuple) -> impl Iterator<Item = BindingId> + use<'_, 'a> {
        let (rows, chains) = (&self.bindings.rows, &self.bindings.by_original);
        let is_wanted = |&row: &u32| rows[row as usize].original == tuple;
        let head = chains.heads.find(hash(tuple), is_wanted).copied();
        chains.rows(head).filter(|&id| self.is_visible(id))
    }

    fn with_reply(&self, tuple: Tuple) -> impl Iterator<Item = BindingId> + use<'_, 'a> {
        let (rows, chains) = (&self.bindings.rows, &self.bindings.by_reply);
        let is_wanted = |&row: &u32| rows[row as usize].reply == tuple;
        let head = chains.heads.find(hash(tuple), is_wanted).copied();
        chains.rows(head).filter(|&id| self.is_visible(id))
    }

    fn is_visible(&self, id: BindingId) -> bool {
        (self.sighted_from_ns..self.sighted_until_ns).contains(&self.get(id).event_ns)
    }

    fn newest_before(
        &self,
        ids: impl Iterator<Item = BindingId>,
        exchange: &Exchange,
    ) -> Result<BindingId, NoBinding> {
        // Clocks of one node differ by nothing but the sampling of their epoch.
        let slack_ns = |b: &Binding| {
            if b.node == exchange.node { SAME_NODE_SLACK_NS } else { self.skew_ns }
        };
        let start_ns = exchange.start_ns;
        let began = |b: &Binding| b.first_ns <= start_ns + slack_ns(b);
        let before: Vec<BindingId> = ids.filter(|&id| began(self.get(id))).collect();
        let newest_id = before.iter().copied().max_by_key(|&id| self.get(id));
        let Some(newest_id) = newest_id else { return Err(NoBinding::None) };
        let newest = self.get(newest_id);
        // A binding that began within the slack around a later request of its connection may be
        // the next connection's; then the one before it is as good. The first request of a
        // connection follows its binding at once.
        let may_be_next = exchange.ordinal != 0 && newest.first_ns > start_ns - slack_ns(newest);
        let rival = before.iter().map(|&id| self.get(id)).any(|other| {
            (other.original, other.reply) != (newest.original, newest.reply)
                && (may_be_next || newest.first_ns - other.first_ns <= 2 * slack_ns(newest))
        });
        if rival { Err(NoBinding::PortReuse) } else { Ok(newest_id) }
    }
}
