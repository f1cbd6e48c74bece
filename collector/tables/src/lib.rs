//! Schemas and row types of every Delta table Throughline writes: one table a file.
//!
//! A row type is a plain struct; [`to_batch`] and [`from_batch`] turn slices of rows into Arrow
//! record batches and back. Enter through [`Row`] for one table or [`all`] for the list of tables.
//! Columns are added, never changed or reused; a reader of version n reads n-1. Nothing here does
//! I/O, and no table has a column that could hold a payload, a header or a query string.

mod raw;
mod row;

pub mod ambiguous;
pub mod calibration;
pub mod clock_offset;
pub mod cluster;
pub mod data_quality;
pub mod edge_minute;
pub mod finality;
pub mod hop;
pub mod path;
pub mod request_id;

pub use raw::Origin;
pub use raw::access_log::{self, AccessLog, Attempt};
pub use raw::capability::{self, Capability};
pub use raw::cluster_object::{self, ClusterObject};
pub use raw::connection::{self, Connection};
pub use raw::exchange::{self, Exchange};
pub use raw::failure::{self, Failure};
pub use raw::heartbeat::{self, Heartbeat};
pub use raw::nat_binding::{self, NatBinding};
pub use raw::quarantine::{self, Quarantine};
pub use raw::span::{self, Span};

pub use ambiguous::{Ambiguous, Candidate};
pub use calibration::{Calibration, CalibrationStep};
pub use clock_offset::ClockOffset;
pub use data_quality::DataQuality;
pub use edge_minute::{EdgeMinute, LatencyBucket};
pub use hop::Hop;
pub use path::{Path, PathHop};

pub use row::{
    DecodeError, Layer, Micros, PARTITION, Row, TableSpec, all, from_batch, hour_of_ns,
    micros_of_ns, spec, to_batch,
};
