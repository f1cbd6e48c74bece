//! An agent's record becomes a row of its table: boot clock to wall clock, addresses to text.

use tables::Origin;
use wire::{
    ConnectionEnd, ConnectionState, Endpoint, ExchangeEnd, FailureKind, NatEvidence, Owner,
    RecordKind, Role,
};

use super::{Admission, is_plausible, text};
use crate::batch::Rows;

/// Why a record can't be a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("admit a record of a kind this release does not know")]
    Kind,
    #[error("admit a record with an address that is none")]
    Address,
    #[error("admit a record with a time out of range")]
    Time,
    #[error("admit a record with text where a name or a word was due")]
    Text,
}

impl RecordError {
    /// The stable reason in `raw_quarantine`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Kind => "record_kind_unknown",
            Self::Address => "record_address_invalid",
            Self::Time => "record_time_invalid",
            Self::Text => "record_text_invalid",
        }
    }
}

/// Turns the records of one batch into rows. `origin` has the batch's identity, `epoch_ns` is wall
/// clock minus boot clock on the node.
pub struct Records<'a> {
    pub admission: &'a Admission,
    pub origin: Origin,
    pub epoch_ns: i64,
}

impl Records<'_> {
    /// # Errors
    /// See [`RecordError`]. The other records of the batch are not touched by it.
    pub fn admit(
        &mut self,
        item: i32,
        record: &wire::Record,
        rows: &mut Rows,
    ) -> Result<(), RecordError> {
        self.origin.item = item;
        match record.kind.as_ref().ok_or(RecordError::Kind)? {
            RecordKind::Connection(r) => rows.connections.push(self.connection(r)?),
            RecordKind::NatBinding(r) => rows.nat_bindings.push(self.nat_binding(r)?),
            RecordKind::Exchange(r) => rows.exchanges.push(self.exchange(r)?),
            RecordKind::Failure(r) => rows.failures.push(self.failure(r)?),
            RecordKind::Heartbeat(r) => rows.heartbeats.push(self.heartbeat(r)?),
            RecordKind::Capability(r) => rows.capabilities.push(self.capability(r)?),
        }
        Ok(())
    }

    fn connection(&self, record: &wire::Connection) -> Result<tables::Connection, RecordError> {
        let at_ns = self.wall(record.at_ns)?;
        let (local_ip, local_port) = self.end(&record.local)?;
        let (remote_ip, remote_port) = self.end(&record.remote)?;
        let (pod_uid, attributed_by) = pod(&record.owner)?;
        Ok(tables::Connection {
            netns_cookie: bits(record.owner.netns_cookie),
            cgroup_id: bits(record.owner.cgroup_id),
            pod_uid,
            attributed_by,
            socket_cookie: bits(record.socket_cookie),
            role: role(record.role()),
            local_ip,
            local_port,
            remote_ip,
            remote_port,
            state: match record.state() {
                ConnectionState::Open => "open",
                ConnectionState::Closed => "closed",
                ConnectionState::Active | ConnectionState::Unknown => "active",
            }
            .to_owned(),
            opened_ns: record.opened_ns.map(|ns| self.wall(ns)).transpose()?,
            closed_ns: record.closed_ns.map(|ns| self.wall(ns)).transpose()?,
            bytes_sent: count(record.bytes_sent),
            bytes_received: count(record.bytes_received),
            retransmits: i64::from(record.retransmits),
            srtt_us: i64::from(record.srtt_us),
            end_cause: match record.end() {
                ConnectionEnd::None => None,
                ConnectionEnd::Fin => Some("fin".to_owned()),
                ConnectionEnd::Reset => Some("reset".to_owned()),
                ConnectionEnd::Refused => Some("refused".to_owned()),
                ConnectionEnd::Timeout => Some("timeout".to_owned()),
            },
            ..tables::Connection::from_origin(&self.at(at_ns)?)
        })
    }

    fn nat_binding(&self, record: &wire::NatBinding) -> Result<tables::NatBinding, RecordError> {
        let last_seen_ns = self.wall(record.last_seen_ns)?;
        let (original_source_ip, original_source_port) = self.end(&record.original_source)?;
        let (original_destination_ip, original_destination_port) =
            self.end(&record.original_destination)?;
        let (reply_source_ip, reply_source_port) = self.end(&record.reply_source)?;
        let (reply_destination_ip, reply_destination_port) = self.end(&record.reply_destination)?;
        Ok(tables::NatBinding {
            netns_cookie: bits(record.netns_cookie),
            zone: i32::try_from(record.zone).unwrap_or(i32::MAX),
            protocol: i32::try_from(record.protocol).unwrap_or(i32::MAX),
            original_source_ip,
            original_source_port,
            original_destination_ip,
            original_destination_port,
            reply_source_ip,
            reply_source_port,
            reply_destination_ip,
            reply_destination_port,
            first_seen_ns: self.wall(record.first_seen_ns)?,
            last_seen_ns,
            evidence: match record.evidence() {
                NatEvidence::Xmit => "xmit",
                NatEvidence::Dump => "dump",
                NatEvidence::SocketLb => "socket_lb",
                NatEvidence::Unknown => "unknown",
            }
            .to_owned(),
            status: bits(record.status),
            ..tables::NatBinding::from_origin(&self.at(last_seen_ns)?)
        })
    }

    fn exchange(&self, record: &wire::Exchange) -> Result<tables::Exchange, RecordError> {
        let end_ns = self.wall(record.end_ns)?;
        let (local_ip, local_port) = self.end(&record.local)?;
        let (remote_ip, remote_port) = self.end(&record.remote)?;
        let (pod_uid, attributed_by) = pod(&record.owner)?;
        Ok(tables::Exchange {
            netns_cookie: bits(record.owner.netns_cookie),
            cgroup_id: bits(record.owner.cgroup_id),
            pod_uid,
            attributed_by,
            socket_cookie: bits(record.socket_cookie),
            role: role(record.role()),
            local_ip,
            local_port,
            remote_ip,
            remote_port,
            ordinal: record.ordinal.map_or(-1, i64::from),
            tcp_seq_req: i64::from(record.tcp_seq_req),
            tcp_seq_resp: record.tcp_seq_resp.map(i64::from),
            start_ns: self.wall(record.start_ns)?,
            first_response_ns: record.first_response_ns.map(|ns| self.wall(ns)).transpose()?,
            end_ns,
            bytes_request: count(record.bytes_request),
            bytes_response: count(record.bytes_response),
            process: i64::from(record.process),
            thread: i64::from(record.thread),
            response_thread: record.response_thread.map(i64::from),
            ended_by: match record.ended_by() {
                ExchangeEnd::Turn => "turn",
                ExchangeEnd::Close => "close",
                ExchangeEnd::Quiet => "quiet",
                ExchangeEnd::Unknown => "unknown",
            }
            .to_owned(),
            ..tables::Exchange::from_origin(&self.at(end_ns)?)
        })
    }

    fn failure(&self, record: &wire::Failure) -> Result<tables::Failure, RecordError> {
        let at_ns = self.wall(record.at_ns)?;
        let (local_ip, local_port) = self.end(&record.local)?;
        let (remote_ip, remote_port) = self.end(&record.remote)?;
        if record.reason.as_deref().is_some_and(|reason| !text::is_word(reason)) {
            return Err(RecordError::Text);
        }
        Ok(tables::Failure {
            netns_cookie: bits(record.owner.netns_cookie),
            pod_uid: pod(&record.owner)?.0,
            kind: match record.kind() {
                FailureKind::ResetSent => "reset_sent",
                FailureKind::ResetReceived => "reset_received",
                FailureKind::SynRetransmit => "syn_retransmit",
                FailureKind::Refused => "refused",
                FailureKind::Drop => "drop",
                FailureKind::Unknown => "unknown",
            }
            .to_owned(),
            reason: record.reason.clone(),
            local_ip,
            local_port,
            remote_ip,
            remote_port,
            ..tables::Failure::from_origin(&self.at(at_ns)?)
        })
    }

    fn heartbeat(&self, record: &wire::Heartbeat) -> Result<tables::Heartbeat, RecordError> {
        let covered_to_ns = self.wall(record.covered_to_ns)?;
        if !record.manifest_id.is_empty() && !text::is_life_id(&record.manifest_id) {
            return Err(RecordError::Text);
        }
        Ok(tables::Heartbeat {
            covered_from_ns: self.wall(record.covered_from_ns)?,
            covered_to_ns,
            lost_kernel: count(record.lost_kernel),
            lost_user: count(record.lost_user),
            shipped: count(record.shipped),
            clock_boot_ns: count(record.clock_boot_ns),
            clock_wall_ns: count(record.clock_wall_ns),
            clock_epoch_ns: self.epoch_ns,
            manifest_id: record.manifest_id.clone(),
            idle_after_ns: count(record.idle_after_ns),
            ..tables::Heartbeat::from_origin(&self.at(covered_to_ns)?)
        })
    }

    fn capability(&self, record: &wire::Capability) -> Result<tables::Capability, RecordError> {
        let at_ns = self.wall(record.at_ns)?;
        if !text::is_life_id(&record.manifest_id) || !text::is_word(&record.feature) {
            return Err(RecordError::Text);
        }
        Ok(tables::Capability {
            manifest_id: record.manifest_id.clone(),
            feature: record.feature.clone(),
            loaded: record.loaded,
            reason: record.reason.as_deref().map(text::sentence),
            lost: text::sentence(&record.lost),
            kernel: text::sentence(&record.kernel),
            ..tables::Capability::from_origin(&self.at(at_ns)?)
        })
    }

    fn at(&self, event_ns: i64) -> Result<Origin, RecordError> {
        if !is_plausible(event_ns, self.origin.received_ns) {
            return Err(RecordError::Time);
        }
        Ok(Origin { event_ns, ..self.origin.clone() })
    }

    fn wall(&self, boot_ns: u64) -> Result<i64, RecordError> {
        let boot_ns = i64::try_from(boot_ns).map_err(|_| RecordError::Time)?;
        boot_ns.checked_add(self.epoch_ns).filter(|&ns| ns >= 0).ok_or(RecordError::Time)
    }

    fn end(&self, endpoint: &Endpoint) -> Result<(String, i32), RecordError> {
        let (ip, port) = endpoint.parts().map_err(|_| RecordError::Address)?;
        Ok((self.admission.address(ip), i32::from(port)))
    }
}

fn pod(owner: &Owner) -> Result<(Option<String>, Option<String>), RecordError> {
    if owner.pod_uid.as_deref().is_some_and(|uid| !text::is_name(uid)) {
        return Err(RecordError::Text);
    }
    let attributed_by = match owner.attributed_by.as_deref() {
        None => None,
        Some(word) if text::is_word(word) => Some(word.to_owned()),
        Some(_) => return Err(RecordError::Text),
    };
    Ok((owner.pod_uid.clone(), attributed_by))
}

fn role(role: Role) -> String {
    match role {
        Role::Client => "client",
        Role::Server => "server",
        Role::Unknown => "unknown",
    }
    .to_owned()
}

/// Cookies, cgroup ids and status words are bit patterns; columns are signed.
fn bits(value: u64) -> i64 {
    value.cast_signed()
}

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::for_tests;

    fn records(admission: &Admission) -> Records<'_> {
        let origin = Origin { node: "node-1".into(), ..Origin::default() };
        Records { admission, origin, epoch_ns: 1_000_000 }
    }

    fn exchange() -> wire::Exchange {
        wire::Exchange {
            owner: Owner {
                netns_cookie: u64::MAX,
                pod_uid: Some("uid-1".into()),
                ..Owner::default()
            },
            role: Role::Server as i32,
            local: Endpoint::new("10.244.1.3".parse().unwrap(), 80),
            remote: Endpoint::new("198.18.0.2".parse().unwrap(), 40_000),
            tcp_seq_req: u32::MAX,
            start_ns: 5,
            end_ns: 9,
            ended_by: ExchangeEnd::Turn as i32,
            ..wire::Exchange::default()
        }
    }

    #[test]
    fn an_exchange_gets_wall_time_and_a_token_for_the_client_outside() {
        let admission = for_tests();
        let mut rows = Rows::default();
        let record = wire::Record { kind: Some(RecordKind::Exchange(exchange())) };
        records(&admission).admit(3, &record, &mut rows).unwrap();
        let row = &rows.exchanges[0];
        assert_eq!((row.start_ns, row.end_ns, row.event_ns), (1_000_005, 1_000_009, 1_000_009));
        assert_eq!((row.item, row.ordinal, row.tcp_seq_req), (3, -1, 4_294_967_295));
        assert_eq!((row.role.as_str(), row.netns_cookie), ("server", -1));
        assert!(row.remote_ip.starts_with("ext-"), "{}", row.remote_ip);
    }

    #[test]
    fn a_bad_record_is_refused_with_its_reason() {
        let admission = for_tests();
        let bad_address =
            wire::Exchange { remote: Endpoint { ip: vec![1], port: 1 }, ..exchange() };
        let bad_time = wire::Exchange { end_ns: u64::MAX, ..exchange() };
        let owner = Owner { pod_uid: Some("free text".into()), ..Owner::default() };
        let bad_text = wire::Exchange { owner, ..exchange() };
        for (record, expected) in [
            (Some(RecordKind::Exchange(bad_address)), RecordError::Address),
            (Some(RecordKind::Exchange(bad_time)), RecordError::Time),
            (Some(RecordKind::Exchange(bad_text)), RecordError::Text),
            (None, RecordError::Kind),
        ] {
            let mut rows = Rows::default();
            let record = wire::Record { kind: record };
            assert_eq!(records(&admission).admit(0, &record, &mut rows), Err(expected));
            assert!(rows.is_empty());
        }
    }
}
