//! The calls that a server makes for a request: when they begin, what follows them, and retries.

use super::{Simulation, VisitId, What};
use crate::engine::event_loop::Stamped;
use crate::engine::visit::Visit;
use crate::network::Client;
use crate::observation::Attempt;
use crate::truth::Kind;

/// Tries of one request by a proxy.
const TRIES_MAX: u32 = 3;
/// A proxy tries the next server after this.
const NEXT_TRY_NS: i64 = 60_000;

impl Simulation {
    /// Begins the calls that wait for this end, or for the request's start.
    pub(super) fn trigger(&mut self, id: VisitId, ended: Option<u16>) {
        let visit = self.visits.get(id);
        if visit.has_failed {
            return;
        }
        let (request, node, server) = (visit.request, visit.node, visit.server);
        let is_answering = visit.is_answering;
        let plan = self.requests.get(request).plan;
        let calls = self.plan(plan).nodes[node as usize].calls.clone();
        for (index, at) in calls.enumerate() {
            let call = &self.shape.plans[plan as usize].calls[at as usize];
            if call.after != ended {
                continue;
            }
            let (callee, gap) = (call.node, call.gap);
            let awaited = call.awaited && !is_answering;
            let happens = call.probability >= 1.0 || self.chance.unit() < call.probability;
            if !happens {
                self.trigger(id, Some(index as u16));
                continue;
            }
            let service = self.plan(plan).nodes[callee as usize].service;
            let gap_ns = gap.draw(&mut self.chance);
            let parent = Some((id, index as u16, 1));
            let call = self.visit(request, parent, Client::Pod(server), service, callee);
            if awaited {
                self.visits.get_mut(id).open_calls += 1;
            } else {
                let worker = self.crews[server as usize].begin(&mut self.chance);
                self.visits.get_mut(call).worker = Some(worker);
            }
            self.at(self.now_ns + gap_ns, What::Send(call));
        }
    }

    pub(super) fn answer_when_done(&mut self, id: VisitId) {
        let visit = self.visits.get(id);
        if visit.open_calls > 0 {
            return;
        }
        let plan = self.requests.get(visit.request).plan;
        let tail = self.plan(plan).nodes[visit.node as usize].tail;
        let tail_ns = tail.draw(&mut self.chance);
        self.visits.get_mut(id).is_answering = true;
        self.at(self.now_ns + tail_ns, What::Answer(id));
    }

    /// A call has its answer, or knows that there is none.
    pub(super) fn call_is_over(&mut self, parent: VisitId, visit: &Visit) {
        if visit.kind == Kind::Ingress {
            self.note_attempt(visit);
            if visit.failure.is_some() && visit.attempt < TRIES_MAX {
                return self.try_again(parent, visit);
            }
        }
        let is_error = visit.status.is_none_or(|status| status >= 500);
        let caller = self.visits.get_mut(parent);
        let server = caller.server;
        if let Some(worker) = visit.worker {
            self.crews[server as usize].end(worker);
            return self.trigger(parent, Some(visit.call));
        }
        caller.has_failed |= is_error;
        caller.open_calls -= 1;
        self.trigger(parent, Some(visit.call));
        self.answer_when_done(parent);
    }

    /// Forgets visits that are over and have no call under way, and the request after its last.
    pub(super) fn let_go(&mut self, id: VisitId) {
        let mut next = Some(id);
        while let Some(id) = next {
            let visit = self.visits.get(id);
            if !visit.is_over || visit.children > 0 {
                return;
            }
            let visit = self.visits.remove(id);
            next = visit.parent;
            if let Some(parent) = next {
                self.visits.get_mut(parent).children -= 1;
            }
            self.visit_is_over(&visit);
        }
    }

    fn note_attempt(&mut self, visit: &Visit) {
        let end = self.cluster.listener(visit.server);
        let key = (visit.key, visit.leg);
        let asked_ns = self.loop_ns(key, Stamped::TryBegin, visit.asked_ns);
        let ended_ns = self.loop_ns(key, Stamped::TryEnd, self.now_ns).max(asked_ns);
        let ms = |ns: i64| ns.div_euclid(1_000_000);
        self.requests.get_mut(visit.request).attempts.push(Attempt {
            end,
            status: visit.status.unwrap_or(502),
            response_length: Some(visit.status.map_or(0, |_| visit.body())),
            duration_ns: (ms(ended_ns) - ms(asked_ns)) * 1_000_000,
        });
    }

    fn try_again(&mut self, parent: VisitId, visit: &Visit) {
        let again = Some((parent, visit.call, visit.attempt + 1));
        let call = self.visit(visit.request, again, visit.client, visit.service, visit.node);
        self.at(self.now_ns + NEXT_TRY_NS, What::Send(call));
    }
}
