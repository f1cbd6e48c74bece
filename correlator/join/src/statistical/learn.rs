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
pub(super) const NARROW: Breadth = Breadth { hypotheses: 32, lag: 5.0, reach: 4.0 };

/// The first walks follow a model that is no more than a guess: all its likelihoods are taken to
/// these powers, which keeps more of the alternatives (annealing). What is learned from all is taken
/// as it is: flattened likelihoods keep hypotheses that there is no room for.
const FIRST_HEATS: [f64; 2] = [0.5, 0.8];

/// Requests from which it shows which belief about order is the right one to begin with. The first
/// walk is rough, and looks at half as many.
const SAMPLE: usize = 250;

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

    fn begin_with(&mut self, behind: f64, counts: &Counts) -> (Learned, f64) {
        let orders = [Order::believed(behind); 2];
        let mut learned = Learned { counts: counts.clone(), orders };
        let rough = self.timelines.sample(SAMPLE / 2);
        let walked = self.walk(&learned, FIRST_HEATS[0], NARROW, &rough);
        learned.learn(walked);
        let sample = self.timelines.sample(SAMPLE);
        let walked = self.walk(&learned, FIRST_HEATS[1], NARROW, &sample);
        let evidence = walked.evidence;
        learned.learn(walked);
        (learned, evidence)
    }

    /// Walks through so many events of each place, by what is known.
    pub(super) fn walk(
        &mut self,
        learned: &Learned,
        heat: f64,
        breadth: Breadth,
        events: &[usize],
    ) -> Walked {
        let Self { timelines, patterns, beliefs, rates } = self;
        let model = Model::learn(&learned.counts, patterns, beliefs, rates, learned.orders, heat);
        walk::walk(timelines, &model, patterns, breadth, events)
    }
}
