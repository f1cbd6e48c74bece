//! Lines of a balancer outside the cluster, as a link to the arrivals that it caused.
//!
//! Nobody watches there, and its own port towards the target is not logged. A line names the target
//! and says when the request came and the answer left; an arrival at that target within that time is
//! its, if it is the only one that can be and the line is the only one that fits it.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::End;
use crate::columns::Role;
use crate::link::claim::Claim;
use crate::lists::Lists;
use crate::matching;
use crate::sight::Sight;
use crate::slab::{ExchangeId, LogId, RowId};

/// A line as far as it can be compared.
#[derive(Clone, Copy, Debug)]
struct Line {
    target: End,
    /// The request was at the balancer in this time, by the balancer's clock.
    from_ns: i64,
    to_ns: i64,
}

/// A request that came from where no agent is.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    /// What the balancer addressed: the socket's own end, or the node port before translation.
    addressed: End,
    start_ns: i64,
    end_ns: i64,
}

/// Arrivals in sight with the line that a balancer wrote of each.
pub(crate) fn lines_of_arrivals(sight: &Sight<'_>) -> BTreeMap<ExchangeId, LogId> {
    let (ids, lines) = lines(sight);
    if lines.is_empty() {
        return BTreeMap::new();
    }
    let targets: BTreeSet<End> = lines.iter().map(|line| line.target).collect();
    let (servers, arrivals) = arrivals(sight, &targets);
    let paired = pair(&lines, &arrivals, sight.settings.skew_ns);
    ids.into_iter().zip(paired).filter_map(|(log, at)| Some((servers[at?], log))).collect()
}

/// Lines that no host of the cluster wrote, each once: a file may be delivered again.
fn lines(sight: &Sight<'_>) -> (Vec<LogId>, Vec<Line>) {
    let mut found = BTreeMap::new();
    for (window, _) in sight.windows() {
        let Some(slab) = sight.slabs.slab(window) else { continue };
        for (row, log) in slab.access_logs.iter().enumerate() {
            let is_outside = log.emitter_ip.is_none() && log.pod.is_none();
            if !is_outside || log.event_ns >= sight.rows.end {
                continue;
            }
            let last = slab.attempts(&log.attempts).last();
            let Some(target) = last.and_then(|attempt| attempt.server) else { continue };
            let lasted_ns = log.duration_ns.unwrap_or(0) + log.duration_error_ns;
            let line = Line { target, from_ns: log.end_lo_ns - lasted_ns, to_ns: log.end_hi_ns };
            let client = (log.remote_ip, log.remote_port);
            let said = (log.trace, log.request_id, log.status, log.bytes_received);
            let content = (line.to_ns, line.from_ns, target, client, said);
            found.entry(content).or_insert((RowId { window, row: row as u32 }, line));
        }
    }
    found.into_values().unzip()
}

/// Requests that reached one of these ends from where nobody watches, all of them seen.
fn arrivals(sight: &Sight<'_>, targets: &BTreeSet<End>) -> (Vec<ExchangeId>, Vec<Arrival>) {
    let mut found = Vec::new();
    for (window, count) in sight.windows() {
        let Some(slab) = sight.slabs.slab(window) else { continue };
        for (row, server) in slab.exchanges[..count].iter().enumerate() {
            let id = RowId { window, row: row as u32 };
            let is_arrival = server.role == Role::Server && sight.client_of(id) == Claim::Nobody;
            if !is_arrival || !sight.is_last_word(id) {
                continue;
            }
            let before_translation = || {
                let chain = sight.nat.chain_to_server(server).ok()?;
                Some(sight.nat.get(*chain.first()?).original.destination)
            };
            let is_target = |end: &End| targets.contains(end);
            let addressed = Some(server.local()).filter(is_target);
            let addressed = addressed.or_else(|| before_translation().filter(is_target));
            let (start_ns, end_ns) = (server.start_ns, server.end_ns);
            let is_watched = sight.coverage.whole(Some(server.node), start_ns, end_ns).is_ok();
            if let Some(addressed) = addressed.filter(|_| is_watched) {
                found.push((id, Arrival { addressed, start_ns, end_ns }));
            }
        }
    }
    found.into_iter().unzip()
}

/// The arrival of each line, by index; `slack_ns` bounds the difference of the clocks.
fn pair(lines: &[Line], arrivals: &[Arrival], slack_ns: i64) -> Vec<Option<usize>> {
    let candidates: Lists = lines
        .iter()
        .map(|line| {
            let fits = move |a: &Arrival| {
                a.addressed == line.target
                    && line.from_ns - slack_ns <= a.start_ns
                    && a.end_ns <= line.to_ns + slack_ns
            };
            (0..arrivals.len()).filter(move |&i| fits(&arrivals[i]))
        })
        .collect();
    matching::forced(&candidates, &vec![1; arrivals.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;

    #[test]
    fn a_line_and_an_arrival_are_paired_only_where_nothing_else_fits() {
        let end = |port| End { ip: Address::parse("10.0.0.1").unwrap(), port };
        let line = |port, from_ns| Line { target: end(port), from_ns, to_ns: from_ns + 10 };
        let arrival =
            |port, start_ns| Arrival { addressed: end(port), start_ns, end_ns: start_ns + 5 };
        for (lines, arrivals, expected) in [
            (vec![line(80, 100)], vec![arrival(80, 102)], vec![Some(0)]),
            (vec![line(80, 100)], vec![arrival(81, 102)], vec![None]),
            (vec![line(80, 100)], vec![arrival(80, 150)], vec![None]),
            (vec![line(80, 100)], vec![arrival(80, 101), arrival(80, 102)], vec![None]),
            (vec![line(80, 100), line(80, 101)], vec![arrival(80, 102)], vec![None, None]),
        ] {
            assert_eq!(pair(&lines, &arrivals, 0), expected, "{lines:?} {arrivals:?}");
        }
    }
}
