//! Every dial of a run, as flags with their meaning. Values out of range are reported all at once.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

pub const SECOND: i64 = 1_000_000_000;

/// Where call trees and their timings come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Small: an ingress, a frontend, a cart that also calls itself, prices and a store.
    #[default]
    Shop,
    /// Layers of services; see --depth, --fan-out, --services.
    Layers,
    /// 250 nodes, 6,000 pods, 900 services, 120,000 requests a second, about 6 raw rows each.
    Peak,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Keep-alive, one request at a time, last connection in is first out.
    #[default]
    Http1,
    /// One connection a caller and Service, shared by streams.
    Http2,
    /// A connection for each request.
    Close,
    /// Each Service one of the three.
    Mixed,
}

/// Which thread does what inside a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Threads {
    /// One thread serves a request from its first byte to its last.
    #[default]
    Bound,
    /// One thread does everything.
    Loop,
    /// Any of a few threads does any system call.
    Free,
    /// Each Service one of the three.
    Mixed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ingress {
    /// Log lines of ingress-nginx: end in whole seconds, durations in milliseconds.
    #[default]
    Nginx,
    /// Log lines of Envoy: start in milliseconds, ports of both sides.
    Envoy,
    /// Requests come straight from the NodePort to the entry Service.
    None,
}

#[derive(Clone, Debug, Args, Serialize)]
pub struct Dials {
    /// Seed of everything; the same dials and seed give the same rows
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Call trees, sizes and timings
    #[arg(long, value_enum, default_value_t)]
    pub shape: Kind,
    /// Folder of *.spans.csv.gz with call trees and timings to replay, instead of --shape
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub traces: Option<PathBuf>,
    /// First moment of the traffic, seconds since the Unix epoch [live: now]
    #[arg(long, default_value_t = 1_795_000_000)]
    pub start: i64,
    /// Seconds of traffic
    #[arg(long, default_value_t = 60.0)]
    pub seconds: f64,
    /// Requests a second [default: of the shape; traces: as recorded]
    #[arg(long)]
    pub rate: Option<f64>,
    /// Divide the gaps between requests by this, and keep durations: 1 to 50
    #[arg(long, default_value_t = 1.0)]
    pub compress: f64,
    /// Nodes: 1 to 250 [default: of the shape]
    #[arg(long)]
    pub nodes: Option<usize>,
    /// Services without the ingress: 1 to 900 [default: of the shape]
    #[arg(long)]
    pub services: Option<usize>,
    /// Pods of each Service [default: of the shape]
    #[arg(long)]
    pub replicas: Option<usize>,
    /// Layers of services below the entry, of --shape layers
    #[arg(long, default_value_t = 3)]
    pub depth: usize,
    /// Calls that a service makes for a request, of --shape layers
    #[arg(long, default_value_t = 2)]
    pub fan_out: usize,
    /// Part of the calls that no answer waits for, of --shape layers
    #[arg(long, default_value_t = 0.0)]
    pub detached: f64,
    /// Outside clients [peak: 1200]
    #[arg(long, default_value_if("shape", "peak", "1200"), default_value_t = 20)]
    pub clients: usize,
    /// How requests enter the cluster
    #[arg(long, value_enum, default_value_t)]
    pub ingress: Ingress,
    /// How connections between services are used
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Protocol,
    /// Part of HTTP/2 connections whose stream ids the agent can tell
    #[arg(long, default_value_t = 1.0)]
    pub stream_ids: f64,
    /// How services use threads
    #[arg(long, value_enum, default_value_t)]
    pub threads: Threads,
    /// Part of the calls that the server drops without an answer; the ingress tries another pod
    #[arg(long, default_value_t = 0.0)]
    pub failing: f64,
    /// Part of the ingress' tries that are refused: nothing is sent
    #[arg(long, default_value_t = 0.0)]
    pub refused: f64,
    /// Part of the calls that are answered with status 500
    #[arg(long, default_value_t = 0.0)]
    pub errors: f64,

    /// Part of the agents' records lost, counted in their heartbeats: 0 to 0.2 [peak: 0.001]
    #[arg(long, default_value_if("shape", "peak", "0.001"), default_value_t = 0.0)]
    pub loss_agents: f64,
    /// Part of the spans lost
    #[arg(long, default_value_t = 0.0)]
    pub loss_spans: f64,
    /// Part of the log lines lost
    #[arg(long, default_value_t = 0.0)]
    pub loss_logs: f64,
    /// Part of the rows that come a second time, by another collector
    #[arg(long, default_value_t = 0.0)]
    pub duplicates: f64,
    /// Part of the rows that arrive late, by up to --delay [peak: 0.001]
    #[arg(long, default_value_if("shape", "peak", "0.001"), default_value_t = 0.0)]
    pub late: f64,
    /// Longest delay of a late row, up to 20m
    #[arg(long, default_value = "20s", value_parser = duration)]
    pub delay: i64,
    /// Allowed lateness: what comes later than this is `late` in the truth
    #[arg(long, default_value = "15m", value_parser = duration)]
    pub lateness: i64,
    /// Part of the rows that arrive up to 3 s after their fellows
    #[arg(long, default_value_t = 0.0)]
    pub reorder: f64,
    /// Clocks of nodes differ from true time by up to this, up to 500ms
    #[arg(long, default_value = "0ms", value_parser = duration)]
    pub skew: i64,
    /// Clocks of nodes run fast or slow by up to this many parts per million, up to 50
    #[arg(long, default_value_t = 0.0)]
    pub drift: f64,
    /// Nodes whose wall clock steps once, in the middle of the run
    #[arg(long, default_value_t = 0)]
    pub clock_steps: usize,
    /// How far it steps; back on every other node
    #[arg(long, default_value = "400ms", value_parser = duration)]
    pub step: i64,
    /// Part of the traces that head sampling keeps: 0.01 to 1
    #[arg(long, default_value_t = 1.0)]
    pub sampling: f64,
    /// Part of the services that are traced
    #[arg(long, default_value_t = 1.0)]
    pub traced: f64,
    /// Part of the traced spans that name their socket's peer, decided by service
    #[arg(long, default_value_t = 1.0)]
    pub span_peers: f64,
    /// Resolution of span stamps, such as 1us or 1ms
    #[arg(long, default_value = "1ns", value_parser = duration)]
    pub span_resolution: i64,
    /// Part of the requests of which no source tells any id
    #[arg(long, default_value_t = 0.0)]
    pub ids_stripped: f64,
    /// Part of the requests that carry another request's request id
    #[arg(long, default_value_t = 0.0)]
    pub request_ids_reused: f64,
    /// Part of the requests that carry one and the same trace id
    #[arg(long, default_value_t = 0.0)]
    pub trace_ids_reused: f64,
    /// Part of the nodes without an agent
    #[arg(long, default_value_t = 0.0)]
    pub agents_off: f64,
    /// Part of the nodes whose agent sees connections and translations, but no requests
    #[arg(long, default_value_t = 0.0)]
    pub exchanges_off: f64,
    /// Nodes whose agent is killed once and started again after --down
    #[arg(long, default_value_t = 0)]
    pub agents_down: usize,
    /// How long it is down
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub down: i64,
    /// Pods a minute that end, and whose address another Service's pod gets within a second
    #[arg(long, default_value_t = 0.0)]
    pub churn: f64,
    /// Ports that a node has for masquerading: few of them come back into use at once
    #[arg(long, default_value_t = 64_000)]
    pub nat_ports: u32,

    /// Time between heartbeats of agents and of the Kubernetes watch
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub heartbeat: i64,
    /// After which time live connections and translations are reported again [default: of the shape]
    #[arg(long, value_parser = duration)]
    pub active_timeout: Option<i64>,
    /// After which time an unused connection is closed
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub idle_timeout: i64,
    /// How often a pod exports its spans
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub span_export: i64,
    /// Heartbeats go on for this long after the traffic, so that its windows become final
    #[arg(long, default_value = "90s", value_parser = duration)]
    pub tail: i64,
}

/// A dial out of its range.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("--{dial}: {wanted}")]
pub struct Mistake {
    dial: &'static str,
    wanted: &'static str,
}

impl Default for Dials {
    fn default() -> Self {
        /// Only a parser knows the defaults that the attributes above declare.
        #[derive(clap::Parser)]
        struct Defaults {
            #[command(flatten)]
            dials: Dials,
        }
        <Defaults as clap::Parser>::parse_from(["defaults"]).dials
    }
}

impl Dials {
    /// All dials that are out of their range.
    pub fn mistakes(&self) -> Vec<Mistake> {
        let part = "a part from 0 to 1";
        let parts = [
            ("stream-ids", self.stream_ids),
            ("detached", self.detached),
            ("failing", self.failing),
            ("refused", self.refused),
            ("errors", self.errors),
            ("loss-agents", self.loss_agents),
            ("loss-spans", self.loss_spans),
            ("loss-logs", self.loss_logs),
            ("duplicates", self.duplicates),
            ("late", self.late),
            ("reorder", self.reorder),
            ("sampling", self.sampling),
            ("traced", self.traced),
            ("span-peers", self.span_peers),
            ("ids-stripped", self.ids_stripped),
            ("request-ids-reused", self.request_ids_reused),
            ("trace-ids-reused", self.trace_ids_reused),
            ("agents-off", self.agents_off),
            ("exchanges-off", self.exchanges_off),
        ];
        let wrong = parts.into_iter().filter(|(_, value)| !(0.0..=1.0).contains(value));
        let mut mistakes: Vec<Mistake> =
            wrong.map(|(dial, _)| Mistake { dial, wanted: part }).collect();
        let mut check = |holds: bool, dial, wanted| {
            if !holds {
                mistakes.push(Mistake { dial, wanted });
            }
        };
        check(self.seconds > 0.0, "seconds", "more than 0");
        check(self.rate.is_none_or(|rate| rate > 0.0), "rate", "more than 0");
        check((1.0..=50.0).contains(&self.compress), "compress", "from 1 to 50");
        check(self.nodes.is_none_or(|n| (1..=250).contains(&n)), "nodes", "from 1 to 250");
        check(self.services.is_none_or(|n| (1..=900).contains(&n)), "services", "from 1 to 900");
        check(self.replicas.is_none_or(|n| (1..=200).contains(&n)), "replicas", "from 1 to 200");
        check((1..=8).contains(&self.depth), "depth", "from 1 to 8");
        check((1..=8).contains(&self.fan_out), "fan-out", "from 1 to 8");
        check(self.clients > 0, "clients", "at least 1");
        check((0..=1_200 * SECOND).contains(&self.delay), "delay", "up to 20m");
        check((0..=SECOND / 2).contains(&self.skew), "skew", "up to 500ms");
        check((0.0..=50.0).contains(&self.drift), "drift", "up to 50");
        check(self.span_resolution > 0, "span-resolution", "more than 0");
        check((8..=64_000).contains(&self.nat_ports), "nat-ports", "from 8 to 64000");
        check(self.heartbeat >= SECOND, "heartbeat", "at least 1s");
        mistakes
    }
}

/// `500ms`, `10s`, `15m`, `1us`, `1ns` or `1h`, in nanoseconds.
pub fn duration(text: &str) -> Result<i64, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit_ns = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3_600 * SECOND,
        _ => return Err("a number and its unit, such as 500ms, 10s or 15m".to_owned()),
    };
    let number: i64 = number.parse().map_err(|_| "a whole number before the unit".to_owned())?;
    number.checked_mul(unit_ns).ok_or_else(|| "too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_without_mistakes_and_all_mistakes_are_told_at_once() {
        assert_eq!(Dials::default().mistakes(), []);
        let wrong = Dials { compress: 60.0, late: 2.0, nodes: Some(0), ..Dials::default() };
        let found: Vec<_> = wrong.mistakes().iter().map(|m| m.dial).collect();
        assert_eq!(found, ["late", "compress", "nodes"]);
    }

    #[test]
    fn durations_are_read_with_their_unit() {
        for (text, expected) in [("500ms", 500_000_000), ("15m", 900 * SECOND), ("1ns", 1)] {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        assert!(duration("15").is_err() && duration("s").is_err());
    }
}
