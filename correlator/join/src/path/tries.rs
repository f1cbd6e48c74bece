//! Which call each try of a proxy's line was, told by where it went and what came of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::End;
use crate::columns::Attempt;
use crate::sight::Sight;
use crate::slab::ExchangeId;

/// Tries by their index in the line.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// The call that a try was.
    pub(super) call_of: BTreeMap<usize, ExchangeId>,
    /// Tries of which some calls are, and which of them is not known: the calls stand for them.
    pub(super) stood_for: BTreeSet<usize>,
}

impl Tries {
    /// `calls` are those of one request by start, `tries` those of its line in order.
    pub(super) fn new(
        sight: &Sight<'_>,
        calls: impl Iterator<Item = ExchangeId>,
        tries: &[Attempt],
    ) -> Self {
        let mut calls_to: BTreeMap<End, Vec<ExchangeId>> = BTreeMap::new();
        for call in calls {
            calls_to.entry(sight.exchange(call).remote()).or_default().push(call);
        }
        let mut tries_at: BTreeMap<End, Vec<usize>> = BTreeMap::new();
        for (index, attempt) in tries.iter().enumerate() {
            if let Some(end) = attempt.server {
                tries_at.entry(end).or_default().push(index);
            }
        }
        let mut found = Self::default();
        for (end, tried) in &tries_at {
            if let Some(calls) = calls_to.get(end) {
                found.at_one_address(sight, tries, tried, calls);
            }
        }
        found
    }

    fn at_one_address(
        &mut self,
        sight: &Sight<'_>,
        tries: &[Attempt],
        tried: &[usize],
        calls: &[ExchangeId],
    ) {
        let may_be = |(&index, &call): (&usize, &ExchangeId)| may_be(sight, &tries[index], call);
        let (refused, answered): (Vec<usize>, Vec<usize>) =
            tried.iter().partition(|&&index| tries[index].was_refused());
        // A refused try may have sent nothing, so that no call is seen of it.
        for likely in [tried, &answered] {
            if likely.len() == calls.len() && likely.iter().zip(calls).all(may_be) {
                self.call_of.extend(likely.iter().copied().zip(calls.iter().copied()));
                return;
            }
        }
        let (dropped, others): (Vec<ExchangeId>, Vec<ExchangeId>) =
            calls.iter().partition(|&&call| sight.exchange(call).was_dropped());
        let tells_apart = dropped.len() <= refused.len() && others.len() <= answered.len();
        if dropped.is_empty() || !tells_apart {
            self.stood_for.extend(tried);
            return;
        }
        for (tried, calls) in [(refused, dropped), (answered, others)] {
            if tried.len() == calls.len() {
                self.call_of.extend(tried.iter().copied().zip(calls.iter().copied()));
            }
            if !calls.is_empty() {
                self.stood_for.extend(tried);
            }
        }
    }
}

/// Which try each call was, if all lines that tell of as many agree, and none tells of more.
pub(super) fn agreed<'a>(
    sight: &Sight<'_>,
    calls: &[ExchangeId],
    lines: impl Iterator<Item = &'a [Attempt]>,
) -> Option<BTreeMap<ExchangeId, u32>> {
    let mut agreed = None;
    for tries in lines {
        if tries.iter().filter(|a| a.server.is_some()).count() > calls.len() {
            return None;
        }
        let found = Tries::new(sight, calls.iter().copied(), tries).call_of.into_iter();
        let order: BTreeMap<ExchangeId, u32> =
            found.map(|(index, call)| (call, u32::try_from(index).unwrap_or(u32::MAX))).collect();
        if order.len() == calls.len() && *agreed.get_or_insert_with(|| order.clone()) != order {
            return None;
        }
    }
    agreed
}

/// Whether a call may be a try that went to the same address: one that ended without a byte of a
/// response was not answered.
pub(super) fn may_be(sight: &Sight<'_>, attempt: &Attempt, call: ExchangeId) -> bool {
    attempt.was_refused() || !sight.exchange(call).was_dropped()
}
