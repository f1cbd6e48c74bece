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
    pub(super) fn told_by(&self, line: &AccessLog) -> Vec<usize> {
        let ended = line.end_lo_ns - EVENT_LOOP_NS..line.end_hi_ns + EVENT_LOOP_NS;
        match line.bytes_received {
            Some(bytes) => {
                let from = self.by_size.partition_point(|r| (r.0, r.1) < (bytes, ended.start));
                let rest = self.by_size[from..].iter();
                let found = rest.take_while(|r| (r.0, r.1) < (bytes, ended.end));
                found.map(|r| r.2 as usize).collect()
            }
            None => {
                let from = self.by_end.partition_point(|r| r.0 < ended.start);
                let rest = self.by_end[from..].iter();
                rest.take_while(|r| r.0 < ended.end).map(|r| r.1 as usize).collect()
            }
        }
    }
}
