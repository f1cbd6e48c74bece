//! A line of Kong's log plugins: one JSON object, with every try in order.
//!
//! The object holds all headers of request and response. Of these only the request id is looked at;
//! nothing else of them passes.

use serde_json::Value;
use tables::{AccessLog, Attempt, Origin};

use super::LineError;
use crate::admit::{self, Admission};

pub const FORMAT: &str = "kong";

const MILLISECOND_NS: i64 = 1_000_000;

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
    let object: Value = serde_json::from_str(line).map_err(|_| LineError::Json)?;
    let number = |pointer: &str| object.pointer(pointer).and_then(integer).filter(|n| *n >= 0);
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let started_ms = number("/started_at").ok_or(LineError::Time)?;
    let lasted_ms = number("/latencies/request");
    let tries = object.pointer("/tries").and_then(Value::as_array).ok_or(LineError::Json)?;
    let end_lo_ns = started_ms
        .checked_add(lasted_ms.unwrap_or(0))
        .and_then(|ms| ms.checked_mul(MILLISECOND_NS))
        .ok_or(LineError::Time)?;
    let end_hi_ns = end_lo_ns.saturating_add(2 * MILLISECOND_NS - 1);
    let origin = Origin { event_ns: end_hi_ns, ..origin.clone() };
    let status = number("/response/status").and_then(|status| i32::try_from(status).ok());
    let client = text("/client_ip").and_then(|ip| ip.parse().ok());
    let request_id = text("/request/headers/x-request-id").or(text("/request/id"));
    let mut attempts: Vec<Attempt> = tries.iter().map(|t| attempt(t, admission)).collect();
    if let Some(last) = attempts.last_mut().filter(|last| last.status.is_none()) {
        last.status = status;
    }
    Ok(AccessLog {
        format: FORMAT.to_owned(),
        emitter_ip: emitter_ip.map(str::to_owned),
        request_id: request_id.and_then(|id| admission.request_id(id)),
        remote_ip: client.map(|ip| admission.address(ip)),
        method: text("/request/method").map(admit::method),
        route: text("/request/uri").map(admit::template),
        status,
        end_lo_ns,
        end_hi_ns,
        duration_ns: lasted_ms.and_then(|ms| ms.checked_mul(MILLISECOND_NS)),
        duration_error_ns: MILLISECOND_NS,
        upstream_name: text("/service/name").filter(|n| admit::is_name(n)).map(str::to_owned),
        attempts,
        ..AccessLog::from_origin(&origin)
    })
}

/// A failed try has a status of its own; that of the last one is the response's.
fn attempt(tried: &Value, admission: &Admission) -> Attempt {
    let small = |key: &str| tried.get(key).and_then(integer).and_then(|n| i32::try_from(n).ok());
    let ip = tried.get("ip").and_then(Value::as_str).and_then(|ip| ip.parse().ok());
    Attempt {
        ip: ip.map(|ip| admission.address(ip)),
        port: small("port"),
        status: small("code"),
        ..Attempt::default()
    }
}

/// Numbers come as numbers or as text, by version and field.
fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::for_tests;

    const LINE: &str = r#"{"latencies":{"request":8,"kong":5,"proxy":3},"service":{"host":"localhost","port":15002,"name":"hello"},"request":{"uri":"\/hello.HelloService\/SayHello?token=canary","headers":{"authorization":"Bearer canary","cookie":"canary","x-request-id":"84961386-6d84-929d-98bd-c5aee93b5c88"},"method":"POST"},"client_ip":"127.0.0.1","tries":[{"balancer_latency":0,"port":15002,"balancer_start":1564527732522,"ip":"10.0.0.1","code":502,"state":"failed"},{"port":15002,"ip":"10.0.0.2"}],"response":{"headers":{"set-cookie":"canary"},"status":200,"size":"298"},"started_at":1564527732516}"#;

    fn read(line: &str) -> Result<AccessLog, LineError> {
        parse(line, Some("10.0.0.9"), &Origin::default(), &for_tests())
    }

    #[test]
    fn every_try_is_kept_and_no_header() {
        let row = read(LINE).unwrap();
        let tries: Vec<_> = row.attempts.iter().map(|a| (a.ip.as_deref(), a.status)).collect();
        assert_eq!(tries, [(Some("10.0.0.1"), Some(502)), (Some("10.0.0.2"), Some(200))]);
        assert_eq!(row.end_lo_ns, 1_564_527_732_524 * MILLISECOND_NS);
        assert_eq!(row.request_id.as_deref(), Some("849613866d84429d98bdc5aee93b5c88"));
        assert!(!format!("{row:?}").contains("canary"));
    }

    #[test]
    fn cut_and_foreign_objects_are_refused() {
        for (line, expected) in [
            (&LINE[..200], LineError::Json),
            (r#"{"tries":[]}"#, LineError::Time),
            (r#"{"started_at":1564527732516}"#, LineError::Json),
        ] {
            assert_eq!(read(line), Err(expected), "{line}");
        }
    }
}
