//! Hypotheses for which there was no room.
//!
//! A walk keeps so many hypotheses and no more. Where those that it drops were not hopeless, what
//! they said stays a doubt about the calls that they gave to other requests: without it, choices
//! would look surer the fewer alternatives were followed.

use super::chain::NodeId;
use super::group::{Group, log_total};
use super::walk::Walker;
use super::ways::Way;

/// Dropped hypotheses less likely than this are no doubt. It is little, because they come in crowds
/// that say the same of a call.
const DOUBT_MIN: f64 = 1e-5;

/// How likely the dropped hypotheses are together that give a request the same calls.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    /// Request, node and share.
    said: Vec<(u32, NodeId, f64)>,
    /// Where in it a node is, valid where it is that node's.
    by_node: Vec<u32>,
}

impl Dropped {
    fn begin(&mut self, nodes: usize) {
        self.said.clear();
        self.by_node.resize(self.by_node.len().max(nodes), 0);
    }

    fn add(&mut self, request: u32, node: NodeId, share: f64) {
        let at = self.by_node[node as usize] as usize;
        match self.said.get_mut(at).filter(|(_, known, _)| *known == node) {
            Some((.., sum)) => *sum += share,
            None => {
                self.by_node[node as usize] = self.said.len() as u32;
                self.said.push((request, node, share));
            }
        }
    }
}

impl Walker<'_> {
    /// What the hypotheses said that there was no room for stays a doubt about those that are kept.
    pub(super) fn doubt_merged(&mut self, kept: &Group, dropped: &[(f64, Vec<NodeId>)]) {
        if dropped.is_empty() || !self.breadth.doubts {
            return;
        }
        let all = kept.ranks.iter().chain(dropped.iter().map(|(rank, _)| rank));
        let all = log_total(all.copied());
        self.dropped.begin(self.chains.len());
        for (rank, nodes) in dropped {
            self.drop_nodes(kept, nodes, kept.nodes(0), (rank - all).exp());
        }
        self.doubt_dropped(kept, kept.nodes(0));
    }

    pub(super) fn doubt_ways(&mut self, group: &Group, dropped: &[Way], call: u32) {
        if dropped.is_empty() || !self.breadth.doubts {
            return;
        }
        let best = self.ways[0];
        let all = self.ways.iter().chain(dropped).map(|w| w.rank);
        let all = log_total(all);
        let by = |way: &Way| way.by.map(|(slot, _)| slot);
        let mut by_hypothesis = vec![0.0; group.len()];
        let mut by_slot = vec![0.0; self.pod.open.len()];
        let mut by_none = 0.0;
        for way in dropped {
            let share = (way.rank - all).exp();
            by_hypothesis[way.from as usize] += share;
            if by(way) != by(&best) {
                *by(way).map_or(&mut by_none, |slot| &mut by_slot[slot as usize]) += share;
            }
        }
        self.dropped.begin(self.chains.len());
        let kept = group.nodes(best.from as usize);
        for (hypothesis, share) in by_hypothesis.into_iter().enumerate() {
            self.drop_nodes(group, group.nodes(hypothesis), kept, share);
        }
        self.doubt_dropped(group, kept);
        let otherwise = by_slot.into_iter().enumerate().map(|(slot, s)| (Some(slot), s));
        for (slot, share) in otherwise.chain([(None, by_none)]).filter(|(_, s)| *s >= DOUBT_MIN) {
            let request = |slot: usize| self.pod.open[slot];
            let other = slot.map(request);
            for request in other.into_iter().chain(by(&best).map(|slot| request(slot as usize))) {
                self.walked.doubted[request as usize] += share;
            }
            self.walked.doubts.push((call, other, share));
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

    /// Takes note of the nodes of a dropped hypothesis that the best one does not have.
    fn drop_nodes(&mut self, group: &Group, dropped: &[NodeId], kept: &[NodeId], share: f64) {
        for ((slot, dropped), kept) in group.slots.iter().zip(dropped).zip(kept) {
            if dropped != kept && share > 0.0 {
                self.dropped.add(self.pod.open[*slot as usize], *dropped, share);
            }
        }
    }

    /// The calls that belong to other requests under the nodes of dropped hypotheses.
    fn doubt_dropped(&mut self, group: &Group, kept: &[NodeId]) {
        let Self { chains, pod, walked, dropped, .. } = self;
        for &(request, node, share) in dropped.said.iter().filter(|(.., s)| *s >= DOUBT_MIN) {
            let is_of = |slot: &u32| pod.open[*slot as usize] == request;
            let Some(at) = group.slots.iter().position(is_of) else { continue };
            walked.doubted[request as usize] += share;
            let doubts = &mut walked.doubts;
            chains.beyond(node, kept[at], |call| doubts.push((call, Some(request), share)));
        }
    }
}
