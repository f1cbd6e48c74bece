//! One walk through the events of each pod with the likeliest hypotheses.
//!
//! Which requests are open is given by the times, so a hypothesis is one node (a request with its
//! calls so far) for each open request. Hypotheses that agree on all open requests are one from
//! then on: nothing that comes later can tell them apart.

use super::Choice;
use super::chain::{Chains, NO_NODE, NodeId};
use super::counts::{CellId, Cells, Counts, Gaps, Turn};
use super::lattice::{Edge, Lattice, StepOf, Taken};
use super::model::{Model, Score};
use super::pattern::Patterns;
use super::timeline::{Event, Timelines};
use super::walked::Walked;

/// A hypothesis this much less likely than the best (as a logarithm) is dropped.
const LAG_MAX: f64 = 14.0;

struct Hypothesis {
    weight: f64,
    /// One for each open request, in the same order in all hypotheses.
    nodes: Vec<NodeId>,
}

/// How one request with its calls so far could take the step that is looked at.
#[derive(Clone, Copy)]
struct Fit {
    node: NodeId,
    cell: CellId,
    gaps: Gaps,
    score: Score,
    /// Since when it waits for no answer, and how likely it is to do nothing for so long.
    idle: Option<(i64, f64)>,
    /// The node after the step, once some hypothesis takes it.
    after: NodeId,
}

/// One way in which one hypothesis can go on.
#[derive(Clone, Copy)]
struct Way {
    forward: f64,
    /// What decides whether it is kept: also how likely it is that the others still do nothing.
    /// That becomes part of the likelihood anyway once they go on; known early, it saves the beam.
    rank: f64,
    log: f64,
    from: u32,
    /// Which open request, and its fit; none where the call belongs to nobody.
    by: Option<(u32, u32)>,
    turn: Turn,
}

/// Of the open requests that wait for no answer: since when the first, and how many there are.
struct Line {
    first: i64,
    count: usize,
}

impl Line {
    fn take(&mut self, ready: i64) {
        self.count += 1;
        self.first = self.first.min(ready);
    }

    fn turn(&self, ready: i64) -> Turn {
        match self.count {
            0 | 1 => Turn::Alone,
            _ if self.first < ready => Turn::Behind,
            _ => Turn::First,
        }
    }
}

struct Walker<'a> {
    timelines: &'a Timelines,
    model: &'a Model,
    patterns: &'a mut Patterns,
    hypotheses_max: usize,
    chains: Chains,
    lattice: Lattice,
    open: Vec<u32>,
    hypotheses: Vec<Hypothesis>,
    fits: Vec<Fit>,
    /// Index in `fits` by node, valid where the fit is of that node.
    fit_of: Vec<u32>,
    ways: Vec<Way>,
    /// Fits of the open requests under the hypothesis that is looked at.
    fits_here: Vec<u32>,
}

pub(super) fn walk(
    timelines: &Timelines,
    model: &Model,
    patterns: &mut Patterns,
    hypotheses_max: usize,
) -> Walked {
    let mut walked = Walked {
        choices: vec![Choice::default(); timelines.calls.len()],
        counts: Counts::new(patterns),
    };
    for place in &timelines.places {
        let mut walker = Walker {
            timelines,
            model,
            patterns: &mut *patterns,
            hypotheses_max: hypotheses_max.max(1),
            chains: Chains::default(),
            lattice: Lattice::default(),
            open: Vec::new(),
            hypotheses: vec![Hypothesis { weight: 0.0, nodes: Vec::new() }],
            fits: Vec::new(),
            fit_of: Vec::new(),
            ways: Vec::new(),
            fits_here: Vec::new(),
        };
        for event in place {
            match *event {
                Event::Opens(request) => walker.opens(request),
                Event::Calls(call) => walker.calls(call),
                Event::Closes(request) => walker.closes(request),
            }
            if walker.hypotheses.len() == 1 {
                walker.lattice.settle(&mut walked, timelines);
                walker.hypotheses[0].weight = 0.0;
            }
        }
    }
    walked.finish(timelines);
    walked
}

impl Walker<'_> {
    fn opens(&mut self, request: u32) {
        if self.open.is_empty() {
            self.chains.clear();
            self.fit_of.clear();
        }
        let span = self.timelines.requests[request as usize];
        let node = self.chains.open(request, span, self.patterns.empty(span.kind));
        self.open.push(request);
        self.hypotheses.iter_mut().for_each(|h| h.nodes.push(node));
    }

    fn calls(&mut self, call: u32) {
        let span = self.timelines.calls[call as usize];
        self.fits.clear();
        self.ways.clear();
        let alone = self.model.heat * self.model.alone(span.kind);
        self.fit_of.resize(self.fit_of.len().max(self.chains.len()), 0);
        let mut best = f64::NEG_INFINITY;
        let known = self.timelines.caused_by[call as usize];
        let known = known.map(|request| self.open.iter().position(|r| *r == request));
        for from in 0..self.hypotheses.len() {
            self.ways_of(from, call, alone, known, &mut best);
        }
        self.keep_likeliest();
        self.lattice.begin(StepOf::Call(call));
        let ways = std::mem::take(&mut self.ways);
        let mut next = Vec::with_capacity(ways.len());
        for (to, way) in ways.iter().enumerate() {
            let mut nodes = self.hypotheses[way.from as usize].nodes.clone();
            let taken = way.by.map(|(slot, fit)| {
                nodes[slot as usize] = self.after(fit, call);
                let fit = &self.fits[fit as usize];
                let request = self.open[slot as usize];
                Taken { request, cell: fit.cell, gaps: fit.gaps, turn: way.turn }
            });
            next.push(Hypothesis { weight: way.forward, nodes });
            let Way { from, log, forward, .. } = *way;
            self.lattice.push(Edge { from, to: to as u32, log, forward, taken });
        }
        self.ways = ways;
        self.hypotheses = next;
    }

    /// All ways in which a hypothesis can explain a call that are worth keeping so far. `best` is the
    /// highest rank yet. Where the cause is known, `known` is its slot, or none if it is not open.
    fn ways_of(
        &mut self,
        from: usize,
        call: u32,
        alone: f64,
        known: Option<Option<usize>>,
        best: &mut f64,
    ) {
        let weight = self.hypotheses[from].weight;
        let at = self.timelines.calls[call as usize].start;
        self.fits_here.clear();
        let mut idle = 0.0;
        let mut waiting = Line { first: i64::MAX, count: 0 };
        for slot in 0..self.open.len() {
            let fit = self.fit(self.hypotheses[from].nodes[slot], call);
            self.fits_here.push(fit);
            if let Some((since, log)) = self.fits[fit as usize].idle {
                idle += log;
                // Within the tolerance a request stays open that has already ended.
                if self.timelines.requests[self.open[slot] as usize].end > at {
                    waiting.take(since);
                }
            }
        }
        let from = from as u32;
        if matches!(known, None | Some(None)) {
            let (forward, rank) = (weight + alone, weight + alone + idle);
            *best = best.max(rank);
            let way = Way { forward, rank, log: alone, from, by: None, turn: Turn::Alone };
            self.ways.push(way);
        }
        for slot in 0..self.open.len() {
            if known.is_some_and(|known| known != Some(slot)) {
                continue;
            }
            let index = self.fits_here[slot];
            let fit = &self.fits[index as usize];
            let own_idle = fit.idle.map_or(0.0, |(_, log)| log);
            let others = weight + idle - own_idle;
            // Its place in a line can only make a way less likely.
            let is_hopeless = others + self.model.heat * fit.score.log < *best - LAG_MAX;
            if is_hopeless || self.timelines.served_as[call as usize] == Some(self.open[slot]) {
                continue;
            }
            let turn = fit.idle.map_or(Turn::Alone, |(since, _)| waiting.turn(since));
            let log = self.model.heat * fit.score.in_turn(turn);
            let (forward, rank, by) = (weight + log, others + log, Some((slot as u32, index)));
            if rank >= *best - LAG_MAX {
                *best = best.max(rank);
                self.ways.push(Way { forward, rank, log, from, by, turn });
            }
        }
    }

    /// The fit of a node to a call, computed once for all hypotheses that share the node.
    fn fit(&mut self, node: NodeId, call: u32) -> u32 {
        let known = self.fit_of[node as usize];
        if self.fits.get(known as usize).is_some_and(|f| f.node == node) {
            return known;
        }
        let span = self.timelines.calls[call as usize];
        let mut fit = self.step(node, span.start, span.kind as usize);
        let request = self.chains.node(node).request;
        let late = self.timelines.is_late(request, call);
        let operation = self.timelines.requests[request as usize].kind;
        fit.score.log += self.model.lateness(operation, span.kind, late);
        self.fits.push(fit);
        self.fit_of[node as usize] = (self.fits.len() - 1) as u32;
        self.fit_of[node as usize]
    }

    fn step(&self, node: NodeId, at: i64, outcome: usize) -> Fit {
        let layout = Cells { destinations: self.patterns.destinations };
        let in_flight = self.chains.in_flight(node, at);
        let cell = layout.id(self.chains.node(node).pattern, in_flight, outcome);
        let gaps = self.chains.gaps(node, at);
        let last = self.chains.node(node).last;
        let score = self.model.score(self.patterns, cell, last, &gaps);
        let pattern = self.chains.node(node).pattern;
        let idle = (!in_flight).then(|| {
            (self.chains.ready(node), self.model.idle(self.patterns, pattern, last, &gaps))
        });
        Fit { node, cell, gaps, score, idle, after: NO_NODE }
    }

    fn after(&mut self, fit: u32, call: u32) -> NodeId {
        let Fit { node, after, .. } = self.fits[fit as usize];
        if after != NO_NODE {
            return after;
        }
        let span = self.timelines.calls[call as usize];
        let pattern = self.patterns.after(self.chains.node(node).pattern, span.kind);
        let after = self.chains.call(node, span, pattern);
        self.fits[fit as usize].after = after;
        after
    }

    fn keep_likeliest(&mut self) {
        let best = self.ways.iter().map(|w| w.rank).fold(f64::NEG_INFINITY, f64::max);
        self.ways.retain(|w| w.rank >= best - LAG_MAX);
        let order =
            |a: &Way, b: &Way| b.rank.total_cmp(&a.rank).then((a.from, a.by).cmp(&(b.from, b.by)));
        if self.ways.len() > self.hypotheses_max {
            self.ways.select_nth_unstable_by(self.hypotheses_max, order);
            self.ways.truncate(self.hypotheses_max);
        }
        self.ways.sort_unstable_by(order);
    }

    /// A request ends: what it did until now is weighed, and it is forgotten.
    fn closes(&mut self, request: u32) {
        let Some(slot) = self.open.iter().position(|r| *r == request) else { return };
        let end = self.timelines.requests[request as usize].end;
        self.lattice.begin(StepOf::End);
        let before = std::mem::take(&mut self.hypotheses);
        let mut next: Vec<Hypothesis> = Vec::with_capacity(before.len());
        for (from, mut hypothesis) in before.into_iter().enumerate() {
            let fit = self.step(hypothesis.nodes[slot], end, self.patterns.destinations);
            let turn = self.turn_at_end(&hypothesis, slot, end, &fit);
            let log = self.model.heat * fit.score.in_turn(turn);
            let forward = hypothesis.weight + log;
            hypothesis.nodes.swap_remove(slot);
            let to = match next.iter().position(|h| h.nodes == hypothesis.nodes) {
                Some(same) => {
                    next[same].weight = log_sum(next[same].weight, forward);
                    same
                }
                None => {
                    next.push(Hypothesis { weight: forward, nodes: hypothesis.nodes });
                    next.len() - 1
                }
            };
            let taken = Some(Taken { request, cell: fit.cell, gaps: fit.gaps, turn });
            let (from, to) = (from as u32, to as u32);
            self.lattice.push(Edge { from, to, log, forward, taken });
        }
        self.open.swap_remove(slot);
        self.hypotheses = next;
    }

    /// Whether others that may go on as well were ready before.
    fn turn_at_end(&self, hypothesis: &Hypothesis, slot: usize, end: i64, fit: &Fit) -> Turn {
        let Some((since, _)) = fit.idle else { return Turn::Alone };
        let mut waiting = Line { first: since, count: 1 };
        for (other, &node) in hypothesis.nodes.iter().enumerate().filter(|(o, _)| *o != slot) {
            let request = self.timelines.requests[self.open[other] as usize];
            if request.end > end && !self.chains.in_flight(node, end) {
                waiting.take(self.chains.ready(node));
            }
        }
        waiting.turn(since)
    }
}

fn log_sum(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    high + (low - high).exp().ln_1p()
}
