//! The two ends of calls that share an HTTP/2 connection, where no byte of theirs is known.
//!
//! Requests of several streams may share a segment, so that sequence numbers name no request. A
//! stream's number does, and so does the place of a request in the connection's order where the
//! beginning was seen: both ends see the same order of header blocks. Without them times allow
//! whatever they allow, and nothing is paired.

use std::collections::{BTreeMap, BTreeSet};

use crate::slab::ExchangeId;

/// One call at one end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) id: ExchangeId,
    pub(crate) start_ns: i64,
    pub(crate) end_ns: i64,
    pub(crate) stream: Option<i64>,
    /// -1 where the connection's beginning was not seen.
    pub(crate) ordinal: i64,
}

impl Turn {
    /// What names the call on its connection.
    fn name(&self) -> Option<(u8, i64)> {
        match (self.stream, self.ordinal) {
            (Some(stream), _) => Some((0, stream)),
            (None, ordinal) if ordinal >= 0 => Some((1, ordinal)),
            _ => None,
        }
    }
}

/// What was found out about one connection.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// Client, server.
    pub(crate) pairs: Vec<(ExchangeId, ExchangeId)>,
    /// Clients with the servers that time allows; never none.
    pub(crate) contested: BTreeMap<ExchangeId, Vec<ExchangeId>>,
}

/// Pairs the calls of one connection. `slack_ns` bounds the difference of the two ends' clocks.
pub(crate) fn pair(clients: &[Turn], servers: &[Turn], slack_ns: i64) -> Found {
    let mut found = Found::default();
    let named = |turns: &[Turn]| {
        let mut named: BTreeMap<(u8, i64), Option<ExchangeId>> = BTreeMap::new();
        for turn in turns {
            let Some(name) = turn.name() else { continue };
            // The same number twice names neither.
            named.entry(name).and_modify(|id| *id = None).or_insert(Some(turn.id));
        }
        named
    };
    let (clients_named, servers_named) = (named(clients), named(servers));
    for (name, client) in &clients_named {
        let server = servers_named.get(name).copied().flatten();
        found.pairs.extend(client.zip(server));
    }
    let taken: BTreeSet<ExchangeId> = found.pairs.iter().flat_map(|(c, s)| [*c, *s]).collect();
    let free: Vec<&Turn> = servers.iter().filter(|s| !taken.contains(&s.id)).collect();
    for client in clients.iter().filter(|c| !taken.contains(&c.id)) {
        let is_allowed = |server: &&&Turn| {
            client.name().is_none_or(|name| server.name().is_none_or(|other| other == name))
                && client.start_ns - slack_ns <= server.start_ns
                && server.end_ns <= client.end_ns + slack_ns
        };
        let allowed: Vec<ExchangeId> = free.iter().filter(is_allowed).map(|s| s.id).collect();
        if !allowed.is_empty() {
            found.contested.insert(client.id, allowed);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(row: u32) -> ExchangeId {
        ExchangeId { window: 0, row }
    }

    fn turn(row: u32, start_ns: i64, stream: Option<i64>, ordinal: i64) -> Turn {
        Turn { id: id(row), start_ns, end_ns: start_ns + 10, stream, ordinal }
    }

    #[test]
    fn streams_and_ordinals_name_calls_and_times_do_not() {
        let by_stream = pair(
            &[turn(0, 1, Some(1), -1), turn(1, 2, Some(3), -1)],
            &[turn(2, 2, Some(3), -1), turn(3, 1, Some(1), -1)],
            0,
        );
        assert_eq!(by_stream.pairs, [(id(0), id(3)), (id(1), id(2))]);
        assert!(by_stream.contested.is_empty());
        assert_eq!(pair(&[turn(0, 1, None, 4)], &[turn(1, 1, None, 4)], 0).pairs, [(id(0), id(1))]);
        let by_time =
            pair(&[turn(0, 1, None, -1)], &[turn(1, 1, None, -1), turn(2, 50, None, -1)], 0);
        assert_eq!(by_time.pairs, []);
        assert_eq!(by_time.contested, BTreeMap::from([(id(0), vec![id(1)])]));
    }

    #[test]
    fn a_number_that_comes_twice_names_nothing() {
        let twice = [turn(1, 1, Some(1), -1), turn(2, 1, Some(1), -1)];
        let found = pair(&[turn(0, 1, Some(1), -1)], &twice, 0);
        assert_eq!((found.pairs.len(), found.contested[&id(0)].len()), (0, 2));
    }
}
