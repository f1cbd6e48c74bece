//! What agents tell: exchanges, connections, translations, heartbeats, capabilities.

use arrow::array::{BooleanBuilder, Int32Builder, Int64Builder, StringBuilder};

use super::socket::Socket;
use super::{Common, columns};
use crate::cluster::Cluster;
use crate::names;
use crate::observation::{
    Capability, Connection, EndedBy, Exchange, Failure, Heartbeat, NatBinding, Row, State,
};
use crate::text::{self, BUFFER};

columns!(Exchanges with socket: Socket {
    ordinal: Int64Builder,
    tcp_seq_req: Int64Builder,
    tcp_seq_resp: Int64Builder,
    start_ns: Int64Builder,
    first_response_ns: Int64Builder,
    end_ns: Int64Builder,
    bytes_request: Int64Builder,
    bytes_response: Int64Builder,
    process: Int64Builder,
    thread: Int64Builder,
    response_thread: Int64Builder,
    ended_by: StringBuilder,
    protocol: StringBuilder,
    stream_id: Int64Builder,
});

impl Exchanges {
    pub(super) fn push(&mut self, e: &Exchange, row: &Row, common: &Common<'_>, hour: &str) {
        self.origin.push(common, row, hour);
        self.socket.push(common.names.pod(e.pod), e.cookie, e.role, e.local, e.remote);
        self.ordinal.append_value(e.ordinal);
        self.tcp_seq_req.append_value(e.seq_request);
        self.tcp_seq_resp.append_option(e.seq_response.map(i64::from));
        self.start_ns.append_value(e.start_ns);
        self.first_response_ns.append_option(e.first_response_ns);
        self.end_ns.append_value(e.end_ns);
        self.bytes_request.append_value(e.bytes_request);
        self.bytes_response.append_value(e.bytes_response);
        self.process.append_value(e.process.into());
        self.thread.append_value(e.thread.into());
        self.response_thread.append_option(e.response_thread.map(i64::from));
        self.ended_by.append_value(match e.ended_by {
            EndedBy::Turn => "turn",
            EndedBy::Close => "close",
            EndedBy::Quiet => "quiet",
        });
        self.protocol.append_option(e.stream.map(|_| "http2"));
        self.stream_id.append_option(e.stream.and_then(|stream| stream.id).map(i64::from));
    }
}

columns!(Connections with socket: Socket {
    state: StringBuilder,
    opened_ns: Int64Builder,
    closed_ns: Int64Builder,
    bytes_sent: Int64Builder,
    bytes_received: Int64Builder,
    retransmits: Int64Builder,
    srtt_us: Int64Builder,
    end_cause: StringBuilder,
});

impl Connections {
    pub(super) fn push(&mut self, c: &Connection, row: &Row, common: &Common<'_>, hour: &str) {
        self.origin.push(common, row, hour);
        self.socket.push(common.names.pod(c.pod), c.cookie, c.role, c.local, c.remote);
        self.state.append_value(match c.state {
            State::Open => "open",
            State::Active => "active",
            State::Closed => "closed",
        });
        self.opened_ns.append_option(c.opened_ns);
        self.closed_ns.append_option((c.state == State::Closed).then_some(row.event_ns));
        self.bytes_sent.append_value(c.bytes_sent);
        self.bytes_received.append_value(c.bytes_received);
        self.retransmits.append_value(0);
        self.srtt_us.append_value(c.srtt_us);
        self.end_cause.append_option(c.end_cause);
    }
}

columns!(NatBindings {
    netns_cookie: Int64Builder,
    zone: Int32Builder,
    protocol: Int32Builder,
    original_source_ip: StringBuilder,
    original_source_port: Int32Builder,
    original_destination_ip: StringBuilder,
    original_destination_port: Int32Builder,
    reply_source_ip: StringBuilder,
    reply_source_port: Int32Builder,
    reply_destination_ip: StringBuilder,
    reply_destination_port: Int32Builder,
    first_seen_ns: Int64Builder,
    last_seen_ns: Int64Builder,
    evidence: StringBuilder,
    status: Int64Builder,
});

const TCP: i32 = 6;
/// Status bits of a confirmed, assured entry that translates its destination.
const STATUS: i64 = 424;

impl NatBindings {
    pub(super) fn push(&mut self, n: &NatBinding, row: &Row, common: &Common<'_>, hour: &str) {
        let mut buffer = BUFFER;
        self.origin.push(common, row, hour);
        self.netns_cookie.append_value(Cluster::node_netns(n.node));
        self.zone.append_value(0);
        self.protocol.append_value(TCP);
        self.original_source_ip.append_value(text::ip(n.original.0, &mut buffer));
        self.original_source_port.append_value(n.original.0.port.into());
        self.original_destination_ip.append_value(text::ip(n.original.1, &mut buffer));
        self.original_destination_port.append_value(n.original.1.port.into());
        self.reply_source_ip.append_value(text::ip(n.reply.0, &mut buffer));
        self.reply_source_port.append_value(n.reply.0.port.into());
        self.reply_destination_ip.append_value(text::ip(n.reply.1, &mut buffer));
        self.reply_destination_port.append_value(n.reply.1.port.into());
        self.first_seen_ns.append_value(n.first_seen_ns);
        self.last_seen_ns.append_value(n.last_seen_ns);
        self.evidence.append_value(if n.is_dump { "dump" } else { "xmit" });
        self.status.append_value(STATUS);
    }
}

columns!(Failures {
    netns_cookie: Int64Builder,
    pod_uid: StringBuilder,
    kind: StringBuilder,
    local_ip: StringBuilder,
    local_port: Int32Builder,
    remote_ip: StringBuilder,
    remote_port: Int32Builder,
});

impl Failures {
    pub(super) fn push(&mut self, f: &Failure, row: &Row, common: &Common<'_>, hour: &str) {
        let pod = common.names.pod(f.pod);
        let mut buffer = BUFFER;
        self.origin.push(common, row, hour);
        self.netns_cookie.append_value(pod.netns_cookie);
        self.pod_uid.append_value(&pod.uid);
        self.kind.append_value(f.kind);
        self.local_ip.append_value(text::ip(f.local, &mut buffer));
        self.local_port.append_value(f.local.port.into());
        self.remote_ip.append_value(text::ip(f.remote, &mut buffer));
        self.remote_port.append_value(f.remote.port.into());
    }
}

columns!(Heartbeats {
    covered_from_ns: Int64Builder,
    covered_to_ns: Int64Builder,
    lost_kernel: Int64Builder,
    lost_user: Int64Builder,
    shipped: Int64Builder,
    clock_boot_ns: Int64Builder,
    clock_wall_ns: Int64Builder,
    clock_epoch_ns: Int64Builder,
    manifest_id: StringBuilder,
    idle_after_ns: Int64Builder,
});

impl Heartbeats {
    pub(super) fn push(&mut self, h: &Heartbeat, row: &Row, common: &Common<'_>, hour: &str) {
        self.origin.push(common, row, hour);
        self.covered_from_ns.append_value(h.covered_from_ns);
        self.covered_to_ns.append_value(h.covered_to_ns);
        self.lost_kernel.append_value(h.lost);
        self.lost_user.append_value(0);
        self.shipped.append_value(h.shipped);
        self.clock_boot_ns.append_value(h.clock_boot_ns);
        self.clock_wall_ns.append_value(h.clock_wall_ns);
        self.clock_epoch_ns.append_value(h.clock_epoch_ns);
        self.manifest_id.append_value(names::manifest(common.sender));
        self.idle_after_ns.append_value(h.idle_after_ns);
    }
}

columns!(Capabilities {
    manifest_id: StringBuilder,
    feature: StringBuilder,
    loaded: BooleanBuilder,
    reason: StringBuilder,
    lost: StringBuilder,
    kernel: StringBuilder,
});

impl Capabilities {
    pub(super) fn push(&mut self, c: &Capability, row: &Row, common: &Common<'_>, hour: &str) {
        self.origin.push(common, row, hour);
        self.manifest_id.append_value(names::MANIFEST);
        self.feature.append_value(c.feature);
        self.loaded.append_value(c.loaded);
        self.reason.append_option(c.reason);
        self.lost.append_value(c.lost);
        self.kernel.append_value(names::KERNEL);
    }
}
