//! Active timeouts: what lives is repeated, so that every window of time is complete in itself.
//!
//! Pure: it is told what was seen and when, and answers what to ship.

use std::collections::HashMap;

use wire::{Endpoint, NatBinding, NatEvidence};

/// Translations remembered at once. 65,536 of about 400 bytes are 26 MiB, the table of a node that
/// opens 500 translated connections a second and keeps them for two minutes.
const BINDINGS_MAX: usize = 65_536;

/// The same packet passes several devices (a bridge and its port), and a SYN may be sent again: a
/// sighting within this time belongs to the binding that is known. A port comes back into use no
/// sooner than conntrack lets go of it, which takes longer.
const SAME_BINDING_NS: u64 = 5_000_000_000;

/// When each live connection was last reported.
pub struct Connections {
    active_timeout_ns: u64,
    reported: HashMap<u64, Reported>,
    walk: u64,
}

struct Reported {
    at_ns: u64,
    seen_in_walk: u64,
}

impl Connections {
    pub fn new(active_timeout_ns: u64) -> Self {
        Self { active_timeout_ns, reported: HashMap::new(), walk: 0 }
    }

    pub fn opened(&mut self, cookie: u64, at_ns: u64) {
        self.reported.insert(cookie, Reported { at_ns, seen_in_walk: self.walk + 1 });
    }

    pub fn closed(&mut self, cookie: u64) {
        self.reported.remove(&cookie);
    }

    pub fn begin_walk(&mut self) {
        self.walk += 1;
    }

    /// Is it time for a row of this connection? One that was never reported is older than the
    /// agent, and gets its first row at once.
    pub fn is_due(&mut self, cookie: u64, now_ns: u64) -> bool {
        let walk = self.walk;
        let Some(reported) = self.reported.get_mut(&cookie) else {
            self.reported.insert(cookie, Reported { at_ns: now_ns, seen_in_walk: walk });
            return true;
        };
        reported.seen_in_walk = walk;
        if now_ns.saturating_sub(reported.at_ns) < self.active_timeout_ns {
            return false;
        }
        reported.at_ns = now_ns;
        true
    }

    /// Ends a walk: a connection that it did not meet is gone, though its close was not seen.
    pub fn keep_seen(&mut self) {
        let walk = self.walk;
        self.reported.retain(|_, reported| reported.seen_in_walk >= walk);
    }
}

/// Translations and when each was last seen and last reported.
pub struct Bindings {
    active_timeout_ns: u64,
    live: HashMap<Key, Live>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    netns_cookie: u64,
    zone: u32,
    protocol: u32,
    original: (Endpoint, Endpoint),
    reply: (Endpoint, Endpoint),
}

struct Live {
    binding: NatBinding,
    reported_at_ns: u64,
    reported_last_seen_ns: u64,
}

impl Bindings {
    pub fn new(active_timeout_ns: u64) -> Self {
        Self { active_timeout_ns, live: HashMap::new() }
    }

    /// Takes a sighting, and gives the row to ship when it is the first of a binding.
    pub fn sighted(&mut self, seen: NatBinding) -> Option<NatBinding> {
        let at_ns = seen.last_seen_ns;
        let key = key(&seen);
        if let Some(live) = self.live.get_mut(&key) {
            let first_packet = seen.evidence == NatEvidence::Xmit as i32;
            let since_last = at_ns.saturating_sub(live.binding.last_seen_ns);
            if !(first_packet && since_last > SAME_BINDING_NS) {
                live.binding.last_seen_ns = live.binding.last_seen_ns.max(at_ns);
                return None;
            }
        } else if self.live.len() >= BINDINGS_MAX {
            // Not remembered, so it is not repeated; the row itself is not lost.
            return Some(seen);
        }
        let live =
            Live { binding: seen.clone(), reported_at_ns: at_ns, reported_last_seen_ns: at_ns };
        self.live.insert(key, live);
        Some(seen)
    }

    /// Rows of bindings that are due. One that was not seen since its last row is gone.
    pub fn due(&mut self, now_ns: u64) -> Vec<NatBinding> {
        let mut rows = Vec::new();
        let timeout = self.active_timeout_ns;
        self.live.retain(|_, live| {
            if now_ns.saturating_sub(live.reported_at_ns) < timeout {
                return true;
            }
            if live.binding.last_seen_ns == live.reported_last_seen_ns {
                return false;
            }
            live.reported_at_ns = now_ns;
            live.reported_last_seen_ns = live.binding.last_seen_ns;
            rows.push(live.binding.clone());
            true
        });
        rows.sort_by_key(|row| (row.last_seen_ns, row.first_seen_ns));
        rows
    }
}

fn key(binding: &NatBinding) -> Key {
    Key {
        netns_cookie: binding.netns_cookie,
        zone: binding.zone,
        protocol: binding.protocol,
        original: (binding.original_source.clone(), binding.original_destination.clone()),
        reply: (binding.reply_source.clone(), binding.reply_destination.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn binding(at_ns: u64, evidence: NatEvidence) -> NatBinding {
        NatBinding {
            netns_cookie: 1,
            first_seen_ns: at_ns,
            last_seen_ns: at_ns,
            evidence: evidence as i32,
            ..NatBinding::default()
        }
    }

    fn walk(connections: &mut Connections, cookies: &[u64], now_ns: u64) -> Vec<u64> {
        connections.begin_walk();
        let due =
            cookies.iter().copied().filter(|&cookie| connections.is_due(cookie, now_ns)).collect();
        connections.keep_seen();
        due
    }

    #[test]
    fn a_live_connection_is_reported_each_active_timeout() {
        let mut connections = Connections::new(60 * SECOND);
        connections.opened(1, 0);
        assert!(walk(&mut connections, &[1], 59 * SECOND).is_empty());
        assert_eq!(walk(&mut connections, &[1], 60 * SECOND), [1]);
        assert!(walk(&mut connections, &[1], 61 * SECOND).is_empty());
    }

    #[test]
    fn a_connection_older_than_the_agent_is_reported_at_once() {
        let mut connections = Connections::new(60 * SECOND);
        assert_eq!(walk(&mut connections, &[9], SECOND), [9]);
    }

    #[test]
    fn a_connection_whose_close_was_not_seen_is_forgotten() {
        let mut connections = Connections::new(60 * SECOND);
        connections.opened(1, 0);
        walk(&mut connections, &[1], SECOND);
        walk(&mut connections, &[], 2 * SECOND);
        assert!(connections.reported.is_empty());
    }

    #[test]
    fn a_binding_is_shipped_once_though_its_packet_passes_two_devices() {
        let mut bindings = Bindings::new(60 * SECOND);
        assert!(bindings.sighted(binding(0, NatEvidence::Xmit)).is_some());
        assert!(bindings.sighted(binding(1_000, NatEvidence::Xmit)).is_none());
    }

    #[test]
    fn a_live_binding_is_repeated_with_its_last_sighting() {
        let mut bindings = Bindings::new(60 * SECOND);
        bindings.sighted(binding(0, NatEvidence::Xmit));
        bindings.sighted(binding(30 * SECOND, NatEvidence::Dump));
        let rows = bindings.due(60 * SECOND);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].first_seen_ns, rows[0].last_seen_ns), (0, 30 * SECOND));
        assert_eq!(rows[0].evidence, NatEvidence::Xmit as i32);
    }

    #[test]
    fn a_binding_that_is_no_longer_seen_is_not_repeated() {
        let mut bindings = Bindings::new(60 * SECOND);
        bindings.sighted(binding(0, NatEvidence::Xmit));
        assert!(bindings.due(60 * SECOND).is_empty());
        assert!(bindings.live.is_empty());
    }

    #[test]
    fn a_port_that_comes_back_into_use_begins_another_interval() {
        let mut bindings = Bindings::new(60 * SECOND);
        bindings.sighted(binding(0, NatEvidence::Xmit));
        let again = bindings.sighted(binding(20 * SECOND, NatEvidence::Xmit));
        assert_eq!(again.map(|row| row.first_seen_ns), Some(20 * SECOND));
    }
}
