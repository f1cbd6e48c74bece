//! Which attributes pass, under which of their names, and that nothing else does.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Status;
use proptest::prelude::*;

use super::*;
use crate::admit::for_tests;

fn text(value: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(value.into())) }
}

fn number(value: i64) -> AnyValue {
    AnyValue { value: Some(Value::IntValue(value)) }
}

fn pair(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
}

fn span(kind: SpanKind, attributes: Vec<KeyValue>) -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        kind: kind as i32,
        start_time_unix_nano: 1_000,
        end_time_unix_nano: 2_000,
        attributes,
        ..Span::default()
    }
}

fn admit(span: &Span) -> (Result<tables::Span, SpanError>, Dropped) {
    let mut dropped = Dropped::default();
    let names = ResourceNames::default();
    let row = for_tests().span(span, &names, &Origin::default(), "10.0.0.9", &mut dropped);
    (row, dropped)
}

#[test]
fn current_and_old_names_fill_the_same_columns() {
    let header = AnyValue {
        value: Some(Value::ArrayValue(ArrayValue {
            values: vec![text("84961386-6d84-929d-98bd-c5aee93b5c88")],
        })),
    };
    let current = span(
        SpanKind::Server,
        vec![
            pair("http.request.method", text("GET")),
            pair("http.route", text("/items/{id}")),
            pair("url.path", text("/items/7")),
            pair("http.response.status_code", number(200)),
            pair("network.peer.address", text("10.1.1.1")),
            pair("network.peer.port", number(40_000)),
            pair("server.port", number(8_080)),
            pair("http.request.header.x-request-id", header.clone()),
        ],
    );
    let old = span(
        SpanKind::Server,
        vec![
            pair("http.method", text("GET")),
            pair("http.target", text("/items/7?secret=canary")),
            pair("http.status_code", text("200")),
            pair("net.peer.ip", text("10.1.1.1")),
            pair("net.peer.port", number(40_000)),
            pair("net.host.port", number(8_080)),
            pair("http.request.header.x_request_id", header),
        ],
    );
    for span in [current, old] {
        let (row, dropped) = admit(&span);
        let row = row.unwrap();
        assert_eq!(row.method.as_deref(), Some("GET"));
        assert_eq!(row.route.as_deref(), Some("/items/{}"));
        assert_eq!((row.status_code, row.server_port), (Some(200), Some(8_080)));
        assert_eq!((row.peer_ip.as_deref(), row.peer_port), (Some("10.1.1.1"), Some(40_000)));
        assert_eq!(row.request_id.as_deref(), Some("849613866d84429d98bdc5aee93b5c88"));
        assert_eq!((row.event_ns, row.system.as_deref()), (2_000, Some("http")));
        assert_eq!(dropped.total(), 0);
    }
}

#[test]
fn old_peer_port_is_the_servers_on_a_client_span() {
    for (attributes, peer, server) in [
        (vec![pair("net.peer.port", number(80))], None, Some(80)),
        (
            vec![pair("net.peer.ip", text("10.96.0.1")), pair("net.peer.port", number(80))],
            Some(80),
            Some(80),
        ),
        (vec![pair("http.url", text("http://cart/x"))], None, Some(80)),
        (vec![pair("http.url", text("http://u:p@[fd00::1]:81/x"))], None, Some(81)),
    ] {
        let row = admit(&span(SpanKind::Client, attributes)).0.unwrap();
        assert_eq!((row.peer_port, row.server_port), (peer, server));
    }
}

#[test]
fn addresses_from_outside_become_tokens_and_host_names_are_no_addresses() {
    let row = admit(&span(
        SpanKind::Server,
        vec![
            pair("network.peer.address", text("198.18.0.2")),
            pair("network.local.address", text("alice.example.com")),
        ],
    ));
    let row = row.0.unwrap();
    assert!(row.peer_ip.unwrap().starts_with("ext-"));
    assert_eq!(row.local_ip, None);
}

#[test]
fn a_span_without_ids_or_times_is_refused_with_its_reason() {
    let good = span(SpanKind::Client, Vec::new());
    for (bad, expected) in [
        (Span { trace_id: Vec::new(), ..good.clone() }, SpanError::Ids),
        (Span { trace_id: vec![0; 16], ..good.clone() }, SpanError::Ids),
        (Span { span_id: vec![1; 7], ..good.clone() }, SpanError::Ids),
        (Span { end_time_unix_nano: 999, ..good.clone() }, SpanError::Times),
        (Span { end_time_unix_nano: u64::MAX, ..good.clone() }, SpanError::Times),
    ] {
        assert_eq!(admit(&bad).0.unwrap_err(), expected);
    }
    assert!(admit(&good).0.is_ok());
}

#[test]
fn a_server_asked_by_http_is_http_and_a_client_of_a_database_is_db() {
    let both =
        vec![pair("http.request.method", text("GET")), pair("db.system.name", text("redis"))];
    for (kind, expected) in [(SpanKind::Server, "http"), (SpanKind::Client, "db")] {
        let row = admit(&span(kind, both.clone())).0.unwrap();
        assert_eq!(row.system.as_deref(), Some(expected));
    }
}

#[test]
fn resource_names_pass_only_as_names() {
    let resource = Resource {
        attributes: vec![
            pair("service.name", text("cart")),
            pair("k8s.pod.uid", text("alice wrote this")),
            pair("host.name", text("canary")),
        ],
        ..Resource::default()
    };
    let mut dropped = Dropped::default();
    let names = for_tests().resource(Some(&resource), &mut dropped);
    assert_eq!((names.service_name.as_deref(), names.pod_uid), (Some("cart"), None));
    assert_eq!(dropped.total(), 1);
}

proptest! {
    /// Whatever keys a sender invents, their values are in no column, and each is counted.
    #[test]
    fn an_attribute_nobody_asked_for_is_dropped_and_counted(
        keys in proptest::collection::btree_set("[a-z]{1,6}\\.[a-z._]{1,20}", 1..20)
    ) {
        let unknown: Vec<_> = keys.iter().filter(|key| !is_known(key)).collect();
        let mut attributes: Vec<_> = unknown.iter().map(|key| pair(key, text("canary-4711"))).collect();
        attributes.push(pair("http.request.body.content", text("canary-4711")));
        let span = Span {
            name: "canary-4711".into(),
            trace_state: "canary-4711".into(),
            status: Some(Status { message: "canary-4711".into(), code: 2 }),
            ..span(SpanKind::Server, attributes)
        };
        let (row, dropped) = admit(&span);
        let row = serde_json::to_string(&row.unwrap()).unwrap();
        prop_assert!(!row.contains("canary"), "{}", row);
        prop_assert_eq!(dropped.total(), unknown.len() as u64 + 1);
    }
}
