//! The two ends of one stream: client and server exchange with the same TCP sequence numbers.
//!
//! Sequence numbers are absolute and unchanged by L3/L4 NAT, so this needs neither synchronised
//! clocks nor a conntrack record. Tuples must agree too, directly or through a translation.

use std::collections::{BTreeMap, BTreeSet};

use crate::Settings;
use crate::link::nat::Translations;
use crate::observation::{Exchange, ExchangeId, Role, Seen};
use crate::ownership::Ownership;

#[derive(Debug, Default)]
pub(crate) struct Pairs {
    pub(crate) server_of: Vec<Option<ExchangeId>>,
    pub(crate) client_of: Vec<Option<ExchangeId>>,
    pub(crate) contested: BTreeMap<ExchangeId, Vec<ExchangeId>>,
    pub(crate) contested_servers: BTreeSet<ExchangeId>,
}

pub(crate) fn pair(
    seen: &Seen<'_>,
    owners: &Ownership,
    nat: &Translations,
    settings: &Settings,
) -> Pairs {
    let mut servers: BTreeMap<i64, Vec<ExchangeId>> = BTreeMap::new();
    for (id, e) in seen.exchanges.iter().enumerate() {
        if e.role == Role::Server {
            servers.entry(e.row.tcp_seq_req).or_default().push(id);
        }
    }

    let mut servers_for: BTreeMap<ExchangeId, Vec<ExchangeId>> = BTreeMap::new();
    let mut clients_for: BTreeMap<ExchangeId, Vec<ExchangeId>> = BTreeMap::new();
    for (c, client) in seen.exchanges.iter().enumerate() {
        if client.role != Role::Client {
            continue;
        }
        for &s in servers.get(&client.row.tcp_seq_req).into_iter().flatten() {
            if same_stream(seen, owners, nat, settings, client, &seen.exchanges[s]) {
                servers_for.entry(c).or_default().push(s);
                clients_for.entry(s).or_default().push(c);
            }
        }
    }

    let mut pairs = Pairs {
        server_of: vec![None; seen.exchanges.len()],
        client_of: vec![None; seen.exchanges.len()],
        ..Pairs::default()
    };
    for (c, found) in servers_for {
        match found[..] {
            [s] if clients_for[&s].len() == 1 => {
                pairs.server_of[c] = Some(s);
                pairs.client_of[s] = Some(c);
            }
            _ => {
                pairs.contested_servers.extend(&found);
                pairs.contested.insert(c, found);
            }
        }
    }
    pairs
}

fn same_stream(
    seen: &Seen<'_>,
    owners: &Ownership,
    nat: &Translations,
    settings: &Settings,
    client: &Exchange<'_>,
    server: &Exchange<'_>,
) -> bool {
    let same_response = match (client.row.tcp_seq_resp, server.row.tcp_seq_resp) {
        (Some(at_client), Some(at_server)) if at_client == at_server => true,
        // The same sequence number of the request by chance, or of a tuple's earlier life.
        (Some(_), Some(_)) => return false,
        // The client read a response that the server never sent.
        (Some(_), None) => return false,
        (None, _) => false,
    };
    // Both sequence numbers agree by chance once in 2^64, so that clocks further apart than they
    // should be do no harm; one alone needs the clocks too.
    let slack_ns = if same_response { settings.guard_ns } else { settings.skew_ns };
    let began_with_client = server.row.start_ns >= client.row.start_ns - slack_ns
        && server.row.start_ns <= client.upper_ns().saturating_add(slack_ns);
    if !began_with_client {
        return false;
    }
    let same_client_end = client.local == server.remote;
    if same_client_end && (client.remote == server.local || same_response) {
        return true;
    }
    if nat.between(seen, client, server).is_some() {
        return true;
    }
    // Without the record of the translation: 64 bits of sequence numbers agree, and what the
    // client addressed is a Service that had this server behind it.
    let at = client.row.start_ns;
    let service_has_server = owners.service(client.remote, at).is_some_and(|service| {
        owners
            .services_of_endpoint(server.local, at)
            .contains(&(service.namespace.as_str(), service.name.as_str()))
    });
    service_has_server && (same_response || same_client_end)
}
