//! The far end of a leg: seen by its own agent, known from the near end or the log, or missing.

use std::collections::BTreeSet;

use tables::Hop;

use crate::SECOND;
use crate::address::End;
use crate::columns::Attempt;
use crate::ownership::{Owner, Pod};
use crate::path::Leg;
use crate::reason::Reason;
use crate::rows::hop::{Route, Writer};
use crate::slab::ExchangeId;
use crate::verdict::Findings;

impl Writer<'_> {
    /// Where the call went, and why that is not known where it is not.
    pub(super) fn destination(
        &self,
        leg: &Leg,
        route: &Route,
        is_service: bool,
        hop: &mut Hop,
        reasons: &mut BTreeSet<Reason>,
        findings: &mut Findings,
    ) {
        if let Some(server) = leg.server {
            return self.seen_server(server, hop, findings);
        }
        let end = match (route.reply, leg.logged) {
            (Some(reply), _) => Some(reply.source),
            (None, Some(a)) if leg.client.is_none() => {
                let attempt = &self.scope.sight.slabs.attempts(a.log)[a.index];
                self.unseen_call(attempt, hop, findings);
                attempt.server
            }
            (None, _) => route.original.filter(|_| !is_service).map(|o| o.destination),
        };
        match end {
            Some(end) => self.unseen_server(leg, end, hop, reasons, findings),
            // The translation was made on the client's node, and no record of it is there.
            None => {
                let node = hop.source_node.clone().unwrap_or_default();
                let why = self.scope.whole(&node, hop.start_ns - SECOND, hop.end_ns).err();
                let what = hop.requested_ip.as_deref().unwrap_or("an unknown address");
                let why = if route.reused { Some(Reason::AmbigNatPortReuse) } else { why };
                findings.miss(format!("server of {what}"), why.unwrap_or(Reason::MissingLate));
            }
        }
    }

    /// An attempt that only the line tells of: refused, or its call was not seen.
    fn unseen_call(&self, attempt: &Attempt, hop: &Hop, findings: &mut Findings) {
        let node = hop.source_node.as_deref().unwrap_or_default();
        let lost = self.scope.whole(node, hop.start_ns, hop.start_ns).err();
        let why = lost.or((!attempt.was_refused()).then_some(Reason::MissingLate));
        if let Some(why) = why {
            findings.miss(format!("call of attempt {}", hop.attempt), why);
        }
    }

    fn seen_server(&self, server: ExchangeId, hop: &mut Hop, findings: &mut Findings) {
        let exchange = self.exchange(server);
        let position = usize::try_from(hop.position).unwrap_or(usize::MAX);
        hop.destination_ip = Some(exchange.local_ip.to_string());
        hop.destination_port = Some(exchange.local_port.into());
        hop.destination_node = Some(self.scope.text(exchange.node).to_owned());
        let names = &self.scope.sight.slabs.names;
        let uid = names.text_of(exchange.pod);
        let pod = uid.and_then(|uid| self.scope.sight.owners.pod(uid));
        match (uid, pod) {
            (_, Some(pod)) => set_destination(hop, pod),
            (Some(uid), None) => {
                hop.destination_pod_uid = Some(uid.to_owned());
                findings.miss(format!("name of pod {uid}"), Reason::MissingLate);
            }
            (None, None) => findings.miss("server's pod".into(), Reason::AmbigSharedHostIp),
        }
        let by = names.text_of(exchange.attributed_by);
        hop.evidence.extend(by.map(|by| format!("destination_by_{by}")));
        let (from_ns, to_ns) = (exchange.start_ns, exchange.end_ns);
        let unread = (from_ns < self.scope.sight.rows.start).then_some(Reason::MissingBeyondGuard);
        let lost = self.scope.sight.coverage.whole(Some(exchange.node), from_ns, to_ns).err();
        if let Some(why) = unread.or(lost) {
            let name = hop.destination_pod.as_deref().unwrap_or("the server");
            findings.miss(format!("calls of {name}"), why);
        }
        let attempts = self.scope.line_of(server).map_or(&[][..], |(_, attempts)| attempts);
        let made = self.tree.legs.iter().filter(|l| l.parent == Some(position)).count();
        if made < attempts.iter().filter(|a| a.server.is_some()).count() {
            findings.miss("attempts that the log line tells of".into(), Reason::MissingLate);
        }
    }

    /// The server's end was not seen: whose address it is, and why nobody saw it.
    fn unseen_server(
        &self,
        leg: &Leg,
        end: End,
        hop: &mut Hop,
        reasons: &mut BTreeSet<Reason>,
        findings: &mut Findings,
    ) {
        hop.destination_ip = Some(end.ip.to_string());
        hop.destination_port = Some(end.port.into());
        let at_ns = self.began_ns(leg);
        match self.scope.sight.owners.owner(end, at_ns) {
            Owner::Pod(pod) => {
                set_destination(hop, pod);
                hop.destination_node.clone_from(&pod.node);
                hop.evidence.push("destination_by_ip".into());
                let node = pod.node.as_deref().unwrap_or_default();
                let why = self.scope.whole(node, hop.start_ns - SECOND, hop.end_ns).err();
                let answered = leg.client.is_some_and(|c| self.exchange(c).has_response());
                let why = why.or(answered.then_some(Reason::MissingLate));
                if let Some(why) = why {
                    reasons.insert(why);
                    findings.miss(format!("server end in {}", pod.name), why);
                }
            }
            Owner::Several => {
                reasons.insert(Reason::AmbigPodIpReuse);
                findings.miss(format!("pod of {}", end.ip), Reason::AmbigPodIpReuse);
            }
            Owner::Node(node) => {
                hop.destination_node = Some(node.to_owned());
                reasons.insert(Reason::AmbigSharedHostIp);
                findings.miss(format!("pod on node {node}"), Reason::AmbigSharedHostIp);
            }
            Owner::PodRange(node) => {
                hop.destination_node = Some(node.to_owned());
                findings.miss(format!("pod of {}", end.ip), Reason::MissingLate);
            }
            // An address outside the cluster ends the path there; nobody is expected to see it.
            Owner::Service | Owner::Outside => {}
        }
    }
}

fn set_destination(hop: &mut Hop, pod: &Pod) {
    hop.destination_pod_uid = Some(pod.uid.clone());
    hop.destination_pod = Some(pod.name.clone());
    hop.destination_namespace = Some(pod.namespace.clone());
    hop.destination_workload.clone_from(&pod.workload);
}
