//! Real and hostile lines.

use proptest::prelude::*;

use super::*;
use crate::admit::for_tests;

const TWO: &str = r#"some.domain 172.0.0.0 - - [24/Aug/2020:01:30:24 +0000] "GET https://some.domain/some/path HTTP/1.1" 101 10 "-" "Mozilla/5.0 ..." 1475 143.855 [upstream-name] [] 10.0.0.1:443, 10.0.0.2:443 0, 0 0.100, 143.757 502, 101 c2c58cd42cb68822aae7d640ddf6583a"#;
const THREE: &str = r#"some.domain 172.0.0.0 - - [24/Aug/2020:01:28:53 +0000] "GET https://some.domain/some/path HTTP/2.0" 200 28 "https://switter.at/" "Mozilla/5.0 ..." 60 0.683 [upstream-name] [] 10.0.0.1:443, 10.0.0.2:443, 10.0.0.3:443 0, 0, 39 0.096, 0.092, 0.496 502, 502, 200 d0f69894df9d4b231eca7773a6759ba2"#;

fn read(line: &str) -> Result<AccessLog, LineError> {
    parse(line, Some("10.0.0.9"), &Origin::default(), &for_tests())
}

/// A plain line with this in place of the four lists.
fn with_lists(lists: &str) -> String {
    format!(
        r#"10.0.0.5 - - [24/Aug/2020:01:30:24 +0000] "GET /x HTTP/1.1" 200 10 "-" "curl" 90 0.005 [shop-cart-80] [] {lists} c2c58cd42cb68822aae7d640ddf6583a"#
    )
}

/// Attempts as `ip:port status ms group`, and whether the lists disagreed.
fn check(lists: &str, expected: &[&str], malformed: bool) {
    let row = read(&with_lists(lists)).unwrap();
    let attempts: Vec<String> = row
        .attempts
        .iter()
        .map(|attempt| {
            let address = attempt.ip.as_deref().map(|ip| format!("{ip}:{}", attempt.port.unwrap()));
            format!(
                "{} {} {} {}",
                address.as_deref().unwrap_or("-"),
                attempt.status.map_or("-".into(), |status| status.to_string()),
                attempt.duration_ns.map_or("-".into(), |ns| (ns / 1_000_000).to_string()),
                attempt.group
            )
        })
        .collect();
    assert_eq!(attempts, expected, "{lists}");
    assert_eq!(row.attempts_malformed, malformed, "{lists}");
}

#[test]
fn real_lines_with_retries_give_every_attempt_in_order() {
    let row = read(TWO).unwrap();
    assert_eq!(row.request_id.as_deref(), Some("c2c58cd42cb68822aae7d640ddf6583a"));
    assert!(row.remote_ip.unwrap().starts_with("ext-"));
    assert_eq!((row.method.as_deref(), row.route.as_deref()), (Some("GET"), Some("/some/path")));
    assert_eq!(
        (row.status, row.body_bytes_sent, row.bytes_received),
        (Some(101), Some(10), Some(1475))
    );
    assert_eq!(row.end_lo_ns, 1_598_232_624_000_000_000);
    assert_eq!(row.end_hi_ns, 1_598_232_624_999_999_999);
    assert_eq!((row.event_ns, row.hour.as_str()), (row.end_hi_ns, "2020-08-24T01"));
    assert_eq!(row.duration_ns, Some(143_855_000_000));
    assert_eq!(row.upstream_name.as_deref(), Some("upstream-name"));
    let statuses: Vec<_> = row.attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [Some(502), Some(101)]);

    let row = read(THREE).unwrap();
    let last = row.attempts.last().unwrap();
    assert_eq!(row.attempts.len(), 3);
    assert_eq!((last.ip.as_deref(), last.port), (Some("10.0.0.3"), Some(443)));
    assert_eq!((last.response_length, last.duration_ns), (Some(39), Some(496_000_000)));
}

#[test]
fn attempt_lists_of_every_shape() {
    check("10.0.0.1:80 5 0.004 200", &["10.0.0.1:80 200 4 0"], false);
    check("- - - -", &[], false);
    check(
        "10.0.0.1:80, 10.0.0.2:80 : 10.0.0.3:80 0, 0 : 5 0.001, 0.002 : 0.003 502, 502 : 200",
        &["10.0.0.1:80 502 1 0", "10.0.0.2:80 502 2 0", "10.0.0.3:80 200 3 1"],
        false,
    );
    check(
        "[fd00::1]:80, [fd00::2]:80 -, 5 -, 0.002 502, 200",
        &["fd00::1:80 502 - 0", "fd00::2:80 200 2 0"],
        false,
    );
    check("shop-cart-80 - - 503", &["- 503 - 0"], false);
    check(
        "unix:/tmp/sock : 10.0.0.1:80 0 : 5 0.001 : 0.002 502 : 200",
        &["- 502 1 0", "10.0.0.1:80 200 2 1"],
        false,
    );
    // The client went away: nginx knows the second server but not its answer.
    check(
        "10.0.0.1:80, 10.0.0.2:80 0 0.001 502",
        &["10.0.0.1:80 502 1 0", "10.0.0.2:80 - - 0"],
        true,
    );
    check("10.0.0.1:80 x 0.001 200", &["10.0.0.1:80 200 1 0"], true);
}

#[test]
fn a_canary_upstream_is_the_one_that_was_used() {
    let line = with_lists("10.0.0.1:80 5 0.004 200").replace("[] ", "[shop-cart-canary-80] ");
    assert_eq!(read(&line).unwrap().upstream_name.as_deref(), Some("shop-cart-canary-80"));
}

#[test]
fn local_time_zones_are_applied() {
    let line = TWO.replace("01:30:24 +0000", "03:30:24 +0200");
    assert_eq!(read(&line).unwrap().end_lo_ns, 1_598_232_624_000_000_000);
}

#[test]
fn a_request_that_was_none_has_neither_method_nor_route() {
    let line = with_lists("- - - -").replace("GET /x HTTP/1.1", r"\x16\x03\x01 canary");
    let row = read(&line).unwrap();
    assert_eq!((row.method, row.route), (None, None));
}

#[test]
fn broken_lines_have_named_reasons() {
    for (line, expected) in [
        ("", LineError::Cut),
        (&TWO[..TWO.len() - 33], LineError::Cut),
        (&TWO[..150], LineError::Cut),
        (&TWO[..60], LineError::Cut),
        (&with_lists("10.0.0.1:80 5 0.004"), LineError::Cut),
        (&TWO.replace("502, 101 ", "502, "), LineError::Cut),
        (&TWO.replace("172.0.0.0", "not-an-address"), LineError::Address),
        (&TWO.replace("24/Aug/2020", "24/Foo/2020"), LineError::Time),
        (&TWO.replace(" 101 10 ", " 101 ten "), LineError::Number),
        (&TWO.replace("143.855 [", "-1.0 ["), LineError::Number),
        (&TWO.replace("Mozilla", "Moz\"illa"), LineError::Quotes),
    ] {
        assert_eq!(read(line).unwrap_err(), expected, "{line}");
    }
}

#[test]
fn a_client_cannot_forge_attempts_through_its_id_or_name() {
    let forged = with_lists("10.0.0.1:80 5 0.004 200")
        + " 1 0.1 [x] [] 10.9.9.9:80 1 0.001 200 deadbeefdeadbeef";
    let row = read(&forged).unwrap();
    assert_eq!(row.attempts[0].ip.as_deref(), Some("10.0.0.1"));
    assert!(row.request_id.unwrap().starts_with("tok-"));

    let named = TWO.replace("0.0.0 - - [", "0.0.0 - x [24/Aug/2030:01:30:24 +0000] - [");
    assert_eq!(read(&named).unwrap().hour, "2020-08-24T01");
}

proptest! {
    #[test]
    fn no_line_panics_and_every_cut_of_a_real_one_is_refused(line in ".{0,300}", cut in 0..THREE.len() - 32) {
        let _ = read(&line);
        prop_assert!(read(&THREE[..cut]).is_err());
    }

    #[test]
    fn what_a_client_writes_never_passes(secret in "[g-z]{6}[0-9]{6}[G-Z]{6}") {
        let line = with_lists("10.0.0.1:80 5 0.004 200")
            .replace("/x HTTP", &format!("/x/{secret}?k={secret} HTTP"))
            .replace("\"-\" \"curl\"", &format!("\"http://{secret}/\" \"{secret}\""))
            .replace(" - - [", &format!(" - {secret} ["))
            .replace("c2c58cd42cb68822aae7d640ddf6583a", &secret);
        let row = serde_json::to_string(&read(&line).unwrap()).unwrap();
        prop_assert!(!row.contains(&secret) && !row.contains(&secret.to_lowercase()), "{}", row);
    }
}
