//! What each object looked like last, and which of the watches are current. Pure.
//!
//! A watch that was interrupted begins with a list; comparing it with what was known gives the
//! changes in between, deletions included. Before every kind was listed once there are no changes:
//! the first snapshot says it all.

use std::collections::{BTreeMap, BTreeSet};

use super::body::{Body, Kind, Object};

#[derive(Clone, Debug)]
pub(super) enum Observation {
    /// A list begins.
    Begun(Kind),
    Listed(Object),
    /// The list is complete; changes follow.
    Complete(Kind),
    Applied(Object),
    Deleted(Object),
    /// The watch failed; until the next complete list nothing is known of this kind.
    Lost(Kind),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    /// `added`, `modified`, `deleted` or `snapshot`.
    pub(super) what: &'static str,
    pub(super) object: Object,
}

#[derive(Debug, Default)]
pub(super) struct History {
    objects: BTreeMap<(Kind, String), Object>,
    /// Objects of a list that is under way.
    listed: BTreeMap<Kind, BTreeSet<String>>,
    /// Kinds that were listed at least once.
    known: BTreeSet<Kind>,
    /// Kinds whose watch is current.
    current: BTreeSet<Kind>,
}

impl History {
    pub(super) fn was_listed(&self) -> bool {
        self.known.len() == Kind::ALL.len()
    }

    pub(super) fn is_current(&self) -> bool {
        self.current.len() == Kind::ALL.len()
    }

    pub(super) fn snapshot(&self) -> Vec<Change> {
        let objects = self.objects.values().cloned();
        objects.map(|object| Change { what: "snapshot", object }).collect()
    }

    pub(super) fn observe(&mut self, observation: Observation) -> Vec<Change> {
        match observation {
            Observation::Begun(kind) => {
                self.listed.insert(kind, BTreeSet::new());
                Vec::new()
            }
            Observation::Listed(object) => {
                self.listed.entry(object.kind).or_default().insert(object.uid.clone());
                self.apply(object)
            }
            Observation::Complete(kind) => self.complete(kind),
            Observation::Applied(object) => self.apply(object),
            Observation::Deleted(object) => self.delete(object),
            Observation::Lost(kind) => {
                self.current.remove(&kind);
                Vec::new()
            }
        }
    }

    fn apply(&mut self, mut object: Object) -> Vec<Change> {
        let key = (object.kind, object.uid.clone());
        let before = self.objects.get(&key);
        if before.is_some_and(|before| before.resource_version == object.resource_version) {
            return Vec::new();
        }
        let what = if before.is_some() { "modified" } else { "added" };
        if let Some(before) = before {
            object.keep_addresses(before);
        }
        self.objects.insert(key, object.clone());
        vec![Change { what, object }]
    }

    fn delete(&mut self, mut object: Object) -> Vec<Change> {
        if let Some(before) = self.objects.remove(&(object.kind, object.uid.clone())) {
            object.keep_addresses(&before);
        }
        vec![Change { what: "deleted", object }]
    }

    fn complete(&mut self, kind: Kind) -> Vec<Change> {
        self.known.insert(kind);
        self.current.insert(kind);
        let listed = self.listed.remove(&kind).unwrap_or_default();
        let is_gone = |key: &(Kind, String)| key.0 == kind && !listed.contains(&key.1);
        let gone: Vec<_> = self.objects.keys().filter(|key| is_gone(key)).cloned().collect();
        let objects = gone.iter().filter_map(|key| self.objects.remove(key));
        objects.map(|object| Change { what: "deleted", object }).collect()
    }
}

impl Object {
    /// A pod that ends may have lost its address from the object before anyone hears of the end;
    /// it is the address its last packets carried.
    fn keep_addresses(&mut self, before: &Self) {
        if let (Body::Pod(pod), Body::Pod(before)) = (&mut self.body, &before.body)
            && pod.ips.is_empty()
        {
            pod.ips.clone_from(&before.ips);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, version: &str, ips: &[&str]) -> Object {
        let ips = ips.iter().map(|&ip| ip.to_owned()).collect();
        Object {
            kind: Kind::Pod,
            uid: uid.into(),
            namespace: "shop".into(),
            name: uid.into(),
            resource_version: version.into(),
            body: Body::Pod(tables::cluster::Pod { ips, ..Default::default() }),
        }
    }

    /// Changes as `what uid version ips`.
    fn observe(history: &mut History, observations: Vec<Observation>) -> Vec<String> {
        let changes = observations.into_iter().flat_map(|one| history.observe(one));
        let text = changes.map(|Change { what, object }| {
            let Body::Pod(pod) = &object.body else { panic!() };
            format!("{what} {} {} {}", object.uid, object.resource_version, pod.ips.join(","))
        });
        text.collect()
    }

    fn listed(objects: &[Object]) -> Vec<Observation> {
        let mut observations = vec![Observation::Begun(Kind::Pod)];
        observations.extend(objects.iter().cloned().map(Observation::Listed));
        observations.push(Observation::Complete(Kind::Pod));
        observations
    }

    #[test]
    fn a_pod_deleted_without_address_keeps_its_last_one() {
        let mut history = History::default();
        observe(&mut history, listed(&[pod("a", "1", &["10.0.0.1"])]));
        let changes = observe(
            &mut history,
            vec![
                Observation::Applied(pod("a", "2", &[])),
                Observation::Deleted(pod("a", "3", &[])),
            ],
        );
        assert_eq!(changes, ["modified a 2 10.0.0.1", "deleted a 3 10.0.0.1"]);
    }

    #[test]
    fn a_new_list_tells_what_was_missed() {
        let mut history = History::default();
        observe(&mut history, listed(&[pod("a", "1", &["1"]), pod("b", "1", &["2"])]));
        let again = listed(&[pod("b", "1", &["2"]), pod("c", "5", &["3"])]);
        assert_eq!(observe(&mut history, again), ["added c 5 3", "deleted a 1 1"]);
        assert!(
            observe(&mut history, vec![Observation::Applied(pod("c", "5", &["3"]))]).is_empty()
        );
    }

    #[test]
    fn current_means_every_kind_was_listed_since_its_last_loss() {
        let mut history = History::default();
        for kind in Kind::ALL {
            assert!(!history.is_current());
            history.observe(Observation::Complete(kind));
        }
        assert!(history.is_current() && history.was_listed());
        history.observe(Observation::Lost(Kind::Node));
        assert!(!history.is_current() && history.was_listed());
        history.observe(Observation::Complete(Kind::Node));
        assert!(history.is_current());
    }
}
