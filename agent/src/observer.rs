//! What the agent makes of what it sees: whose an event is, whether it is shipped, and as what.
//!
//! It is given events, socket walks and dumps, and appends records. It reads the cgroup tree
//! through [`Attributor`] and nothing else.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use agent_ebpf::abi::{Owner, Socket, Tuple, role, state};
use wire::Record;

use crate::attribution::{Attributor, Verdict};
use crate::conntrack::Entry;
use crate::flow::{Bindings, Connections};
use crate::offsets::Offsets;
use crate::quiet::Quiet;
use crate::record::{self, Event};

/// Events that were seen and, rightly, not shipped, and those that could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Of another node's namespaces, or of nobody's.
    pub strangers: u64,
    /// To addresses that configuration excludes.
    pub excluded: u64,
    /// Written by programs of another version.
    pub unreadable: u64,
    /// Calls of our pods that no exchange was made of: their connection began before the agent.
    pub unfollowed: u64,
}

pub struct Observer {
    pub attributor: Attributor,
    excluded: HashSet<(IpAddr, u16)>,
    node_netns: u64,
    connections: Connections,
    bindings: Bindings,
    quiet: Quiet,
    skipped: Skipped,
    /// Calls that are in [`Skipped::unfollowed`] already.
    unfollowed: HashMap<Owner, u64>,
}

impl Observer {
    pub fn new(
        attributor: Attributor,
        excluded: HashSet<(IpAddr, u16)>,
        node_netns: u64,
        active_timeout_ns: u64,
    ) -> Self {
        Self {
            attributor,
            excluded,
            node_netns,
            connections: Connections::new(active_timeout_ns),
            bindings: Bindings::new(active_timeout_ns),
            quiet: Quiet::default(),
            skipped: Skipped::default(),
            unfollowed: HashMap::new(),
        }
    }

    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Takes one record of the ring buffer.
    pub fn event(&mut self, bytes: &[u8], offsets: &Offsets, out: &mut Vec<Record>) {
        match Event::read(bytes) {
            None => self.skipped.unreadable += 1,
            Some(Event::Connection(event)) => {
                let Some(owner) = self.owner(event.owner, &event.tuple) else { return };
                if event.state_after == state::CLOSE {
                    self.connections.closed(event.socket_cookie);
                } else {
                    self.connections.opened(event.socket_cookie, event.at_ns);
                }
                out.push(record::connection(&event, owner));
            }
            Some(Event::Exchange(event)) => {
                let repeats = self.quiet.repeats(&event);
                if let Some(owner) = self.owner(event.owner, &event.tuple)
                    && !repeats
                {
                    out.push(record::exchange(&event, owner));
                }
            }
            Some(Event::Failure(event)) => {
                if let Some(owner) = self.owner(event.owner, &event.tuple) {
                    out.push(record::failure(&event, owner, offsets));
                }
            }
            Some(Event::NatBinding(event)) => self.binding(record::nat_binding(&event), out),
        }
    }

    /// Takes a dump of the node's connection tracking table.
    pub fn dump(&mut self, entries: &[Entry], at_ns: u64, out: &mut Vec<Record>) {
        for entry in entries.iter().filter(|entry| entry.is_translated()) {
            self.binding(entry.binding(self.node_netns, at_ns), out);
        }
    }

    /// Takes how many calls of an owner made no exchange, since the start. Those of a pod are loss.
    /// Those of the node's own processes are not: their long connections may be older than the
    /// tracking of connections itself.
    pub fn unfollowed(&mut self, owner: Owner, calls: u64) {
        let Verdict::Ours(attribution) = self.attributor.attribute(owner) else { return };
        if attribution.pod_uid.is_none() {
            return;
        }
        // The kernel forgets owners that are long silent, and then counts from 0 again.
        let before = self.unfollowed.insert(owner, calls).filter(|&before| before <= calls);
        self.skipped.unfollowed += calls - before.unwrap_or(0);
    }

    /// Begins a walk over the followed sockets.
    pub fn begin_walk(&mut self) {
        self.quiet.begin_walk();
        self.connections.begin_walk();
    }

    /// Takes one socket of a walk that began at `now_ns`, when `silent_until_ns` was the moment
    /// since which a turn must have been silent. `read_again` reads the socket a second time: the
    /// kernel may write while user space copies, and two equal copies are a whole one.
    pub fn socket(
        &mut self,
        cookie: u64,
        socket: &Socket,
        (now_ns, silent_until_ns): (u64, u64),
        read_again: impl FnOnce() -> Option<Socket>,
        out: &mut Vec<Record>,
    ) {
        let quiet = self.quiet.is_due(cookie, socket, silent_until_ns);
        let live = self.connections.is_due(cookie, now_ns);
        if !quiet && !live {
            return;
        }
        let Some(owner) = self.owner(socket.owner, &socket.tuple) else { return };
        if live && socket.role != role::UNKNOWN {
            out.push(record::live_connection(cookie, socket, now_ns, owner.clone()));
        }
        if quiet && socket.lock == 0 && read_again().as_ref() == Some(socket) {
            out.push(record::quiet_exchange(cookie, socket, owner));
            self.quiet.shipped(cookie, socket);
        }
    }

    /// Ends a walk, and adds the translations that are due.
    pub fn end_walk(&mut self, now_ns: u64, out: &mut Vec<Record>) {
        self.quiet.keep_seen();
        self.connections.keep_seen();
        out.extend(self.bindings.due(now_ns).into_iter().map(nat_record));
    }

    fn binding(&mut self, binding: wire::NatBinding, out: &mut Vec<Record>) {
        if !self.attributor.is_own_netns(binding.netns_cookie) {
            self.skipped.strangers += 1;
            return;
        }
        let ends = [&binding.original_destination, &binding.reply_source];
        let excluded = ends
            .iter()
            .any(|end| end.parts().is_ok_and(|address| self.excluded.contains(&address)));
        if excluded {
            self.skipped.excluded += 1;
            return;
        }
        out.extend(self.bindings.sighted(binding).map(nat_record));
    }

    /// Who owns it, when it is ours to report.
    fn owner(&mut self, owner: Owner, tuple: &Tuple) -> Option<wire::Owner> {
        let Verdict::Ours(attribution) = self.attributor.attribute(owner) else {
            self.skipped.strangers += 1;
            return None;
        };
        if self.excluded.contains(&record::remote(tuple)) {
            self.skipped.excluded += 1;
            return None;
        }
        Some(record::owner(owner, &attribution))
    }
}

fn nat_record(binding: wire::NatBinding) -> Record {
    record::record(wire::RecordKind::NatBinding(binding))
}
