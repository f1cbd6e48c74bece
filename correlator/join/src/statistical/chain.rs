//! The calls that a request is supposed to have made, as a chain of nodes that hypotheses share.

use super::counts::Gaps;
use super::pattern::PatternId;
use super::timeline::Span;

pub(super) type NodeId = u32;

pub(super) const NO_NODE: NodeId = NodeId::MAX;

/// A request with the calls it has made so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) pattern: PatternId,
    request_start: i64,
    last_start: i64,
    /// When the last call to end ends; the request's start where there was no call.
    last_end: i64,
    own_end: i64,
    before: NodeId,
    /// The last call, and its destination.
    pub(super) last: Option<(u32, u32)>,
}

/// So many calls back a finished one is looked for when others are still in flight.
const LOOK_BACK: usize = 8;

#[derive(Clone, Debug, Default)]
pub(super) struct Chains {
    nodes: Vec<Node>,
}

impl Chains {
    pub(super) fn clear(&mut self) {
        self.nodes.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn open(&mut self, span: Span, pattern: PatternId) -> NodeId {
        self.push(Node {
            pattern,
            request_start: span.start,
            last_start: span.start,
            last_end: span.start,
            own_end: span.start,
            before: NO_NODE,
            last: None,
        })
    }

    pub(super) fn call(&mut self, from: NodeId, id: u32, call: Span, pattern: PatternId) -> NodeId {
        let node = self.nodes[from as usize];
        self.push(Node {
            pattern,
            last_start: call.start,
            last_end: if node.before == NO_NODE { call.end } else { node.last_end.max(call.end) },
            own_end: call.end,
            before: from,
            last: Some((id, call.kind)),
            ..node
        })
    }

    /// The calls of a node that another node of the same request does not have.
    pub(super) fn beyond(&self, mut node: NodeId, mut other: NodeId, mut call: impl FnMut(u32)) {
        // A node is younger than what it follows, so that both ways back meet.
        while node != other {
            if node > other {
                let Node { last, before, .. } = self.nodes[node as usize];
                last.into_iter().for_each(|(id, _)| call(id));
                node = before;
            } else {
                other = self.nodes[other as usize].before;
            }
        }
    }

    pub(super) fn in_flight(&self, id: NodeId, at: i64) -> bool {
        self.nodes[id as usize].last_end > at
    }

    /// Since when the request waits for no answer.
    pub(super) fn ready(&self, id: NodeId) -> i64 {
        self.nodes[id as usize].last_end
    }

    /// Gaps up to `at` from each reference.
    pub(super) fn gaps(&self, id: NodeId, at: i64) -> Gaps {
        let node = &self.nodes[id as usize];
        let last_end = if node.last_end <= at { node.last_end } else { self.ended(id, at) };
        [at - node.request_start, at - node.last_start, at - last_end]
    }

    /// The last end before `at` among the latest calls, or the last call's start.
    fn ended(&self, id: NodeId, at: i64) -> i64 {
        let mut best = i64::MIN;
        let mut node = &self.nodes[id as usize];
        for _ in 0..LOOK_BACK {
            if node.before == NO_NODE {
                break;
            }
            if node.own_end <= at {
                best = best.max(node.own_end);
            }
            node = &self.nodes[node.before as usize];
        }
        if best == i64::MIN { self.nodes[id as usize].last_start } else { best }
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        (self.nodes.len() - 1) as NodeId
    }
}
