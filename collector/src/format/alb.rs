//! A line of an AWS Application Load Balancer's access log file.
//!
//! The order of the first fields is fixed; each generation of the format added some at the end, and
//! more may come. `time` is when the response was sent, `request_creation_time` when the request
//! came. The balancer's own port towards the target is not logged.

use tables::{AccessLog, Attempt, Origin};

use super::field::{fields, present, whole};
use super::{LineError, iso_moment, socket_address};
use crate::admit::{self, Admission};

pub const FORMAT: &str = "alb";

/// Up to the trace id, which every generation has.
const FIELDS_MIN: usize = 18;
const CREATION: usize = 21;
/// Stamps are in microseconds, of which the last three are zero more often than not.
const STAMP_ERROR_NS: i64 = 1_000_000;

/// Reads one line. The event time is the latest moment at which the response can have been sent.
///
/// # Errors
/// See [`LineError`].
pub fn parse(line: &str, origin: &Origin, admission: &Admission) -> Result<AccessLog, LineError> {
    let fields = fields(line)?;
    if fields.len() < FIELDS_MIN {
        return Err(LineError::Cut);
    }
    let sent_ns = iso_moment(fields[1])?;
    let client = socket_address(fields[3]).ok_or(LineError::Address)?;
    let created = fields.get(CREATION).and_then(|text| present(text));
    let created_ns = created.map(iso_moment).transpose()?;
    let end_hi_ns = sent_ns.saturating_add(STAMP_ERROR_NS);
    let origin = Origin { event_ns: end_hi_ns, ..origin.clone() };
    let status = |index: usize| -> Result<Option<i32>, LineError> {
        Ok(whole(fields[index])?.and_then(|status| i32::try_from(status).ok()))
    };
    let target = socket_address(fields[4]);
    let mut request = fields[12].split(' ');
    Ok(AccessLog {
        format: FORMAT.to_owned(),
        trace_id: root_trace(fields[17]),
        remote_ip: Some(admission.address(client.ip())),
        remote_port: Some(i32::from(client.port())),
        method: request.next().and_then(present).map(admit::method),
        route: request.next().and_then(present).map(admit::template),
        status: status(8)?,
        bytes_received: whole(fields[10])?,
        end_lo_ns: sent_ns.saturating_sub(STAMP_ERROR_NS),
        end_hi_ns,
        duration_ns: created_ns.map(|created_ns| sent_ns.saturating_sub(created_ns).max(0)),
        duration_error_ns: 2 * STAMP_ERROR_NS,
        attempts: vec![Attempt {
            ip: target.map(|target| admission.address(target.ip())),
            port: target.map(|target| i32::from(target.port())),
            status: status(9)?,
            duration_ns: milliseconds(fields[6])?,
            ..Attempt::default()
        }],
        ..AccessLog::from_origin(&origin)
    })
}

/// `0.086`, or `-1` where the target was not asked.
fn milliseconds(text: &str) -> Result<Option<i64>, LineError> {
    let Some((whole_seconds, decimals)) = text.split_once('.') else {
        return whole(text).map(|_| None);
    };
    if decimals.len() != 3 {
        return Err(LineError::Number);
    }
    let ms = whole(&format!("{whole_seconds}{decimals}"))?.ok_or(LineError::Number)?;
    ms.checked_mul(1_000_000).map(Some).ok_or(LineError::Number)
}

/// The trace id in `Root=1-<8 hex>-<24 hex>`, which may stand behind other parts.
fn root_trace(text: &str) -> Option<String> {
    let root = text.split(';').find_map(|part| part.strip_prefix("Root=1-"))?;
    let (epoch, rest) = root.split_once('-')?;
    let id = format!("{epoch}{rest}").to_lowercase();
    let is_id = epoch.len() == 8 && id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    is_id.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::for_tests;

    const LINE: &str = r#"http 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 0.000 0.001 0.000 200 200 34 366 "GET http://www.example.com:80/?token=canary HTTP/1.1" "curl/7.46.0" - - arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067 "Root=1-58337262-36d228ad5d99923122bbe354" "-" "-" 0 2018-07-02T22:22:48.364000Z "forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_1234abcd5678ef90"#;

    fn read(line: &str) -> Result<AccessLog, LineError> {
        parse(line, &Origin::default(), &for_tests())
    }

    #[test]
    fn real_line_names_client_target_and_trace() {
        let row = read(LINE).unwrap();
        assert_eq!(row.trace_id.as_deref(), Some("5833726236d228ad5d99923122bbe354"));
        assert_eq!(
            (row.attempts[0].ip.as_deref(), row.attempts[0].port),
            (Some("10.0.0.1"), Some(80))
        );
        assert_eq!(row.attempts[0].duration_ns, Some(1_000_000));
        assert_eq!((row.status, row.duration_ns), (Some(200), Some(11_822_641_000)));
        assert_eq!((row.route.as_deref(), row.remote_port), (Some("/"), Some(2817)));
        assert!(!format!("{row:?}").contains("canary"));
    }

    #[test]
    fn other_generations_and_absent_targets_are_read() {
        let fields: Vec<&str> = LINE.split(" \"Root").collect();
        let oldest = format!("{} \"Root{}", fields[0], fields[1].split(" \"-\"").next().unwrap());
        assert_eq!(read(&oldest).unwrap().duration_ns, None);
        assert!(read(&format!("{LINE} \"new\" 7")).is_ok());
        let none = LINE.replace(" 10.0.0.1:80 0.000 0.001 0.000 200 200", " - -1 -1 -1 503 -");
        let row = read(&none).unwrap();
        assert_eq!(
            (row.status, row.attempts[0].ip.as_deref(), row.attempts[0].status),
            (Some(503), None, None)
        );
    }

    #[test]
    fn broken_lines_have_their_reasons() {
        for (line, expected) in [
            (&LINE[..80], LineError::Cut),
            (&LINE.replace("2817", "port"), LineError::Address),
            (&LINE.replace("2018-07-02T22:23", "yesterday"), LineError::Time),
            (&LINE.replace("0.001", "fast.001"), LineError::Number),
            (&LINE.replace("curl/", "cu\"rl/"), LineError::Quotes),
        ] {
            assert_eq!(read(line), Err(expected), "{line}");
        }
    }
}
