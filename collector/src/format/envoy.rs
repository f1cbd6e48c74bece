//! A line of Envoy: its default text format, Istio's longer one, or JSON with the keys that Istio
//! and Contour use.
//!
//! Times are the request's start and its duration, both in whole milliseconds. Only the last
//! attempt's server is logged; how many there were is known where the format was told to count
//! them. Byte counts are of bodies, so that they are not those of a socket.

use serde_json::{Map, Value};
use tables::{AccessLog, Attempt, Origin};

use super::field::{fields, present, whole};
use super::{LineError, iso_moment, socket_address};
use crate::admit::{self, Admission};

pub const FORMAT: &str = "envoy";

const MILLISECOND_NS: i64 = 1_000_000;
/// Fields of the default format, and of Istio's.
const DEFAULT_FIELDS: usize = 13;
const ISTIO_FIELDS: usize = 22;
/// Envoy has some 30 flags of two to five letters and a line rarely more than two of them.
const FLAGS_CHARS_MAX: usize = 64;

/// What a line says, whichever form it has.
#[derive(Debug, Default)]
struct Said<'a> {
    start: &'a str,
    method: Option<&'a str>,
    path: Option<&'a str>,
    status: Option<i64>,
    flags: Option<&'a str>,
    bytes_sent: Option<i64>,
    duration_ms: Option<i64>,
    upstream_ms: Option<i64>,
    request_id: Option<&'a str>,
    trace_id: Option<&'a str>,
    upstream_host: Option<&'a str>,
    upstream_cluster: Option<&'a str>,
    upstream_local: Option<&'a str>,
    downstream_remote: Option<&'a str>,
    attempt_count: Option<i64>,
}

/// Reads one line. The event time is the latest moment at which the request can have ended.
///
/// # Errors
/// See [`LineError`].
pub fn parse(
    line: &str,
    emitter_ip: Option<&str>,
    origin: &Origin,
    admission: &Admission,
) -> Result<AccessLog, LineError> {
    if line.starts_with('{') {
        let Ok(Value::Object(object)) = serde_json::from_str(line) else {
            return Err(LineError::Json);
        };
        return Said::in_json(&object)?.row(emitter_ip, origin, admission);
    }
    Said::in_text(&fields(line)?)?.row(emitter_ip, origin, admission)
}

impl<'a> Said<'a> {
    fn in_text(fields: &[&'a str]) -> Result<Self, LineError> {
        // Istio puts three fields behind the flags and six behind the server.
        let shift = match fields.len() {
            DEFAULT_FIELDS => 0,
            ISTIO_FIELDS => 3,
            count if count < DEFAULT_FIELDS => return Err(LineError::Cut),
            _ => return Err(LineError::Quotes),
        };
        let at = |index: usize| fields[index + shift];
        let only_istio = |index: usize| present(fields.get(index).copied().unwrap_or("-"));
        let mut request = fields[1].split(' ');
        Ok(Self {
            start: fields[0],
            method: request.next().and_then(present),
            path: request.next().and_then(present),
            status: whole(fields[2])?,
            flags: present(fields[3]),
            bytes_sent: whole(at(5))?,
            duration_ms: whole(at(6))?,
            upstream_ms: whole(at(7))?,
            request_id: present(at(10)),
            upstream_host: present(at(12)),
            upstream_cluster: only_istio(16),
            upstream_local: only_istio(17),
            downstream_remote: only_istio(19),
            ..Self::default()
        })
    }

    fn in_json(object: &'a Map<String, Value>) -> Result<Self, LineError> {
        let text = |key: &str| object.get(key).and_then(Value::as_str).and_then(present);
        let number = |key: &str| match object.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => whole(text),
            Some(value) => value.as_i64().map(Some).ok_or(LineError::Number),
        };
        let start = text("start_time").or(text("@timestamp")).ok_or(LineError::Time)?;
        Ok(Self {
            start,
            method: text("method"),
            path: text("path"),
            status: number("response_code")?,
            flags: text("response_flags"),
            bytes_sent: number("bytes_sent")?,
            duration_ms: number("duration")?,
            upstream_ms: number("upstream_service_time")?,
            request_id: text("request_id"),
            trace_id: text("trace_id"),
            upstream_host: text("upstream_host"),
            upstream_cluster: text("upstream_cluster"),
            upstream_local: text("upstream_local_address"),
            downstream_remote: text("downstream_remote_address"),
            attempt_count: number("upstream_request_attempt_count")?,
        })
    }

    fn row(
        &self,
        emitter_ip: Option<&str>,
        origin: &Origin,
        admission: &Admission,
    ) -> Result<AccessLog, LineError> {
        let start_ns = iso_moment(self.start)?;
        let duration_ns = self.duration_ms.unwrap_or(0).checked_mul(MILLISECOND_NS);
        let end_lo_ns = duration_ns.and_then(|d| start_ns.checked_add(d));
        let end_lo_ns = end_lo_ns.ok_or(LineError::Number)?;
        // Start and duration were both cut to whole milliseconds.
        let end_hi_ns = end_lo_ns.saturating_add(2 * MILLISECOND_NS - 1);
        let origin = Origin { event_ns: end_hi_ns, ..origin.clone() };
        let status = self.status.and_then(|s| i32::try_from(s).ok()).filter(|s| *s > 0);
        let local = self.upstream_local.and_then(socket_address);
        // An address out of a header comes without a port; then it is nobody's socket.
        let remote = self.downstream_remote.and_then(socket_address).filter(|r| r.port() != 0);
        Ok(AccessLog {
            format: FORMAT.to_owned(),
            emitter_ip: emitter_ip.map(str::to_owned),
            request_id: self.request_id.and_then(|id| admission.request_id(id)),
            trace_id: self.trace_id.filter(|id| is_trace_id(id)).map(str::to_lowercase),
            remote_ip: remote.map(|remote| admission.address(remote.ip())),
            remote_port: remote.map(|remote| i32::from(remote.port())),
            method: self.method.map(admit::method),
            route: self.path.map(admit::template),
            status,
            body_bytes_sent: self.bytes_sent,
            end_lo_ns,
            end_hi_ns,
            duration_ns: self.duration_ms.and(duration_ns),
            duration_error_ns: MILLISECOND_NS,
            upstream_name: self.cluster(),
            attempts: vec![self.attempt(status, admission)],
            upstream_local_ip: local.map(|local| admission.address(local.ip())),
            upstream_local_port: local.map(|local| i32::from(local.port())),
            attempt_count: self.attempt_count.and_then(|count| i32::try_from(count).ok()),
            response_flags: self.flags.filter(|flags| are_flags(flags)).map(str::to_owned),
            sampled: self.request_id.and_then(sampled),
            ..AccessLog::from_origin(&origin)
        })
    }

    /// The last attempt; without a server where Envoy answered by itself.
    fn attempt(&self, status: Option<i32>, admission: &Admission) -> Attempt {
        let server = self.upstream_host.and_then(socket_address);
        Attempt {
            ip: server.map(|server| admission.address(server.ip())),
            port: server.map(|server| i32::from(server.port())),
            status: status.filter(|_| server.is_some()),
            duration_ns: self.upstream_ms.and_then(|ms| ms.checked_mul(MILLISECOND_NS)),
            ..Attempt::default()
        }
    }

    /// The host of `outbound|8000||httpbin.foo.svc.cluster.local`, or a plain name.
    fn cluster(&self) -> Option<String> {
        let name = self.upstream_cluster?.rsplit('|').next()?;
        admit::is_name(name).then(|| name.to_owned())
    }
}

fn is_trace_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn are_flags(flags: &str) -> bool {
    let is_flag_sign = |byte: u8| byte.is_ascii_uppercase() || byte == b',';
    flags.len() <= FLAGS_CHARS_MAX && flags.bytes().all(is_flag_sign)
}

/// The trace decision that Envoy writes into the first digit of a UUID's third group.
fn sampled(request_id: &str) -> Option<bool> {
    let third = request_id.split('-').nth(2)?;
    match third.as_bytes().first()? {
        b'4' => Some(false),
        b'9' | b'a' | b'b' => Some(true),
        _ => None,
    }
}

#[cfg(test)]
#[path = "envoy_tests.rs"]
mod tests;
