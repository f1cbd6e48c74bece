//! What this node can see, as data: one line a feature, loaded or not, why, and what is lost.

use agent_ebpf::field::Field;
use std::fmt::Write as _;

/// A capability and what it stands on.
#[derive(Debug)]
pub struct Feature {
    /// Stable name: it is stored with every manifest.
    pub name: &'static str,
    /// Tracepoints; the program for each has its name. All must load for the feature to be there.
    pub programs: &'static [&'static str],
    pub fields: &'static [Field],
    /// What is not known without it.
    pub lost: &'static str,
    /// Without the base tier an agent is of no use.
    pub base: bool,
}

const SOCKET: &[Field] = &[
    Field::SockFamily,
    Field::SockState,
    Field::SockRemoteIp4,
    Field::SockLocalIp4,
    Field::SockRemoteIp6,
    Field::SockLocalIp6,
    Field::SockRemotePort,
    Field::SockNet,
    Field::SockProtocol,
    Field::SockType,
    Field::InetSourcePort,
    Field::NetCookie,
];

const EXCHANGE: &str = "exchange";

/// In the order of attaching: connections last, because a socket's role is learned when it opens,
/// and from then on each of its calls must be seen.
pub const FEATURES: &[Feature] = &[
    Feature {
        name: EXCHANGE,
        programs: &["sock_send_length", "sock_recv_length"],
        fields: &[Field::TcpWriteSeq, Field::TcpCopiedSeq],
        lost: "requests on the wire: hops come from spans and access logs alone",
        base: false,
    },
    Feature {
        name: "nat_binding",
        programs: &["net_dev_queue"],
        fields: &[
            Field::SkbNfct,
            Field::SkbHead,
            Field::SkbNetworkHeader,
            Field::ConnTuplehash,
            Field::ConnNet,
            Field::TuplehashSize,
            Field::TuplehashTuple,
            Field::TupleSourceIp,
            Field::TupleSourcePort,
            Field::TupleFamily,
            Field::TupleDestinationIp,
            Field::TupleDestinationPort,
            Field::TupleProtocol,
            Field::NetCookie,
        ],
        lost: "translations of short connections: dumps show only what lives long enough",
        base: true,
    },
    Feature {
        name: "reset_sent",
        programs: &["tcp_send_reset"],
        fields: &[Field::SkbHead, Field::SkbNetworkHeader, Field::SkbDevice, Field::DeviceNet],
        lost: "who refused or aborted a connection",
        base: false,
    },
    Feature {
        name: "reset_received",
        programs: &["tcp_receive_reset"],
        fields: &[],
        lost: "which connections were aborted by the other end",
        base: false,
    },
    Feature {
        name: "syn_retransmit",
        programs: &["tcp_retransmit_skb"],
        fields: &[],
        lost: "connection attempts that nobody answered",
        base: false,
    },
    Feature {
        name: "connection",
        programs: &["inet_sock_set_state"],
        fields: SOCKET,
        lost: "connections, and with them the roles of sockets and their requests",
        base: true,
    },
];

/// Fields that refine a feature and do not carry it; a program does without them.
pub const CGROUP: &[Field] = &[Field::SockCgroup, Field::CgroupNode, Field::NodeId];

/// The line of the connection tracking dump, which is no program.
pub fn conntrack_line(refusal: Option<String>) -> Line {
    Line {
        feature: "conntrack_dump",
        loaded: refusal.is_none(),
        reason: refusal,
        lost: "translations and roles of connections that are older than the agent",
        base: false,
    }
}

/// The line of what refines attribution: a kernel without these fields still tells namespaces.
pub fn cgroup_line(missing: Option<String>) -> Line {
    Line {
        feature: "cgroup",
        loaded: missing.is_none(),
        reason: missing,
        lost: "pods of sockets whose network namespace is not known yet",
        base: false,
    }
}

/// One line of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub feature: &'static str,
    pub loaded: bool,
    pub reason: Option<String>,
    pub lost: &'static str,
    pub base: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub lines: Vec<Line>,
    pub kernel: String,
}

impl Manifest {
    /// Name of this set of capabilities: equal sets on equal kernels have equal names.
    pub fn id(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.kernel.as_bytes());
        for line in &self.lines {
            hasher.update(line.feature.as_bytes());
            hasher.update(&[u8::from(line.loaded)]);
            hasher.update(line.reason.as_deref().unwrap_or_default().as_bytes());
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }

    pub fn base_tier_loaded(&self) -> bool {
        self.lines.iter().all(|line| line.loaded || !line.base)
    }

    /// Whether requests are seen on the wire. An agent without them vouches for no time: that a
    /// server was not seen to answer then says nothing.
    pub fn sees_requests(&self) -> bool {
        self.lines.iter().any(|line| line.feature == EXCHANGE && line.loaded)
    }

    pub fn records(&self, at_ns: u64) -> Vec<wire::Record> {
        let manifest_id = self.id();
        let capability = |line: &Line| wire::Capability {
            manifest_id: manifest_id.clone(),
            feature: line.feature.to_owned(),
            loaded: line.loaded,
            reason: line.reason.clone(),
            lost: line.lost.to_owned(),
            kernel: self.kernel.clone(),
            at_ns,
        };
        self.lines
            .iter()
            .map(|line| wire::Record { kind: Some(wire::RecordKind::Capability(capability(line))) })
            .collect()
    }

    /// The manifest as `throughline-agent check` prints it.
    pub fn render(&self) -> String {
        let mut text = format!("kernel {}, manifest {}\n", self.kernel, self.id());
        for line in &self.lines {
            let mark = if line.loaded { "yes" } else { "no" };
            let _ = write!(text, "{mark:<4}{:<16}", line.feature);
            let _ = match &line.reason {
                None => writeln!(text),
                Some(reason) => writeln!(text, "{reason}; lost without it: {}", line.lost),
            };
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(base_loaded: bool) -> Manifest {
        let line = |feature, loaded: bool, base| Line {
            feature,
            loaded,
            reason: (!loaded).then(|| "the verifier refused".to_owned()),
            lost: "something",
            base,
        };
        Manifest {
            lines: vec![line("connection", base_loaded, true), line("exchange", false, false)],
            kernel: "6.18".to_owned(),
        }
    }

    #[test]
    fn only_the_base_tier_decides() {
        assert!(manifest(true).base_tier_loaded());
        assert!(!manifest(false).base_tier_loaded());
    }

    #[test]
    fn requests_are_seen_where_their_feature_is_loaded() {
        let mut manifest = manifest(true);
        assert!(!manifest.sees_requests());
        manifest.lines[1].loaded = true;
        assert!(manifest.sees_requests());
    }

    #[test]
    fn the_id_follows_what_is_loaded() {
        assert_eq!(manifest(true).id(), manifest(true).id());
        assert_ne!(manifest(true).id(), manifest(false).id());
    }

    #[test]
    fn a_missing_feature_says_why_and_what_is_lost() {
        let text = manifest(true).render();
        assert!(text.contains("the verifier refused; lost without it: something"), "{text}");
        assert!(text.contains("yes connection"), "{text}");
    }
}
