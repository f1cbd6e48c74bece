//! The truth as parquet files below a folder that the product never reads.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::{Coverage, Leg, Request, Truth};
use crate::address::End;
use crate::cluster::NAMESPACE;
use crate::names::Names;
use crate::network::Client;
use crate::text::{self, BUFFER, Buffer};

#[derive(Debug, thiserror::Error)]
pub enum TruthError {
    #[error("write {file}", file = .0.display())]
    File(PathBuf, #[source] io::Error),
    #[error("write {file}", file = .0.display())]
    Parquet(PathBuf, #[source] ParquetError),
}

/// Rows that wait before they are encoded: a few tens of megabytes.
const ROWS_MAX: usize = 65_536;

/// Columns by name, in the order in which they were first appended to.
#[derive(Default)]
struct Sheet {
    columns: Vec<(&'static str, Column)>,
    next: usize,
    rows: usize,
}

enum Column {
    Int64(Int64Builder),
    Int32(Int32Builder),
    Bool(BooleanBuilder),
    Text(StringBuilder),
}

/// Appends to the column whose turn it is; the first row makes the columns.
macro_rules! append {
    ($method:ident, $variant:ident, $builder:ty, $value:ty) => {
        fn $method(&mut self, name: &'static str, value: Option<$value>) {
            if self.next == self.columns.len() {
                self.columns.push((name, Column::$variant(<$builder>::new())));
            }
            if let (known, Column::$variant(builder)) = &mut self.columns[self.next] {
                debug_assert_eq!(*known, name);
                builder.append_option(value);
            }
            self.next += 1;
        }
    };
}

impl Sheet {
    append!(int64, Int64, Int64Builder, i64);
    append!(int32, Int32, Int32Builder, i32);
    append!(bool, Bool, BooleanBuilder, bool);
    append!(text, Text, StringBuilder, &str);

    fn hex(&mut self, name: &'static str, value: Option<u128>, digits: usize) {
        let mut buffer: Buffer = BUFFER;
        self.text(name, value.map(|value| text::hex(value, digits, &mut buffer)));
    }

    fn end(&mut self, ip: &'static str, port: &'static str, end: End) {
        let mut buffer: Buffer = BUFFER;
        self.text(ip, Some(text::ip(end, &mut buffer)));
        self.int32(port, Some(end.port.into()));
    }

    fn end_row(&mut self) {
        debug_assert_eq!(self.next, self.columns.len());
        self.next = 0;
        self.rows += 1;
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        let finish = |(_, column): &mut (&str, Column)| -> ArrayRef {
            match column {
                Column::Int64(builder) => Arc::new(builder.finish()),
                Column::Int32(builder) => Arc::new(builder.finish()),
                Column::Bool(builder) => Arc::new(builder.finish()),
                Column::Text(builder) => Arc::new(builder.finish()),
            }
        };
        self.columns.iter_mut().map(finish).collect()
    }

    fn schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|(name, column)| {
            let data_type = match column {
                Column::Int64(_) => DataType::Int64,
                Column::Int32(_) => DataType::Int32,
                Column::Bool(_) => DataType::Boolean,
                Column::Text(_) => DataType::Utf8,
            };
            Field::new(*name, data_type, true)
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// One file, written as its rows come.
struct Output {
    path: PathBuf,
    sheet: Sheet,
    writer: Option<ArrowWriter<File>>,
}

impl Output {
    fn new(folder: &Path, name: &str) -> Self {
        Self { path: folder.join(name), sheet: Sheet::default(), writer: None }
    }

    fn spill(&mut self, least: usize) -> Result<(), TruthError> {
        if self.sheet.rows < least.max(1) {
            return Ok(());
        }
        let failed = |e| TruthError::Parquet(self.path.clone(), e);
        let schema = self.sheet.schema();
        let batch = RecordBatch::try_new(schema.clone(), self.sheet.finish())
            .map_err(|e| failed(e.into()))?;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let file =
                    File::create(&self.path).map_err(|e| TruthError::File(self.path.clone(), e))?;
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_created_by("throughline-sim".to_owned())
                    .build();
                let writer =
                    ArrowWriter::try_new(file, schema, Some(properties)).map_err(failed)?;
                self.writer.insert(writer)
            }
        };
        writer.write(&batch).map_err(failed)
    }

    fn close(mut self) -> Result<(), TruthError> {
        self.spill(1)?;
        match self.writer {
            Some(writer) => {
                writer.close().map_err(|e| TruthError::Parquet(self.path.clone(), e))?;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// Writes `requests.parquet`, `legs.parquet` and `coverage.parquet`. A file without rows is not
/// made.
pub struct Writer {
    requests: Output,
    legs: Output,
    coverage: Output,
    /// Only requests whose key is divisible by this are written.
    every: u64,
}

impl Writer {
    /// # Errors
    /// When the folder can't be made.
    pub fn create(folder: &Path, every: u64) -> Result<Self, TruthError> {
        std::fs::create_dir_all(folder).map_err(|e| TruthError::File(folder.to_owned(), e))?;
        Ok(Self {
            requests: Output::new(folder, "requests.parquet"),
            legs: Output::new(folder, "legs.parquet"),
            coverage: Output::new(folder, "coverage.parquet"),
            every: every.max(1),
        })
    }

    /// # Errors
    /// When a file can't be written.
    pub fn write(&mut self, truth: &Truth, names: &Names) -> Result<(), TruthError> {
        for request in truth.requests.iter().filter(|r| r.key.is_multiple_of(self.every)) {
            request_row(&mut self.requests.sheet, request, names);
        }
        for leg in truth.legs.iter().filter(|l| l.request.is_multiple_of(self.every)) {
            leg_row(&mut self.legs.sheet, leg, names);
        }
        for coverage in &truth.coverage {
            coverage_row(&mut self.coverage.sheet, coverage, names);
        }
        self.requests.spill(ROWS_MAX)?;
        self.legs.spill(ROWS_MAX)?;
        self.coverage.spill(ROWS_MAX)
    }

    /// # Errors
    /// When a file can't be written.
    pub fn close(self) -> Result<(), TruthError> {
        self.requests.close()?;
        self.legs.close()?;
        self.coverage.close()
    }
}

fn request_row(sheet: &mut Sheet, r: &Request, names: &Names) {
    let mut buffer: Buffer = BUFFER;
    sheet.int64("request", Some(r.key as i64));
    sheet.hex("request_id", r.request_id, 32);
    sheet.hex("trace_id", r.trace_id, 32);
    sheet.bool("sampled", Some(r.sampled));
    sheet.bool("ids_stripped", Some(r.ids_stripped));
    sheet.bool("request_id_reused", Some(r.request_id_reused));
    sheet.bool("trace_id_reused", Some(r.trace_id_reused));
    sheet.text("client", Some(text::address(r.client, &mut buffer)));
    sheet.text("entry_service", Some(names.service(r.entry_service)));
    sheet.int32("legs", Some(r.legs as i32));
    sheet.int64("start_ns", Some(r.start_ns));
    sheet.int64("end_ns", Some(r.end_ns));
    sheet.int32("status", r.status);
    sheet.bool("full_coverage", Some(r.full_coverage));
    sheet.end_row();
}

fn leg_row(sheet: &mut Sheet, l: &Leg, names: &Names) {
    let client = match l.client {
        Client::Pod(pod) => Some(names.pod(pod)),
        Client::Outside(_) => None,
    };
    let server = names.pod(l.server);
    sheet.int64("request", Some(l.request as i64));
    sheet.int32("leg", Some(l.leg as i32));
    sheet.int32("parent_leg", l.parent_leg.map(|leg| leg as i32));
    sheet.int32("call", Some(l.call as i32));
    sheet.int32("attempt", Some(l.attempt as i32));
    sheet.text("kind", Some(l.kind.as_str()));
    sheet.text("protocol", Some(l.protocol));
    sheet.text("client_pod_uid", client.map(|pod| pod.uid.as_str()));
    sheet.text("client_pod", client.map(|pod| pod.name.as_str()));
    sheet.text("client_node", l.client_node.map(|node| names.node(node)));
    sheet.text("server_pod_uid", Some(&server.uid));
    sheet.text("server_pod", Some(&server.name));
    sheet.text("server_node", Some(names.node(server.node)));
    sheet.text("service", Some(names.service(l.service)));
    sheet.text("service_namespace", Some(NAMESPACE));
    sheet.end("client_ip", "client_port", l.original.0);
    sheet.end("requested_ip", "requested_port", l.original.1);
    sheet.end("server_ip", "server_port", l.reply.0);
    sheet.end("peer_ip", "peer_port", l.reply.1);
    sheet.text("nat", Some(l.nat()));
    sheet.text("nat_node", l.nat_node.map(|node| names.node(node)));
    sheet.int64("tcp_seq_req", Some(l.seq_request.into()));
    sheet.int64("tcp_seq_resp", l.seq_response.map(i64::from));
    sheet.int64("ordinal", Some(l.ordinal.into()));
    sheet.int64("true_client_start_ns", Some(l.true_client.start_ns));
    sheet.int64("true_client_end_ns", Some(l.true_client.end_ns));
    sheet.int64("true_server_start_ns", l.true_server.map(|t| t.start_ns));
    sheet.int64("true_server_end_ns", l.true_server.map(|t| t.end_ns));
    sheet.int64("client_start_ns", l.client_stamps.map(|t| t.start_ns));
    sheet.int64("client_end_ns", l.client_stamps.map(|t| t.end_ns));
    sheet.int64("server_start_ns", l.server_stamps.map(|t| t.start_ns));
    sheet.int64("server_end_ns", l.server_stamps.map(|t| t.end_ns));
    sheet.int64("client_start_alt_ns", l.client_start_alt_ns);
    sheet.int64("server_start_alt_ns", l.server_start_alt_ns);
    sheet.int32("status", l.status);
    sheet.text("failure", l.failure);
    sheet.hex("trace_id", l.spans.trace_id, 32);
    sheet.hex("server_span_id", l.spans.server.map(u128::from), 16);
    sheet.hex("client_span_id", l.spans.client.map(u128::from), 16);
    sheet.hex("parent_span_id", l.spans.parent.map(u128::from), 16);
    sheet.text("client_exchange", Some(l.client_exchange.word.as_str()));
    sheet.text("server_exchange", Some(l.server_exchange.word.as_str()));
    sheet.text("nat_binding", Some(l.nat_binding.word.as_str()));
    sheet.text("client_span", Some(l.client_span.word.as_str()));
    sheet.text("server_span", Some(l.server_span.word.as_str()));
    sheet.text("access_log", Some(l.access_log.word.as_str()));
    let missing = l.missing();
    sheet.text("missing", missing.map(|(why, _)| why));
    sheet.text("missing_segment", missing.map(|(_, segment)| segment));
    sheet.end_row();
}

fn coverage_row(sheet: &mut Sheet, c: &Coverage, names: &Names) {
    sheet.text("node", Some(names.node(c.node)));
    sheet.int64("from_ns", Some(c.from_ns));
    sheet.int64("to_ns", Some(c.to_ns));
    sheet.int64("lost", Some(c.lost));
    sheet.end_row();
}
