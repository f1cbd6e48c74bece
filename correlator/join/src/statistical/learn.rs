//! Learning what a service does: walk, count, and walk again.

use super::Choice;
use super::chance::Beliefs;
use super::counts::Counts;
use super::model::Model;
use super::order::{BELIEVED, Order};
use super::pattern::Patterns;
use super::start;
use super::timeline::Timelines;
use super::walk::{self, Breadth};
use super::walked::Walked;

/// A walk that only teaches follows fewer alternatives: what is seldom teaches little.
pub(super) const NARROW: Breadth = Breadth { hypotheses: 32, lag: 5.0, reach: 4.0, doubts: false };

/// Requests from which it shows which belief about order is the right one to begin with: of a first
/// walk, which is rough, and of one that knows what that taught.
const FIRST: [usize; 2] = [60, 125];

/// Requests from which is learned before all are looked at once: as many again teach little more.
const SAMPLE: usize = 500;

/// A walk teaches next to nothing if it explains each step by so little more than the one before.
const GAIN_MIN: f64 = 0.02;

/// What is known of a service.
#[derive(Clone, Debug)]
pub(super) struct Learned {
    counts: Counts,
    /// Who goes first: calls, and ends of requests.
    orders: [Order; 2],
}

impl Learned {
    /// Takes over what a walk counted, and gives its choices back.
    pub(super) fn learn(&mut self, walked: Walked) -> Vec<Choice> {
        self.counts = walked.counts;
        for (order, turns) in self.orders.iter_mut().zip(&self.counts.turns) {
            *order = order.scaled(turns);
        }
        walked.choices
    }
}

pub(super) struct Learner<'a> {
    timelines: &'a Timelines,
    patterns: Patterns,
    beliefs: Beliefs,
    rates: Vec<f64>,
}

impl<'a> Learner<'a> {
    pub(super) fn new(timelines: &'a Timelines) -> Self {
        Self {
            timelines,
            patterns: Patterns::new(timelines.operations, timelines.destinations),
            beliefs: Beliefs::new(timelines),
            rates: timelines.destination_rates(),
        }
    }

    /// Begins with each belief about order, and goes on with the one that explains a sample best.
    pub(super) fn begin(&mut self) -> Learned {
        let counts = start::isolated(self.timelines, &mut self.patterns);
        let first = self.begin_with(BELIEVED[0], &counts);
        let others = &BELIEVED[1..];
        let best = others.iter().fold(first, |best, behind| {
            let (learned, evidence) = self.begin_with(*behind, &counts);
            if evidence > best.1 { (learned, evidence) } else { best }
        });
        best.0
    }

    /// Walks through a sample, and learns from it, until that explains no more.
    pub(super) fn improve(&mut self, learned: &mut Learned, rounds: usize) {
        let sample = self.timelines.sample(SAMPLE);
        let enough = GAIN_MIN * self.timelines.steps(&sample) as f64;
        let mut best = f64::NEG_INFINITY;
        for _ in 0..rounds {
            let walked = self.walk(learned, NARROW, &sample);
            let gain = walked.evidence - best;
            best = best.max(walked.evidence);
            learned.learn(walked);
            if gain < enough {
                break;
            }
        }
    }

    fn begin_with(&mut self, behind: f64, counts: &Counts) -> (Learned, f64) {
        let orders = [Order::believed(behind); 2];
        let mut learned = Learned { counts: counts.clone(), orders };
        let rough = self.timelines.sample(FIRST[0]);
        let walked = self.walk(&learned, NARROW, &rough);
        learned.learn(walked);
        let sample = self.timelines.sample(FIRST[1]);
        let walked = self.walk(&learned, NARROW, &sample);
        let evidence = walked.evidence;
        learned.learn(walked);
        (learned, evidence)
    }

    /// Walks through so many events of each place, by what is known.
    pub(super) fn walk(&mut self, learned: &Learned, breadth: Breadth, events: &[usize]) -> Walked {
        let Self { timelines, patterns, beliefs, rates } = self;
        let model = Model::learn(&learned.counts, patterns, beliefs, rates, learned.orders);
        walk::walk(timelines, &model, patterns, breadth, events)
    }
}
