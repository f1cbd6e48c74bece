//! The kernel structure fields that the programs read, one line each.
//!
//! rustc emits no relocations for BPF, so the agent looks the offsets up in the running kernel's
//! type information and hands them over as a read-only table, indexed by [`Field`], before the
//! programs are loaded. No offset is written in the source.

macro_rules! fields {
    ($($field:ident = $structure:literal . $path:literal),* $(,)?) => {
        #[repr(usize)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Field { $($field),* }

        impl Field {
            pub const ALL: &'static [Field] = &[$(Field::$field),*];

            /// The structure and the path within it, dots between members. An empty path asks for
            /// the structure's size.
            pub const fn path(self) -> (&'static str, &'static str) {
                match self { $(Field::$field => ($structure, $path)),* }
            }
        }
    };
}

fields! {
    SkbNfct = "sk_buff"."_nfct",
    SkbHead = "sk_buff"."head",
    SkbNetworkHeader = "sk_buff"."network_header",
    SkbDevice = "sk_buff"."dev",
    DeviceNet = "net_device"."nd_net.net",
    ConnTuplehash = "nf_conn"."tuplehash",
    ConnStatus = "nf_conn"."status",
    ConnZone = "nf_conn"."zone.id",
    ConnNet = "nf_conn"."ct_net.net",
    TuplehashSize = "nf_conntrack_tuple_hash"."",
    TuplehashTuple = "nf_conntrack_tuple_hash"."tuple",
    TupleSourceIp = "nf_conntrack_tuple"."src.u3",
    TupleSourcePort = "nf_conntrack_tuple"."src.u",
    TupleFamily = "nf_conntrack_tuple"."src.l3num",
    TupleDestinationIp = "nf_conntrack_tuple"."dst.u3",
    TupleDestinationPort = "nf_conntrack_tuple"."dst.u",
    TupleProtocol = "nf_conntrack_tuple"."dst.protonum",
    SockFamily = "sock_common"."skc_family",
    SockState = "sock_common"."skc_state",
    SockRemoteIp4 = "sock_common"."skc_daddr",
    SockLocalIp4 = "sock_common"."skc_rcv_saddr",
    SockRemoteIp6 = "sock_common"."skc_v6_daddr",
    SockLocalIp6 = "sock_common"."skc_v6_rcv_saddr",
    SockRemotePort = "sock_common"."skc_dport",
    SockNet = "sock_common"."skc_net.net",
    SockProtocol = "sock"."sk_protocol",
    SockType = "sock"."sk_type",
    SockError = "sock"."sk_err",
    SockCgroup = "sock"."sk_cgrp_data.cgroup",
    InetSourcePort = "inet_sock"."inet_sport",
    NetCookie = "net"."net_cookie",
    CgroupNode = "cgroup"."kn",
    NodeId = "kernfs_node"."id",
    TcpBytesAcked = "tcp_sock"."bytes_acked",
    TcpBytesReceived = "tcp_sock"."bytes_received",
    TcpSrtt = "tcp_sock"."srtt_us",
    TcpRetransmits = "tcp_sock"."total_retrans",
    TcpWriteSeq = "tcp_sock"."write_seq",
    TcpCopiedSeq = "tcp_sock"."copied_seq",
}

/// Number of entries of the offset table.
pub const COUNT: usize = Field::ALL.len();
