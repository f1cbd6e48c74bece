//! Calls whose cause times can't tell, because the clock of their node was set.
//!
//! All stamps of one exchange are of one clock: that of the moment at which its agent told of it, some
//! time after its end. So a call and a request compare where both ended before what a step leaves in
//! doubt, or both after it; and a request that is in doubt itself may have made any call near it.

use crate::columns::Exchange;
use crate::interval::Intervals;
use crate::relay::Cause;
use crate::relay::place::Scene;
use crate::sight::Sight;
use crate::skew::Jump;
use crate::slab::ExchangeId;

pub(super) struct SetClock<'a> {
    sight: &'a Sight<'a>,
    /// Requests that may have been told with either clock, each for as long as it was served by one
    /// of them.
    around: Intervals,
    /// How far the clock was set near each.
    jumps: Vec<Jump>,
}

impl<'a> SetClock<'a> {
    pub(super) fn new(sight: &'a Sight<'a>, scene: &Scene) -> Self {
        let in_doubt = scene.servers.iter().filter_map(|&server| {
            let request = sight.exchange(server);
            let jump = doubt_of(sight, request)?;
            let by_ns = jump.by_ns.saturating_add(jump.within_ns);
            let from_ns = request.start_ns.saturating_sub(by_ns);
            Some((from_ns, request.end_ns.saturating_add(by_ns), jump))
        });
        let mut in_doubt: Vec<_> = in_doubt.collect();
        in_doubt.sort_unstable();
        let around = Intervals::new(in_doubt.iter().map(|&(from, to, _)| (from, to)));
        let jumps = in_doubt.into_iter().map(|(.., jump)| jump).collect();
        Self { sight, around, jumps }
    }

    /// How far the stamps that decided the cause of a call may be off each other.
    pub(super) fn doubt(&self, call: ExchangeId, cause: &Cause) -> Option<Jump> {
        let client = self.sight.exchange(call);
        let parent = match cause {
            Cause::Parent(parent) => Some(parent.server),
            _ => None,
        };
        let end_ns = parent.map_or(client.end_ns, |p| self.sight.exchange(p).end_ns);
        let (from_ns, to_ns) = (client.end_ns.min(end_ns), client.end_ns.max(end_ns));
        let own = self.sight.node_clocks.set_by(client.node, from_ns, to_ns);
        own.or_else(|| self.near(client))
    }

    /// Whether what was served when a call was made is known for all that clocks may say.
    pub(super) fn is_sure_at(&self, client: &Exchange) -> bool {
        doubt_of(self.sight, client).is_none() && self.near(client).is_none()
    }

    /// The largest step that leaves in doubt whether some request was served when a call was made.
    fn near(&self, client: &Exchange) -> Option<Jump> {
        let near = self.around.around(client.start_ns, client.start_ns);
        near.into_iter().map(|at| self.jumps[at]).max()
    }
}

/// How far the stamps of an exchange may be off those of others on its node.
pub(super) fn doubt_of(sight: &Sight<'_>, exchange: &Exchange) -> Option<Jump> {
    sight.node_clocks.set_by(exchange.node, exchange.end_ns, exchange.end_ns)
}
