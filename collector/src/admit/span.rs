//! An OpenTelemetry span becomes a row of `raw_span`: ids, times, and the few attributes that say
//! which socket, which route and which request it was, under their current and older names.
//!
//! Names, events, links, status messages, trace state and every other attribute never pass.

use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tables::Origin;

use super::attributes::Attributes;
use super::{Admission, Dropped, is_plausible, route, text};

const METHOD: [&str; 2] = ["http.request.method", "http.method"];
const ROUTE: [&str; 2] = ["url.template", "http.route"];
const PATH: [&str; 4] = ["url.path", "http.target", "url.full", "http.url"];
const URL: [&str; 2] = ["url.full", "http.url"];
const STATUS: [&str; 2] = ["http.response.status_code", "http.status_code"];
const REQUEST_ID: [&str; 2] =
    ["http.request.header.x-request-id", "http.request.header.x_request_id"];
const PEER_IP: [&str; 3] = ["network.peer.address", "net.sock.peer.addr", "net.peer.ip"];
const PEER_PORT: [&str; 2] = ["network.peer.port", "net.sock.peer.port"];
const LOCAL_IP: [&str; 3] = ["network.local.address", "net.sock.host.addr", "net.host.ip"];
const LOCAL_PORT: [&str; 2] = ["network.local.port", "net.sock.host.port"];
const SERVER_PORT: [&str; 1] = ["server.port"];
/// The peer's port on server spans, the server's port on client spans.
const OLD_PEER_PORT: [&str; 1] = ["net.peer.port"];
const OLD_HOST_PORT: [&str; 1] = ["net.host.port"];
const RESOURCE: [&str; 5] =
    ["service.name", "k8s.pod.uid", "k8s.pod.name", "k8s.namespace.name", "k8s.node.name"];

/// Prefixes that say which system a span is of, most telling first. A client of a database may
/// speak HTTP to it; a server that was asked by HTTP may note its database on its own span.
const SYSTEMS: [(&str, &[&str]); 4] =
    [("rpc", &["rpc."]), ("db", &["db."]), ("messaging", &["messaging."]), ("http", HTTP)];
const SYSTEMS_OF_SERVERS: [(&str, &[&str]); 4] =
    [("rpc", &["rpc."]), ("http", HTTP), ("messaging", &["messaging."]), ("db", &["db."])];
const HTTP: &[&str] = &["http.", "url."];

/// Why a span can't be a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    #[error("admit a span without a trace id of 16 bytes and a span id of 8, not all zero")]
    Ids,
    #[error("admit a span without a start and an end in order and of our days")]
    Times,
}

impl SpanError {
    /// The stable reason in `raw_quarantine`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Ids => "span_without_ids",
            Self::Times => "span_times_invalid",
        }
    }
}

/// What all spans of one resource share.
#[derive(Clone, Debug, Default)]
pub struct ResourceNames {
    service_name: Option<String>,
    pod_uid: Option<String>,
    pod_name: Option<String>,
    namespace: Option<String>,
    node_name: Option<String>,
}

impl Admission {
    pub fn resource(&self, resource: Option<&Resource>, dropped: &mut Dropped) -> ResourceNames {
        let Some(resource) = resource else { return ResourceNames::default() };
        let attributes = Attributes::new(&resource.attributes);
        self.count_unknown(&attributes, dropped, |key| RESOURCE.contains(&key));
        let [service_name, pod_uid, pod_name, namespace, node_name] = RESOURCE.map(|name| {
            let fits = if name == RESOURCE[0] { text::is_service_name } else { text::is_name };
            attributes.text(&[name]).filter(|value| fits(value)).map(str::to_owned)
        });
        ResourceNames { service_name, pod_uid, pod_name, namespace, node_name }
    }

    /// # Errors
    /// When ids or times are missing: the row could be joined to nothing.
    pub fn span(
        &self,
        span: &Span,
        resource: &ResourceNames,
        origin: &Origin,
        sender_ip: &str,
        dropped: &mut Dropped,
    ) -> Result<tables::Span, SpanError> {
        let trace_id = id::<16>(&span.trace_id).ok_or(SpanError::Ids)?;
        let span_id = id::<8>(&span.span_id).ok_or(SpanError::Ids)?;
        let (start_ns, end_ns) = times(span)?;
        if !is_plausible(end_ns, origin.received_ns) {
            return Err(SpanError::Times);
        }
        let attributes = Attributes::new(&span.attributes);
        self.count_unknown(&attributes, dropped, is_known);

        let kind = span.kind();
        let origin = Origin { event_ns: end_ns, ..origin.clone() };
        let ports = Ports::of(kind, &attributes);
        Ok(tables::Span {
            trace_id,
            span_id,
            parent_span_id: id::<8>(&span.parent_span_id),
            kind: kind_word(kind).to_owned(),
            service_name: resource.service_name.clone(),
            pod_uid: resource.pod_uid.clone(),
            pod_name: resource.pod_name.clone(),
            namespace: resource.namespace.clone(),
            node_name: resource.node_name.clone(),
            sender_ip: Some(sender_ip.to_owned()),
            start_ns,
            end_ns,
            method: attributes.text(&METHOD).map(text::method),
            route: route_of(&attributes),
            status_code: status_of(&attributes),
            error: span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error),
            peer_ip: attributes.address(&PEER_IP).map(|ip| self.address(ip)),
            peer_port: ports.peer,
            local_ip: attributes.address(&LOCAL_IP).map(|ip| self.address(ip)),
            local_port: ports.local,
            server_port: ports.server,
            request_id: attributes.text(&REQUEST_ID).and_then(|value| self.request_id(value)),
            system: system_of(kind, &attributes),
            ..tables::Span::from_origin(&origin)
        })
    }

    fn count_unknown(
        &self,
        attributes: &Attributes<'_>,
        dropped: &mut Dropped,
        is_known: impl Fn(&str) -> bool,
    ) {
        for key in attributes.keys().filter(|key| !is_known(key)) {
            dropped.count(self.attribute_hash(key));
        }
    }
}

struct Ports {
    peer: Option<i32>,
    local: Option<i32>,
    server: Option<i32>,
}

impl Ports {
    /// The same old name means different ends on different kinds of spans.
    fn of(kind: SpanKind, attributes: &Attributes<'_>) -> Self {
        let peer = attributes.port(&PEER_PORT);
        let local = attributes.port(&LOCAL_PORT);
        let server = attributes.port(&SERVER_PORT);
        let old_peer = attributes.port(&OLD_PEER_PORT);
        let old_host = attributes.port(&OLD_HOST_PORT);
        if kind == SpanKind::Server {
            return Self { peer: peer.or(old_peer), local, server: server.or(old_host) };
        }
        // Beside `net.peer.ip` the old port is the socket peer's; it is the server's in any case.
        let socket_peer = attributes.address(&["net.peer.ip"]).and(old_peer);
        let in_url = attributes.text(&URL).and_then(port_of_url);
        Self { peer: peer.or(socket_peer), local, server: server.or(old_peer).or(in_url) }
    }
}

fn is_known(key: &str) -> bool {
    let groups: [&[&str]; 12] = [
        &METHOD,
        &ROUTE,
        &PATH,
        &STATUS,
        &REQUEST_ID,
        &PEER_IP,
        &PEER_PORT,
        &LOCAL_IP,
        &LOCAL_PORT,
        &SERVER_PORT,
        &OLD_PEER_PORT,
        &OLD_HOST_PORT,
    ];
    groups.iter().any(|names| names.contains(&key))
}

fn times(span: &Span) -> Result<(i64, i64), SpanError> {
    let start = i64::try_from(span.start_time_unix_nano).map_err(|_| SpanError::Times)?;
    let end = i64::try_from(span.end_time_unix_nano).map_err(|_| SpanError::Times)?;
    if start == 0 || end < start { Err(SpanError::Times) } else { Ok((start, end)) }
}

/// Lower-case hex of an id of the right length that is not all zero.
fn id<const LENGTH: usize>(bytes: &[u8]) -> Option<String> {
    let bytes: [u8; LENGTH] = bytes.try_into().ok()?;
    if bytes == [0; LENGTH] {
        return None;
    }
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn kind_word(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified => "unspecified",
        SpanKind::Internal => "internal",
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

/// A framework's template wins over a path; both go through ours, as either may be a raw path.
fn route_of(attributes: &Attributes<'_>) -> Option<String> {
    attributes.text(&ROUTE).or_else(|| attributes.text(&PATH)).map(route::template)
}

fn status_of(attributes: &Attributes<'_>) -> Option<i32> {
    let status = attributes.integer(&STATUS)?;
    i32::try_from(status).ok().filter(|status| (100..=999).contains(status))
}

fn system_of(kind: SpanKind, attributes: &Attributes<'_>) -> Option<String> {
    let systems = if kind == SpanKind::Server { SYSTEMS_OF_SERVERS } else { SYSTEMS };
    let found = systems.iter().find(|(_, prefixes)| attributes.has(prefixes));
    found.map(|(system, _)| (*system).to_owned())
}

fn port_of_url(url: &str) -> Option<i32> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let explicit = host.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    match explicit {
        Some((_, port)) => port.parse::<u16>().ok().map(i32::from),
        None if scheme == "http" => Some(80),
        None if scheme == "https" => Some(443),
        None => None,
    }
}

#[cfg(test)]
#[path = "span_tests.rs"]
mod tests;
