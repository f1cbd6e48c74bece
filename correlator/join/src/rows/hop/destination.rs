//! The far end of a leg: seen by its own agent, known from the near end or the log, or missing.

use crate::SECOND;
use crate::address::End;
use crate::columns::{Attempt, Exchange};
use crate::names::Name;
use crate::ownership::Owner;
use crate::path::Leg;
use crate::reason::Reason;
use crate::rows::hop::{Route, Writer};
use crate::rows::row::{Evidence, HopRow};
use crate::slab::ExchangeId;
use crate::verdict::Findings;

impl Writer<'_> {
    /// Where the call went, and why that is not known where it is not.
    pub(super) fn destination(
        &self,
        leg: &Leg,
        route: &Route,
        is_service: bool,
        hop: &mut HopRow,
        findings: &mut Findings,
    ) {
        if let Some(server) = leg.server {
            return self.seen_server(server, route, hop, findings);
        }
        let mut was_sent = true;
        let end = match (route.reply, leg.logged) {
            (Some(reply), _) => Some(reply.source),
            (None, Some(a)) if leg.client.is_none() => {
                let attempt = &self.scope.sight.slabs.attempts(a.log)[a.index];
                was_sent = self.unseen_call(leg, attempt, hop, findings);
                attempt.server
            }
            (None, _) => route.original.filter(|_| !is_service).map(|o| o.destination),
        };
        match end {
            Some(end) => self.unseen_server(leg, end, was_sent, hop, findings),
            // The translation was made on the client's node, and no record of it is there.
            None => {
                let node = hop.source.node;
                let why = self.scope.whole(node, hop.start_ns - SECOND, hop.end_ns).err();
                let what = hop.requested.map(|(ip, _)| ip.to_string());
                let what = what.unwrap_or_else(|| "an unknown address".into());
                let why = route.doubt.or(why);
                findings.miss(format!("server of {what}"), why.unwrap_or(Reason::MissingLate));
            }
        }
    }

    /// An attempt that only the line tells of: refused, or its call was not seen. Answers whether
    /// it may have been sent; one that was dropped is told like one that was refused, but then its
    /// server has seen it.
    fn unseen_call(
        &self,
        leg: &Leg,
        attempt: &Attempt,
        hop: &HopRow,
        findings: &mut Findings,
    ) -> bool {
        let coverage = self.scope.sight.coverage;
        let (node, at_ns) = (hop.source.node, hop.start_ns);
        let why = if attempt.was_refused() && !self.was_half_seen(leg, attempt) {
            coverage.nearly_whole(node, at_ns, at_ns).err()
        } else {
            Some(coverage.whole(node, at_ns, at_ns).err().unwrap_or(Reason::MissingLate))
        };
        if let Some(why) = why {
            findings.miss(format!("call of attempt {}", hop.attempt), why);
        }
        why.is_some()
    }

    /// Whether a server saw a request that may be this attempt.
    fn was_half_seen(&self, leg: &Leg, attempt: &Attempt) -> bool {
        let parent = leg.parent.and_then(|p| self.tree.legs[p as usize].server);
        parent.map(|parent| self.exchange(parent)).is_some_and(|parent| {
            self.scope.relays.half_calls.of(parent.place).iter().any(|half| {
                let server = self.exchange(half.server);
                attempt.server == Some(server.local()) && half.may_be_during(parent)
            })
        })
    }

    fn seen_server(
        &self,
        server: ExchangeId,
        route: &Route,
        hop: &mut HopRow,
        findings: &mut Findings,
    ) {
        let exchange = self.exchange(server);
        let position = u32::try_from(hop.position).unwrap_or(u32::MAX);
        hop.destination.end = Some((exchange.local_ip, exchange.local_port));
        hop.destination.node = Some(exchange.node);
        if self.is_on_host_network(exchange) {
            hop.reasons.insert(Reason::HostNetwork);
        }
        if self.was_deleted_before(exchange, route) {
            hop.reasons.insert(Reason::PodDeletedBeforeRequest);
        }
        if !self.scope.set_pod(&mut hop.destination, exchange.pod) {
            match exchange.pod {
                Some(uid) => {
                    let segment = format!("name of pod {}", self.scope.text(uid));
                    findings.miss(segment, Reason::MissingLate);
                }
                None => findings.miss("server's pod".into(), Reason::AmbigSharedHostIp),
            }
        }
        match self.scope.attributed_by(exchange) {
            Some("netns") => hop.evidence.insert(Evidence::DestinationByNetns),
            Some("cgroup") => hop.evidence.insert(Evidence::DestinationByCgroup),
            _ => {}
        }
        let (mut from_ns, to_ns) = (exchange.start_ns, exchange.end_ns);
        let known_from_ns = self.scope.sight.known_from(exchange.place);
        if exchange.is_stream {
            // Calls meanwhile were decided in their own windows, where the stream was open.
            from_ns = from_ns.max(known_from_ns);
        }
        let is_unread = from_ns < known_from_ns;
        let unread = is_unread.then_some(Reason::MissingBeyondGuard);
        let coverage = self.scope.sight.coverage;
        let lost = coverage.nearly_whole(Some(exchange.node), from_ns, to_ns).err();
        let lost = lost.or_else(|| {
            let may_lack = self.scope.relays.may_lack_calls.contains(&server);
            let why = || coverage.whole(Some(exchange.node), from_ns, to_ns).err();
            may_lack.then(|| why().unwrap_or(Reason::MissingLate))
        });
        if let Some(why) = unread.or(lost) {
            let name = hop.destination.pod.map_or("the server", |pod| self.scope.text(pod));
            findings.miss(format!("calls of {name}"), why);
        }
        let attempts = self.scope.line_of(server).map_or(&[][..], |(_, attempts)| attempts);
        let made = self.tree.legs.iter().filter(|l| l.parent == Some(position)).count();
        if made < attempts.iter().filter(|a| a.server.is_some()).count() {
            findings.miss("attempts that the log line tells of".into(), Reason::MissingLate);
        }
        // A line that may be the request's tells of them, and not in which order they were made.
        let is_unnumbered = |l: &&Leg| {
            l.by == Some(Reason::OkUpstreamUnique) && l.logged.is_none() && l.nth.is_none()
        };
        let calls = || self.tree.legs.iter().filter(|l| l.parent == Some(position));
        if calls().nth(1).is_some() && calls().any(|l| is_unnumbered(&l)) {
            findings.miss("order of the attempts".into(), Reason::MissingLate);
        }
    }

    /// Whether the API said that the pod was gone before the connection began.
    fn was_deleted_before(&self, server: &Exchange, route: &Route) -> bool {
        let pod = server.pod.and_then(|uid| self.scope.sight.owners.pod(uid));
        let opened_ns = match (route.opened_ns, server.ordinal) {
            (Some(opened_ns), _) => opened_ns.min(server.start_ns),
            (None, 0) => server.start_ns,
            // A later request of a connection of which nothing is known.
            (None, _) => return false,
        };
        let slack_ns = self.scope.sight.settings.propagation_ns;
        pod.is_some_and(|pod| pod.to_ns.saturating_add(slack_ns) < opened_ns)
    }

    /// Whether the rows of a pod were read that it had when a call to it went on.
    fn was_read(&self, leg: &Leg, pod: Name) -> bool {
        let sight = self.scope.sight;
        let Some(client) = leg.client.map(|call| self.exchange(call)) else { return true };
        client.end_ns >= sight.reached.pods.get(&pod).copied().unwrap_or(sight.rows.start)
    }

    /// The server's end was not seen: whose address it is, and why nobody saw it.
    fn unseen_server(
        &self,
        leg: &Leg,
        end: End,
        was_sent: bool,
        hop: &mut HopRow,
        findings: &mut Findings,
    ) {
        hop.destination.end = Some((end.ip, end.port));
        let at_ns = self.began_ns(leg);
        match self.scope.sight.owners.owner(end, at_ns) {
            Owner::Pod(pod) => {
                self.scope.set_pod(&mut hop.destination, Some(pod.uid));
                hop.destination.node = pod.node;
                hop.evidence.insert(Evidence::DestinationByIp);
                let why = self.scope.whole(pod.node, hop.start_ns - SECOND, hop.end_ns).err();
                let answered = leg.client.is_some_and(|c| self.exchange(c).has_response());
                let is_undecided =
                    leg.client.is_some_and(|c| self.scope.sight.undecided(c).is_some());
                let answered = answered && !is_undecided && !self.is_multiplexed(leg);
                let is_unread = || !self.was_read(leg, pod.uid);
                let why = why.or(answered.then_some(Reason::MissingLate));
                let why = why.map(|why| if is_unread() { Reason::MissingBeyondGuard } else { why });
                if let Some(why) = why.filter(|_| was_sent) {
                    hop.reasons.insert(why);
                    findings.miss(format!("server end in {}", self.scope.text(pod.name)), why);
                }
            }
            Owner::Several => {
                hop.reasons.insert(Reason::AmbigPodIpReuse);
                findings.miss(format!("pod of {}", end.ip), Reason::AmbigPodIpReuse);
            }
            Owner::Node(node) => {
                hop.destination.node = Some(node);
                hop.reasons.insert(Reason::AmbigSharedHostIp);
                let segment = format!("pod on node {}", self.scope.text(node));
                findings.miss(segment, Reason::AmbigSharedHostIp);
            }
            Owner::PodRange(node) => {
                hop.destination.node = Some(node);
                findings.miss(format!("pod of {}", end.ip), Reason::MissingLate);
            }
            // An address outside the cluster ends the path there; nobody is expected to see it.
            Owner::Service | Owner::Outside => {}
        }
    }
}
