//! How probable each pair is, over all assignments of a component's clients to its servers.
//!
//! A server serves at most one client. Going through the clients in order of start, all that matters
//! of the past is which of the servers that later clients could take are taken. The weights of these
//! sets are carried forward and back, as in a hidden Markov model (the forward-backward algorithm);
//! a pair's share is what both meet in. The permanent that is computed this way is exact up to the
//! sets that are left out for their negligible weight.

use std::collections::BTreeMap;

use super::Candidate;
use super::candidates::Component;

/// Servers that may be open at a time: bits of a set.
const OPEN_MAX: u32 = u128::BITS;

/// Sets carried from one client to the next: 0.1 s of work for 1,000 clients.
const SETS_MAX: usize = 4_096;

/// Sets of all clients of a component together: 32 MiB.
const SETS_SUM_MAX: usize = 1 << 20;

/// Weight relative to the heaviest set below which a set is left out.
const WEIGHT_MIN: f64 = 1e-16;

/// One client's part in the sets.
struct Step {
    /// The bit of each option's server.
    bits: Vec<u128>,
    /// Bits of servers that later clients could take too.
    kept: u128,
}

/// Taken servers and the weight of all ways to it, ascending by set.
type Sets = Vec<(u128, f64)>;

/// For each client its candidates with their probabilities; none when they are too many to weigh.
pub(super) fn of(component: &Component) -> Option<Vec<Vec<Candidate>>> {
    let steps = steps(component)?;
    let mut layers: Vec<Sets> = vec![vec![(0, 1.0)]];
    let mut sets = 0;
    for (client, step) in component.clients.iter().zip(&steps) {
        let next = forward(layers.last()?, &client.options, step);
        sets += next.len();
        if next.len() > SETS_MAX || sets > SETS_SUM_MAX {
            return None;
        }
        layers.push(next);
    }
    let mut shares = Vec::with_capacity(steps.len());
    let mut onward = vec![1.0; layers.last()?.len()];
    for (at, (client, step)) in component.clients.iter().zip(&steps).enumerate().rev() {
        let (before, after) = (&layers[at], &layers[at + 1]);
        let (back, weights) = backward(before, after, &onward, &client.options, step);
        onward = back;
        let whole: f64 = weights.iter().sum();
        let candidate = |(&(server, _), weight): (&(usize, f64), &f64)| Candidate {
            server,
            p: if whole > 0.0 { weight / whole } else { 0.0 },
        };
        // The first weight is that of nobody.
        shares.push(client.options.iter().zip(&weights[1..]).map(candidate).collect());
    }
    shares.reverse();
    Some(shares)
}

/// Gives each server a bit from its first client to its last.
fn steps(component: &Component) -> Option<Vec<Step>> {
    let mut last_client = BTreeMap::new();
    for (at, client) in component.clients.iter().enumerate() {
        for &(server, _) in &client.options {
            last_client.insert(server, at);
        }
    }
    let mut bit_of = BTreeMap::new();
    let mut open = 0u128;
    let mut steps = Vec::with_capacity(component.clients.len());
    for (at, client) in component.clients.iter().enumerate() {
        let mut bits = Vec::with_capacity(client.options.len());
        for &(server, _) in &client.options {
            let bit = match bit_of.get(&server) {
                Some(&bit) => bit,
                None => {
                    let free = (!open).trailing_zeros();
                    if free >= OPEN_MAX {
                        return None;
                    }
                    let bit = 1u128 << free;
                    bit_of.insert(server, bit);
                    open |= bit;
                    bit
                }
            };
            bits.push(bit);
        }
        for (&(server, _), bit) in client.options.iter().zip(&bits) {
            if last_client[&server] == at {
                open &= !bit;
            }
        }
        steps.push(Step { bits, kept: open });
    }
    Some(steps)
}

fn forward(before: &Sets, options: &[(usize, f64)], step: &Step) -> Sets {
    let mut reached: Sets = Vec::with_capacity(before.len() * (options.len() + 1));
    for &(taken, weight) in before {
        reached.push((taken & step.kept, weight));
        for (&(_, odds), bit) in options.iter().zip(&step.bits) {
            if taken & bit == 0 {
                reached.push(((taken | bit) & step.kept, weight * odds));
            }
        }
    }
    reached.sort_by_key(|set| set.0);
    reached.dedup_by(|again, first| {
        let is_same = again.0 == first.0;
        if is_same {
            first.1 += again.1;
        }
        is_same
    });
    let heaviest = reached.iter().map(|set| set.1).fold(f64::MIN_POSITIVE, f64::max);
    reached.retain_mut(|set| {
        set.1 /= heaviest;
        set.1 >= WEIGHT_MIN
    });
    reached
}

/// Weight of all ways onward from each set before a client, and the weights of the client's choices,
/// nobody first.
fn backward(
    before: &Sets,
    after: &Sets,
    onward: &[f64],
    options: &[(usize, f64)],
    step: &Step,
) -> (Vec<f64>, Vec<f64>) {
    let onward_of = |taken: u128| {
        let set = taken & step.kept;
        after.binary_search_by_key(&set, |s| s.0).map_or(0.0, |at| onward[at])
    };
    let mut weights = vec![0.0; options.len() + 1];
    let mut back = Vec::with_capacity(before.len());
    for &(taken, weight) in before {
        let mut sum = onward_of(taken);
        weights[0] += weight * sum;
        for (choice, (&(_, odds), bit)) in options.iter().zip(&step.bits).enumerate() {
            if taken & bit == 0 {
                let way = odds * onward_of(taken | bit);
                weights[choice + 1] += weight * way;
                sum += way;
            }
        }
        back.push(sum);
    }
    let heaviest = back.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    back.iter_mut().for_each(|sum| *sum /= heaviest);
    (back, weights)
}

#[cfg(test)]
mod tests {
    use super::super::candidates::Client;
    use super::*;
    use crate::seeded::Seeded;

    /// Weight of every assignment, one by one.
    fn by_enumeration(component: &Component) -> Vec<Vec<f64>> {
        fn walk(
            clients: &[Client],
            at: usize,
            taken: &mut Vec<Option<usize>>,
            visit: &mut dyn FnMut(&[Option<usize>], f64),
            weight: f64,
        ) {
            let Some(client) = clients.get(at) else { return visit(taken, weight) };
            taken.push(None);
            walk(clients, at + 1, taken, visit, weight);
            taken.pop();
            for &(server, odds) in &client.options {
                if !taken.contains(&Some(server)) {
                    taken.push(Some(server));
                    walk(clients, at + 1, taken, visit, weight * odds);
                    taken.pop();
                }
            }
        }
        let mut whole = 0.0;
        let mut sums: Vec<Vec<f64>> =
            component.clients.iter().map(|c| vec![0.0; c.options.len()]).collect();
        walk(
            &component.clients,
            0,
            &mut Vec::new(),
            &mut |assigned, weight| {
                whole += weight;
                for (client, server) in assigned.iter().enumerate() {
                    let options = &component.clients[client].options;
                    if let Some(at) = options.iter().position(|o| Some(o.0) == *server) {
                        sums[client][at] += weight;
                    }
                }
            },
            1.0,
        );
        sums.iter().map(|c| c.iter().map(|sum| sum / whole).collect()).collect()
    }

    #[test]
    fn shares_are_those_of_all_assignments() {
        for seed in 0..300 {
            let mut random = Seeded::new(seed);
            let servers = 1 + random.below(6) as usize;
            let clients = (0..1 + random.below(6) as usize)
                .map(|at| {
                    let options = (0..servers)
                        .filter_map(|server| {
                            let odds = 10f64.powf(random.unit() * 8.0 - 3.0);
                            (random.below(3) > 0).then_some((server, odds))
                        })
                        .collect();
                    Client { at, options }
                })
                .collect();
            let component = Component { clients };
            let expected = by_enumeration(&component);
            let found = of(&component).unwrap();
            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                assert!((found.p - expected).abs() < 1e-6, "seed {seed}: {found:?} {expected}");
            }
        }
    }

    #[test]
    fn crowd_in_which_everybody_fits_everybody_is_not_weighed() {
        let options: Vec<(usize, f64)> = (0..40).map(|server| (server, 10.0)).collect();
        let client = |at| Client { at, options: options.clone() };
        let crowd = Component { clients: (0..40).map(client).collect() };
        assert!(of(&crowd).is_none());
    }
}
