//! The Kubernetes watch: a snapshot at the start and each hour, changes, heartbeats.

use super::{Simulation, What};
use crate::dials::SECOND;
use crate::fate::Fate;
use crate::observation::{ClusterObject, Heartbeat, PodId, Seen, Sender};

const SNAPSHOT_NS: i64 = 3_600 * SECOND;
/// Silent heartbeats after which the watch is idle.
const IDLE_AFTER: i64 = 6;

impl Simulation {
    pub(super) fn tell_objects(&mut self, objects: impl IntoIterator<Item = ClusterObject>) {
        for object in objects {
            let seen = Seen::ClusterObject(Box::new(object));
            self.tell(Sender::Kubernetes, (self.now_ns, seen), Fate::SEEN, self.now_ns);
        }
    }

    pub(super) fn snapshot(&mut self) {
        let listed: std::collections::BTreeSet<PodId> =
            self.cluster.services.iter().flat_map(|s| s.endpoints.iter().copied()).collect();
        let gone: Vec<PodId> =
            (0..self.cluster.pods.len() as PodId).filter(|pod| !listed.contains(pod)).collect();
        let objects = self.cluster.snapshot(&gone);
        self.tell_objects(objects);
        self.at(self.now_ns + SNAPSHOT_NS, What::Snapshot);
    }

    pub(super) fn watch_heartbeat(&mut self) {
        let now_ns = self.now_ns;
        let heartbeat = Heartbeat {
            covered_from_ns: std::mem::replace(&mut self.watch_covered_ns, now_ns),
            covered_to_ns: now_ns,
            lost: 0,
            shipped: 0,
            clock_boot_ns: 0,
            clock_wall_ns: now_ns,
            clock_epoch_ns: 0,
            idle_after_ns: IDLE_AFTER * self.dials.heartbeat,
        };
        self.tell(Sender::Kubernetes, (now_ns, Seen::Heartbeat(heartbeat)), Fate::SEEN, now_ns);
        self.at(now_ns + self.dials.heartbeat, What::WatchHeartbeat);
    }
}
