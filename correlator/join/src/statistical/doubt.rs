//! Hypotheses for which there was no room.
//!
//! A walk keeps so many hypotheses and no more. Where those that it drops were not hopeless, what
//! they said stays a doubt about the calls that they gave to other requests: without it, choices
//! would look surer the fewer alternatives were followed.

use super::chain::NodeId;
use super::group::{DROPPED_MAX, Group, log_total};
use super::walk::Walker;
use super::ways::Way;

/// Dropped hypotheses less likely than this are no doubt. It is little, because they come in crowds
/// that say the same of a call.
const DOUBT_MIN: f64 = 1e-5;

impl Walker<'_> {
    /// What the hypotheses said that there was no room for stays a doubt about those that are kept.
    pub(super) fn doubt_merged(
        &mut self,
        kept: &Group,
        ranks: &[f64],
        dropped: &[(f64, Vec<NodeId>)],
    ) {
        if dropped.is_empty() {
            return;
        }
        let all = ranks.iter().chain(dropped.iter().map(|(rank, _)| rank));
        let all = log_total(all.copied());
        for (rank, nodes) in dropped {
            self.doubt(kept, nodes, kept.nodes(0), (rank - all).exp());
        }
    }

    pub(super) fn doubt_ways(&mut self, group: &Group, dropped: &[Way], call: u32) {
        if dropped.is_empty() {
            return;
        }
        let best = self.ways[0];
        let all = self.ways.iter().chain(dropped).map(|w| w.rank);
        let all = log_total(all);
        for way in dropped.iter().take(DROPPED_MAX) {
            let share = (way.rank - all).exp();
            self.doubt(
                group,
                group.nodes(way.from as usize),
                group.nodes(best.from as usize),
                share,
            );
            let by = |way: &Way| way.by.map(|(slot, _)| self.pod.open[slot as usize]);
            if by(way) == by(&best) || share < DOUBT_MIN {
                continue;
            }
            for request in by(way).into_iter().chain(by(&best)) {
                self.walked.doubted[request as usize] += share;
            }
            self.walked.doubts.push((call, by(way), share));
        }
    }

    /// Whatever a request does after hypotheses about it were dropped is in doubt as well.
    pub(super) fn doubt_later(&mut self, call: u32) {
        let doubted = |way: &Way| {
            let (slot, _) = way.by?;
            Some(self.walked.doubted[self.pod.open[slot as usize] as usize])
        };
        let doubt = self.ways.iter().filter_map(doubted).fold(0.0, f64::max);
        if doubt > 0.0 {
            self.walked.doubts.push((call, None, doubt));
        }
    }

    /// The calls that belong to other requests under the nodes of a dropped hypothesis.
    fn doubt(&mut self, group: &Group, dropped: &[NodeId], kept: &[NodeId], share: f64) {
        if share < DOUBT_MIN {
            return;
        }
        let Self { chains, pod, walked, .. } = self;
        for ((slot, dropped), kept) in group.slots.iter().zip(dropped).zip(kept) {
            let request = pod.open[*slot as usize];
            if dropped != kept {
                walked.doubted[request as usize] += share;
            }
            let doubts = &mut walked.doubts;
            chains.beyond(*dropped, *kept, |call| doubts.push((call, Some(request), share)));
        }
    }
}
