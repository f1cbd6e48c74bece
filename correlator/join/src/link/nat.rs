//! NAT: which conntrack entries translated a connection, on which node.
//!
//! The client's socket sees an entry's original tuple, the server's socket its reply tuple
//! inverted. Several nodes may translate one after the other.

use std::ops::Range;

use hashbrown::HashTable;

use crate::address::{End, MIX, Tuple};
use crate::columns::{Binding, Exchange};
use crate::comparison::{Known, Stamp};
use crate::reason::Reason;

/// Position of a binding in [`Bindings`]; with the highest bit set, in those that the slow lane read.
pub(crate) type BindingId = u32;

const EARLIER: BindingId = 1 << 31;

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
    /// Times of clocks whose difference nobody knows would have to be compared.
    SkewUnknown,
}

impl NoBinding {
    /// Why bindings that are known do not tell; none where there are none.
    pub(crate) fn doubt(self) -> Option<Reason> {
        match self {
            Self::None => None,
            Self::PortReuse => Some(Reason::AmbigNatPortReuse),
            Self::SkewUnknown => Some(Reason::AmbigSkewUnknown),
        }
    }
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

    /// Bytes of sightings and of what leads to them, about.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.len() * (size_of::<Binding>() + 4 * size_of::<u32>())
    }
}

/// The bindings that decisions about one window may look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Translations<'a> {
    bindings: &'a Bindings,
    /// Older ones that the slow lane read. All of them may be looked at.
    earlier: Option<&'a Bindings>,
    sighted_from_ns: i64,
    sighted_until_ns: i64,
    pub(crate) clocks: Known<'a>,
}

impl<'a> Translations<'a> {
    pub(crate) fn new(bindings: &'a Bindings, sighted: &Range<i64>, clocks: Known<'a>) -> Self {
        let (sighted_from_ns, sighted_until_ns) = (sighted.start, sighted.end);
        Self { bindings, earlier: None, sighted_from_ns, sighted_until_ns, clocks }
    }

    /// The same, and bindings sighted before.
    pub(crate) fn with_earlier(self, earlier: Option<&'a Bindings>) -> Self {
        Self { earlier, ..self }
    }

    pub(crate) fn get(&self, id: BindingId) -> &'a Binding {
        match self.earlier {
            Some(earlier) if id & EARLIER != 0 => earlier.get(id & !EARLIER),
            _ => self.bindings.get(id),
        }
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

    fn with_original(&self, tuple: Tuple) -> impl Iterator<Item = BindingId> + use<'a> {
        self.visible(tuple, |bindings| &bindings.by_original, |binding| binding.original)
    }

    fn with_reply(&self, tuple: Tuple) -> impl Iterator<Item = BindingId> + use<'a> {
        self.visible(tuple, |bindings| &bindings.by_reply, |binding| binding.reply)
    }

    /// Bindings with one tuple.
    fn visible(
        &self,
        tuple: Tuple,
        chains: fn(&Bindings) -> &Chains,
        of: fn(&Binding) -> Tuple,
    ) -> impl Iterator<Item = BindingId> + use<'a> {
        let rows = move |bindings: &'a Bindings| {
            let is_wanted = |&row: &u32| of(&bindings.rows[row as usize]) == tuple;
            let head = chains(bindings).heads.find(hash(tuple), is_wanted).copied();
            chains(bindings).rows(head)
        };
        let (bindings, sighted) = (self.bindings, self.sighted_from_ns..self.sighted_until_ns);
        let is_visible = move |id: &u32| sighted.contains(&bindings.get(*id).event_ns);
        let earlier = self.earlier.into_iter().flat_map(rows);
        rows(bindings).filter(is_visible).chain(earlier.map(|id| id | EARLIER))
    }

    fn newest_before(
        &self,
        ids: impl Iterator<Item = BindingId>,
        exchange: &Exchange,
    ) -> Result<BindingId, NoBinding> {
        let start_ns = exchange.start_ns;
        let age = |begun: &Begun| (begun.first_ns, self.get(begun.id));
        let mut newest: Option<Begun> = None;
        // Mostly there is no other one.
        let mut others: Vec<Begun> = Vec::new();
        for id in ids {
            let begun = self.begun(id, exchange).ok_or(NoBinding::SkewUnknown)?;
            if begun.first_ns > start_ns + begun.slack_ns {
                continue;
            }
            match &mut newest {
                Some(known) if age(&begun) < age(known) => others.push(begun),
                known => others.extend(known.replace(begun)),
            }
        }
        let newest = newest.ok_or(NoBinding::None)?;
        let translation = self.get(newest.id);
        // A binding that began within the slack around a later request of its connection may be
        // the next connection's; then the one before it is as good. The first request of a
        // connection follows its binding at once.
        let may_be_next = exchange.ordinal != 0 && newest.first_ns > start_ns - newest.slack_ns;
        let rival = others.iter().any(|begun| {
            let other = self.get(begun.id);
            let slack_ns = newest.slack_ns.max(begun.slack_ns);
            (other.original, other.reply) != (translation.original, translation.reply)
                && (may_be_next || newest.first_ns - begun.first_ns <= 2 * slack_ns)
        });
        if rival { Err(NoBinding::PortReuse) } else { Ok(newest.id) }
    }

    /// When a binding began, by the clock of an exchange. None where nobody can say.
    fn begun(&self, id: BindingId, exchange: &Exchange) -> Option<Begun> {
        let binding = self.get(id);
        let first_ns = binding.first_ns;
        // Clocks of one node differ by nothing but the sampling of their epoch.
        if binding.node == exchange.node {
            return Some(Begun { id, first_ns, slack_ns: SAME_NODE_SLACK_NS });
        }
        let from = Stamp { node: binding.node, ns: first_ns };
        let to = Stamp { node: exchange.node, ns: exchange.start_ns };
        let offset = self.clocks.apart(from, to).offset()?;
        Some(Begun { id, first_ns: first_ns + offset.offset_ns, slack_ns: offset.bound_ns })
    }
}

/// A binding and when it began, by another clock, with the error of that.
#[derive(Clone, Copy)]
struct Begun {
    id: BindingId,
    first_ns: i64,
    slack_ns: i64,
}
