//! Namespace and cgroup of a socket to the pod that owns it, strongest evidence first.
//!
//! A namespace cookie is never reused while the machine is up, so a namespace that was once seen
//! with a pod's cgroup stays that pod's. A pod's cgroup directory carries its uid in its name, and
//! the directory's inode is the cgroup id. Events that belong neither to the node's own namespace
//! nor to a pod below the cgroup root are of another node on the same kernel, or of nobody's
//! concern.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use agent_ebpf::abi::Owner;

/// Cgroup ids that were looked for and not found are remembered up to this number: 110 pods and as
/// many system services are far below it.
const STRANGERS_MAX: usize = 4_096;

/// Namespaces remembered: pods come and go, and each has one. 65,536 of them are 4 MiB.
const NAMESPACES_MAX: usize = 65_536;

/// Levels below the root: quality of service, pod, container and what nests in it.
const DEPTH_MAX: usize = 8;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribution {
    pub pod_uid: Option<String>,
    /// `netns` or `cgroup`; nothing for the node's own processes.
    pub by: Option<&'static str>,
}

/// Whose event this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A pod's, or the node's own.
    Ours(Attribution),
    Stranger,
}

pub struct Attributor {
    node_netns: u64,
    root: Option<PathBuf>,
    pods_by_cgroup: HashMap<u64, String>,
    pods_by_netns: HashMap<u64, String>,
    strangers: HashSet<u64>,
}

impl Attributor {
    pub fn new(node_netns: u64, root: Option<PathBuf>) -> Self {
        let mut attributor = Self {
            node_netns,
            root,
            pods_by_cgroup: HashMap::new(),
            pods_by_netns: HashMap::new(),
            strangers: HashSet::new(),
        };
        attributor.rescan();
        attributor
    }

    pub fn attribute(&mut self, owner: Owner) -> Verdict {
        if let Some(uid) = self.pods_by_netns.get(&owner.netns_cookie) {
            return ours(uid, "netns");
        }
        if let Some(uid) = self.pod_of_cgroup(owner.cgroup_id) {
            // A pod on the node's own network has no namespace to be known by.
            if owner.netns_cookie != self.node_netns && owner.netns_cookie != 0 {
                self.learn(owner.netns_cookie, &uid);
            }
            return ours(&uid, "cgroup");
        }
        if owner.netns_cookie == self.node_netns {
            return Verdict::Ours(Attribution::default());
        }
        Verdict::Stranger
    }

    /// Is this conntrack table the node's, or that of one of its pods?
    pub fn is_own_netns(&self, cookie: u64) -> bool {
        cookie == self.node_netns || self.pods_by_netns.contains_key(&cookie)
    }

    /// Looks at the cgroup tree again: pods that ended are forgotten, strangers may be new pods.
    pub fn rescan(&mut self) {
        self.strangers.clear();
        if let Some(root) = &self.root {
            self.pods_by_cgroup.clear();
            scan(root, None, DEPTH_MAX, &mut self.pods_by_cgroup);
        }
    }

    fn pod_of_cgroup(&mut self, id: u64) -> Option<String> {
        if id == 0 {
            return None;
        }
        if !self.pods_by_cgroup.contains_key(&id) && !self.strangers.contains(&id) {
            // The first event of a new container comes before the next regular look.
            self.rescan_adding();
            if !self.pods_by_cgroup.contains_key(&id) {
                if self.strangers.len() >= STRANGERS_MAX {
                    self.strangers.clear();
                }
                self.strangers.insert(id);
            }
        }
        self.pods_by_cgroup.get(&id).cloned()
    }

    fn rescan_adding(&mut self) {
        if let Some(root) = &self.root {
            scan(root, None, DEPTH_MAX, &mut self.pods_by_cgroup);
        }
    }

    fn learn(&mut self, netns_cookie: u64, uid: &str) {
        if self.pods_by_netns.len() >= NAMESPACES_MAX {
            self.pods_by_netns.clear();
        }
        self.pods_by_netns.insert(netns_cookie, uid.to_owned());
    }
}

fn ours(uid: &str, by: &'static str) -> Verdict {
    Verdict::Ours(Attribution { pod_uid: Some(uid.to_owned()), by: Some(by) })
}

/// Directories that vanish during the scan are of pods that ended; there is nothing to report.
fn scan(directory: &Path, pod: Option<&str>, depth: usize, found: &mut HashMap<u64, String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if !metadata.is_dir() {
            continue;
        }
        let name = entry.file_name();
        let own = name.to_str().and_then(pod_uid);
        let pod = own.as_deref().or(pod);
        if let Some(uid) = pod {
            found.insert(metadata.ino(), uid.to_owned());
        }
        if depth > 0 {
            scan(&entry.path(), pod, depth - 1, found);
        }
    }
}

/// The uid in a pod's directory name: `pod<uid>` with the cgroupfs driver,
/// `kubepods-burstable-pod<uid with underscores>.slice` with the systemd driver.
fn pod_uid(name: &str) -> Option<String> {
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit('-').next()?.strip_prefix("pod")?.replace('_', "-"),
        None => name.strip_prefix("pod")?.to_owned(),
    };
    let plausible = !uid.is_empty()
        && uid.chars().all(|character| character.is_ascii_alphanumeric() || character == '-');
    plausible.then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: u64 = 1;
    const POD_NETNS: u64 = 2;

    fn tree() -> (tempfile::TempDir, u64) {
        let root = tempfile::tempdir().expect("a directory");
        let container = root.path().join("burstable/pod1a-2b/container");
        fs::create_dir_all(&container).expect("a tree");
        let id = fs::metadata(&container).expect("metadata").ino();
        (root, id)
    }

    fn owner(netns_cookie: u64, cgroup_id: u64) -> Owner {
        Owner { netns_cookie, cgroup_id }
    }

    #[test]
    fn a_namespace_seen_with_a_pods_cgroup_is_that_pods_from_then_on() {
        let (root, id) = tree();
        let mut attributor = Attributor::new(NODE, Some(root.path().to_owned()));
        assert_eq!(attributor.attribute(owner(POD_NETNS, 0)), Verdict::Stranger);
        assert_eq!(attributor.attribute(owner(POD_NETNS, id)), ours("1a-2b", "cgroup"));
        assert_eq!(attributor.attribute(owner(POD_NETNS, 0)), ours("1a-2b", "netns"));
        assert!(attributor.is_own_netns(POD_NETNS));
    }

    #[test]
    fn a_pod_on_the_nodes_network_does_not_own_the_nodes_namespace() {
        let (root, id) = tree();
        let mut attributor = Attributor::new(NODE, Some(root.path().to_owned()));
        assert_eq!(attributor.attribute(owner(NODE, id)), ours("1a-2b", "cgroup"));
        assert_eq!(attributor.attribute(owner(NODE, 0)), Verdict::Ours(Attribution::default()));
    }

    #[test]
    fn a_pod_that_starts_later_is_found_at_its_first_event() {
        let (root, _) = tree();
        let mut attributor = Attributor::new(NODE, Some(root.path().to_owned()));
        let later = root.path().join("podlater");
        fs::create_dir(&later).expect("a directory");
        let id = fs::metadata(&later).expect("metadata").ino();
        assert_eq!(attributor.attribute(owner(POD_NETNS, id)), ours("later", "cgroup"));
    }

    #[test]
    fn both_cgroup_drivers_name_pods() {
        let cases = [
            ("pod8f0c-11", Some("8f0c-11")),
            ("kubepods-burstable-pod8f0c_11.slice", Some("8f0c-11")),
            ("kubepods.slice", None),
            ("system.slice", None),
            ("pod", None),
            ("pods/../x", None),
        ];
        for (name, expected) in cases {
            assert_eq!(pod_uid(name).as_deref(), expected, "{name}");
        }
    }
}
