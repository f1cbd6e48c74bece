//! Which row of one kind speaks of which exchange: at most one each, or nobody is believed.

use std::collections::BTreeMap;

use crate::slab::{ExchangeId, RowId};

/// Claims that the rows of one window make on exchanges there and in the windows beside it.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    window: u32,
    /// By exchange of the window: the row that claims it.
    own: Vec<u32>,
    others: BTreeMap<ExchangeId, RowId>,
    /// Exchanges that several rows claim.
    disputed: BTreeMap<ExchangeId, u32>,
}

/// No row has this number.
const NOBODY: u32 = u32::MAX;

/// What is known of an exchange's counterpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Nobody,
    One(RowId),
    Several,
}

impl Claims {
    pub(crate) fn new(window: u32, exchanges: usize) -> Self {
        Self { window, own: vec![NOBODY; exchanges], ..Self::default() }
    }

    /// Records that row `by` of the window speaks of an exchange.
    pub(crate) fn claim(&mut self, exchange: ExchangeId, by: u32) {
        let is_first = match self.own.get_mut(exchange.row as usize) {
            Some(slot) if exchange.window == self.window => std::mem::replace(slot, by) == NOBODY,
            _ => {
                let by = RowId { window: self.window, row: by };
                self.others.insert(exchange, by).is_none()
            }
        };
        if !is_first {
            *self.disputed.entry(exchange).or_default() += 1;
        }
    }

    pub(crate) fn of(&self, exchange: ExchangeId) -> Claim {
        if !self.disputed.is_empty() && self.disputed.contains_key(&exchange) {
            return Claim::Several;
        }
        if exchange.window == self.window {
            let row = self.own.get(exchange.row as usize).copied().filter(|&row| row != NOBODY);
            row.map_or(Claim::Nobody, |row| Claim::One(RowId { window: self.window, row }))
        } else if self.others.is_empty() {
            Claim::Nobody
        } else {
            self.others.get(&exchange).map_or(Claim::Nobody, |&by| Claim::One(by))
        }
    }
}

impl Claim {
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nobody, claim) | (claim, Self::Nobody) => claim,
            _ => Self::Several,
        }
    }

    pub(crate) fn one(self) -> Option<RowId> {
        match self {
            Self::One(row) => Some(row),
            Self::Nobody | Self::Several => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchange_that_two_rows_claim_is_nobodys() {
        let id = |window, row| RowId { window, row };
        let mut claims = Claims::new(5, 3);
        claims.claim(id(5, 0), 7);
        claims.claim(id(5, 1), 7);
        claims.claim(id(5, 1), 8);
        claims.claim(id(4, 9), 1);
        assert_eq!(claims.of(id(5, 0)), Claim::One(id(5, 7)));
        assert_eq!(claims.of(id(5, 1)), Claim::Several);
        assert_eq!(claims.of(id(5, 2)), Claim::Nobody);
        assert_eq!(claims.of(id(4, 9)), Claim::One(id(5, 1)));
        assert_eq!(Claim::One(id(5, 1)).and(Claim::One(id(4, 1))), Claim::Several);
        assert_eq!(Claim::Nobody.and(Claim::One(id(4, 1))), Claim::One(id(4, 1)));
    }
}
