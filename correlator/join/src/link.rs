//! Links between observation points: one stage a file, exact ones first.

pub(crate) mod ids;
pub(crate) mod nat;
pub(crate) mod proxy;
pub(crate) mod tuple;

use std::collections::{BTreeMap, BTreeSet};

use crate::Settings;
use crate::observation::{ExchangeId, Seen};
use crate::ownership::Ownership;
use crate::reason::Reason;

/// Everything that was linked, by index of the observations.
#[derive(Debug)]
pub(crate) struct Links {
    /// The two ends of one stream: client exchange -> server exchange, and back.
    pub(crate) server_of: Vec<Option<ExchangeId>>,
    pub(crate) client_of: Vec<Option<ExchangeId>>,
    /// Client exchanges that more than one server exchange fits.
    pub(crate) contested: BTreeMap<ExchangeId, Vec<ExchangeId>>,
    /// Server exchanges that a contested client exchange fits.
    pub(crate) contested_servers: BTreeSet<ExchangeId>,
    pub(crate) nat: nat::Translations,
    pub(crate) spans: ids::SpanLinks,
    pub(crate) proxies: proxy::ProxyLinks,
}

/// A call and the request that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) server: ExchangeId,
    pub(crate) by: Reason,
}

pub(crate) fn link(seen: &Seen<'_>, owners: &Ownership, settings: &Settings) -> Links {
    let nat = nat::Translations::new(seen, settings);
    let tuple::Pairs { server_of, client_of, contested, contested_servers } =
        tuple::pair(seen, owners, &nat, settings);
    let spans = ids::SpanLinks::new(seen, owners);
    let proxies = proxy::ProxyLinks::new(seen, owners, &spans, &server_of);
    Links { server_of, client_of, contested, contested_servers, nat, spans, proxies }
}
