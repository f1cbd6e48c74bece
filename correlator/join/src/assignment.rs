//! Which server exchange answered which client exchange, where tuples and ids are missing: what times
//! alone prove, or how little.
//!
//! A stratum is the exchanges of one client pod with one server address. [`assign`] gives each client
//! exchange its partner with a probability, the candidates, or nobody. Every assignment of clients
//! to servers, nobody included, is weighed by the delays it implies ([`Delays`], learned from exact
//! links) and by the rates at which records are lost; the probability of a pair is the share of the
//! assignments that hold it. They are summed exactly ([`marginals`]) where the design asks for the
//! best assignment and approximate marginals: a pair with more than half of the weight is in the
//! best assignment anyway, and no second answer has to agree with the first.
//!
//! Nothing is tried where it could not be right: without a skew bound well below the network's
//! delays, without learned delays, or where requests come faster than delays can tell apart.

mod candidates;
mod delays;
mod marginals;
mod shift;

#[cfg(test)]
mod tests;

pub use delays::{Delays, Learned};

use candidates::Candidates;
use shift::Shift;

/// Requests that start within the median time on the network of each other, on average; above, times
/// say nothing.
const CROWD_MAX: f64 = 3.0;

/// Share of the median slack that the skew bound may be.
const SKEW_SHARE_MAX: f64 = 0.5;

/// Links that make a delay model.
const LEARNED_MIN: f64 = 100.0;

/// Listed at most of an undecided exchange: as many as hold [`LISTED_MIN`]; where that takes more,
/// a list would help nobody.
const CANDIDATES_MAX: usize = 16;

/// Pairs this probable tell how the clocks are corrected.
const CERTAIN_MIN: f64 = 0.9;

/// What is less likely is not a candidate.
const WORTH_LISTING: f64 = 1e-6;

/// What the listed candidates and "nobody" must hold together of the probability.
const LISTED_MIN: f64 = 0.9995;

/// Exchanges of one side, in columns of equal length. Servers' times are corrected to the clients' clock. The order
/// decides between equals and so must not depend on arrival.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exchanges<'a> {
    pub start_ns: &'a [i64],
    pub end_ns: &'a [i64],
    /// Method, status and the like as one number; exchanges of different kinds are no pair.
    pub kind: &'a [u32],
}

/// What may be each other's counterpart.
#[derive(Clone, Copy, Debug)]
pub struct Stratum<'a> {
    pub clients: Exchanges<'a>,
    pub servers: Exchanges<'a>,
    /// Length of the time that the columns cover.
    pub span_ns: i64,
    /// Of the correction; none when it is not known.
    pub skew_bound_ns: Option<i64>,
    /// Share of clients' requests whose server exchange is not among `servers`, and the other way.
    pub servers_unseen: f64,
    pub clients_unseen: f64,
}

impl Stratum<'_> {
    /// Times that request and response of a pair spent on the network.
    fn delays_ns(&self, client: usize, server: usize) -> (i64, i64) {
        (
            self.servers.start_ns[server] - self.clients.start_ns[client],
            self.clients.end_ns[client] - self.servers.end_ns[server],
        )
    }
}

/// When a pair is believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    pub p_min: f64,
    /// Least difference to the second candidate's.
    pub margin_min: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { p_min: 0.97, margin_min: 0.5 }
    }
}

/// A server exchange by its place in the columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub server: usize,
    pub p: f64,
}

/// What is known of a client exchange's partner.
#[derive(Clone, Debug, PartialEq)]
pub enum Partner {
    Committed(Candidate),
    /// Most likely first, at most five. Empty unless the doubt is [`Doubt::TimeOnly`].
    Ambiguous {
        candidates: Vec<Candidate>,
        doubt: Doubt,
    },
    /// Nobody seen fits, or nobody likely.
    Nobody,
}

/// Why a partner is not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Several fit by time.
    TimeOnly,
    /// Too many fit to weigh them, or to list them.
    Dense,
    /// The clocks are not tied to each other tightly enough.
    SkewUnknown,
    /// Too few exact links to know what delays are usual.
    Unlearned,
}

/// Finds the partner of each client exchange. Exchanges that exact evidence links are not part of
/// the stratum.
///
/// `worth` turns a probability of this model into one that was seen to hold
/// ([`crate::calibration::Calibration::apply`]). To see what it is worth, call this with all of the
/// stratum, linked or not, and the identity, and count what it says of the linked ones.
pub fn assign(
    stratum: &Stratum<'_>,
    delays: &Delays,
    thresholds: &Thresholds,
    worth: impl Fn(f64) -> f64,
) -> Vec<Partner> {
    let count = stratum.clients.start_ns.len();
    let in_doubt = |doubt| Partner::Ambiguous { candidates: Vec::new(), doubt };
    if stratum.servers.start_ns.is_empty() {
        return vec![Partner::Nobody; count];
    }
    let bound_ns = match tried(stratum, delays) {
        Ok(bound_ns) => bound_ns,
        Err(doubt) => return vec![in_doubt(doubt); count],
    };
    let anything = Shift::within(bound_ns);
    let mut weighed = weigh(stratum, delays, &anything, bound_ns);
    if bound_ns > 0 {
        let certain = certain_pairs(stratum, &weighed);
        weighed = weigh(stratum, delays, &anything.after(&certain, delays), bound_ns);
    }
    let partner = |weighed| match weighed {
        Weighed::Alone => Partner::Nobody,
        Weighed::Dense => in_doubt(Doubt::Dense),
        Weighed::Shares(shares) => decide(shares, thresholds, &worth),
    };
    weighed.into_iter().map(partner).collect()
}

/// What the model says of a client exchange.
#[derive(Clone, Debug)]
enum Weighed {
    /// Nobody fits.
    Alone,
    Dense,
    /// The candidates' probabilities, in order of start.
    Shares(Vec<Candidate>),
}

fn weigh(stratum: &Stratum<'_>, delays: &Delays, shift: &Shift, bound_ns: i64) -> Vec<Weighed> {
    let mut weighed = vec![Weighed::Alone; stratum.clients.start_ns.len()];
    for component in Candidates::new(stratum, delays, shift, bound_ns).components() {
        match marginals::of(&component) {
            Some(shares) => {
                for (client, shares) in component.clients.iter().zip(shares) {
                    weighed[client.at] = Weighed::Shares(shares);
                }
            }
            None => {
                for client in &component.clients {
                    weighed[client.at] = Weighed::Dense;
                }
            }
        }
    }
    weighed
}

/// Request and response times of the pairs that hardly anything else could explain.
fn certain_pairs(stratum: &Stratum<'_>, weighed: &[Weighed]) -> Vec<(i64, i64)> {
    let mut certain = Vec::new();
    for (client, weighed) in weighed.iter().enumerate() {
        if let Weighed::Shares(shares) = weighed {
            let pairs = shares.iter().filter(|candidate| candidate.p >= CERTAIN_MIN);
            certain.extend(pairs.map(|candidate| stratum.delays_ns(client, candidate.server)));
        }
    }
    certain.sort_unstable();
    certain
}

/// The skew bound where times can tell requests apart.
///
/// # Errors
/// Why they can't.
fn tried(stratum: &Stratum<'_>, delays: &Delays) -> Result<i64, Doubt> {
    let bound_ns = stratum.skew_bound_ns.ok_or(Doubt::SkewUnknown)?;
    if delays.links() < LEARNED_MIN {
        return Err(Doubt::Unlearned);
    }
    if bound_ns as f64 >= SKEW_SHARE_MAX * delays.slack_ns(0.5) {
        return Err(Doubt::SkewUnknown);
    }
    let per_ns = stratum.clients.start_ns.len() as f64 / stratum.span_ns.max(1) as f64;
    if per_ns * delays.slack_ns(0.5) > CROWD_MAX { Err(Doubt::Dense) } else { Ok(bound_ns) }
}

fn decide(
    mut shares: Vec<Candidate>,
    thresholds: &Thresholds,
    worth: impl Fn(f64) -> f64,
) -> Partner {
    // Stable: equals stay in order of start.
    shares.sort_by(|a, b| b.p.total_cmp(&a.p));
    shares.retain(|candidate| candidate.p >= WORTH_LISTING);
    let somebody: f64 = shares.iter().map(|c| c.p).sum();
    let nobody = 1.0 - somebody;
    let Some(&best) = shares.first() else { return Partner::Nobody };
    let second = shares.get(1).map_or(0.0, |c| c.p).max(nobody);
    let p = worth(best.p);
    if p >= thresholds.p_min && best.p - second >= thresholds.margin_min {
        return Partner::Committed(Candidate { server: best.server, p });
    }
    if nobody >= thresholds.p_min {
        return Partner::Nobody;
    }
    let mut held = nobody;
    let lacking = |candidate: &&Candidate| {
        let is_lacking = held < LISTED_MIN;
        held += candidate.p;
        is_lacking
    };
    let listed: Vec<&Candidate> = shares.iter().take_while(lacking).collect();
    if listed.len() > CANDIDATES_MAX {
        return Partner::Ambiguous { candidates: Vec::new(), doubt: Doubt::Dense };
    }
    let listed = listed.into_iter().map(|c| Candidate { p: worth(c.p), ..*c });
    Partner::Ambiguous { candidates: listed.collect(), doubt: Doubt::TimeOnly }
}
