//! How often requests of a place are served beside others: what says how probable it is that one
//! was there of which no trace is left.

use crate::link::claim::Claim;
use crate::sight::Sight;
use crate::slab::{ExchangeId, RowId};

/// How often requests are served beside others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Company {
    requests: usize,
    /// Requests of which no span tells.
    without_span: usize,
    /// Requests that began while another one was served.
    pub(super) beside: usize,
    busy_ns: i64,
    lasted_ns: i64,
}

impl Company {
    pub(super) fn new(sight: &Sight<'_>, servers: impl Iterator<Item = ExchangeId>) -> Self {
        let mut company = Self::default();
        let mut times: Vec<(i64, i64)> = Vec::new();
        for server in servers {
            let exchange = sight.exchange(server);
            times.push((exchange.start_ns, exchange.end_ns));
            company.without_span += usize::from(sight.span_of(server) == Claim::Nobody);
        }
        times.sort_unstable();
        company.requests = times.len();
        let mut until_ns = i64::MIN;
        for &(start_ns, end_ns) in &times {
            company.busy_ns = company.busy_ns.saturating_add(end_ns - start_ns);
            company.beside += usize::from(start_ns < until_ns);
            until_ns = until_ns.max(end_ns);
        }
        let first_ns = times.first().map_or(until_ns, |&(start_ns, _)| start_ns);
        company.lasted_ns = until_ns.saturating_sub(first_ns).max(sight.settings.window_ns);
        company
    }

    /// Of two places: in how much time they served how many.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            without_span: self.without_span + other.without_span,
            beside: self.beside + other.beside,
            busy_ns: self.busy_ns.saturating_add(other.busy_ns),
            lasted_ns: self.lasted_ns.saturating_add(other.lasted_ns),
        }
    }

    /// The part of requests of which no span tells, as if the next one were so too.
    pub(super) fn untold(&self) -> f64 {
        (self.without_span + 1) as f64 / (self.requests + 1) as f64
    }

    /// The part of requests that is served beside another one. It is what was seen of that, and at
    /// least what so many requests of that length make if they come independently, and three more of
    /// them than came. Where none was seen beside another, though, they may be too many to come
    /// independently: then it is as if the next one would be.
    pub(super) fn rate(&self) -> f64 {
        let requests = self.requests.max(1) as f64;
        let (busy_ns, lasted_ns) = (self.busy_ns as f64, self.lasted_ns.max(1) as f64);
        let by_chance = busy_ns * (requests + 3.0) / requests / lasted_ns;
        match self.beside {
            0 => by_chance.min(1.0 / (requests + 1.0)),
            beside => by_chance.max(beside as f64 / requests),
        }
    }
}

/// The requests of a place that are in sight.
pub(super) fn servers<'a>(
    sight: &'a Sight<'_>,
    place: u32,
) -> impl Iterator<Item = ExchangeId> + 'a {
    (sight.first_of(place)..sight.window + 2).flat_map(move |window| {
        let visible = sight.view().visible(window);
        let rows = sight.slabs.slab(window).map_or(&[][..], |slab| slab.servers(place));
        let ids = rows.iter().map(move |&row| RowId { window, row });
        ids.filter(move |&id| (id.row as usize) < visible && sight.is_last_word(id))
    })
}
