//! Which pairs could be at all, and what each is worth against both ends being alone.

use super::delays::{Delays, Density};
use super::shift::Shift;
use super::{Exchanges, Stratum};

/// A loss rate below this is not believed: something is always lost.
const UNSEEN_MIN: f64 = 1e-3;

/// The probability of a pair is at most its odds; what is below is left out.
const ODDS_MIN: f64 = 1e-7;

/// A client exchange and the servers that it could belong to.
#[derive(Debug)]
pub(super) struct Client {
    /// Place in the columns.
    pub(super) at: usize,
    /// Servers by place, with the odds of the pair against both ends being alone.
    pub(super) options: Vec<(usize, f64)>,
}

/// Clients in order of start that hang together by common candidates.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) clients: Vec<Client>,
}

/// Every client that has a candidate, in order of start.
#[derive(Debug)]
pub(super) struct Candidates {
    clients: Vec<Client>,
    servers: usize,
}

impl Candidates {
    pub(super) fn new(
        stratum: &Stratum<'_>,
        delays: &Delays,
        shift: &Shift,
        bound_ns: i64,
    ) -> Self {
        let odds = Odds::new(stratum, delays, shift, bound_ns);
        let servers = in_order(&stratum.servers);
        let starts: Vec<i64> = servers.iter().map(|&s| stratum.servers.start_ns[s]).collect();
        let client = |at: usize| {
            let (earliest, latest) = odds.starts(stratum.clients.start_ns[at]);
            let from = starts.partition_point(|&start| start < earliest);
            let to = starts.partition_point(|&start| start <= latest);
            let near = servers[from..to.max(from)].iter();
            let options = near.filter_map(|&server| Some((server, odds.of(at, server)?))).collect();
            Client { at, options }
        };
        let clients = in_order(&stratum.clients).into_iter().map(client);
        let clients = clients.filter(|client| !client.options.is_empty()).collect();
        Self { clients, servers: servers.len() }
    }

    pub(super) fn components(self) -> Vec<Component> {
        let mut part: Vec<usize> = (0..self.servers).collect();
        for client in &self.clients {
            for pair in client.options.windows(2) {
                let (a, b) = (root(&mut part, pair[0].0), root(&mut part, pair[1].0));
                part[a.max(b)] = a.min(b);
            }
        }
        let mut component_of: Vec<Option<usize>> = vec![None; self.servers];
        let mut components: Vec<Component> = Vec::new();
        for client in self.clients {
            let Some(&(server, _)) = client.options.first() else { continue };
            let at = *component_of[root(&mut part, server)].get_or_insert_with(|| {
                components.push(Component { clients: Vec::new() });
                components.len() - 1
            });
            components[at].clients.push(client);
        }
        components
    }
}

/// The odds of a pair. With requests at rate v, of which the clients' or servers' half is unseen
/// with probability c or s, request and response delays of densities f and g, and clients'
/// durations of density q, a pair of delays x and y stands against both ends alone as
/// f(x) g(y) / (v q(duration) c s): what the server did meanwhile is in both and cancels.
struct Odds<'a> {
    stratum: &'a Stratum<'a>,
    delays: &'a Delays,
    shift: &'a Shift,
    durations: Density,
    /// v c s.
    alone: f64,
    /// How far times may lie outside of what was learned: the error of both corrections.
    tolerance_ns: i64,
}

impl<'a> Odds<'a> {
    fn new(stratum: &'a Stratum<'a>, delays: &'a Delays, shift: &'a Shift, bound_ns: i64) -> Self {
        let clients = &stratum.clients;
        let times = clients.start_ns.iter().zip(clients.end_ns);
        let durations = Density::of(times.map(|(start, end)| end - start));
        let per_ns = clients.start_ns.len() as f64 / stratum.span_ns.max(1) as f64;
        let unseen = |share: f64| share.max(UNSEEN_MIN);
        let alone = per_ns * unseen(stratum.servers_unseen) * unseen(stratum.clients_unseen);
        Self { stratum, delays, shift, durations, alone, tolerance_ns: 2 * bound_ns }
    }

    /// Between which moments a server's exchange starts.
    fn starts(&self, client_start_ns: i64) -> (i64, i64) {
        let (least, most) = self.delays.request.plausible_ns;
        (
            client_start_ns.saturating_add(least.min(0) - self.tolerance_ns),
            client_start_ns.saturating_add(most).saturating_add(self.tolerance_ns),
        )
    }

    fn of(&self, client: usize, server: usize) -> Option<f64> {
        let (clients, servers) = (&self.stratum.clients, &self.stratum.servers);
        let (request_ns, response_ns) = self.stratum.delays_ns(client, server);
        let (least, most) = self.delays.response.plausible_ns;
        let is_plausible = clients.kind[client] == servers.kind[server]
            && response_ns >= least.min(0) - self.tolerance_ns
            && response_ns <= most.saturating_add(self.tolerance_ns);
        if !is_plausible {
            return None;
        }
        let duration_ns = clients.end_ns[client] - clients.start_ns[client];
        let together = self.shift.request(self.delays, request_ns)
            * self.shift.response(self.delays, response_ns);
        let odds = together / (self.alone * self.durations.at(duration_ns));
        Some(odds).filter(|&odds| odds >= ODDS_MIN)
    }
}

/// Places by time.
fn in_order(exchanges: &Exchanges<'_>) -> Vec<usize> {
    let mut places: Vec<usize> = (0..exchanges.start_ns.len()).collect();
    places.sort_unstable_by_key(|&at| (exchanges.start_ns[at], exchanges.end_ns[at], at));
    places
}

fn root(part: &mut [usize], mut at: usize) -> usize {
    while part[at] != at {
        part[at] = part[part[at]];
        at = part[at];
    }
    at
}
