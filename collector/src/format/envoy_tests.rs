//! Real lines of Envoy and Istio, and what a client may smuggle in.

use super::*;
use crate::admit::for_tests;

const DEFAULT: &str = r#"[2016-04-15T20:17:00.310Z] "POST /api/v1/locations HTTP/2" 204 - 154 0 226 100 "10.0.35.28" "nsq2http" "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "locations" "tcp://10.0.2.1:80""#;
const OUTBOUND: &str = r#"[2020-11-25T21:26:18.409Z] "GET /status/418 HTTP/1.1" 418 - via_upstream - "-" 0 135 4 4 "-" "curl/7.73.0-DEV" "84961386-6d84-929d-98bd-c5aee93b5c88" "httpbin:8000" "10.44.1.27:80" outbound|8000||httpbin.foo.svc.cluster.local 10.44.1.23:37652 10.0.45.184:8000 10.44.1.23:46520 - default"#;
const INBOUND: &str = r#"[2020-11-25T21:26:18.409Z] "GET /status/418 HTTP/1.1" 418 - via_upstream - "-" 0 135 3 1 "-" "curl/7.73.0-DEV" "84961386-6d84-929d-98bd-c5aee93b5c88" "httpbin:8000" "127.0.0.1:80" inbound|8000|| 127.0.0.1:41854 10.44.1.27:80 10.44.1.23:37652 outbound_.8000_._.httpbin.foo.svc.cluster.local default"#;

fn read(line: &str) -> Result<AccessLog, LineError> {
    parse(line, Some("10.0.0.9"), &Origin::default(), &for_tests())
}

#[test]
fn default_line_says_start_duration_and_the_last_server() {
    let row = read(DEFAULT).unwrap();
    assert_eq!(row.request_id.as_deref(), Some("cc21d9b0cf5c432b8c7e98aeb7988cd2"));
    assert_eq!(
        (row.method.as_deref(), row.route.as_deref()),
        (Some("POST"), Some("/api/v1/locations"))
    );
    assert_eq!((row.status, row.duration_ns), (Some(204), Some(226_000_000)));
    assert_eq!(row.end_hi_ns - row.end_lo_ns, 1_999_999);
    assert_eq!((row.attempts[0].ip.as_deref(), row.attempts[0].port), (Some("10.0.2.1"), Some(80)));
    assert_eq!((row.remote_ip, row.sampled), (None, Some(false)));
}

#[test]
fn both_lines_of_a_mesh_hop_hold_the_same_four_tuple() {
    let (out, inbound) = (read(OUTBOUND).unwrap(), read(INBOUND).unwrap());
    assert_eq!(out.request_id, inbound.request_id);
    assert_eq!(
        (out.upstream_local_ip, out.upstream_local_port),
        (inbound.remote_ip, inbound.remote_port)
    );
    assert_eq!(out.upstream_name.as_deref(), Some("httpbin.foo.svc.cluster.local"));
    assert_eq!(out.sampled, Some(true));
}

#[test]
fn json_of_a_proxy_that_answered_by_itself_names_no_server() {
    let line = r#"{"@timestamp":"2026-11-21T13:00:01.000Z","method":"GET","path":"/a?token=canary","response_code":503,"response_flags":"UH","duration":"2","upstream_host":"-","upstream_request_attempt_count":0,"request_id":"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2","x_forwarded_for":null}"#;
    let row = read(line).unwrap();
    assert_eq!((row.status, row.response_flags.as_deref()), (Some(503), Some("UH")));
    assert_eq!((row.attempts[0].ip.as_deref(), row.attempt_count), (None, Some(0)));
    assert!(!format!("{row:?}").contains("canary"));
}

#[test]
fn a_smuggled_quote_refuses_the_line() {
    let smuggled = DEFAULT.replace("nsq2http", r#"x" "00000000-0000-4000-8000-000000000000" "y"#);
    assert_eq!(read(&smuggled), Err(LineError::Quotes));
    for (line, expected) in [
        ("{\"start_time\":", LineError::Json),
        ("{}", LineError::Time),
        (&DEFAULT[..60], LineError::Cut),
        (&DEFAULT.replace("2016-04", "2016-99"), LineError::Time),
        (&DEFAULT.replace(" 204 ", " ok "), LineError::Number),
    ] {
        assert_eq!(read(line), Err(expected), "{line}");
    }
}
