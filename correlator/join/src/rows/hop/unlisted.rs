//! Calls of a proxy beside the tries that its line lists, and which try of several a leg is.

use crate::names::Name;
use crate::path::Leg;
use crate::reason::Reason;
use crate::rows::hop::Writer;
use crate::rows::hop::subrequest::{self, Made};
use crate::rows::row::HopRow;

/// A Service by its namespace and name.
type ServiceName = (Name, Name);

impl Writer<'_> {
    /// Labels a leg by what the calls of the same request are to each other.
    pub(super) fn label_beside(&self, leg: &Leg, hop: &mut HopRow) {
        let Some(parent) = leg.parent else { return };
        let Some(server) = self.tree.legs[parent as usize].server else { return };
        let Some((line, _)) = self.scope.line_of(server) else { return };
        let beside = || self.tree.legs.iter().filter(|l| l.parent == leg.parent);
        if beside().all(|l| l.logged.is_some()) {
            return;
        }
        let (listed, unlisted): (Vec<&Leg>, Vec<&Leg>) = beside().partition(|l| l.logged.is_some());
        let listed: Vec<Made<ServiceName>> = listed.iter().filter_map(|l| self.made(l)).collect();
        let tries = line.tries.and_then(|tries| usize::try_from(tries).ok());
        let meaning = |leg: &Leg| {
            let made = self.made(leg)?;
            subrequest::meaning(&made, &listed, tries).map(|reason| (made, reason))
        };
        let is_try = |reason| matches!(reason, Reason::HedgedLoser | Reason::RetryAttempts);
        let tried: Vec<_> =
            unlisted.iter().filter_map(|l| meaning(l)).filter(|(_, why)| is_try(*why)).collect();
        let own = if leg.logged.is_none() { meaning(leg).map(|(_, why)| why) } else { None };
        if let Some(own) = own {
            hop.reasons.insert(own);
        }
        let Some(made) = self.made(leg) else { return };
        if tried.is_empty() || !(leg.logged.is_some() || own.is_some_and(is_try)) {
            return;
        }
        if leg.logged.is_some() {
            let is_hedged = tried.iter().any(|(_, why)| *why == Reason::HedgedLoser);
            hop.reasons.insert(if is_hedged {
                Reason::HedgedWinner
            } else {
                Reason::RetryAttempts
            });
        }
        let all = tried.iter().map(|(made, _)| made).chain(&listed);
        let before = all.filter(|other| other.start_ns < made.start_ns).count();
        hop.attempt = i32::try_from(before + 1).unwrap_or(i32::MAX);
    }

    /// A leg as a call in time to a Service; none where no end of it was seen.
    fn made(&self, leg: &Leg) -> Option<Made<ServiceName>> {
        let client = self.exchange(leg.client?);
        let owners = self.scope.sight.owners;
        let addressed = owners.service(client.remote(), client.start_ns);
        let server = leg.server.map_or(client.remote(), |s| self.exchange(s).local());
        let service = addressed.map(|s| (s.namespace, s.name)).or_else(|| {
            match owners.services_of_endpoint(server, client.start_ns)[..] {
                [service] => Some(service),
                _ => None,
            }
        });
        Some(Made { start_ns: client.start_ns, end_ns: client.end_ns, service })
    }
}
