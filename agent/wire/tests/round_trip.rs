//! decode(encode(x)) = x, for every record; and what is unknown is skipped, never an error.

use proptest::prelude::*;
use prost::Message;
use wire::{
    Batch, Capability, Connection, Endpoint, Exchange, Failure, Heartbeat, NatBinding, Owner,
    Record, RecordKind,
};

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (any::<std::net::IpAddr>(), any::<u16>()).prop_map(|(ip, port)| Endpoint::new(ip, port))
}

fn owner() -> impl Strategy<Value = Owner> {
    (any::<u64>(), any::<u64>(), any::<Option<String>>(), any::<Option<String>>()).prop_map(
        |(netns_cookie, cgroup_id, pod_uid, attributed_by)| Owner {
            netns_cookie,
            cgroup_id,
            pod_uid,
            attributed_by,
        },
    )
}

fn exchange() -> impl Strategy<Value = RecordKind> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<Option<u64>>());
    let optional = (any::<Option<u32>>(), any::<Option<u32>>(), any::<Option<u32>>());
    (owner(), endpoint(), endpoint(), numbers, optional, 0..=2i32, any::<u32>()).prop_map(
        |(owner, local, remote, (a, b, c, first), (ordinal, resp, thread), role, d)| {
            RecordKind::Exchange(Exchange {
                owner,
                local,
                remote,
                role,
                ordinal,
                socket_cookie: a,
                start_ns: b,
                end_ns: c,
                first_response_ns: first,
                tcp_seq_req: d,
                tcp_seq_resp: resp,
                bytes_request: c,
                bytes_response: a,
                process: d,
                thread: d,
                response_thread: thread,
                ended_by: role,
            })
        },
    )
}

fn connection() -> impl Strategy<Value = RecordKind> {
    let moments = (any::<u64>(), any::<Option<u64>>(), any::<Option<u64>>());
    (owner(), endpoint(), endpoint(), moments, any::<u32>()).prop_map(
        |(owner, local, remote, (at_ns, opened_ns, closed_ns), n)| {
            RecordKind::Connection(Connection {
                owner,
                local,
                remote,
                at_ns,
                opened_ns,
                closed_ns,
                socket_cookie: at_ns,
                role: 1,
                state: 3,
                bytes_sent: at_ns,
                bytes_received: at_ns,
                retransmits: n,
                srtt_us: n,
                end: 2,
            })
        },
    )
}

fn binding() -> impl Strategy<Value = RecordKind> {
    (endpoint(), endpoint(), endpoint(), endpoint(), any::<u64>(), any::<u32>()).prop_map(
        |(original_source, original_destination, reply_source, reply_destination, n, m)| {
            RecordKind::NatBinding(NatBinding {
                netns_cookie: n,
                zone: m,
                protocol: m,
                original_source,
                original_destination,
                reply_source,
                reply_destination,
                first_seen_ns: n,
                last_seen_ns: n,
                evidence: 2,
                status: n,
            })
        },
    )
}

fn other() -> impl Strategy<Value = RecordKind> {
    prop_oneof![
        (owner(), endpoint(), endpoint(), any::<Option<String>>(), any::<u64>()).prop_map(
            |(owner, local, remote, reason, at_ns)| {
                RecordKind::Failure(Failure { owner, kind: 5, reason, local, remote, at_ns })
            }
        ),
        (any::<[u64; 8]>(), any::<String>()).prop_map(|(n, manifest_id)| {
            RecordKind::Heartbeat(Heartbeat {
                covered_from_ns: n[0],
                covered_to_ns: n[1],
                lost_kernel: n[2],
                lost_user: n[3],
                shipped: n[4],
                clock_boot_ns: n[5],
                clock_wall_ns: n[6],
                manifest_id,
                idle_after_ns: n[7],
            })
        }),
        (any::<String>(), any::<bool>(), any::<Option<String>>(), any::<u64>()).prop_map(
            |(text, loaded, reason, at_ns)| {
                RecordKind::Capability(Capability {
                    manifest_id: text.clone(),
                    feature: text.clone(),
                    loaded,
                    reason,
                    lost: text.clone(),
                    kernel: text,
                    at_ns,
                })
            }
        ),
    ]
}

proptest! {
    #[test]
    fn batch_comes_back_as_it_was(
        node in any::<String>(),
        sequence in any::<u64>(),
        clock_epoch_ns in any::<i64>(),
        kinds in prop::collection::vec(prop_oneof![exchange(), connection(), binding(), other()], 0..8),
    ) {
        let records = kinds.into_iter().map(|kind| Record { kind: Some(kind) }).collect();
        let batch = Batch { node, boot_id: "boot".into(), sequence, clock_epoch_ns, records };
        prop_assert_eq!(Batch::decode(batch.encode_to_vec().as_slice()).unwrap(), batch);
    }

    #[test]
    fn endpoint_gives_back_its_address_in_canonical_form(ip in any::<std::net::IpAddr>(), port in any::<u16>()) {
        prop_assert_eq!(Endpoint::new(ip, port).parts(), Ok((ip.to_canonical(), port)));
    }

    #[test]
    fn any_bytes_decode_or_are_refused_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        if let Ok(batch) = Batch::decode(bytes.as_slice()) {
            for record in batch.records {
                if let Some(RecordKind::Exchange(e)) = record.kind {
                    let _ = e.local.parts();
                }
            }
        }
    }
}

#[test]
fn record_kind_of_a_newer_agent_is_a_record_without_a_kind() {
    // Field 99, length-delimited, two bytes: no kind that this version knows.
    let record = Record::decode([0x9a, 0x06, 0x02, 0x08, 0x01].as_slice()).unwrap();
    assert_eq!(record.kind, None);
}

#[test]
fn address_of_a_wrong_length_is_named() {
    let end = Endpoint { ip: vec![1, 2, 3], port: 1 };
    assert_eq!(end.parts(), Err(wire::AddressError::Length(3)));
    let end = Endpoint { ip: vec![1, 2, 3, 4], port: 70_000 };
    assert_eq!(end.parts(), Err(wire::AddressError::Port(70_000)));
}
