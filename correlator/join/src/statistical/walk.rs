//! One walk through the events of each pod with the likeliest hypotheses.
//!
//! Which requests are open is given by the times. A hypothesis says which of them made which call;
//! hypotheses are held in groups of requests that depend on each other, see [`super::group`]. An
//! event that could be of requests in several groups makes one of them.

use super::Choice;
use super::chain::{Chains, NodeId};
use super::counts::Counts;
use super::doubt::Dropped;
use super::field::{Asked, Field, Fit, NO_RECORD};
use super::group::{Group, keep_best, log_total};
use super::lattice::{Edge, StepOf, Taken, Went};
use super::model::Model;
use super::order::LAGS;
use super::pattern::{PatternId, Patterns};
use super::pod::Pod;
use super::timeline::{Event, Timelines};
use super::walked::Walked;
use super::ways::Way;

/// How many alternatives a walk follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Breadth {
    /// Hypotheses kept in a group.
    pub(super) hypotheses: usize,
    /// A hypothesis this much less likely than the best (as a logarithm) is dropped.
    pub(super) lag: f64,
    /// A group whose requests are this much less likely to act has nothing to do with an event.
    pub(super) reach: f64,
    /// Whether what there is no room for is remembered as a doubt. It says nothing of what the
    /// service does.
    pub(super) doubts: bool,
}

/// A factor between hypotheses that means nothing.
const SAME: f64 = 1.001;

pub(super) struct Walker<'a> {
    pub(super) timelines: &'a Timelines,
    pub(super) model: &'a Model<'a>,
    pub(super) patterns: &'a mut Patterns,
    pub(super) breadth: Breadth,
    pub(super) walked: &'a mut Walked,
    pub(super) chains: Chains,
    pub(super) pod: Pod,
    pub(super) field: Field,
    pub(super) ways: Vec<Way>,
    /// By hypothesis: which class of the line was expected to go on.
    pub(super) expected: Vec<[f32; LAGS]>,
    pub(super) dropped: Dropped,
    /// At a call: slot, pattern and node of each request that made it while it waited for nothing.
    pub(super) afresh: Vec<(u32, PatternId, NodeId)>,
    /// Whether some node is followed by the same as another.
    pub(super) has_joined: bool,
}

/// Walks through so many events of each place.
pub(super) fn walk(
    timelines: &Timelines,
    model: &Model,
    patterns: &mut Patterns,
    breadth: Breadth,
    events: &[usize],
) -> Walked {
    let mut walked = Walked {
        choices: vec![Choice::default(); timelines.calls.len()],
        counts: Counts::new(patterns),
        evidence: 0.0,
        doubts: Vec::new(),
        doubted: vec![0.0; timelines.requests.len()],
    };
    for (place, events) in timelines.places.iter().zip(events) {
        let mut walker = Walker {
            timelines,
            model,
            patterns: &mut *patterns,
            breadth,
            walked: &mut walked,
            chains: Chains::default(),
            pod: Pod::default(),
            field: Field::default(),
            ways: Vec::new(),
            expected: Vec::new(),
            dropped: Dropped::default(),
            afresh: Vec::new(),
            has_joined: false,
        };
        for event in &place[..*events] {
            match *event {
                Event::Opens(request) => walker.opens(request),
                Event::Calls(call) => walker.calls(call),
                Event::Closes(request) => walker.closes(request),
            }
        }
        walker.pod.finish(walker.walked, timelines);
    }
    walked.finish(timelines);
    walked
}

impl Walker<'_> {
    fn opens(&mut self, request: u32) {
        if self.pod.open.is_empty() {
            self.chains.clear();
        }
        let span = self.timelines.requests[request as usize];
        let node = self.chains.open(span, self.patterns.empty(span.kind));
        self.pod.open(request, node);
    }

    /// Fits all nodes to a step at a time: what else is known of it by request, if it may be the
    /// request's, and whether the request goes on. The step may be known to be of one request.
    /// Requests that wait for an answer and, from what they did so far, never act meanwhile have
    /// nothing to do with it.
    fn look(
        &mut self,
        at: i64,
        outcome: usize,
        whose: Option<u32>,
        of: impl Fn(u32) -> (Option<f64>, bool),
    ) {
        let Self { model, patterns, chains, pod, field, .. } = self;
        let asked = Asked { chains, model, patterns, outcome };
        field.begin(chains.len(), at);
        for (slot, node) in pod.sure() {
            let request = pod.open[slot as usize];
            let never = chains.in_flight(node, at)
                && !model.acts_in_flight(chains.node(node).pattern, outcome);
            if never && Some(request) != whose {
                continue;
            }
            let (log, goes_on) = of(request);
            let fit = field.fit(&asked, node, log, goes_on);
            field.sure.push((slot, fit));
        }
        for group in &mut pod.groups {
            let open = &pod.open;
            group.look(|slot, node| {
                let fit = field.known(node).unwrap_or_else(|| {
                    let (log, goes_on) = of(open[slot as usize]);
                    field.fit(&asked, node, log, goes_on)
                });
                let fit = field.get(fit);
                (fit.idle, fit.acts())
            });
        }
        field.line_up();
    }

    fn calls(&mut self, call: u32) {
        let span = self.timelines.calls[call as usize];
        let (timelines, model) = (self.timelines, self.model);
        let known = timelines.caused_by[call as usize];
        if known.is_some_and(|request| self.pod.slot_of(request).is_none()) {
            // Its cause has ended, and nobody else caused it.
            self.walked.belongs_to_none(StepOf::Call(call), 1.0);
            return;
        }
        self.look(span.start, span.kind as usize, known, |request| {
            let served = timelines.requests[request as usize];
            let late = timelines.is_late(request, call);
            // Within the tolerance a request stays open that has already ended.
            (Some(model.lateness(served.kind, span.kind, late)), served.end > span.start)
        });
        // The known cause is taken however unlikely it is.
        let lag = if known.is_some() { f64::INFINITY } else { self.breadth.lag };
        self.field.sort(lag);
        let group = match known.and_then(|request| self.pod.slot_of(request)) {
            Some(slot) => self.group_with(slot),
            None => self.involved(),
        };
        self.line_up_groups();
        let at_once = timelines.at_once[call as usize];
        self.field.look_at(None, at_once);
        self.ways.clear();
        self.expected.clear();
        let mut best = f64::NEG_INFINITY;
        for from in 0..group.len() {
            self.ways_of(&group, from, call, &mut best);
        }
        let Breadth { hypotheses, lag, .. } = self.breadth;
        let tie = |a: &Way, b: &Way| (a.from, a.by).cmp(&(b.from, b.by));
        let dropped = keep_best(&mut self.ways, hypotheses, lag, |w| w.rank, tie);
        self.doubt_later(call);
        self.doubt_ways(&group, &dropped, call);
        let forward = log_total(self.ways.iter().map(|w| w.forward));
        self.walked.evidence += forward - group.weight();
        let likeliest = self.ways[0];
        if let Some((_, fit)) = likeliest.by {
            self.tell_others(0, fit, group.nodes(likeliest.from as usize), at_once);
        }
        self.take_ways(group, call);
    }

    /// The group that a slot is of.
    fn group_with(&mut self, slot: u32) -> Group {
        self.pod.group_of(slot).map_or_else(Group::empty, |group| self.pod.take(group))
    }

    /// The group of all requests in doubt that the step could be of.
    fn involved(&mut self) -> Group {
        let field = &self.field;
        let sure = field.sure.first().map(|(_, fit)| field.get(*fit).acts());
        let mut best = sure.unwrap_or(f64::NEG_INFINITY);
        let reach = self.breadth.reach;
        let mut acts = Vec::with_capacity(self.pod.groups.len());
        for group in &self.pod.groups {
            // All hypotheses weigh no less than the likeliest.
            if group.acts - group.ranks[group.likeliest()] < best - reach {
                acts.push(f64::NEG_INFINITY);
            } else {
                acts.push(group.acts - log_total(group.ranks.iter().copied()));
            }
            best = best.max(acts[acts.len() - 1]);
        }
        let mut joint = Group::empty();
        let far = best - reach;
        for at in (0..acts.len()).rev().filter(|at| acts[*at] >= far) {
            let group = self.pod.take(at);
            let Breadth { hypotheses, lag, .. } = self.breadth;
            let dropped = joint.merge(group, hypotheses, lag);
            self.doubt_merged(&joint, &dropped);
        }
        joint
    }

    /// The other groups stand in the line besides the one that is looked at.
    fn line_up_groups(&mut self) {
        for (index, group) in self.pod.groups.iter().enumerate() {
            self.field.line_up_group(index, group.nodes(group.likeliest()));
        }
    }

    /// Groups that have nothing to do with a step still learn who went on while their requests
    /// waited. `nodes` are those of the group that had.
    fn tell_others(&mut self, of: usize, fit: u32, nodes: &[NodeId], at_once: usize) {
        let Some(waits) = self.field.get(fit).waits.filter(|_| !self.pod.groups.is_empty()) else {
            return;
        };
        let order = self.model.orders[of];
        self.field.line_up_group(usize::MAX, nodes);
        let mut weighed = Vec::new();
        for (index, group) in self.pod.groups.iter().enumerate() {
            self.field.look_at(Some(index), at_once);
            let mut factors = Vec::with_capacity(group.len());
            for hypothesis in 0..group.len() {
                factors.push(self.field.factor(group.nodes(hypothesis), waits, &order));
            }
            let (low, high) = factors
                .iter()
                .fold((f64::MAX, f64::MIN), |(low, high), f| (low.min(*f), high.max(*f)));
            if high > low * SAME {
                weighed.push((index, factors.into_iter().map(f64::ln).collect::<Vec<_>>()));
            }
        }
        for (index, logs) in weighed.into_iter().rev() {
            let group = &mut self.pod.groups[index];
            let (before, hypotheses) = (group.weight(), group.len());
            group.weigh(&logs, self.breadth.lag);
            self.walked.evidence += group.weight() - before;
            // Nothing else can be said of the group until some are dropped.
            if group.len() < hypotheses {
                let group = self.pod.take(index);
                self.pod.put(group, self.walked, self.timelines);
            }
        }
    }

    /// A request ends: what it did until now is weighed, and it is forgotten.
    fn closes(&mut self, request: u32) {
        let Some(slot) = self.pod.slot_of(request) else { return };
        let end = self.timelines.requests[request as usize].end;
        let timelines = self.timelines;
        self.look(end, self.patterns.destinations, Some(request), |other| {
            let is_it = other == request;
            (is_it.then_some(0.0), is_it || timelines.requests[other as usize].end > end)
        });
        let mut group = self.group_with(slot);
        self.line_up_groups();
        let at = group.slots.iter().position(|s| *s == slot);
        let order = self.model.orders[1];
        let sure = self.pod.agreed[slot as usize];
        self.field.look_at(None, 0);
        let mut went =
            Went { of: StepOf::End, edges: Vec::new(), taken: Vec::new(), expected: Vec::new() };
        for from in 0..group.len() {
            let nodes = group.nodes(from);
            let standing = self.field.standing(nodes, &order);
            let index = self.field.index(at.map_or(sure, |at| nodes[at]));
            let fit = *self.field.get(index);
            let (in_line, class) = standing.order(fit.waits, &order);
            went.expected.push(standing.expected);
            let log = fit.log + in_line;
            let forward = group.weights[from] + log;
            let taken = Some(self.record(&mut went.taken, index, request));
            went.edges.push(Edge { from: from as u32, to: 0, log, forward, taken, class });
        }
        let edges = &went.edges;
        let best = (0..edges.len())
            .fold(0, |b, e| if edges[e].forward > edges[b].forward { e } else { b });
        let forward = log_total(edges.iter().map(|e| e.forward));
        self.walked.evidence += forward - group.weight();
        let nodes = group.nodes(best);
        let fit = self.field.index(at.map_or(sure, |at| nodes[at]));
        self.tell_others(1, fit, nodes, 0);
        if group.len() == 1 {
            self.walked.take(timelines, &went, &[1.0]);
        } else {
            group.close(slot, went);
            self.pod.put(group, self.walked, timelines);
        }
        self.pod.close(slot);
    }

    /// Where in the record of an event a step is that some hypotheses take.
    pub(super) fn record(&mut self, taken: &mut Vec<Taken>, fit: u32, request: u32) -> u32 {
        let Fit { record, cell, gaps, .. } = *self.field.get(fit);
        if record != NO_RECORD {
            return record;
        }
        let record = taken.len() as u32;
        taken.push(Taken { request, cell, gaps });
        self.field.set_record(fit, record);
        record
    }
}
