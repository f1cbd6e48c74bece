//! The requests and calls of one part as the statistical method takes them.

use std::collections::BTreeMap;

use crate::columns::Exchange;
use crate::link::Parent;
use crate::ownership::Owner;
use crate::reason::Reason;
use crate::relay::decided::Context;
use crate::relay::elsewhere::Elsewhere;
use crate::relay::statistics::is_of_time_only;
use crate::relay::statistics::part::Part;
use crate::relay::{Cause, place};
use crate::sight::Sight;
use crate::slab::ExchangeId;
use crate::statistical::{Call, Request, Workload};

/// Operations, and destinations, that are told apart. The method's memory and its need for samples
/// grow with their product; a service has a handful.
const KINDS_MAX: usize = 32;

/// Pairs of a call and a request that was being served when it began. The time that a walk takes
/// grows with them, and where more than this are open at once times tell nothing.
const PAIRS_OF_CALL_MAX: usize = 32;

/// The kernel stamps the two ends of one cause and effect not closer than this.
const RESOLUTION_NS: i64 = 1_000;

/// What is known of a call.
#[derive(Debug)]
pub(super) enum Standing {
    /// An earlier stage decided it.
    Decided { cause: u32 },
    /// Its cause is known by ids, and by nothing else. Requests by index.
    Traced { cause: u32, half: u64, candidates: Vec<u32> },
    /// Unknown.
    Open,
}

#[derive(Debug)]
pub(super) struct Population {
    workload: Workload,
    requests: Vec<ExchangeId>,
    index: BTreeMap<ExchangeId, usize>,
    standings: Vec<Standing>,
    destinations: usize,
    pairs: usize,
}

/// What a request asks for or where a call goes, as far as it is known without looking into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind<'a> {
    namespace: &'a str,
    name: &'a str,
    port: u16,
}

impl Population {
    pub(super) fn new(sight: &Sight<'_>, part: &Part, elsewhere: &Elsewhere<'_>) -> Self {
        let scenes: Vec<_> = part
            .places
            .iter()
            .map(|&place| place::scene(sight, place, part.from_ns).unwrap_or_default())
            .collect();
        let requests: Vec<ExchangeId> =
            scenes.iter().flat_map(|s| s.servers.iter().copied()).collect();
        let request_of: BTreeMap<ExchangeId, u32> = requests.iter().copied().zip(0..).collect();
        let operations = Kinds::new(requests.iter().map(|&id| operation(sight, id)));
        let mut population = Self {
            workload: Workload { resolution: RESOLUTION_NS, ..Workload::default() },
            index: BTreeMap::new(),
            standings: Vec::new(),
            destinations: 0,
            pairs: 0,
            requests,
        };
        let mut kinds = Vec::new();
        for (place, scene) in (0..).zip(&scenes) {
            for &id in &scene.servers {
                let exchange = sight.exchange(id);
                population.workload.requests.push(Request {
                    start: exchange.start_ns,
                    end: exchange.upper_ns().min(sight.horizon_ns).max(exchange.start_ns),
                    operation: operations.number(&operation(sight, id)),
                    place,
                    key: key(exchange),
                });
            }
            let mut context = Context::new(sight, scene, elsewhere);
            for &id in scene.clients.iter().filter(|&&c| sight.exchange(c).start_ns >= part.from_ns)
            {
                let exchange = sight.exchange(id);
                let standing = standing(&mut context, elsewhere, id, &request_of);
                let callee = sight.server_of(id);
                population.index.insert(id, population.standings.len());
                population.standings.push(standing);
                population.pairs += context.threads().open_at(exchange.start_ns);
                kinds.push(destination(sight, exchange));
                population.workload.calls.push(Call {
                    start: exchange.start_ns,
                    end: exchange.end_ns,
                    destination: 0,
                    place,
                    key: key(exchange),
                    served_as: callee.and_then(|server| request_of.get(&server)).copied(),
                    caused_by: None,
                });
            }
        }
        let destinations = Kinds::new(kinds.iter().copied());
        population.destinations = destinations.count();
        for (call, kind) in population.workload.calls.iter_mut().zip(&kinds) {
            call.destination = destinations.number(kind);
        }
        population
    }

    /// Whether too many requests were open at once.
    pub(super) fn is_dense(&self) -> bool {
        self.pairs > PAIRS_OF_CALL_MAX * self.standings.len()
    }

    pub(super) fn has_traced(&self) -> bool {
        self.standings().any(|s| matches!(s, Standing::Traced { .. }))
    }

    /// With what is known, but for the ids of one half of the traced requests.
    pub(super) fn with_hidden(&self, hidden: u64) -> Workload {
        let mut workload = self.workload.clone();
        for (call, standing) in workload.calls.iter_mut().zip(&self.standings) {
            call.caused_by = match *standing {
                Standing::Decided { cause } => Some(cause),
                Standing::Traced { cause, half, .. } => (half != hidden).then_some(cause),
                Standing::Open => None,
            };
        }
        workload
    }

    pub(super) fn standings(&self) -> impl Iterator<Item = &Standing> {
        self.standings.iter()
    }

    pub(super) fn index_of(&self, call: ExchangeId) -> Option<usize> {
        self.index.get(&call).copied()
    }

    pub(super) fn request(&self, index: u32) -> ExchangeId {
        self.requests[index as usize]
    }

    pub(super) fn destination(&self, call: usize) -> usize {
        self.workload.calls[call].destination as usize
    }

    pub(super) fn destinations(&self) -> usize {
        self.destinations
    }
}

/// Kinds by number, in an order that does not depend on arrival.
struct Kinds<'a>(Vec<Kind<'a>>);

impl<'a> Kinds<'a> {
    fn new(kinds: impl Iterator<Item = Kind<'a>>) -> Self {
        let mut kinds: Vec<Kind<'a>> = kinds.collect();
        kinds.sort_unstable();
        kinds.dedup();
        Self(kinds)
    }

    /// Those beyond the number that is told apart share the last one.
    fn number(&self, kind: &Kind<'_>) -> u32 {
        let at = self.0.partition_point(|known| known < kind);
        at.min(KINDS_MAX - 1) as u32
    }

    fn count(&self) -> usize {
        self.0.len().min(KINDS_MAX)
    }
}

/// Who asked which port.
fn operation<'a>(sight: &Sight<'a>, server: ExchangeId) -> Kind<'a> {
    let names = &sight.slabs.names;
    let client = sight.client_of(server).one();
    let pod = client.and_then(|client| sight.owners.pod(sight.exchange(client).pod?));
    Kind {
        namespace: pod.map_or("", |pod| names.text(pod.namespace)),
        name: pod.map_or("", |pod| names.text(pod.workload.unwrap_or(pod.name))),
        port: sight.exchange(server).local_port,
    }
}

/// The Service or workload that is called; all that is outside is one.
fn destination<'a>(sight: &Sight<'a>, call: &Exchange) -> Kind<'a> {
    let names = &sight.slabs.names;
    let (end, port) = (call.remote(), call.remote_port);
    if let Some(service) = sight.owners.service(end, call.start_ns) {
        let (namespace, name) = (names.text(service.namespace), names.text(service.name));
        return Kind { namespace, name, port };
    }
    match sight.owners.holder(end.ip, call.start_ns) {
        Owner::Pod(pod) => Kind {
            namespace: names.text(pod.namespace),
            name: names.text(pod.workload.unwrap_or(pod.name)),
            port,
        },
        _ => Kind { namespace: "", name: "", port },
    }
}

fn standing(
    context: &mut Context<'_>,
    elsewhere: &Elsewhere<'_>,
    call: ExchangeId,
    request_of: &BTreeMap<ExchangeId, u32>,
) -> Standing {
    let index = |server: &ExchangeId| request_of.get(server).copied();
    match context.cause_by_span(call) {
        Some(Cause::Parent(Parent { server, by: Reason::OkExactId })) => {
            let Some(cause) = index(&server) else { return Standing::Open };
            let without_ids = context.cause_without_ids(call);
            let is_of_time_only = is_of_time_only(context.sight, elsewhere, call, &without_ids);
            match without_ids {
                Cause::Undecided { candidates, .. } if is_of_time_only => Standing::Traced {
                    cause,
                    half: half(context.sight.exchange(server)),
                    candidates: candidates.iter().filter_map(index).collect(),
                },
                _ => Standing::Decided { cause },
            }
        }
        Some(_) => Standing::Open,
        None => match context.cause_by_thread(call) {
            Cause::Parent(parent) => {
                index(&parent.server).map_or(Standing::Open, |cause| Standing::Decided { cause })
            }
            _ => Standing::Open,
        },
    }
}

/// Which half a request belongs to: by what every run sees of it, and not by its place in time.
fn half(request: &Exchange) -> u64 {
    key(request).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 63
}

/// Tells apart exchanges that are alike in all that the method looks at.
fn key(exchange: &Exchange) -> u64 {
    let ends = u64::from(exchange.local_port) << 16 | u64::from(exchange.remote_port);
    (exchange.seq_req as u64) << 32 ^ ends ^ exchange.start_ns as u64
}
