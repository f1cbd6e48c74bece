//! One hop in words: where it goes, where from, what translated it, and how that is known.

use tables::{Hop, PathHop};

use crate::cli::explain::explain;
use crate::cli::screen::Look;
use crate::cli::text::{safe, span, sureness};

/// Who sent the request: the head of the drawing.
pub(super) fn client(root: &PathHop) -> String {
    match (&root.source_pod, &root.source_ip) {
        (Some(_), _) => source(root),
        (None, Some(_)) => format!("client {}", source(root)),
        (None, None) => "client unknown".to_owned(),
    }
}

/// What was addressed, and who answered: `10.89.0.11:30080 → Service ingress → ingress-0 on node-2`.
pub(super) fn target(hop: &PathHop) -> String {
    let mut stations = Vec::new();
    let is_translated = hop.requested_ip != hop.destination_ip || hop.requested_ip.is_none();
    if hop.kind == "edge"
        && is_translated
        && let Some(requested) = address(hop.requested_ip.as_deref(), hop.requested_port)
    {
        let node = hop.nat_node.as_deref().map_or_else(String::new, |node| format!("{node} "));
        stations.push(format!("{}{}", safe(&node), requested));
    }
    if let Some(service) = &hop.service {
        stations.push(format!("Service {}", safe(service)));
    }
    stations.push(server(hop));
    stations.join(" → ")
}

/// `+1.20 ms   4.10 ms  200`: when it began, how long it took, the status. Columns of one width.
pub(super) fn times(hop: &PathHop, origin_ns: i64) -> String {
    let offset = format!("+{}", span(hop.start_ns - origin_ns));
    let took = span(hop.end_ns - hop.start_ns);
    let status = hop.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    format!("{offset:>9}  {took:>8}  {status:>3}")
}

/// The lines below a hop's head.
pub(super) fn details(hop: &PathHop, more: Option<&Hop>, fails: bool) -> Vec<(Look, String)> {
    let mut lines = vec![(Look::Plain, from(hop, more))];
    lines.extend(translation(hop).map(|text| (Look::Plain, text)));
    lines.push((Look::Faint, known_by(hop)));
    for code in hop.reasons.iter().filter(|code| !code.starts_with("OK_")) {
        let meaning = explain(code).map_or_else(String::new, |e| format!(": {}", e.meaning));
        lines.push((Look::Doubtful, format!("{}{meaning}", safe(code))));
    }
    if let Some(cause) = &hop.failure_cause {
        let place = if fails { "failed here" } else { "failed" };
        lines.push((Look::Bad, format!("{place}: {}", cause_in_words(cause))));
    }
    lines
}

fn from(hop: &PathHop, more: Option<&Hop>) -> String {
    let again = if hop.attempt > 1 { format!(", try {}", hop.attempt) } else { String::new() };
    let request = more.map(|more| [more.method.as_deref(), more.route.as_deref()]);
    let request = request.into_iter().flatten().flatten().collect::<Vec<_>>().join(" ");
    let request = if request.is_empty() { request } else { format!(": {}", safe(&request)) };
    let network = more.and_then(|more| more.network_ns);
    let network = network.map_or_else(String::new, |ns| format!(", network {}", span(ns)));
    format!("{}{again}, from {}{request}{network}", safe(&hop.kind), source(hop))
}

fn source(hop: &PathHop) -> String {
    place(
        hop.source_pod.as_deref(),
        hop.source_node.as_deref(),
        address(hop.source_ip.as_deref(), hop.source_port),
    )
}

fn server(hop: &PathHop) -> String {
    // The line about the translation tells the address too, and the head has little room.
    let is_told =
        hop.destination_pod.is_some() && hop.nat.contains("dnat") && changes(hop).is_some();
    let end = address(hop.destination_ip.as_deref(), hop.destination_port).filter(|_| !is_told);
    let requested = || address(hop.requested_ip.as_deref(), hop.requested_port);
    match (&hop.destination_pod, end) {
        (None, None) => match requested() {
            Some(requested) => format!("unknown server of {requested}"),
            None => "unknown server".to_owned(),
        },
        (pod, end) => place(pod.as_deref(), hop.destination_node.as_deref(), end),
    }
}

/// `cart-1 on node-2 (10.244.2.3:8080)`, or as much of it as is known.
fn place(pod: Option<&str>, node: Option<&str>, end: Option<String>) -> String {
    let on = node.map_or_else(String::new, |node| format!(" on {}", safe(node)));
    match (pod, end) {
        (Some(pod), Some(end)) => format!("{}{on} ({end})", safe(pod)),
        (Some(pod), None) => format!("{}{on}", safe(pod)),
        (None, Some(end)) => format!("{end}{on}"),
        (None, None) => format!("an unknown place{on}"),
    }
}

/// What the network changed: `node-1 DNAT 10.96.0.10:80 → 10.244.2.3:8080`.
fn translation(hop: &PathHop) -> Option<String> {
    let changes = match hop.nat.as_str() {
        "none" => return None,
        "unknown" => return Some("translation unknown: no record of it".to_owned()),
        nat => changes(hop).unwrap_or_else(|| safe(nat).to_uppercase()),
    };
    let hairpin = if hop.reasons.iter().any(|code| code == "HAIRPIN") { "hairpin: " } else { "" };
    Some(match &hop.nat_node {
        Some(node) => format!("{hairpin}{} {changes}", safe(node)),
        None => format!("{hairpin}{changes}, as both ends saw it; no record of it"),
    })
}

/// A reply goes back the way the request was translated: its source is what the destination became,
/// its destination what the source became.
fn changes(hop: &PathHop) -> Option<String> {
    let (client, requested) = hop.nat_original.as_deref()?.split_once("->")?;
    let (server, seen_client) = hop.nat_reply.as_deref()?.split_once("->")?;
    let mut changes = Vec::new();
    if requested != server {
        changes.push(format!("DNAT {} → {}", safe(requested), safe(server)));
    }
    if client != seen_client {
        changes.push(format!("SNAT {} → {}", safe(client), safe(seen_client)));
    }
    (!changes.is_empty()).then(|| changes.join(", "))
}

/// `0.99999 OK_TUPLE_SEQ by client_exchange, server_exchange, tcp_seq`.
fn known_by(hop: &PathHop) -> String {
    let codes: Vec<_> = hop.reasons.iter().filter(|code| code.starts_with("OK_")).collect();
    let codes = codes.iter().map(|code| format!(" {}", safe(code))).collect::<String>();
    format!("{}{codes} by {}", sureness(hop.confidence), safe(&hop.evidence.join(", ")))
}

fn cause_in_words(cause: &str) -> String {
    match cause {
        "no_response" => "the server never answered".to_owned(),
        "reset" => "the connection was reset before the answer".to_owned(),
        "refused" => "the connection was refused".to_owned(),
        "timeout" => "the connection timed out".to_owned(),
        "status_5xx" => "the server answered with an error".to_owned(),
        other => safe(other),
    }
}

/// `10.244.2.3:8080`, IPv6 in brackets.
fn address(ip: Option<&str>, port: Option<i32>) -> Option<String> {
    let ip = safe(ip?);
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    Some(if ip.contains(':') { format!("[{ip}]{port}") } else { format!("{ip}{port}") })
}
