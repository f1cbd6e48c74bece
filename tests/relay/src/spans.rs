//! Spans from a file: one row each, in the column format of the recorded traces.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use flate2::read::MultiGzDecoder;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) service: String,
    pub(crate) pod: String,
    pub(crate) kind: String,
    pub(crate) operation: String,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

pub(crate) fn read(path: &Path) -> Result<Vec<Span>> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    parse(BufReader::new(MultiGzDecoder::new(file)))
        .with_context(|| format!("read {}", path.display()))
}

pub(crate) fn parse(mut from: impl BufRead) -> Result<Vec<Span>> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let columns: BTreeMap<String, usize> = fields(line.trim_start_matches('\u{feff}'))
        .into_iter()
        .enumerate()
        .map(|(i, name)| (name, i))
        .collect();
    let column =
        |name: &str| columns.get(name).copied().with_context(|| format!("no column {name}"));
    let (trace, id, parent) = (column("trace_id")?, column("span_id")?, column("parent_span_id")?);
    let (service, kind, operation) =
        (column("service")?, column("span_kind")?, column("operation")?);
    let (start, duration) = (column("start_us")?, column("duration_us")?);
    let (pod, pod_ip) = (columns.get("pod").copied(), columns.get("pod_ip").copied());
    let mut spans = Vec::new();
    let mut seen = BTreeSet::new();
    let mut row = 1;
    loop {
        row += 1;
        line.clear();
        if from.read_line(&mut line)? == 0 {
            return Ok(spans);
        }
        let fields = fields(&line);
        if fields.len() < columns.len() {
            bail!("line {row}: {} fields of {}", fields.len(), columns.len());
        }
        // Both ends of a call may share an id; what is sent twice is the same end.
        if !seen.insert([trace, id, service, kind].map(|at| fields[at].clone())) {
            continue;
        }
        // Jaeger writes whole microseconds; other writers add a fraction.
        let number = |at: usize, name: &str| -> Result<i64> {
            let number = fields[at].parse::<f64>();
            Ok(number.map_err(|_| anyhow!("line {row}: {name} is {}", fields[at]))? as i64)
        };
        let text = |at: Option<usize>| at.map(|i| fields[i].clone()).filter(|t| !t.is_empty());
        let begin = number(start, "start_us")?;
        spans.push(Span {
            trace: fields[trace].clone(),
            id: fields[id].clone(),
            parent: fields[parent].clone(),
            service: fields[service].clone(),
            pod: text(pod).or(text(pod_ip)).unwrap_or_else(|| fields[service].clone()),
            kind: kind_of(&fields[kind]),
            operation: route(&fields[operation]),
            start: begin,
            end: begin + number(duration, "duration_us")?.max(0),
        });
    }
}

/// The kind in lower case, without the prefix that some writers give it.
fn kind_of(field: &str) -> String {
    let kind = field.to_ascii_lowercase();
    kind.strip_prefix("span_kind_").unwrap_or(&kind).to_owned()
}

/// Splits a line of comma-separated fields; a quoted field may hold commas and doubled quotes.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.trim_end_matches(['\r', '\n']).chars().peekable();
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                fields[last].push('"');
                chars.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields[last].push(c),
        }
    }
    fields
}

/// An operation without its query and without what looks like an identifier in its path.
fn route(operation: &str) -> String {
    let path = operation.split('?').next().unwrap_or_default();
    let is_identifier = |segment: &str| {
        segment.len() >= 2
            && segment.chars().any(|c| c.is_ascii_digit())
            && segment.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
            || segment.chars().all(|c| c.is_ascii_digit()) && !segment.is_empty()
    };
    path.split('/').map(|s| if is_identifier(s) { "*" } else { s }).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_field_may_hold_commas_and_quotes() {
        assert_eq!(fields("a,\"b,\"\"c\",d\n"), ["a", "b,\"c", "d"]);
    }

    #[test]
    fn identifiers_in_a_path_are_not_operations() {
        assert_eq!(route("GET /cart/4711/items?page=2"), "GET /cart/*/items");
        assert_eq!(route("/geo.Geo/Nearby"), "/geo.Geo/Nearby");
    }
}
