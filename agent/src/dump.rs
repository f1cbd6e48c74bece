//! Records as JSON lines, for `run --dump`: what does this agent see?

use serde_json::{Value, json};
use wire::{Endpoint, Owner, Record, RecordKind};

/// One line for a record, with the names of its kinds spelled out.
pub fn line(record: &Record) -> Option<Value> {
    Some(match record.kind.as_ref()? {
        RecordKind::Connection(row) => json!({
            "kind": "connection", "owner": owner(&row.owner), "socket": row.socket_cookie,
            "role": name(row.role()), "local": text(&row.local), "remote": text(&row.remote),
            "state": name(row.state()), "at_ns": row.at_ns, "opened_ns": row.opened_ns,
            "bytes_sent": row.bytes_sent, "bytes_received": row.bytes_received,
            "retransmits": row.retransmits, "srtt_us": row.srtt_us, "end": name(row.end()),
        }),
        RecordKind::NatBinding(row) => json!({
            "kind": "nat_binding", "netns": row.netns_cookie, "zone": row.zone,
            "protocol": row.protocol,
            "original_source": text(&row.original_source),
            "original_destination": text(&row.original_destination),
            "reply_source": text(&row.reply_source),
            "reply_destination": text(&row.reply_destination),
            "first_seen_ns": row.first_seen_ns, "last_seen_ns": row.last_seen_ns,
            "evidence": name(row.evidence()), "status": row.status,
        }),
        RecordKind::Exchange(row) => json!({
            "kind": "exchange", "owner": owner(&row.owner), "socket": row.socket_cookie,
            "role": name(row.role()), "local": text(&row.local), "remote": text(&row.remote),
            "ordinal": row.ordinal, "tcp_seq_req": row.tcp_seq_req,
            "tcp_seq_resp": row.tcp_seq_resp, "start_ns": row.start_ns,
            "first_response_ns": row.first_response_ns, "end_ns": row.end_ns,
            "bytes_request": row.bytes_request, "bytes_response": row.bytes_response,
            "process": row.process, "thread": row.thread,
            "response_thread": row.response_thread, "ended_by": name(row.ended_by()),
        }),
        RecordKind::Failure(row) => json!({
            "kind": "failure", "owner": owner(&row.owner), "failure": name(row.kind()),
            "reason": row.reason, "local": text(&row.local), "remote": text(&row.remote),
            "at_ns": row.at_ns,
        }),
        RecordKind::Heartbeat(row) => json!({
            "kind": "heartbeat", "covered_from_ns": row.covered_from_ns,
            "covered_to_ns": row.covered_to_ns, "lost_kernel": row.lost_kernel,
            "lost_user": row.lost_user, "shipped": row.shipped,
            "manifest": row.manifest_id,
        }),
        RecordKind::Capability(row) => json!({
            "kind": "capability", "feature": row.feature, "loaded": row.loaded,
            "reason": row.reason, "lost": row.lost,
        }),
    })
}

fn name(value: impl std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

fn text(endpoint: &Endpoint) -> String {
    match endpoint.parts() {
        Ok((ip, port)) => std::net::SocketAddr::new(ip, port).to_string(),
        Err(error) => error.to_string(),
    }
}

fn owner(owner: &Owner) -> Value {
    json!({
        "netns": owner.netns_cookie, "cgroup": owner.cgroup_id, "pod": owner.pod_uid,
        "by": owner.attributed_by,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_reads_as_it_is() {
        let exchange = wire::Exchange {
            role: wire::Role::Server as i32,
            remote: Endpoint::new("10.0.0.1".parse().expect("an address"), 80),
            tcp_seq_req: u32::MAX,
            ..wire::Exchange::default()
        };
        let record = Record { kind: Some(RecordKind::Exchange(exchange)) };
        let line = line(&record).expect("a line");
        assert_eq!(line["role"], "server");
        assert_eq!(line["remote"], "10.0.0.1:80");
        assert_eq!(line["tcp_seq_req"], u32::MAX);
    }
}
