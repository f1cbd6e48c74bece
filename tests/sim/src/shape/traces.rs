//! Recorded traces as plans: every `*.spans.csv.gz` of a folder, one plan a root span.
//!
//! A call is the caller's client span with a server span of another service below it, else the
//! callee's own span. A span whose parent is in the same service is internal work. Client and server
//! clocks differ in the recordings, so of a callee only its duration is used: what the client waited
//! longer is the network, half of it each way.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::{Arrivals, Branch, Operation, Plan, Service, Shape, Tree};
use crate::chance::Spread;
use crate::dials::{Dials, SECOND};

const ENDING: &str = ".spans.csv.gz";
/// A recorded tree this deep is a loop of parents.
const DEPTH_MAX: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("read traces of {folder}", folder = .0.display())]
    Folder(PathBuf, #[source] std::io::Error),
    #[error("read traces of {folder}: there is no file *{ENDING}", folder = .0.display())]
    Nothing(PathBuf),
    #[error("read {file}", file = .0.display())]
    File(PathBuf, #[source] std::io::Error),
    #[error("read {}: there is no column {}", .0.display(), .1)]
    Column(PathBuf, &'static str),
    #[error("read {}: line {} has too few fields or a time that is none", .0.display(), .1)]
    Line(PathBuf, usize),
}

#[derive(Debug)]
struct Span {
    id: String,
    parent: String,
    service: String,
    pod: String,
    is_client: bool,
    operation: String,
    method: String,
    start_ns: i64,
    end_ns: i64,
}

pub(super) fn read(folder: &Path, dials: &Dials) -> Result<Shape, TraceError> {
    let in_folder = |e| TraceError::Folder(folder.to_owned(), e);
    let entries: Result<Vec<PathBuf>, _> =
        std::fs::read_dir(folder).map_err(in_folder)?.map(|e| Ok(e?.path())).collect();
    let mut files = entries.map_err(in_folder)?;
    files.retain(|path| path.to_string_lossy().ends_with(ENDING));
    files.sort();
    if files.is_empty() {
        return Err(TraceError::Nothing(folder.to_owned()));
    }
    let mut traces = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        spans_of(file, index, &mut traces)?;
    }
    Ok(shape(&traces, dials))
}

type Traces = BTreeMap<(usize, String), Vec<Span>>;

fn spans_of(path: &Path, index: usize, traces: &mut Traces) -> Result<(), TraceError> {
    let failed = |e| TraceError::File(path.to_owned(), e);
    let file = File::open(path).map_err(failed)?;
    let mut lines = BufReader::new(MultiGzDecoder::new(file)).lines();
    let header = fields(&lines.next().transpose().map_err(failed)?.unwrap_or_default());
    let column = |name: &'static str| {
        let found = header.iter().position(|field| field == name);
        found.ok_or_else(|| TraceError::Column(path.to_owned(), name))
    };
    let [trace, id, parent, service, pod, kind, operation, start, duration, method] = [
        column("trace_id")?,
        column("span_id")?,
        column("parent_span_id")?,
        column("service")?,
        column("pod")?,
        column("span_kind")?,
        column("operation")?,
        column("start_us")?,
        column("duration_us")?,
        column("http_method")?,
    ];
    for (number, line) in lines.enumerate() {
        let mut fields = fields(&line.map_err(failed)?);
        let wrong = || TraceError::Line(path.to_owned(), number + 2);
        if fields.len() < header.len() {
            return Err(wrong());
        }
        let time = |at: usize| fields[at].parse::<i64>().map_err(|_| wrong());
        let start_ns = time(start)? * 1_000;
        let end_ns = start_ns + time(duration)? * 1_000;
        let mut take = |at: usize| std::mem::take(&mut fields[at]);
        let span = Span {
            id: take(id),
            parent: take(parent),
            service: take(service),
            pod: take(pod),
            is_client: take(kind) == "client",
            operation: take(operation),
            method: take(method),
            start_ns,
            end_ns,
        };
        traces.entry((index, take(trace))).or_default().push(span);
    }
    Ok(())
}

/// Fields of one line; quotes hold commas and doubled quotes.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let field = fields.last_mut();
        match (c, field) {
            ('"', Some(field)) if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            ('"', _) => quoted = !quoted,
            (',', _) if !quoted => fields.push(String::new()),
            (c, Some(field)) => field.push(c),
            (_, None) => {}
        }
    }
    fields
}

fn shape(traces: &Traces, dials: &Dials) -> Shape {
    let mut names = Names::default();
    let mut found: Vec<(usize, i64, Plan)> = Vec::new();
    for ((file, _), spans) in traces {
        let trace = Trace::new(spans);
        for root in trace.roots() {
            let tree = trace.visit(root, None, &mut names, 0);
            found.push((*file, spans[root].start_ns, Plan::of(tree)));
        }
    }
    // The recordings follow one another; each begins a second after the one before has begun its
    // last request.
    found.sort_by_key(|(file, start_ns, _)| (*file, *start_ns));
    let mut arrivals = Vec::new();
    let mut plans = Vec::new();
    let (mut shift_ns, mut last_ns, mut in_file) = (0, 0, None);
    for (index, (file, start_ns, plan)) in found.into_iter().enumerate() {
        if in_file != Some(file) {
            let begin_ns = in_file.map_or(0, |_| last_ns + SECOND);
            shift_ns = begin_ns - start_ns;
            in_file = Some(file);
        }
        last_ns = start_ns + shift_ns;
        arrivals.push((last_ns, index as u32));
        plans.push(plan);
    }
    Shape {
        services: names.services(dials),
        operations: names.operations,
        plans,
        arrivals: match dials.rate {
            Some(rate) => Arrivals::Drawn { rate },
            None => Arrivals::Recorded(arrivals),
        },
        nodes: dials.nodes.unwrap_or(2),
        active_timeout_ns: dials.active_timeout.unwrap_or(60 * SECOND),
    }
}

/// Services and operations by their recorded names, in the order in which they are met.
#[derive(Default)]
struct Names {
    service_ids: BTreeMap<String, u16>,
    service_names: Vec<String>,
    pods: BTreeMap<u16, std::collections::BTreeSet<String>>,
    operation_ids: BTreeMap<(String, String), u32>,
    operations: Vec<Operation>,
}

impl Names {
    fn service(&mut self, span: &Span) -> u16 {
        let next = self.service_names.len() as u16;
        let id = *self.service_ids.entry(span.service.clone()).or_insert_with(|| {
            self.service_names.push(dns_label(&span.service));
            next
        });
        self.pods.entry(id).or_default().insert(span.pod.clone());
        id
    }

    fn operation(&mut self, span: &Span) -> u32 {
        let method = match span.method.as_str() {
            "GET" => "GET",
            "PUT" => "PUT",
            "DELETE" => "DELETE",
            _ => "POST",
        };
        let route = span.operation.rsplit(' ').next().unwrap_or("/");
        let route = format!("/{}", route.trim_start_matches('/'));
        let next = self.operations.len() as u32;
        *self.operation_ids.entry((method.to_owned(), route.clone())).or_insert_with(|| {
            self.operations.push(Operation { method, route });
            next
        })
    }

    fn services(&self, dials: &Dials) -> Vec<Service> {
        let names = self.service_names.iter().enumerate();
        names
            .map(|(id, name)| {
                let recorded = self.pods.get(&(id as u16)).map_or(1, |pods| pods.len());
                Service::named(name.clone(), dials.replicas.unwrap_or(recorded))
            })
            .collect()
    }
}

fn dns_label(name: &str) -> String {
    let lower = name.to_lowercase();
    lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

struct Trace<'a> {
    spans: &'a [Span],
    children: Vec<Vec<usize>>,
    has_parent: Vec<bool>,
}

struct Made {
    start_ns: i64,
    end_ns: i64,
    callee: usize,
    by_client: bool,
}

impl<'a> Trace<'a> {
    fn new(spans: &'a [Span]) -> Self {
        let by_id: BTreeMap<&str, usize> =
            spans.iter().enumerate().map(|(i, s)| (s.id.as_str(), i)).collect();
        let mut children = vec![Vec::new(); spans.len()];
        let mut has_parent = vec![false; spans.len()];
        for (index, span) in spans.iter().enumerate() {
            if let Some(&parent) = by_id.get(span.parent.as_str()).filter(|&&p| p != index) {
                children[parent].push(index);
                has_parent[index] = true;
            }
        }
        Self { spans, children, has_parent }
    }

    fn roots(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.spans.len()).filter(|&i| !self.has_parent[i])
    }

    /// The calls that a span's service made below it, by start.
    fn calls(&self, at: usize, depth: usize, found: &mut Vec<Made>) {
        if depth == DEPTH_MAX {
            return;
        }
        for &child in &self.children[at] {
            let (span, above) = (&self.spans[child], &self.spans[at]);
            if span.service == above.service {
                self.calls(child, depth + 1, found);
                continue;
            }
            let times = if above.is_client { above } else { span };
            let (start_ns, end_ns) = (times.start_ns, times.end_ns);
            found.push(Made { start_ns, end_ns, callee: child, by_client: above.is_client });
        }
    }

    fn visit(&self, at: usize, network_ns: Option<i64>, names: &mut Names, depth: usize) -> Tree {
        let span = &self.spans[at];
        let mut made = Vec::new();
        if depth < DEPTH_MAX {
            self.calls(at, depth, &mut made);
        }
        made.sort_by_key(|call| (call.start_ns, call.end_ns));
        let mut calls: Vec<Branch> = Vec::new();
        for (index, call) in made.iter().enumerate() {
            let before = made[..index].iter().enumerate();
            let after =
                before.filter(|(_, b)| b.end_ns <= call.start_ns).max_by_key(|(_, b)| b.end_ns);
            let from_ns = after.map_or(span.start_ns, |(_, b)| b.end_ns);
            let callee = &self.spans[call.callee];
            let waited_ns = (call.end_ns - call.start_ns) - (callee.end_ns - callee.start_ns);
            let network_ns = call.by_client.then_some((waited_ns / 2).max(10_000));
            calls.push(Branch {
                after: after.map(|(i, _)| i as u16),
                gap: Spread::Constant((call.start_ns - from_ns).max(1_000)),
                probability: 1.0,
                // What ends after its caller's answer was not waited for.
                awaited: call.end_ns <= span.end_ns || !call.by_client,
                callee: self.visit(call.callee, network_ns, names, depth + 1),
            });
        }
        let awaited = made.iter().filter(|call| call.end_ns <= span.end_ns);
        let last_ns = awaited.map(|call| call.end_ns).max().unwrap_or(span.start_ns);
        Tree {
            service: names.service(span),
            operation: names.operation(span),
            tail: Spread::Constant((span.end_ns - last_ns).max(1_000)),
            network_ns,
            calls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: &str, service: &str, kind: &str, times: (i64, i64)) -> Span {
        Span {
            id: id.into(),
            parent: parent.into(),
            service: service.into(),
            pod: format!("{service}-0"),
            is_client: kind == "client",
            operation: format!("GET /{service}"),
            method: "GET".into(),
            start_ns: times.0,
            end_ns: times.1,
        }
    }

    fn one(spans: Vec<Span>) -> Shape {
        shape(&Traces::from([((0, "t".to_owned()), spans)]), &Dials::default())
    }

    #[test]
    fn a_call_is_the_client_span_else_the_callees_own() {
        let shape = one(vec![
            span("a", "", "front", "server", (0, 1_000_000)),
            span("b", "a", "front", "client", (100_000, 500_000)),
            span("c", "b", "geo", "server", (9_150_000, 9_350_000)),
            span("d", "a", "rate", "", (600_000, 700_000)),
        ]);
        let plan = &shape.plans[0];
        assert_eq!(plan.nodes.len(), 3);
        let [geo, rate] = &plan.calls[..] else { panic!("{:?}", plan.calls) };
        assert_eq!((geo.after, geo.gap), (None, Spread::Constant(100_000)));
        assert_eq!((rate.after, rate.gap), (Some(0), Spread::Constant(100_000)));
        assert_eq!(plan.nodes[geo.node as usize].network_ns, Some(100_000));
        assert_eq!(plan.nodes[rate.node as usize].network_ns, None);
        assert_eq!(plan.nodes[0].tail, Spread::Constant(300_000));
    }

    #[test]
    fn a_span_of_the_same_service_is_internal_work() {
        let shape = one(vec![
            span("a", "", "front", "server", (0, 1_000)),
            span("b", "a", "front", "internal", (100, 900)),
            span("c", "b", "geo", "server", (200, 300)),
        ]);
        assert_eq!(shape.plans[0].nodes.len(), 2);
    }

    #[test]
    fn quoted_fields_hold_commas_and_quotes() {
        assert_eq!(fields(r#"a,"b,""c""",,d"#), ["a", "b,\"c\"", "", "d"]);
    }
}
