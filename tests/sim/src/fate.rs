//! What becomes of each observation: told, late, lost, or never made.
//!
//! A fate is a hash of the seed and of what is observed, so that the truth knows it at once, and a
//! dial changes no other's decisions.

use crate::chance::{hash, unit};
use crate::dials::{Dials, SECOND};
use crate::observation::NodeId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Seen,
    Late,
    Lost,
    Down,
    Sampled,
    Off,
    None,
}

impl Word {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Late => "late",
            Self::Lost => "lost",
            Self::Down => "down",
            Self::Sampled => "sampled",
            Self::Off => "off",
            Self::None => "none",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    pub word: Word,
    /// How long after its event the row arrives; 0 for its regular batch.
    pub delay_ns: i64,
}

impl Fate {
    pub const SEEN: Self = Self::of(Word::Seen);
    pub const LOST: Self = Self::of(Word::Lost);
    pub const NONE: Self = Self::of(Word::None);

    pub const fn of(word: Word) -> Self {
        Self { word, delay_ns: 0 }
    }

    /// Whether there is a row, be it late.
    pub fn is_told(self) -> bool {
        matches!(self.word, Word::Seen | Word::Late)
    }
}

/// What is observed: with the key of its subject this names one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    ClientExchange,
    ServerExchange,
    NatBinding,
    ClientConnection,
    ServerConnection,
    Failure,
    ServerSpan,
    ClientSpan,
    AccessLog,
}

/// One node's agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    pub is_off: bool,
    /// It sees no requests.
    pub is_blind: bool,
    pub down: Option<(i64, i64)>,
}

/// A turn is told once it was silent for this long, or is over; an agent that is killed takes those
/// that it has not told with it.
pub const UNTOLD_NS: i64 = 2 * SECOND;

impl Agent {
    pub fn of_node(
        node: usize,
        nodes: usize,
        dials: &Dials,
        (start_ns, end_ns): (i64, i64),
    ) -> Self {
        let draw_of = |node: usize, what: u64| hash(dials.seed, &[0xa9e7, node as u64, what]);
        let down = (node < dials.agents_down).then(|| {
            let length_ns = end_ns - start_ns;
            let draw = unit(draw_of(node, 2));
            let from_ns = start_ns + length_ns / 4 + (draw * length_ns as f64 / 4.0) as i64;
            (from_ns, from_ns + dials.down)
        });
        Self {
            is_off: is_among(node, nodes, dials.agents_off, |other| draw_of(other, 0)),
            is_blind: is_among(node, nodes, dials.exchanges_off, |other| draw_of(other, 1)),
            down,
        }
    }

    pub fn watches(&self, at_ns: i64) -> bool {
        !self.is_off && self.down.is_none_or(|(from, to)| at_ns < from || to <= at_ns)
    }

    /// Whether it was there all the time, and also told what it saw.
    pub fn tells(&self, from_ns: i64, to_ns: i64) -> bool {
        !self.is_off
            && self.down.is_none_or(|(from, to)| to_ns + UNTOLD_NS <= from || to <= from_ns)
    }
}

/// Whether a node is among the part of all nodes that are drawn first.
fn is_among(node: usize, nodes: usize, part: f64, draw: impl Fn(usize) -> u64) -> bool {
    let before = (0..nodes).filter(|&other| (draw(other), other) < (draw(node), node)).count();
    before < (part * nodes as f64).round() as usize
}

#[derive(Clone, Debug)]
pub struct Fates {
    seed: u64,
    late: f64,
    delay_ns: i64,
    lateness_ns: i64,
    reorder: f64,
    loss_agents: f64,
    loss_spans: f64,
    loss_logs: f64,
    agents: Vec<Agent>,
}

/// A late row is at least this late, so that it never comes with its fellows.
const DELAY_NS_MIN: i64 = 6 * SECOND;
/// Rows out of order are out of it by this at most.
const REORDER_NS_MAX: i64 = 3 * SECOND;

impl Fates {
    pub fn new(dials: &Dials, agents: Vec<Agent>) -> Self {
        Self {
            seed: dials.seed,
            late: dials.late,
            delay_ns: dials.delay.max(DELAY_NS_MIN),
            lateness_ns: dials.lateness,
            reorder: dials.reorder,
            loss_agents: dials.loss_agents,
            loss_spans: dials.loss_spans,
            loss_logs: dials.loss_logs,
            agents,
        }
    }

    pub fn agent(&self, node: NodeId) -> &Agent {
        &self.agents[usize::from(node)]
    }

    /// Of an exchange that an agent of this node can have seen from its first to its last byte.
    pub fn of_exchange(
        &self,
        what: What,
        (request, leg): (u64, u32),
        node: NodeId,
        (start_ns, end_ns): (i64, i64),
    ) -> Fate {
        let agent = self.agent(node);
        if agent.is_blind || !agent.tells(start_ns, end_ns) {
            return Fate::of(Word::Down);
        }
        self.of_told(what, [request, u64::from(leg)], self.loss_agents)
    }

    /// Of a connection's or a translation's rows at a moment.
    pub fn of_socket(&self, what: What, cookie: i64, node: NodeId, at_ns: i64) -> Fate {
        if !self.agent(node).tells(at_ns, at_ns) {
            return Fate::of(Word::Down);
        }
        self.of_told(what, [cookie as u64, 0], self.loss_agents)
    }

    pub fn of_span(&self, what: What, (request, leg): (u64, u32)) -> Fate {
        self.of_told(what, [request, u64::from(leg)], self.loss_spans)
    }

    pub fn of_line(&self, request: u64) -> Fate {
        self.of_told(What::AccessLog, [request, 0], self.loss_logs)
    }

    fn of_told(&self, what: What, [a, b]: [u64; 2], loss: f64) -> Fate {
        let draw = |which: u64| unit(hash(self.seed, &[0xfa7e, what as u64, which, a, b]));
        if loss > 0.0 && draw(0) < loss {
            return Fate::LOST;
        }
        if self.late > 0.0 && draw(1) < self.late {
            let span_ns = (self.delay_ns - DELAY_NS_MIN) as f64;
            let delay_ns = DELAY_NS_MIN + (draw(2) * span_ns) as i64;
            let word = if delay_ns > self.lateness_ns { Word::Late } else { Word::Seen };
            return Fate { word, delay_ns };
        }
        if self.reorder > 0.0 && draw(3) < self.reorder {
            return Fate {
                word: Word::Seen,
                delay_ns: 1 + (draw(4) * REORDER_NS_MAX as f64) as i64,
            };
        }
        Fate::SEEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(dials: &Dials, is: impl Fn(Fate) -> bool) -> usize {
        let fates = Fates::new(dials, vec![Agent::default()]);
        let of = |key| fates.of_exchange(What::ServerExchange, (key, 1), 0, (0, 1));
        (0..10_000).filter(|&key| is(of(key))).count()
    }

    #[test]
    fn parts_lost_and_late_are_those_of_the_dials() {
        let dials =
            Dials { loss_agents: 0.1, late: 0.2, delay: 1_200 * SECOND, ..Dials::default() };
        let lost = count(&dials, |fate| fate == Fate::LOST);
        assert!((900..1_100).contains(&lost), "{lost}");
        let delayed = count(&dials, |fate| fate.delay_ns > 0);
        assert!((1_600..2_000).contains(&delayed), "{delayed} of the 9 in 10 that are told");
        let late = count(&dials, |fate| fate.word == Word::Late);
        assert!((300..600).contains(&late), "{late}: a quarter of the delays exceed 15 of 20 min");
        assert_eq!(count(&Dials::default(), |fate| fate != Fate::SEEN), 0);
    }

    #[test]
    fn another_dial_changes_no_loss() {
        let lost = |late| {
            let dials = Dials { loss_agents: 0.1, late, ..Dials::default() };
            let fates = Fates::new(&dials, vec![Agent::default()]);
            let of = |key| fates.of_exchange(What::ServerExchange, (key, 1), 0, (0, 1));
            (0..1_000).filter(|&key| of(key) == Fate::LOST).collect::<Vec<_>>()
        };
        assert_eq!(lost(0.0), lost(0.5));
    }

    #[test]
    fn an_agent_that_is_killed_takes_with_it_what_it_has_not_told() {
        let agent = Agent { down: Some((100 * SECOND, 110 * SECOND)), ..Agent::default() };
        for (from, to, expected) in
            [(80, 90, true), (90, 99, false), (95, 120, false), (110, 111, true)]
        {
            assert_eq!(agent.tells(from * SECOND, to * SECOND), expected, "{from}..{to}");
        }
    }
}
