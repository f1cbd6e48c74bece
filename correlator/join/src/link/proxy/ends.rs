//! When a proxy's requests ended, and how large they were: what its lines are looked up by.
//!
//! A line may tell its end by the second, in which a busy proxy serves hundreds of requests. Nearly
//! every line tells the bytes that were received too, and few of those requests had as many.

use crate::columns::{AccessLog, Exchange};
use crate::link::proxy::line::EVENT_LOOP_NS;

/// Requests by index.
pub(super) struct Ends {
    by_end: Vec<(i64, u32)>,
    /// By bytes received, then end.
    by_size: Vec<(i64, i64, u32)>,
}

impl Ends {
    pub(super) fn new<'a>(requests: impl Iterator<Item = &'a Exchange>) -> Self {
        let rows = (0..).zip(requests).map(|(index, e)| (e.bytes_request, e.end_ns, index));
        let mut by_size: Vec<(i64, i64, u32)> = rows.collect();
        let mut by_end: Vec<(i64, u32)> =
            by_size.iter().map(|&(_, end_ns, index)| (end_ns, index)).collect();
        by_size.sort_unstable();
        by_end.sort_unstable();
        Self { by_end, by_size }
    }

    /// All requests, by their end.
    pub(super) fn in_order(&self) -> impl Iterator<Item = usize> {
        self.by_end.iter().map(|&(_, index)| index as usize)
    }

    /// Requests that ended when a line says and have the size that it tells, if it does; by end.
    pub(super) fn told_by(&self, line: &AccessLog) -> impl Iterator<Item = usize> {
        let ended = line.end_lo_ns - EVENT_LOOP_NS..line.end_hi_ns + EVENT_LOOP_NS;
        let of_size = line.bytes_received.map_or(&[][..], |bytes| {
            let at = |end_ns: i64| self.by_size.partition_point(|r| (r.0, r.1) < (bytes, end_ns));
            &self.by_size[at(ended.start)..at(ended.end.max(ended.start))]
        });
        let of_any = line.bytes_received.is_none().then(|| {
            let at = |end_ns: i64| self.by_end.partition_point(|r| r.0 < end_ns);
            &self.by_end[at(ended.start)..at(ended.end.max(ended.start))]
        });
        let of_size = of_size.iter().map(|r| r.2 as usize);
        of_size.chain(of_any.unwrap_or_default().iter().map(|r| r.1 as usize))
    }
}
