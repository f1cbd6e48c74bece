//! What links say of the exchanges that nearly all questions are about, found once.
//!
//! The links of three windows may speak of one exchange, and each is asked for many times, place by
//! place and then path by path: rows that are far from each other in memory. So they are asked in
//! the order of the rows, and what nearly all answers are is kept in four bytes: a row of the same
//! window, or nobody.

use crate::columns::{Exchange, Role};
use crate::link::claim::Claim;
use crate::parallel;
use crate::sight::Sight;
use crate::slab::{ExchangeId, RowId};

/// Exchanges that one thread asks for at a time.
const ROWS_AT_ONCE: usize = 65_536;

/// Rows with these numbers are none.
const NOBODY: u32 = u32::MAX;
const ELSEWHERE: u32 = u32::MAX - 1;

/// Of the exchanges of a window and of the one after it, as far as they are in sight.
#[derive(Debug, Default)]
pub(crate) struct Counterparts {
    window: u32,
    /// Of a call the last word of its server's end, of a request received the client's end.
    ends: [Vec<u32>; 2],
    /// Of a request received, where the window has spans.
    spans: [Vec<u32>; 2],
}

impl Counterparts {
    /// `sight` must not know them yet.
    pub(super) fn new(sight: &Sight<'_>) -> Self {
        let windows = [sight.window, sight.window + 1];
        let [ends, spans] =
            [end as Ask, span as Ask].map(|ask| windows.map(|window| asked(sight, window, ask)));
        Self { window: sight.window, ends, spans }
    }

    /// The other end of an exchange; none where that has to be asked again.
    pub(super) fn end(&self, of: ExchangeId) -> Option<Option<RowId>> {
        self.known(&self.ends, of)
    }

    /// The span that tells of a request received; none where that has to be asked again.
    pub(super) fn span(&self, of: ExchangeId) -> Option<Option<RowId>> {
        self.known(&self.spans, of)
    }

    fn known(&self, rows: &[Vec<u32>; 2], of: ExchangeId) -> Option<Option<RowId>> {
        let rows = rows.get(of.window.checked_sub(self.window)? as usize)?;
        match *rows.get(of.row as usize)? {
            ELSEWHERE => None,
            NOBODY => Some(None),
            row => Some(Some(RowId { window: of.window, row })),
        }
    }
}

/// What is found of one exchange.
type Ask = fn(&Sight<'_>, ExchangeId, Role) -> Claim;

fn end(sight: &Sight<'_>, of: ExchangeId, role: Role) -> Claim {
    match role {
        Role::Client => sight.server_of(of).map_or(Claim::Nobody, Claim::One),
        Role::Server => sight.client_of(of),
    }
}

fn span(sight: &Sight<'_>, of: ExchangeId, role: Role) -> Claim {
    match role {
        // Spans are told of by the requests that were received.
        Role::Client => Claim::Nobody,
        Role::Server => sight.span_of(of),
    }
}

fn asked(sight: &Sight<'_>, window: u32, ask: Ask) -> Vec<u32> {
    let Some(slab) = sight.slabs.slab(window) else { return Vec::new() };
    let rows = &slab.exchanges[..sight.view().visible(window)];
    let row = |(exchange, row): (&Exchange, u32)| match ask(
        sight,
        RowId { window, row },
        exchange.role,
    ) {
        Claim::Nobody => NOBODY,
        Claim::One(found) if found.window == window => found.row,
        Claim::One(_) | Claim::Several => ELSEWHERE,
    };
    let parts = (0..rows.len()).step_by(ROWS_AT_ONCE);
    let found = parallel::map(sight.settings.threads, parts, |from| {
        let part = &rows[from..rows.len().min(from + ROWS_AT_ONCE)];
        part.iter().zip(from as u32..).map(row).collect::<Vec<u32>>()
    });
    found.concat()
}
