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

#[cfg(test)]
mod tests {
    use super::*;
    use agent_ebpf::abi::{Turn, mapped};
    use agent_ebpf::turn::phase;

    const NODE: u64 = 1;
    const QUIET: u64 = 50;
    const NOW: u64 = 100;

    /// Everything of the node's own namespace is ours; the collector at 10.0.0.9:4319 is excluded.
    fn observer() -> Observer {
        let excluded = HashSet::from([(IpAddr::from([10, 0, 0, 9]), 4319)]);
        Observer::new(Attributor::new(NODE, None), excluded, NODE, 1_000_000)
    }

    fn socket(netns_cookie: u64, remote_ip: [u8; 4]) -> Socket {
        Socket {
            owner: Owner { netns_cookie, cgroup_id: 0 },
            tuple: Tuple { remote_ip: mapped(remote_ip), remote_port: 4319, ..Tuple::default() },
            turn: Turn { end_ns: QUIET, ..Turn::default() },
            role: role::CLIENT,
            phase: phase::RESPONSE,
            ..Socket::default()
        }
    }

    fn walked(observer: &mut Observer, socket: Socket, again: Option<Socket>) -> Vec<Record> {
        let mut out = Vec::new();
        observer.begin_walk();
        observer.socket(7, &socket, (NOW, QUIET), || again, &mut out);
        observer.end_walk(NOW, &mut out);
        out
    }

    fn exchanges(records: &[Record]) -> usize {
        let is_exchange =
            |record: &&Record| matches!(record.kind, Some(wire::RecordKind::Exchange(_)));
        records.iter().filter(is_exchange).count()
    }

    #[test]
    fn a_silent_turn_of_ours_is_shipped_once_with_its_connection() {
        let (mut observer, ours) = (observer(), socket(NODE, [10, 0, 0, 8]));
        let first = walked(&mut observer, ours, Some(ours));
        assert_eq!((first.len(), exchanges(&first)), (2, 1));
        assert!(walked(&mut observer, ours, Some(ours)).is_empty());
    }

    #[test]
    fn a_socket_that_changed_while_it_was_read_waits_for_the_next_walk() {
        let (mut observer, ours) = (observer(), socket(NODE, [10, 0, 0, 8]));
        let mut changed = ours;
        changed.turn.end_ns += 1;
        assert_eq!(exchanges(&walked(&mut observer, ours, Some(changed))), 0);
        let locked = Socket { lock: 1, ..ours };
        assert_eq!(exchanges(&walked(&mut observer, locked, Some(locked))), 0);
        assert_eq!(exchanges(&walked(&mut observer, ours, Some(ours))), 1);
    }

    #[test]
    fn what_is_excluded_or_strange_is_counted_and_not_shipped() {
        let mut observer = observer();
        let excluded = socket(NODE, [10, 0, 0, 9]);
        assert!(walked(&mut observer, excluded, Some(excluded)).is_empty());
        let strange = socket(NODE + 1, [10, 0, 0, 8]);
        assert!(walked(&mut observer, strange, Some(strange)).is_empty());
        let skipped = observer.skipped();
        assert_eq!((skipped.excluded, skipped.strangers), (1, 1));
    }

    #[test]
    fn a_translation_in_a_strange_table_or_to_an_excluded_end_is_not_shipped() {
        let mut observer = observer();
        let mut out = Vec::new();
        let binding = |netns_cookie, destination: [u8; 4]| wire::NatBinding {
            netns_cookie,
            original_destination: wire::Endpoint::new(IpAddr::from(destination), 4319),
            ..wire::NatBinding::default()
        };
        observer.binding(binding(NODE + 1, [10, 0, 0, 8]), &mut out);
        observer.binding(binding(NODE, [10, 0, 0, 9]), &mut out);
        assert!(out.is_empty());
        observer.binding(binding(NODE, [10, 0, 0, 8]), &mut out);
        assert_eq!(out.len(), 1);
    }

    #[test]
    fn unreadable_records_are_counted() {
        let mut observer = observer();
        // A header, no types and one empty string: every field is missing, and nothing asks for one.
        let mut btf = vec![0x9f, 0xeb, 1, 0];
        btf.extend([24u32, 0, 0, 0, 1].into_iter().flat_map(u32::to_le_bytes));
        btf.push(0);
        let offsets = Offsets::resolve(&btf, None).expect("BTF without types");
        observer.event(b"three random bytes", &offsets, &mut Vec::new());
        assert_eq!(observer.skipped().unreadable, 1);
    }
}
