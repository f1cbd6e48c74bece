//! What follows what more often than by chance, before any call is assigned.
//!
//! Gaps from one kind of event to another are counted over all pairs, whatever request they belong
//! to, and again with the later events moved in time, where only chance can pair them. What is left
//! of the first after subtracting the second shows which steps there are and how long they take.

use std::cell::OnceCell;

use super::gap::{BINS, GapCounts, Shape, bin};
use super::timeline::{Event, Span, TOLERANCE, Timelines};
use super::wait::Wait;

/// How far the later events are moved, in parts of the longest gap that is looked at. Not further
/// than needed: the load of the neighbourhood is the load that chance needs.
const SHIFTS: [i64; 3] = [3, 4, -3];

/// Later events that are paired; of more, every so many. A few hundred of a kind show what follows
/// what, and each meets all that happened within reach before it.
const LATER_MAX: usize = 2500;

/// A step that follows.
#[derive(Clone, Debug)]
pub(super) struct Follows {
    /// How often, for each event that it may follow.
    pub(super) share: f64,
    pub(super) shape: Shape,
    log_density: OnceCell<Box<[f32; BINS]>>,
}

/// Shares of steps that chance explains as well are not believed to be nothing.
const SHARE_MIN: f64 = 0.02;

/// Where a step may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    RequestStart(u32),
    CallStart(u32),
    CallEnd(u32),
}

/// Every step that may follow every event.
#[derive(Clone, Debug)]
pub(super) struct Beliefs {
    operations: usize,
    destinations: usize,
    follows: Vec<Follows>,
    /// By what a step may begin with.
    waits: Vec<Wait>,
    pub(super) ignorant: Shape,
    /// Bin of the longest gap from anything that a request did.
    pub(super) last_bin: usize,
}

impl Beliefs {
    pub(super) fn new(timelines: &Timelines) -> Self {
        let layout =
            Layout { operations: timelines.operations, destinations: timelines.destinations };
        let reach = reach(timelines);
        let mut seen = vec![GapCounts::default(); layout.len()];
        let mut chance = seen.clone();
        let mut froms = vec![0.0; layout.froms()];
        let later = timelines.requests.len() + timelines.calls.len();
        let every = later.div_ceil(LATER_MAX).max(1);
        for place in &timelines.places {
            let scene = Scene::new(timelines, place, layout, every);
            for (from, _, _) in &scene.froms {
                froms[*from] += 1.0;
            }
            scene.pairs(0, reach, timelines.length, layout, &mut seen);
            for shift in SHIFTS {
                scene.pairs(shift * reach, reach, timelines.length, layout, &mut chance);
            }
        }
        let ignorant = Shape::ignorant(timelines.length);
        let follows = seen
            .iter()
            .zip(&chance)
            .enumerate()
            .map(|(at, (seen, chance))| {
                let excess = excess(seen, chance, every as f64);
                let more = seen.total() - chance.total() / SHIFTS.len() as f64;
                Follows {
                    share: (more / f64::max(froms[at / layout.tos()], 1.0)).max(0.0),
                    shape: Shape::learned(&excess, &ignorant),
                    log_density: OnceCell::new(),
                }
            })
            .collect();
        let tos = layout.tos();
        let waits = (0..layout.froms())
            .map(|from| {
                let range = from * tos..(from + 1) * tos;
                Wait::of(&followed(&seen[range.clone()], &chance[range], froms[from]))
            })
            .collect();
        let Layout { operations, destinations } = layout;
        let longest = timelines.requests.iter().map(|r| r.end - r.start).max().unwrap_or(0);
        let last_bin = bin(longest + 2 * TOLERANCE);
        Self { operations, destinations, follows, waits, ignorant, last_bin }
    }

    /// How requests wait for the first step that follows by more than chance.
    pub(super) fn wait(&self, from: From) -> &Wait {
        let layout = Layout { operations: self.operations, destinations: self.destinations };
        &self.waits[layout.from(from)]
    }

    /// Logarithm of the density of a step after a gap, as often as it follows.
    pub(super) fn log_follows(&self, from: From, operation: u32, outcome: usize, gap: i64) -> f64 {
        let follows = self.follows(from, operation, outcome);
        let density = follows.log_density.get_or_init(|| {
            let log_share = follows.share.clamp(SHARE_MIN, 1.0).ln() as f32;
            let mut density = follows.shape.log_density(self.last_bin);
            density.iter_mut().for_each(|d| *d += log_share);
            density
        });
        f64::from(density[bin(gap)])
    }

    /// `outcome` is a destination, or the number of destinations for the end of `operation`.
    pub(super) fn follows(&self, from: From, operation: u32, outcome: usize) -> &Follows {
        let layout = Layout { operations: self.operations, destinations: self.destinations };
        let is_end = outcome == self.destinations;
        let to = if is_end { outcome + operation as usize } else { outcome };
        &self.follows[layout.from(from) * layout.tos() + to]
    }
}

#[derive(Clone, Copy)]
struct Layout {
    operations: usize,
    destinations: usize,
}

impl Layout {
    fn froms(self) -> usize {
        self.operations + 2 * self.destinations
    }

    fn tos(self) -> usize {
        self.operations + self.destinations
    }

    fn len(self) -> usize {
        self.froms() * self.tos()
    }

    fn from(self, from: From) -> usize {
        match from {
            From::RequestStart(operation) => operation as usize,
            From::CallStart(destination) => self.operations + destination as usize,
            From::CallEnd(destination) => {
                self.operations + self.destinations + destination as usize
            }
        }
    }
}

/// The longest gap that is looked at: steps are shorter than requests.
fn reach(timelines: &Timelines) -> i64 {
    let total: i64 = timelines.requests.iter().map(|r| r.end - r.start).sum();
    (total / (timelines.requests.len() as i64).max(1) * 3 / 2).max(8)
}

/// Events of one place that steps may begin and end with, each by time.
struct Scene {
    /// Kind, time, and until when a step may follow.
    froms: Vec<(usize, i64, i64)>,
    /// Time, kind, and until when what began there lasts.
    tos: Vec<(i64, usize, i64)>,
    /// Of so many later events each stands for all.
    every: usize,
}

impl Scene {
    fn new(timelines: &Timelines, place: &[Event], layout: Layout, every: usize) -> Self {
        let (mut froms, mut tos) = (Vec::new(), Vec::new());
        for event in place {
            match *event {
                Event::Opens(request) => {
                    let Span { start, end, kind } = timelines.requests[request as usize];
                    froms.push((layout.from(From::RequestStart(kind)), start, end + 1));
                    tos.push((end, layout.destinations + kind as usize, end));
                }
                Event::Calls(call) => {
                    let Span { start, end, kind } = timelines.calls[call as usize];
                    froms.push((layout.from(From::CallStart(kind)), start, end));
                    froms.push((layout.from(From::CallEnd(kind)), end, i64::MAX));
                    tos.push((start, kind as usize, end));
                }
                Event::Closes(_) => {}
            }
        }
        froms.sort_unstable_by_key(|(kind, at, until)| (*at, *kind, *until));
        tos.sort_unstable();
        let tos = tos.into_iter().step_by(every).collect();
        Self { froms, tos, every }
    }

    /// Counts all pairs whose gap is within reach, with the later events moved by `shift`.
    fn pairs(&self, shift: i64, reach: i64, length: i64, layout: Layout, to: &mut [GapCounts]) {
        let moved = |at: i64| (at + shift).rem_euclid(length);
        // Events moved past either end come in again at the other: there the order begins anew.
        let turn = self.tos.partition_point(|(at, ..)| {
            (at + shift).div_euclid(length) < (shift + length - 1).div_euclid(length)
        });
        let (wrapped, rest) = self.tos.split_at(turn);
        let (mut first, mut last_at) = (0, i64::MIN);
        for &(at, kind, until) in rest.iter().chain(wrapped) {
            let (at, lasts) = (moved(at), until - at);
            debug_assert!(last_at <= at, "moved events are in order");
            last_at = at;
            while self.froms.get(first).is_some_and(|f| f.1 < at - reach) {
                first += 1;
            }
            for &(from, begins, until) in &self.froms[first..] {
                if begins > at {
                    break;
                }
                let is_request = from < layout.operations;
                let fits = if is_request { at + lasts <= until } else { at <= until };
                if fits {
                    to[from * layout.tos() + kind].add(at - begins, self.every as f64);
                }
            }
        }
    }
}

/// What is beyond chance, and beyond the noise of chance.
fn excess(seen: &GapCounts, chance: &GapCounts, every: f64) -> GapCounts {
    let mut excess = GapCounts::default();
    for i in 0..BINS {
        let expected = chance.weights[i] / SHIFTS.len() as f64;
        excess.weights[i] = (seen.weights[i] - expected - 1.5 * (every * expected).sqrt()).max(0.0);
    }
    excess
}

/// By bin: how likely it is that what follows by more than chance has first followed there. The sum
/// may be less than one: nothing may follow at all.
fn followed(seen: &[GapCounts], chance: &[GapCounts], froms: f64) -> [f64; BINS] {
    let mut mass = [0.0; BINS];
    let (mut sum, mut followed) = (0.0, 0.0f64);
    for (i, mass) in mass.iter_mut().enumerate() {
        for (seen, chance) in seen.iter().zip(chance) {
            sum += seen.weights[i] - chance.weights[i] / SHIFTS.len() as f64;
        }
        let until_here = f64::clamp(sum / f64::max(froms, 1.0), followed, 1.0);
        *mass = until_here - followed;
        followed = until_here;
    }
    mass
}
