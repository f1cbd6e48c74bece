//! One batch as bytes: a renumbered or retyped field changes them, and so fails here.

use prost::Message;
use wire::{
    Batch, Capability, Connection, Endpoint, Exchange, Failure, Heartbeat, NatBinding, Owner,
    Record, RecordKind,
};

const GOLDEN: &str = include_str!("golden.hex");

#[test]
fn batch_of_every_kind_encodes_to_the_golden_bytes() {
    let hex: String = batch().encode_to_vec().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, GOLDEN.trim(), "the wire contract changed: add fields, never renumber");
}

/// Every field has a value of its own, so that two swapped numbers show.
fn batch() -> Batch {
    let owner = Owner {
        netns_cookie: 1,
        cgroup_id: 2,
        pod_uid: Some("pod".into()),
        attributed_by: Some("netns".into()),
    };
    let end = |n: u8| Endpoint { ip: vec![10, 0, 0, n], port: 1000 + u32::from(n) };
    let kinds = vec![
        RecordKind::Connection(Connection {
            owner: owner.clone(),
            socket_cookie: 3,
            role: 1,
            local: end(1),
            remote: end(2),
            state: 3,
            at_ns: 4,
            opened_ns: Some(5),
            closed_ns: Some(6),
            bytes_sent: 7,
            bytes_received: 8,
            retransmits: 9,
            srtt_us: 10,
            end: 2,
        }),
        RecordKind::NatBinding(NatBinding {
            netns_cookie: 11,
            zone: 12,
            protocol: 6,
            original_source: end(1),
            original_destination: end(2),
            reply_source: end(3),
            reply_destination: end(4),
            first_seen_ns: 13,
            last_seen_ns: 14,
            evidence: 1,
            status: 15,
        }),
        RecordKind::Exchange(Exchange {
            owner: owner.clone(),
            socket_cookie: 16,
            role: 2,
            local: end(1),
            remote: end(2),
            ordinal: Some(17),
            tcp_seq_req: 18,
            tcp_seq_resp: Some(19),
            start_ns: 20,
            first_response_ns: Some(21),
            end_ns: 22,
            bytes_request: 23,
            bytes_response: 24,
            process: 25,
            thread: 26,
            response_thread: Some(27),
            ended_by: 3,
        }),
        RecordKind::Failure(Failure {
            owner,
            kind: 5,
            reason: Some("NO_SOCKET".into()),
            local: end(1),
            remote: end(2),
            at_ns: 28,
        }),
        RecordKind::Heartbeat(Heartbeat {
            covered_from_ns: 29,
            covered_to_ns: 30,
            lost_kernel: 31,
            lost_user: 32,
            shipped: 33,
            clock_boot_ns: 34,
            clock_wall_ns: 35,
            manifest_id: "m".into(),
            idle_after_ns: 36,
        }),
        RecordKind::Capability(Capability {
            manifest_id: "m".into(),
            feature: "exchange".into(),
            loaded: true,
            reason: Some("r".into()),
            lost: "l".into(),
            kernel: "6".into(),
            at_ns: 37,
        }),
    ];
    Batch {
        node: "node-1".into(),
        boot_id: "boot".into(),
        sequence: 38,
        clock_epoch_ns: -39,
        records: kinds.into_iter().map(|kind| Record { kind: Some(kind) }).collect(),
    }
}
