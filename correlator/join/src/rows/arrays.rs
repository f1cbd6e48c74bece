//! Fixed-size rows as Arrow columns of their tables.
//!
//! A text column is a dictionary: of all names, or of the few words that it may hold. What differs
//! from row to row (addresses, tuples, ids) is written out. The hops within a path are the same
//! arrays as the columns of the hop table, cut into lists.

mod text;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};
use arrow::error::ArrowError;
use tables::Row;

use crate::Batches;
use crate::names::Name;
use crate::reason::Reason;
use crate::rows::Scope;
use crate::rows::row::{Evidence, Found, HopRow, Party, PathRow, Word};
use text::Texts;

type Named = (&'static str, ArrayRef);

/// The columns of a table in its order, with those that every row of the window carries.
fn batch<R: Row>(
    rows: usize,
    columns: &Columns<'_>,
    mut named: Vec<Named>,
) -> Result<RecordBatch, ArrowError> {
    named.extend(columns.head(rows)?);
    let schema = tables::spec::<R>().schema;
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for field in schema.fields() {
        let found = named.iter().find(|(name, _)| name == field.name());
        let (_, array) = found.ok_or_else(|| {
            ArrowError::SchemaError(format!("no column {} for {}", field.name(), R::TABLE))
        })?;
        let data_type = array.data_type().clone();
        fields.push(Field::new(field.name(), data_type, field.is_nullable()));
        arrays.push(array.clone());
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

/// What the columns of a window have in common.
pub(super) struct Columns<'a> {
    scope: &'a Scope<'a>,
    /// Every name, by its number.
    names: ArrayRef,
    evidence: ArrayRef,
    reasons: ArrayRef,
}

impl<'a> Columns<'a> {
    pub(super) fn new(scope: &'a Scope<'a>) -> Self {
        let words = |words: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(words)) };
        Self {
            scope,
            names: Arc::new(StringArray::from_iter_values(scope.sight.slabs.names.texts())),
            evidence: words(Evidence::ALL.to_vec()),
            reasons: words(Reason::ALL.iter().map(|reason| reason.code()).collect()),
        }
    }

    /// The hops and the paths in the order of their tables' columns.
    ///
    /// # Errors
    /// When a column is of another length or type than its table's: a bug here, which the test that
    /// compares with the row structs shows.
    pub(super) fn batches(&self, found: &Found) -> Result<Batches, ArrowError> {
        let (hops, mut paths) = (self.hops(&found.hops)?, self.paths(found)?);
        let hops_of_path = found.paths.iter().map(|path| path.hops.len());
        paths.push(("hops", within(hops_of_path, &hops)?));
        Ok(Batches {
            hops: batch::<tables::Hop>(found.hops.len(), self, hops)?,
            paths: batch::<tables::Path>(found.paths.len(), self, paths)?,
        })
    }

    fn head(&self, rows: usize) -> Result<Vec<Named>, ArrowError> {
        let head = self.scope.head();
        Ok(vec![
            ("hour", same(&head.hour, rows)?),
            ("win", Arc::new(Int64Array::from_value(head.win, rows))),
            ("stage", same(head.stage, rows)?),
            ("revision", Arc::new(Int32Array::from_value(0, rows))),
            ("finality", same(head.finality, rows)?),
        ])
    }

    fn hops(&self, hops: &[HopRow]) -> Result<Vec<Named>, ArrowError> {
        let name = |of: fn(&HopRow) -> Option<Name>| self.names(hops.iter().map(of));
        let mut named: Vec<Named> = vec![
            ("path_id", Texts::ids(hops.iter().map(|h| Some(h.path_id)))),
            ("position", ints(hops.iter().map(|h| Some(h.position)))),
            ("parent", ints(hops.iter().map(|h| h.parent))),
            ("kind", words(hops.iter().map(|h| Some(h.kind)))?),
            ("attempt", ints(hops.iter().map(|h| Some(h.attempt)))),
            ("requested_ip", Texts::addresses(hops.iter().map(|h| h.requested))),
            ("requested_port", ports(hops.iter().map(|h| h.requested))),
            ("service", name(|h| h.service)?),
            ("service_namespace", name(|h| h.service_namespace)?),
            ("nat", words(hops.iter().map(|h| Some(h.nat)))?),
            ("nat_node", name(|h| h.nat_node)?),
            ("nat_original", Texts::tuples(hops.iter().map(|h| Some(h.translation?.0)))),
            ("nat_reply", Texts::tuples(hops.iter().map(|h| Some(h.translation?.1)))),
            ("start_time", micros(hops.iter().map(|h| h.start_ns))),
            ("start_ns", longs(hops.iter().map(|h| Some(h.start_ns)))),
            ("end_ns", longs(hops.iter().map(|h| Some(h.end_ns)))),
            ("network_ns", longs(hops.iter().map(|h| h.network_ns))),
            ("server_ns", longs(hops.iter().map(|h| h.server_ns))),
            ("bytes_request", longs(hops.iter().map(|h| Some(h.bytes?.0)))),
            ("bytes_response", longs(hops.iter().map(|h| Some(h.bytes?.1)))),
            ("status", ints(hops.iter().map(|h| h.status))),
            ("method", name(|h| h.method)?),
            ("route", name(|h| h.route)?),
            ("failure_cause", words(hops.iter().map(|h| h.failure))?),
            ("confidence", doubles(hops.iter().map(|h| h.confidence))),
        ];
        let evidence = hops.iter().map(|h| h.evidence.bits());
        named.push(("evidence", lists(&self.evidence, evidence)?));
        let reasons = hops.iter().map(|h| h.reasons.iter().map(|reason| reason as i32));
        named.push(("reasons", lists(&self.reasons, reasons)?));
        named.extend(self.party(hops, |h| &h.source, &SOURCE)?);
        named.extend(self.party(hops, |h| &h.destination, &DESTINATION)?);
        Ok(named)
    }

    /// The columns of one end.
    fn party(
        &self,
        hops: &[HopRow],
        of: fn(&HopRow) -> &Party,
        columns: &[&'static str; 7],
    ) -> Result<Vec<Named>, ArrowError> {
        let name =
            |field: fn(&Party) -> Option<Name>| self.names(hops.iter().map(|hop| field(of(hop))));
        let [uid, pod, namespace, workload, node, ip, port] = *columns;
        Ok(vec![
            (uid, name(|p| p.pod_uid)?),
            (pod, name(|p| p.pod)?),
            (namespace, name(|p| p.namespace)?),
            (workload, name(|p| p.workload)?),
            (node, name(|p| p.node)?),
            (ip, Texts::addresses(hops.iter().map(|hop| of(hop).end))),
            (port, ports(hops.iter().map(|hop| of(hop).end))),
        ])
    }

    /// The columns of the paths but for their hops.
    fn paths(&self, found: &Found) -> Result<Vec<Named>, ArrowError> {
        let paths = &found.paths;
        let roots = || paths.iter().map(|path| &found.hops[path.hops.start as usize]);
        let odd = &self.scope.sight.slabs.odd_ids;
        let lists_of = |of: fn(&PathRow) -> &Range<u32>| {
            let keys = |range: &Range<u32>| {
                let names = &found.names[range.start as usize..range.end as usize];
                names.iter().map(|name| name.index() as i32)
            };
            lists(&self.names, paths.iter().map(|path| keys(of(path))))
        };
        let token = |hop: &HopRow| hop.source.end.filter(|(ip, _)| ip.token().is_some());
        let duration = paths.iter().zip(roots()).map(|(p, root)| Some(p.end_ns - root.start_ns));
        let particular = paths.iter().map(|path| path.reasons.particular().into_iter());
        Ok(vec![
            ("path_id", Texts::ids(paths.iter().map(|p| Some(p.path_id)))),
            ("request_id", Texts::known_ids(odd, paths.iter().map(|p| p.request_id))),
            ("trace_id", Texts::known_ids(odd, paths.iter().map(|p| p.trace))),
            ("client_token", Texts::addresses(roots().map(token))),
            ("entry_service", self.names(roots().map(|root| root.service))?),
            ("method", self.names(roots().map(|root| root.method))?),
            ("route", self.names(roots().map(|root| root.route))?),
            ("status", ints(paths.iter().map(|p| p.status))),
            ("outcome", Texts::plain(paths.iter().map(|p| p.outcome))),
            ("start_time", micros(roots().map(|root| root.start_ns))),
            ("start_ns", longs(roots().map(|root| Some(root.start_ns)))),
            ("end_ns", longs(paths.iter().map(|p| Some(p.end_ns)))),
            ("duration_ns", longs(duration)),
            ("hop_count", ints(paths.iter().map(|p| i32::try_from(p.hops.len()).ok()))),
            ("services", lists_of(|p| &p.services)?),
            ("pods", lists_of(|p| &p.pods)?),
            ("nodes", lists_of(|p| &p.nodes)?),
            ("final_pod", self.names(paths.iter().map(|p| p.final_pod))?),
            ("failing_hop", ints(paths.iter().map(|p| p.failing_hop))),
            ("failure_cause", words(paths.iter().map(|p| p.failure))?),
            ("verdict", Texts::plain(paths.iter().map(|p| p.verdict))),
            (
                "missing",
                text_lists(paths.iter().map(|p| {
                    found.missing[p.missing.start as usize..p.missing.end as usize]
                        .iter()
                        .map(String::as_str)
                }))?,
            ),
            ("reasons", text_lists(particular)?),
            ("conf_min", doubles(paths.iter().map(|p| p.conf_min))),
            ("conf_joint", doubles(paths.iter().map(|p| p.conf_joint))),
        ])
    }

    fn names(&self, names: impl Iterator<Item = Option<Name>>) -> Result<ArrayRef, ArrowError> {
        let keys: Int32Array = names.map(|name| name.map(|n| n.index() as i32)).collect();
        dictionary(keys, &self.names)
    }
}

const SOURCE: [&str; 7] = [
    "source_pod_uid",
    "source_pod",
    "source_namespace",
    "source_workload",
    "source_node",
    "source_ip",
    "source_port",
];

const DESTINATION: [&str; 7] = [
    "destination_pod_uid",
    "destination_pod",
    "destination_namespace",
    "destination_workload",
    "destination_node",
    "destination_ip",
    "destination_port",
];

/// The hops of each path as a list of structs over the hop table's own arrays.
fn within(
    hops_of_path: impl Iterator<Item = usize>,
    hops: &[Named],
) -> Result<ArrayRef, ArrowError> {
    let schema = tables::spec::<tables::Path>().schema;
    let DataType::List(element) = schema.field_with_name("hops")?.data_type() else {
        return Err(ArrowError::SchemaError("hops of a path are no list".into()));
    };
    let DataType::Struct(wanted) = element.data_type() else {
        return Err(ArrowError::SchemaError("hops of a path are no structs".into()));
    };
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for field in wanted {
        let found = hops.iter().find(|(name, _)| name == field.name());
        let (_, array) = found.ok_or_else(|| {
            ArrowError::SchemaError(format!("no column {} in hops", field.name()))
        })?;
        fields.push(Field::new(field.name(), array.data_type().clone(), field.is_nullable()));
        arrays.push(array.clone());
    }
    let fields = Fields::from(fields);
    let values = StructArray::try_new(fields.clone(), arrays, None)?;
    let element = Field::new(element.name(), DataType::Struct(fields), element.is_nullable());
    let offsets = OffsetBuffer::from_lengths(hops_of_path);
    Ok(Arc::new(ListArray::try_new(Arc::new(element), offsets, Arc::new(values), None)?))
}

fn dictionary(keys: Int32Array, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values.clone())?))
}

fn same(text: &str, rows: usize) -> Result<ArrayRef, ArrowError> {
    let values: ArrayRef = Arc::new(StringArray::from(vec![text]));
    dictionary(Int32Array::from_value(0, rows), &values)
}

fn words<W: Word>(values: impl Iterator<Item = Option<W>>) -> Result<ArrayRef, ArrowError> {
    let keys: Int32Array = values.map(|word| word.map(|w| w.index() as i32)).collect();
    let all: ArrayRef = Arc::new(StringArray::from(W::ALL.to_vec()));
    dictionary(keys, &all)
}

/// Lists of words by their numbers.
fn lists<I: Iterator<Item = i32>>(
    words: &ArrayRef,
    rows: impl Iterator<Item = I>,
) -> Result<ArrayRef, ArrowError> {
    let mut keys = Vec::new();
    let mut offsets = vec![0];
    for row in rows {
        keys.extend(row);
        offsets.push(keys.len() as i32);
    }
    list(dictionary(Int32Array::from(keys), words)?, offsets)
}

fn text_lists<'t, I: Iterator<Item = &'t str>>(
    rows: impl Iterator<Item = I>,
) -> Result<ArrayRef, ArrowError> {
    let mut texts = Vec::new();
    let mut offsets = vec![0];
    for row in rows {
        texts.extend(row);
        offsets.push(texts.len() as i32);
    }
    list(Arc::new(StringArray::from(texts)), offsets)
}

fn list(values: ArrayRef, offsets: Vec<i32>) -> Result<ArrayRef, ArrowError> {
    let element = Arc::new(Field::new("element", values.data_type().clone(), false));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(ListArray::try_new(element, offsets, values, None)?))
}

fn ints(values: impl Iterator<Item = Option<i32>>) -> ArrayRef {
    Arc::new(values.collect::<Int32Array>())
}

fn longs(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

fn doubles(values: impl Iterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

fn micros(values: impl Iterator<Item = i64>) -> ArrayRef {
    let values = values.map(|ns| tables::micros_of_ns(ns).0);
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

fn ports<T>(ends: impl Iterator<Item = Option<(T, u16)>>) -> ArrayRef {
    ints(ends.map(|end| end.map(|(_, port)| i32::from(port))))
}
