//! Who waits at one event, and whose turn it is.

use super::order::{LAGS, Order, lag_class};

/// Since when a request waits for no answer, and how often such a wait ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    pub(super) since: i64,
    pub(super) hazard: f64,
}

/// Those who wait besides the requests of one group: the same for all hypotheses of the group.
#[derive(Debug, Default)]
pub(super) struct Line {
    waits: Vec<Waits>,
    /// So many steps follow at the same stamp: nobody knows which of them came first.
    at_once: usize,
    /// Since when the first of them wait, as many as may have to be passed over.
    first: Vec<i64>,
    /// By whose turn it is: how often waits end in each class. Few turns are ever asked for.
    hazards: Vec<(i64, [f64; LAGS])>,
    own: Vec<Waits>,
    since: Vec<i64>,
}

impl Line {
    /// Begins with those who wait besides a group.
    pub(super) fn begin(&mut self, waits: impl Iterator<Item = Waits>, at_once: usize) {
        self.at_once = at_once;
        self.waits.clear();
        self.waits.extend(waits);
        self.hazards.clear();
        self.first.clear();
        self.first.extend(self.waits.iter().map(|w| w.since));
        if self.first.len() > at_once + 1 {
            self.first.select_nth_unstable(at_once);
            self.first.truncate(at_once + 1);
        }
    }

    /// Who is waiting under a hypothesis of the group, by whose requests these waits are.
    pub(super) fn standing(&mut self, own: impl Iterator<Item = Waits>, order: &Order) -> Standing {
        let Some((first, hazards)) = self.all(own) else { return Standing::ALONE };
        let all: f64 = hazards.iter().sum();
        let weighed: [f64; LAGS] = std::array::from_fn(|c| hazards[c] * order.factors[c]);
        let sum: f64 = weighed.iter().sum();
        let expected = weighed.map(|w| (w / sum) as f32);
        Standing { expected, first: Some(first), shift: (all / sum).ln() }
    }

    /// How much likelier it is for their place in the line that those who wait like this go on.
    pub(super) fn factor(
        &mut self,
        own: impl Iterator<Item = Waits>,
        of: Waits,
        order: &Order,
    ) -> f64 {
        let Some((first, hazards)) = self.all(own) else { return 1.0 };
        let all: f64 = hazards.iter().sum();
        let sum: f64 = hazards.iter().zip(&order.factors).map(|(h, f)| h * f).sum();
        order.factors[lag_class(of.since - first)] * all / sum
    }

    /// Since when those wait whose turn it is, and how often waits end in each class.
    fn all(&mut self, own: impl Iterator<Item = Waits>) -> Option<(i64, [f64; LAGS])> {
        self.own.clear();
        self.own.extend(own);
        let first = self.turn()?;
        let mut hazards = self.hazards(first);
        for Waits { since, hazard } in &self.own {
            hazards[lag_class(since - first)] += hazard;
        }
        Some((first, hazards))
    }

    /// Since when those wait whose turn it is, if others wait besides.
    fn turn(&mut self) -> Option<i64> {
        if self.waits.len() + self.own.len() < self.at_once + 2 {
            return None;
        }
        let own = self.own.iter().map(|w| w.since);
        if self.at_once == 0 {
            return own.chain(self.first.first().copied()).min();
        }
        self.since.clear();
        self.since.extend(own);
        self.since.extend(&self.first);
        Some(*self.since.select_nth_unstable(self.at_once).1)
    }

    fn hazards(&mut self, first: i64) -> [f64; LAGS] {
        if let Some((_, known)) = self.hazards.iter().find(|(turn, _)| *turn == first) {
            return *known;
        }
        let mut hazards = [0.0; LAGS];
        for Waits { since, hazard } in &self.waits {
            hazards[lag_class(since - first)] += hazard;
        }
        self.hazards.push((first, hazards));
        hazards
    }
}

/// Who is waiting under one hypothesis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// How likely each class is to go on.
    pub(super) expected: [f32; LAGS],
    /// Whose turn it is: who waits no longer than since then is behind. None where it is anybody's.
    first: Option<i64>,
    shift: f64,
}

impl Standing {
    const ALONE: Self = Self { expected: [0.0; LAGS], first: None, shift: 0.0 };

    /// Logarithm of how much likelier a step is for its place in the line, and which that is.
    pub(super) fn order(&self, waits: Option<Waits>, order: &Order) -> (f64, Option<u8>) {
        match (waits, self.first) {
            (Some(Waits { since, .. }), Some(first)) => {
                let class = lag_class(since - first);
                (order.logs[class] + self.shift, Some(class as u8))
            }
            _ => (0.0, None),
        }
    }

    /// No place in the line is worth more.
    pub(super) fn order_max(&self, order: &Order) -> f64 {
        order.logs.iter().fold(f64::NEG_INFINITY, |max, log| max.max(log + self.shift)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class of each wait since then, where others wait since `others` and so many steps are at once.
    fn check(own: &[i64], others: &[i64], at_once: usize, expected: &[Option<u8>]) {
        let waits = |since: &i64| Waits { since: *since, hazard: 0.1 };
        let order = Order::believed(0.1);
        let mut line = Line::default();
        line.begin(others.iter().map(waits), at_once);
        let standing = line.standing(own.iter().map(waits), &order);
        let classes: Vec<_> =
            own.iter().map(|since| standing.order(Some(waits(since)), &order).1).collect();
        assert_eq!(classes, expected);
    }

    #[test]
    fn who_waits_longest_is_first_whatever_the_group() {
        check(&[10, 12], &[11, 40], 0, &[Some(0), Some(1)]);
        check(&[12, 30], &[10, 40], 0, &[Some(1), Some(3)]);
    }

    #[test]
    fn of_steps_at_one_stamp_as_many_may_be_first() {
        check(&[12, 30], &[10, 40], 1, &[Some(0), Some(3)]);
        check(&[12, 30], &[10, 40], 2, &[Some(0), Some(0)]);
    }

    #[test]
    fn where_nobody_else_waits_it_is_nobodys_turn() {
        check(&[12], &[], 0, &[None]);
        check(&[12], &[10], 1, &[None]);
    }
}
