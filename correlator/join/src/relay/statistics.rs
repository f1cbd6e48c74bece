//! The last stage inside a pod: the cause of a call from times alone, where that is proven to work.
//!
//! It asks [`crate::statistical`] about calls that nothing else decided, one workload at a time, for
//! its replicas run the same code. All times that are compared are of one pod, so of one clock.
//!
//! What an answer is worth is found in the same workload. Its traced requests are parted in two
//! halves; the calls of one half are asked as if they had no ids while those of the other teach, and
//! the answers are compared with the ids; then the other way round. A call is decided where both
//! agree and its destination's traced calls prove at least [`P_MIN`]. So a workload without traces
//! has nothing decided; its posteriors go to the row that says what is undecided.
//!
//! Each call is asked in one window only, the one that it ended in: no two windows can give it to
//! two requests.

mod part;
mod population;

use std::collections::BTreeMap;

use crate::calibration::{Calibration, Trials};
use crate::link::Parent;
use crate::reason::Reason;
use crate::relay::elsewhere::Elsewhere;
use crate::relay::statistics::part::Part;
use crate::relay::statistics::population::{Population, Standing};
use crate::relay::{Cause, Relays};
use crate::sight::Sight;
use crate::slab::ExchangeId;
use crate::statistical::{Assignment, Choice, Effort, assign};

/// Least probability of a call that is decided, as the method says and as the traced calls prove.
const P_MIN: f64 = 0.97;

/// Least lead over any other request, and over none.
const MARGIN_MIN: f64 = 0.5;

/// Requests whose calls are hidden together.
const HALVES: [u64; 2] = [0, 1];

/// What times alone say of the calls of one window.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    /// The proven probability of each call that was decided.
    sure: BTreeMap<ExchangeId, f64>,
    /// Candidates of calls that stay undecided with their posteriors, the likeliest first.
    likely: BTreeMap<ExchangeId, Vec<(ExchangeId, f64)>>,
    /// Answers about traced calls whose ids were hidden.
    trials: Trials,
}

impl Statistics {
    /// How sure it is that a call belongs to the request it was given to.
    pub(crate) fn confidence(&self, call: ExchangeId) -> f64 {
        self.sure.get(&call).copied().unwrap_or(0.0)
    }

    pub(crate) fn likely(&self, call: ExchangeId) -> Option<&[(ExchangeId, f64)]> {
        self.likely.get(&call).map(Vec::as_slice)
    }

    /// The window's `calibration` row of the method `relay`; none where no traced call was tried.
    pub(crate) fn calibration(
        &self,
        template: &tables::Calibration,
    ) -> Option<tables::Calibration> {
        let fitted = Calibration::fit(&self.trials);
        let row = fitted.row("relay", self.trials.raw_quality(), template);
        (row.samples > 0).then_some(row)
    }
}

/// Asks about the calls of the window that are undecided for little but their times.
pub(super) fn decide(sight: &Sight<'_>, relays: &mut Relays, elsewhere: &Elsewhere<'_>) {
    let asked: Vec<ExchangeId> = relays
        .others
        .iter()
        .filter(|(call, _)| call.window == sight.window)
        .filter(|(call, cause)| is_of_time_only(sight, elsewhere, **call, cause))
        .map(|(call, _)| *call)
        // What a proxy did is told by its log.
        .filter(|&call| !relays.proxy_places.contains(&sight.exchange(call).place))
        .collect();
    if asked.is_empty() {
        return;
    }
    let (parts, dense) = part::parts(sight, relays, &asked);
    for call in dense {
        relays.doubt_more(call, Reason::AmbigDense);
    }
    for part in &parts {
        let population = Population::new(sight, part, elsewhere);
        if population.is_dense() {
            part.asked.iter().for_each(|&call| relays.doubt_more(call, Reason::AmbigDense));
        } else {
            answer(sight, part, &population, relays);
        }
    }
}

/// Whether times are all that could tell more. Few lost events are no reason not to ask: a request
/// of which neither end was seen is rare, and one of which one end was is known to be there.
fn is_of_time_only(
    sight: &Sight<'_>,
    elsewhere: &Elsewhere<'_>,
    call: ExchangeId,
    cause: &Cause,
) -> bool {
    match cause {
        Cause::Undecided { why: Reason::AmbigTimeOnly, .. } => true,
        Cause::Undecided { why: Reason::MissingLostEvents, .. } => {
            let row = sight.exchange(call);
            let (node, from_ns, to_ns) = (Some(row.node), row.start_ns, row.end_ns);
            sight.coverage.nearly_whole(node, from_ns, to_ns).is_ok()
                && !elsewhere.unseen.is_asked(row.place, from_ns)
        }
        _ => false,
    }
}

fn answer(sight: &Sight<'_>, part: &Part, population: &Population, relays: &mut Relays) {
    let hidden: &[u64] = if population.has_traced() { &HALVES } else { &HALVES[..1] };
    let learned: Vec<Assignment> = hidden
        .iter()
        .map(|&half| assign(&population.with_hidden(half), Effort::default()))
        .collect();
    if !learned.iter().all(|l| l.is_settled) {
        return;
    }
    let proven = proven(population, &learned, &mut relays.statistics.trials);
    for &call in &part.asked {
        let Some(index) = population.index_of(call) else { continue };
        let Some(Cause::Undecided { candidates, .. }) = relays.others.get(&call) else { continue };
        let choices: Vec<&Choice> = learned.iter().map(|l| &l.choices[index]).collect();
        let sure = agreed(population, &choices, candidates);
        let destination = population.destination(index);
        // Scores below any that was tried are worth no more than they say.
        let sure = sure.map(|(server, raw)| (server, proven[destination].apply(raw).min(raw)));
        match sure.filter(|(_, p)| *p >= P_MIN) {
            Some((server, p)) => {
                relays.others.remove(&call);
                relays.give(sight, call, Parent { server, by: Reason::OkStatistical });
                relays.statistics.sure.insert(call, p);
            }
            None => {
                let likely = likely(population, &choices, candidates);
                relays.statistics.likely.insert(call, likely);
            }
        }
    }
}

/// What the answers about traced calls prove, by destination: what times tell of calls to one says
/// nothing of calls to another.
fn proven(population: &Population, learned: &[Assignment], all: &mut Trials) -> Vec<Calibration> {
    let mut trials = vec![Trials::default(); population.destinations()];
    for (index, standing) in population.standings().enumerate() {
        let Standing::Traced { cause, half, candidates } = standing else { continue };
        let best = learned[*half as usize].choices[index].candidates.first();
        // One that could not have been decided proves nothing.
        let Some((best, raw)) = best.filter(|(best, _)| candidates.contains(best)) else {
            continue;
        };
        trials[population.destination(index)].add(*raw, best == cause);
    }
    trials.iter().for_each(|of_one| all.merge(of_one));
    trials.iter().map(Calibration::fit).collect()
}

/// The request that every half's answer names, and the least sure of them.
fn agreed(
    population: &Population,
    choices: &[&Choice],
    candidates: &[ExchangeId],
) -> Option<(ExchangeId, f64)> {
    let mut least: Option<(u32, f64)> = None;
    for choice in choices {
        let (request, p) = choice.sure(P_MIN, MARGIN_MIN)?;
        match least {
            Some((other, _)) if other != request => return None,
            Some((_, q)) => least = Some((request, p.min(q))),
            None => least = Some((request, p)),
        }
    }
    let (request, p) = least?;
    let server = population.request(request);
    candidates.contains(&server).then_some((server, p))
}

/// The candidates by their mean posterior.
fn likely(
    population: &Population,
    choices: &[&Choice],
    candidates: &[ExchangeId],
) -> Vec<(ExchangeId, f64)> {
    let posterior = |server: ExchangeId| {
        let of = |choice: &&Choice| {
            let found = choice.candidates.iter().find(|(r, _)| population.request(*r) == server);
            found.map_or(0.0, |(_, p)| *p)
        };
        choices.iter().map(of).sum::<f64>() / choices.len().max(1) as f64
    };
    let mut likely: Vec<_> = candidates.iter().map(|&s| (s, posterior(s))).collect();
    // Stable: equals stay in the order of their starts.
    likely.sort_by(|a, b| b.1.total_cmp(&a.1));
    likely
}
