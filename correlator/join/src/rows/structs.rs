//! Fixed-size rows as the structs of their tables.

use std::ops::Range;

use tables::{Hop, Path, PathHop};

use crate::WindowRows;
use crate::address::Address;
use crate::names::Name;
use crate::rows::row::{Failure, Found, HopRow, PathRow, Word as _};
use crate::rows::sums::Sums;
use crate::rows::{Scope, Tally};

pub(super) fn rows(scope: &Scope<'_>, found: &Found) -> (Vec<Hop>, Vec<Path>) {
    let hops = found.hops.iter().map(|row| hop(scope, row)).collect();
    let paths = found.paths.iter().map(|row| path(scope, found, row)).collect();
    (hops, paths)
}

/// The rows of all tables but hop and path.
pub(super) fn rest(scope: &Scope<'_>, tally: Tally) -> WindowRows {
    let Sums { quality, clock_offsets, edges, calibrations } = Sums::new(scope, &tally);
    WindowRows {
        win: scope.head().win,
        ambiguous: tally.ambiguous,
        quality,
        clock_offsets,
        edges,
        calibrations,
        ..WindowRows::default()
    }
}

/// 128 bits as a column shows them.
pub(super) fn hex(id: u128) -> String {
    format!("{id:032x}")
}

fn text(scope: &Scope<'_>, name: Option<Name>) -> Option<String> {
    scope.sight.slabs.names.text_of(name).map(str::to_owned)
}

fn ip(end: Option<(Address, u16)>) -> Option<String> {
    end.map(|(ip, _)| ip.to_string())
}

fn port(end: Option<(Address, u16)>) -> Option<i32> {
    end.map(|(_, port)| port.into())
}

fn failure(failure: Option<Failure>) -> Option<String> {
    failure.map(|f| f.word().to_owned())
}

fn owned(words: impl Iterator<Item = &'static str>) -> Vec<String> {
    words.map(str::to_owned).collect()
}

fn hop(scope: &Scope<'_>, row: &HopRow) -> Hop {
    let head = scope.head();
    Hop {
        hour: head.hour,
        win: head.win,
        stage: head.stage.into(),
        revision: 0,
        finality: head.finality.into(),
        path_id: hex(row.path_id),
        position: row.position,
        parent: row.parent,
        kind: row.kind.word().into(),
        attempt: row.attempt,
        source_pod_uid: text(scope, row.source.pod_uid),
        source_pod: text(scope, row.source.pod),
        source_namespace: text(scope, row.source.namespace),
        source_workload: text(scope, row.source.workload),
        source_node: text(scope, row.source.node),
        source_ip: ip(row.source.end),
        source_port: port(row.source.end),
        requested_ip: ip(row.requested),
        requested_port: port(row.requested),
        service: text(scope, row.service),
        service_namespace: text(scope, row.service_namespace),
        destination_pod_uid: text(scope, row.destination.pod_uid),
        destination_pod: text(scope, row.destination.pod),
        destination_namespace: text(scope, row.destination.namespace),
        destination_workload: text(scope, row.destination.workload),
        destination_node: text(scope, row.destination.node),
        destination_ip: ip(row.destination.end),
        destination_port: port(row.destination.end),
        nat: row.nat.word().into(),
        nat_node: text(scope, row.nat_node),
        nat_original: row.translation.map(|(original, _)| original.to_string()),
        nat_reply: row.translation.map(|(_, reply)| reply.to_string()),
        start_time: tables::micros_of_ns(row.start_ns),
        start_ns: row.start_ns,
        end_ns: row.end_ns,
        network_ns: row.network_ns,
        server_ns: row.server_ns,
        bytes_request: row.bytes.map(|(request, _)| request),
        bytes_response: row.bytes.map(|(_, response)| response),
        status: row.status,
        method: text(scope, row.method),
        route: text(scope, row.route),
        failure_cause: failure(row.failure),
        evidence: owned(row.evidence.words()),
        confidence: row.confidence,
        reasons: owned(row.reasons.iter().map(|reason| reason.code())),
    }
}

fn in_path(scope: &Scope<'_>, row: &HopRow) -> PathHop {
    PathHop {
        position: row.position,
        parent: row.parent,
        kind: row.kind.word().into(),
        attempt: row.attempt,
        source_pod: text(scope, row.source.pod),
        source_node: text(scope, row.source.node),
        source_ip: ip(row.source.end),
        source_port: port(row.source.end),
        requested_ip: ip(row.requested),
        requested_port: port(row.requested),
        service: text(scope, row.service),
        destination_pod: text(scope, row.destination.pod),
        destination_node: text(scope, row.destination.node),
        destination_ip: ip(row.destination.end),
        destination_port: port(row.destination.end),
        nat: row.nat.word().into(),
        nat_node: text(scope, row.nat_node),
        nat_original: row.translation.map(|(original, _)| original.to_string()),
        nat_reply: row.translation.map(|(_, reply)| reply.to_string()),
        start_ns: row.start_ns,
        end_ns: row.end_ns,
        status: row.status,
        failure_cause: failure(row.failure),
        evidence: owned(row.evidence.words()),
        confidence: row.confidence,
        reasons: owned(row.reasons.iter().map(|reason| reason.code())),
    }
}

fn path(scope: &Scope<'_>, found: &Found, row: &PathRow) -> Path {
    let head = scope.head();
    let hops = &found.hops[row.hops.start as usize..row.hops.end as usize];
    let names = |range: &Range<u32>| -> Vec<String> {
        let names = &found.names[range.start as usize..range.end as usize];
        names.iter().map(|&name| scope.text(name).to_owned()).collect()
    };
    let root = &hops[0];
    let token = root.source.end.filter(|(ip, _)| ip.token().is_some());
    Path {
        hour: head.hour,
        win: head.win,
        stage: head.stage.into(),
        revision: 0,
        finality: head.finality.into(),
        path_id: hex(row.path_id),
        request_id: scope.id(row.request_id),
        trace_id: scope.id(row.trace),
        client_token: ip(token),
        entry_service: text(scope, root.service),
        method: text(scope, root.method),
        route: text(scope, root.route),
        status: row.status,
        outcome: row.outcome.into(),
        start_time: tables::micros_of_ns(root.start_ns),
        start_ns: root.start_ns,
        end_ns: row.end_ns,
        duration_ns: row.end_ns - root.start_ns,
        hop_count: i32::try_from(hops.len()).unwrap_or(i32::MAX),
        services: names(&row.services),
        pods: names(&row.pods),
        nodes: names(&row.nodes),
        final_pod: text(scope, row.final_pod),
        failing_hop: row.failing_hop,
        failure_cause: failure(row.failure),
        verdict: row.verdict.into(),
        missing: found.missing[row.missing.start as usize..row.missing.end as usize].to_vec(),
        reasons: owned(row.reasons.particular().into_iter()),
        conf_min: row.conf_min,
        conf_joint: row.conf_joint,
        hops: hops.iter().map(|hop| in_path(scope, hop)).collect(),
    }
}
