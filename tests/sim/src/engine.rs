//! The event queue: true time, and what happens next.
//!
//! Enter through [`Simulation::new`] and iterate: batches come in the order of their arrival, and
//! [`Simulation::take_truth`] gives the truth of what has happened so far. Memory holds what is
//! under way, open connections, and rows that are not delivered yet.

mod agent;
mod calls;
mod churn;
mod crew;
mod event_loop;
mod leg;
mod request;
mod socket;
mod told;
mod visit;
mod watch;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::chance::{Chance, hash};
use crate::clock::Clock;
use crate::cluster::{Cluster, NoRoom};
use crate::delivery::{Delivery, Due};
use crate::dials::{Dials, SECOND};
use crate::fate::{Agent, Fate, Fates};
use crate::network::{ConnectionId, Network};
use crate::observation::{Batch, NodeId, Seen, Sender};
use crate::shape::{Arrivals, Plan, Shape, traces::TraceError};
use crate::slab::Slab;
use crate::truth::Truth;
use agent::Watcher;
use crew::Crew;
use request::Request;
use visit::Visit;

/// Objects are this old when the traffic begins, and the watch and the agents begin this early.
const AGE_NS: i64 = 3_600 * SECOND;
const LEAD_NS: i64 = 5 * SECOND;

#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    #[error("set the dials: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Dials(Vec<crate::dials::Mistake>),
    #[error(transparent)]
    Traces(#[from] TraceError),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

type VisitId = u32;
type RequestId = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Arrive,
    /// A client sends a request.
    Send(VisitId),
    /// A server reads it.
    Receive(VisitId),
    /// A server drops it.
    Drop(VisitId),
    /// A server writes its answer.
    Answer(VisitId),
    /// It has written it all.
    Leave(VisitId),
    /// A client reads the answer, or that there is none.
    Finish(VisitId),
    /// A connection may be idle, or due for another row; the number tells an older life apart.
    Look(ConnectionId, i64),
    Sweep,
    Heartbeat(NodeId),
    WatchHeartbeat,
    Snapshot,
    Restart(NodeId),
    Churn,
    /// The pod that ends, and the life that begins at its address.
    Replace(u32),
    Deliver(Due),
}

pub struct Simulation {
    dials: Dials,
    shape: Shape,
    cluster: Cluster,
    clocks: Vec<Clock>,
    watchers: Vec<Watcher>,
    crews: Vec<Crew>,
    fates: Fates,
    queue: BinaryHeap<Reverse<(i64, u64, What)>>,
    queued: u64,
    now_ns: i64,
    /// Of the traffic.
    start_ns: i64,
    end_ns: i64,
    chance: Chance,
    network: Network,
    requests: Slab<Request>,
    visits: Slab<Visit>,
    /// Turns that may be silent by the next sweeps: end, connection and its cookie.
    silent: VecDeque<(i64, ConnectionId, i64)>,
    next_request: u64,
    recorded: usize,
    watch_covered_ns: i64,
    delivery: Delivery,
    truth: Truth,
}

impl Simulation {
    /// # Errors
    /// When dials are out of range, traces can't be read, or pods don't fit their nodes.
    pub fn new(dials: Dials) -> Result<Self, SetUpError> {
        let mistakes = dials.mistakes();
        if !mistakes.is_empty() {
            return Err(SetUpError::Dials(mistakes));
        }
        let shape = Shape::of(&dials)?;
        let start_ns = dials.start * SECOND;
        let end_ns = start_ns + (dials.seconds * SECOND as f64) as i64;
        let cluster = Cluster::new(&shape, &dials, start_ns - AGE_NS)?;
        let count = cluster.nodes.len();
        let traffic_ns = (start_ns, end_ns);
        let agents: Vec<Agent> =
            (0..count).map(|node| Agent::of_node(node, count, &dials, traffic_ns)).collect();
        let clocks =
            (0..count).map(|node| Clock::of_node(node, &dials, start_ns, end_ns)).collect();
        let begin_ns = start_ns - LEAD_NS;
        let mut simulation = Self {
            watchers: agents.iter().map(|_| Watcher::starting_at(begin_ns)).collect(),
            crews: Vec::new(),
            fates: Fates::new(&dials, agents),
            queue: BinaryHeap::new(),
            queued: 0,
            now_ns: begin_ns,
            start_ns,
            end_ns,
            chance: Chance::new(hash(dials.seed, &[0x7aff1c])),
            network: Network::new(&dials),
            requests: Slab::default(),
            visits: Slab::default(),
            silent: VecDeque::new(),
            next_request: 0,
            recorded: 0,
            watch_covered_ns: begin_ns,
            delivery: Delivery::new(&dials),
            truth: Truth::default(),
            dials,
            shape,
            cluster,
            clocks,
        };
        simulation.begin(begin_ns);
        Ok(simulation)
    }

    fn begin(&mut self, begin_ns: i64) {
        for pod in 0..self.cluster.pods.len() {
            self.hire(pod as u32);
        }
        self.at(begin_ns, What::Snapshot);
        self.at(begin_ns, What::WatchHeartbeat);
        self.at(begin_ns + agent::SWEEP_NS, What::Sweep);
        for node in 0..self.cluster.nodes.len() as NodeId {
            if self.fates.agent(node).is_off {
                continue;
            }
            self.tell_capabilities(node);
            let phase_ns = hash(self.dials.seed, &[0x4ea7, u64::from(node)]);
            let phase_ns = (phase_ns % self.dials.heartbeat as u64) as i64;
            self.at(begin_ns + phase_ns, What::Heartbeat(node));
            if let Some((_, to_ns)) = self.fates.agent(node).down {
                self.at(to_ns, What::Restart(node));
            }
        }
        self.schedule_churn();
        self.schedule_arrival();
    }

    /// What was written down since the last call.
    pub fn take_truth(&mut self) -> Truth {
        std::mem::take(&mut self.truth)
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    pub fn dials(&self) -> &Dials {
        &self.dials
    }

    /// First and last moment of the traffic, true time.
    pub fn traffic_ns(&self) -> (i64, i64) {
        (self.start_ns, self.end_ns)
    }

    fn at(&mut self, at_ns: i64, what: What) {
        self.queued += 1;
        self.queue.push(Reverse((at_ns, self.queued, what)));
    }

    /// When heartbeats and connections are no longer followed.
    fn stop_ns(&self) -> i64 {
        self.end_ns + self.dials.tail
    }

    fn happen(&mut self, what: What) {
        let is_over = self.now_ns >= self.stop_ns();
        match what {
            What::Arrive => self.arrive(),
            What::Send(visit) => self.send(visit),
            What::Receive(visit) => self.receive(visit),
            What::Drop(visit) => self.drop_request(visit),
            What::Answer(visit) => self.answer(visit),
            What::Leave(visit) => self.leave(visit),
            What::Finish(visit) => self.finish(visit),
            What::Deliver(due) => {
                for (at_ns, due) in self.delivery.due(due, self.now_ns) {
                    self.at(at_ns, What::Deliver(due));
                }
            }
            _ if is_over => {}
            What::Look(connection, cookie) => self.look(connection, cookie),
            What::Sweep => self.sweep(),
            What::Heartbeat(node) => self.heartbeat(node),
            What::WatchHeartbeat => self.watch_heartbeat(),
            What::Snapshot => self.snapshot(),
            What::Restart(node) => self.restart(node),
            What::Churn => self.churn(),
            What::Replace(pod) => self.replace(pod),
        }
    }

    /// Hands a row to its sender. `true_event_ns` is its event in true time.
    fn tell(&mut self, sender: Sender, row: (i64, Seen), fate: Fate, true_event_ns: i64) {
        let due = self.delivery.push(sender, self.now_ns, row, fate, true_event_ns);
        if let Some((at_ns, due)) = due {
            self.at(at_ns, What::Deliver(due));
        }
    }

    fn schedule_arrival(&mut self) {
        let at_ns = match &self.shape.arrivals {
            Arrivals::Drawn { rate } => {
                let from_ns = self.now_ns.max(self.start_ns);
                let mean_ns = SECOND as f64 / (rate * self.dials.compress);
                from_ns + (-(1.0 - self.chance.unit()).ln() * mean_ns) as i64
            }
            Arrivals::Recorded(arrivals) => {
                let Some((offset_ns, _)) = arrivals.get(self.recorded) else { return };
                self.start_ns + (*offset_ns as f64 / self.dials.compress) as i64
            }
        };
        if at_ns < self.end_ns {
            self.at(at_ns, What::Arrive);
        }
    }

    fn plan(&self, plan: u32) -> &Plan {
        &self.shape.plans[plan as usize]
    }
}

impl Iterator for Simulation {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        loop {
            if let Some(batch) = self.delivery.take() {
                return Some(batch);
            }
            let Reverse((at_ns, _, what)) = self.queue.pop()?;
            self.now_ns = at_ns;
            self.happen(what);
        }
    }
}
