//! A line of nginx in the default format of ingress-nginx:
//!
//! ```text
//! $remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer"
//! "$http_user_agent" $request_length $request_time [$proxy_upstream_name]
//! [$proxy_alternative_upstream_name] $upstream_addr $upstream_response_length
//! $upstream_response_time $upstream_status $req_id
//! ```
//!
//! The four upstream fields are lists with `, ` and ` : ` inside a line that is split by spaces,
//! and clients choose user, request, referer, agent and id. nginx writes a quote inside a field as
//! `\x22`, so a whole line has six quotes and nothing a client sends can move them. Behind the last
//! one every list ends at the first space that no separator precedes; the id is the rest.

use std::net::{IpAddr, SocketAddr};

use jiff::fmt::strtime;
use tables::{AccessLog, Attempt, Origin};

use super::LineError;
use crate::admit::{self, Admission};

pub const FORMAT: &str = "ingress-nginx";

/// Durations are differences of two clocks that nginx truncates to milliseconds, so the true one
/// is less than 1 ms away on either side.
const DURATION_ERROR_NS: i64 = 1_000_000;
/// `$time_local` has whole seconds: the request ended in the second that begins there.
const SECOND_NS: i64 = 1_000_000_000;

/// Reads one line. The event time is the latest moment at which the request can have ended.
///
/// # Errors
/// See [`LineError`]; each has a stable reason.
pub fn parse(
    line: &str,
    emitter_ip: Option<&str>,
    origin: &Origin,
    admission: &Admission,
) -> Result<AccessLog, LineError> {
    let [before, request, status, _referer, between, _agent, tail] = quoted_fields(line)?;
    if !between.trim().is_empty() {
        return Err(LineError::Quotes);
    }
    let head = Head::parse(before)?;
    let (status, body_bytes_sent) = two_numbers(status)?;
    let tail = Tail::parse(tail)?;
    let (method, target) = request_line(request);
    let end_hi_ns = head.ended_ns + SECOND_NS - 1;
    let origin = Origin { event_ns: end_hi_ns, ..origin.clone() };
    let (attempts, attempts_malformed) = tail.attempts(admission);
    Ok(AccessLog {
        format: FORMAT.to_owned(),
        emitter_ip: emitter_ip.map(str::to_owned),
        request_id: admission.request_id(tail.request_id),
        remote_ip: head.remote.map(|ip| admission.address(ip)),
        method: method.map(admit::method),
        route: target.map(admit::template),
        status: i32::try_from(status).ok(),
        bytes_received: Some(tail.request_length),
        body_bytes_sent: Some(body_bytes_sent),
        end_lo_ns: head.ended_ns,
        end_hi_ns,
        duration_ns: Some(tail.request_time_ns),
        duration_error_ns: DURATION_ERROR_NS,
        upstream_name: tail.upstream_name().map(str::to_owned),
        attempts,
        attempts_malformed,
        ..AccessLog::from_origin(&origin)
    })
}

/// What lies before, in and between the three quoted fields.
fn quoted_fields(line: &str) -> Result<[&str; 7], LineError> {
    let fields: Vec<&str> = line.split('"').collect();
    match <[&str; 7]>::try_from(fields) {
        Ok(fields) => Ok(fields),
        Err(fields) if fields.len() < 7 => Err(LineError::Cut),
        Err(_) => Err(LineError::Quotes),
    }
}

/// `$remote_addr - $remote_user [$time_local] `, perhaps behind a prefix of the operator's own.
struct Head {
    /// `None` for a client on a unix socket.
    remote: Option<IpAddr>,
    ended_ns: i64,
}

impl Head {
    fn parse(before: &str) -> Result<Self, LineError> {
        let (address, _) = before.split_once(" - ").ok_or(LineError::Address)?;
        let remote = match address.rsplit(' ').next() {
            Some("unix:") => None,
            Some(address) => Some(address.parse().map_err(|_| LineError::Address)?),
            None => return Err(LineError::Address),
        };
        // The user name may hold brackets; the time is what stands in the last pair.
        let in_brackets = before.trim_end().strip_suffix(']').ok_or(LineError::Time)?;
        let (_, time) = in_brackets.rsplit_once('[').ok_or(LineError::Time)?;
        let moment = strtime::parse("%d/%b/%Y:%H:%M:%S %z", time)
            .and_then(|parsed| parsed.to_timestamp())
            .map_err(|_| LineError::Time)?;
        Ok(Self { remote, ended_ns: moment.as_second() * SECOND_NS })
    }
}

/// Everything behind the last quote, as text.
struct Tail<'a> {
    request_length: i64,
    request_time_ns: i64,
    upstream_name: &'a str,
    alternative_upstream_name: &'a str,
    addresses: List<'a>,
    lengths: List<'a>,
    times: List<'a>,
    statuses: List<'a>,
    request_id: &'a str,
}

impl<'a> Tail<'a> {
    fn parse(tail: &'a str) -> Result<Self, LineError> {
        let mut rest = tail.strip_prefix(' ').ok_or(LineError::Cut)?;
        let request_length = number(word(&mut rest)?)?;
        let request_time_ns = seconds(word(&mut rest)?)?;
        let upstream_name = bracketed(&mut rest)?;
        let alternative_upstream_name = bracketed(&mut rest)?;
        let addresses = List::parse(&mut rest)?;
        let lengths = List::parse(&mut rest)?;
        let times = List::parse(&mut rest)?;
        let statuses = List::parse(&mut rest)?;
        let request_id = rest.trim_end();
        if request_id.is_empty() {
            return Err(LineError::Cut);
        }
        Ok(Self {
            request_length,
            request_time_ns,
            upstream_name,
            alternative_upstream_name,
            addresses,
            lengths,
            times,
            statuses,
            request_id,
        })
    }

    /// The alternative is a canary's group, and is the one that was used when it is there.
    fn upstream_name(&self) -> Option<&'a str> {
        [self.alternative_upstream_name, self.upstream_name]
            .into_iter()
            .find(|name| *name != "-" && admit::is_name(name))
    }

    /// One attempt an address. Lists of other lengths leave their columns empty where they lack
    /// an element, and the row says so: an attempt list is never taken for shorter than it is.
    fn attempts(&self, admission: &Admission) -> (Vec<Attempt>, bool) {
        let lists = [&self.addresses, &self.lengths, &self.times, &self.statuses];
        let count = lists.iter().map(|list| list.elements.len()).max().unwrap_or_default();
        let mut malformed = lists.iter().any(|list| list.elements.len() != count);
        if count == 1 && lists.iter().all(|list| list.elements[0].text == "-") {
            return (Vec::new(), false);
        }
        let mut attempts = Vec::with_capacity(count);
        for index in 0..count {
            let address = self.addresses.text(index).and_then(upstream_address);
            let (length, length_ok) = optional(self.lengths.text(index), number);
            let (duration_ns, time_ok) = optional(self.times.text(index), seconds);
            let (status, status_ok) = optional(self.statuses.text(index), number);
            malformed |= !(length_ok && time_ok && status_ok);
            attempts.push(Attempt {
                ip: address.map(|address| admission.address(address.ip())),
                port: address.map(|address| i32::from(address.port())),
                status: status.and_then(|status| i32::try_from(status).ok()),
                response_length: length,
                duration_ns,
                group: self.addresses.group(index),
            });
        }
        (attempts, malformed)
    }
}

/// `a, b : c`: elements of one upstream variable, with the group each belongs to.
struct List<'a> {
    elements: Vec<Element<'a>>,
}

struct Element<'a> {
    text: &'a str,
    group: i32,
}

impl<'a> List<'a> {
    fn parse(rest: &mut &'a str) -> Result<Self, LineError> {
        let mut elements = Vec::new();
        let mut group = 0;
        loop {
            let token = word(rest)?;
            if let Some(text) = token.strip_suffix(',') {
                elements.push(Element { text, group });
                continue;
            }
            elements.push(Element { text: token, group });
            match rest.strip_prefix(": ") {
                Some(next_group) => {
                    *rest = next_group;
                    group += 1;
                }
                None => return Ok(Self { elements }),
            }
        }
    }

    fn text(&self, index: usize) -> Option<&'a str> {
        self.elements.get(index).map(|element| element.text)
    }

    fn group(&self, index: usize) -> i32 {
        let element = self.elements.get(index).or(self.elements.last());
        element.map_or(0, |element| element.group)
    }
}

/// Takes the next word, which a space must follow: the id comes last.
fn word<'a>(rest: &mut &'a str) -> Result<&'a str, LineError> {
    let (word, after) = rest.split_once(' ').ok_or(LineError::Cut)?;
    *rest = after;
    Ok(word)
}

fn bracketed<'a>(rest: &mut &'a str) -> Result<&'a str, LineError> {
    let inner = rest.strip_prefix('[').ok_or(LineError::Cut)?;
    let (name, after) = inner.split_once("] ").ok_or(LineError::Cut)?;
    *rest = after;
    Ok(name)
}

fn two_numbers(between: &str) -> Result<(i64, i64), LineError> {
    let mut words = between.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(first), Some(second), None) => Ok((number(first)?, number(second)?)),
        _ => Err(LineError::Number),
    }
}

fn number(text: &str) -> Result<i64, LineError> {
    text.parse().map_err(|_| LineError::Number)
}

/// Seconds with up to nine decimals, such as `143.855`, in nanoseconds.
fn seconds(text: &str) -> Result<i64, LineError> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = decimals.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits || decimals.len() > 9 || whole.starts_with('-') {
        return Err(LineError::Number);
    }
    let nanos = format!("{decimals:0<9}").parse::<i64>().map_err(|_| LineError::Number)?;
    let whole = number(whole)?.checked_mul(SECOND_NS).ok_or(LineError::Number)?;
    whole.checked_add(nanos).ok_or(LineError::Number)
}

/// A value that may be `-` or lacking, and whether it was what it should be.
fn optional(
    text: Option<&str>,
    parse: impl Fn(&str) -> Result<i64, LineError>,
) -> (Option<i64>, bool) {
    match text {
        None | Some("-") => (None, true),
        Some(text) => parse(text).map_or((None, false), |value| (Some(value), true)),
    }
}

/// `None` for a group's name, which nginx writes when no server could be chosen, and for sockets
/// in the file system.
fn upstream_address(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}

/// Method and target, when the client sent a request line at all.
fn request_line(request: &str) -> (Option<&str>, Option<&str>) {
    let mut words = request.split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some(method), Some(target), Some(protocol)) if protocol.starts_with("HTTP/") => {
            (Some(method), Some(target))
        }
        _ => (None, None),
    }
}

#[cfg(test)]
#[path = "nginx_tests.rs"]
mod tests;
