//! What SDKs and proxies tell: spans and log lines.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Int32Builder, Int64Builder, ListArray, StringBuilder, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};

use super::{Common, columns};
use crate::cluster::NAMESPACE;
use crate::observation::{AccessLog, Attempt, Row, Span, SpanKind};
use crate::text::{self, BUFFER};

columns!(Spans {
    trace_id: StringBuilder,
    span_id: StringBuilder,
    parent_span_id: StringBuilder,
    kind: StringBuilder,
    service_name: StringBuilder,
    pod_uid: StringBuilder,
    pod_name: StringBuilder,
    namespace: StringBuilder,
    node_name: StringBuilder,
    sender_ip: StringBuilder,
    start_ns: Int64Builder,
    end_ns: Int64Builder,
    method: StringBuilder,
    route: StringBuilder,
    status_code: Int32Builder,
    error: BooleanBuilder,
    peer_ip: StringBuilder,
    peer_port: Int32Builder,
    server_port: Int32Builder,
    request_id: StringBuilder,
    system: StringBuilder,
});

impl Spans {
    pub(super) fn push(&mut self, s: &Span, row: &Row, common: &Common<'_>, hour: &str) {
        let pod = common.names.pod(s.pod);
        let operation = common.names.operation(s.operation);
        let mut buffer = BUFFER;
        self.origin.push(common, row, hour);
        self.trace_id.append_value(text::hex(s.trace_id, 32, &mut buffer));
        self.span_id.append_value(text::hex(s.span_id.into(), 16, &mut buffer));
        match s.parent {
            Some(id) => self.parent_span_id.append_value(text::hex(id.into(), 16, &mut buffer)),
            None => self.parent_span_id.append_null(),
        }
        self.kind.append_value(match s.kind {
            SpanKind::Server => "server",
            SpanKind::Client => "client",
        });
        self.service_name.append_value(common.names.service(pod.service));
        self.pod_uid.append_value(&pod.uid);
        self.pod_name.append_value(&pod.name);
        self.namespace.append_value(NAMESPACE);
        self.node_name.append_value(common.names.node(pod.node));
        self.sender_ip.append_value(&pod.ip);
        self.start_ns.append_value(s.start_ns);
        self.end_ns.append_value(s.end_ns);
        self.method.append_value(operation.method);
        self.route.append_value(&operation.route);
        self.status_code.append_option(s.status);
        self.error.append_value(s.status.is_none_or(|status| status >= 500));
        match s.peer {
            Some(peer) => self.peer_ip.append_value(text::ip(peer, &mut buffer)),
            None => self.peer_ip.append_null(),
        }
        self.peer_port.append_option(s.peer.map(|peer| peer.port.into()));
        self.server_port.append_value(s.server_port.into());
        match s.request_id {
            Some(id) => self.request_id.append_value(text::hex(id, 32, &mut buffer)),
            None => self.request_id.append_null(),
        }
        self.system.append_value("http");
    }
}

columns!(AccessLogs {
    format: StringBuilder,
    emitter_ip: StringBuilder,
    request_id: StringBuilder,
    remote_ip: StringBuilder,
    remote_port: Int32Builder,
    method: StringBuilder,
    route: StringBuilder,
    status: Int32Builder,
    bytes_received: Int64Builder,
    body_bytes_sent: Int64Builder,
    end_lo_ns: Int64Builder,
    end_hi_ns: Int64Builder,
    duration_ns: Int64Builder,
    duration_error_ns: Int64Builder,
    upstream_name: StringBuilder,
    attempts: Attempts,
    attempts_malformed: BooleanBuilder,
    upstream_local_ip: StringBuilder,
    upstream_local_port: Int32Builder,
    attempt_count: Int32Builder,
});

impl AccessLogs {
    pub(super) fn push(&mut self, l: &AccessLog, row: &Row, common: &Common<'_>, hour: &str) {
        let operation = common.names.operation(l.operation);
        let mut buffer = BUFFER;
        self.origin.push(common, row, hour);
        self.format.append_value(l.format);
        self.emitter_ip.append_value(&common.names.pod(l.pod).ip);
        match l.request_id {
            Some(id) => self.request_id.append_value(text::hex(id, 32, &mut buffer)),
            None => self.request_id.append_null(),
        }
        self.remote_ip.append_value(text::address(l.remote_ip, &mut buffer));
        self.remote_port.append_option(l.remote_port.map(i32::from));
        self.method.append_value(operation.method);
        self.route.append_value(&operation.route);
        self.status.append_value(l.status);
        self.bytes_received.append_option(l.bytes_received);
        self.body_bytes_sent.append_value(l.body_bytes_sent);
        self.end_lo_ns.append_value(l.end_lo_ns);
        self.end_hi_ns.append_value(l.end_hi_ns);
        self.duration_ns.append_value(l.duration_ns);
        self.duration_error_ns.append_value(l.duration_error_ns);
        self.upstream_name.append_value(common.names.upstream(l.upstream));
        self.attempts.push(&l.attempts);
        self.attempts_malformed.append_value(false);
        match l.upstream_local {
            Some(end) => self.upstream_local_ip.append_value(text::ip(end, &mut buffer)),
            None => self.upstream_local_ip.append_null(),
        }
        self.upstream_local_port.append_option(l.upstream_local.map(|end| end.port.into()));
        self.attempt_count.append_option(l.attempt_count);
    }
}

/// The list column of tries.
#[derive(Debug, Default)]
struct Attempts {
    lengths: Vec<usize>,
    ip: StringBuilder,
    port: Int32Builder,
    status: Int32Builder,
    response_length: Int64Builder,
    duration_ns: Int64Builder,
    group: Int32Builder,
}

impl Attempts {
    fn push(&mut self, attempts: &[Attempt]) {
        let mut buffer = BUFFER;
        self.lengths.push(attempts.len());
        for attempt in attempts {
            self.ip.append_value(text::ip(attempt.end, &mut buffer));
            self.port.append_value(attempt.end.port.into());
            self.status.append_value(attempt.status);
            self.response_length.append_option(attempt.response_length);
            self.duration_ns.append_value(attempt.duration_ns);
            self.group.append_value(0);
        }
    }

    fn finish(&mut self) -> ListArray {
        let schema = tables::spec::<tables::AccessLog>().schema;
        let (field, fields) = list_of_structs(schema.field_with_name("attempts").ok());
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(self.ip.finish()),
            Arc::new(self.port.finish()),
            Arc::new(self.status.finish()),
            Arc::new(self.response_length.finish()),
            Arc::new(self.duration_ns.finish()),
            Arc::new(self.group.finish()),
        ];
        let offsets = OffsetBuffer::from_lengths(std::mem::take(&mut self.lengths));
        ListArray::new(field, offsets, Arc::new(StructArray::new(fields, arrays, None)), None)
    }
}

/// The element field of a list column, and the fields of its elements.
fn list_of_structs(column: Option<&Field>) -> (Arc<Field>, Fields) {
    if let Some(DataType::List(element)) = column.map(Field::data_type)
        && let DataType::Struct(fields) = element.data_type()
    {
        return (element.clone(), fields.clone());
    }
    panic!("attempts are no list of structs any more");
}
