//! Requests that were served at a place and not seen there, by what is left of them: the end of
//! their clients, or their spans.

use std::collections::BTreeMap;

use crate::interval::Intervals;
use crate::sight::Sight;

/// By place.
pub(super) struct Unseen {
    asked: BTreeMap<u32, Intervals>,
    told: BTreeMap<u32, Intervals>,
}

impl Unseen {
    pub(super) fn new(sight: &Sight<'_>) -> Self {
        let asked = sight.unseen_requests().map(|r| (r.place, (r.from_ns, r.to_ns)));
        let told = sight.spans_alone().map(|s| (s.place, (s.from_ns, s.to_ns)));
        Self { asked: by_place(asked), told: by_place(told) }
    }

    /// Whether a client was waiting for one.
    pub(super) fn is_asked(&self, place: u32, at_ns: i64) -> bool {
        holds(&self.asked, place, at_ns)
    }

    /// Whether a span tells of one that may be no other than those that were seen.
    pub(super) fn is_told(&self, place: u32, at_ns: i64) -> bool {
        holds(&self.told, place, at_ns)
    }
}

fn by_place(times: impl Iterator<Item = (u32, (i64, i64))>) -> BTreeMap<u32, Intervals> {
    let mut of_place: BTreeMap<u32, Vec<(i64, i64)>> = BTreeMap::new();
    for (place, time) in times {
        of_place.entry(place).or_default().push(time);
    }
    let intervals = |mut times: Vec<(i64, i64)>| {
        times.sort_unstable();
        Intervals::new(times.into_iter())
    };
    of_place.into_iter().map(|(place, times)| (place, intervals(times))).collect()
}

fn holds(of_place: &BTreeMap<u32, Intervals>, place: u32, at_ns: i64) -> bool {
    of_place.get(&place).is_some_and(|times| !times.around(at_ns, at_ns).is_empty())
}
