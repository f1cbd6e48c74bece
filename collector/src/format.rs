//! Log formats: one a file, bytes in, a row or a named reason out. Pure.
//!
//! Enter through [`read`]. A format is configured for the door a line comes by, never guessed from
//! the line: what a client writes must not choose its own parser.

pub mod alb;
pub mod calico;
pub mod envoy;
mod field;
pub mod kong;
pub mod nginx;
pub mod syslog;

use tables::{AccessLog, Origin};

use crate::admit::{self, Admission};

/// Longest line read. nginx's own lines are below 8 KiB even with long headers logged, and its
/// syslog messages below 4 KiB.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// What the lines of one file or sender are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    IngressNginx,
    Envoy,
    Alb,
    Kong,
    Calico,
}

impl Format {
    pub const ALL: [Self; 5] =
        [Self::IngressNginx, Self::Envoy, Self::Alb, Self::Kong, Self::Calico];

    /// The word for it in the configuration, and in the column `format`.
    pub fn name(self) -> &'static str {
        match self {
            Self::IngressNginx => nginx::FORMAT,
            Self::Envoy => envoy::FORMAT,
            Self::Alb => alb::FORMAT,
            Self::Kong => kong::FORMAT,
            Self::Calico => calico::FORMAT,
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// Reads one line of a format. `emitter_ip` is the proxy's host where its socket showed it.
///
/// # Errors
/// See [`LineError`]; each has a stable reason.
pub fn read(
    format: Format,
    line: &[u8],
    emitter_ip: Option<&str>,
    origin: &Origin,
    admission: &Admission,
) -> Result<AccessLog, LineError> {
    if line.len() > LINE_BYTES_MAX {
        return Err(LineError::Long);
    }
    let line = std::str::from_utf8(line).map_err(|_| LineError::Encoding)?;
    let row = match format {
        Format::IngressNginx => nginx::parse(line, emitter_ip, origin, admission),
        Format::Envoy => envoy::parse(line, emitter_ip, origin, admission),
        Format::Alb => alb::parse(line, origin, admission),
        Format::Kong => kong::parse(line, emitter_ip, origin, admission),
        Format::Calico => Err(calico::refuse(line)),
    }?;
    let is_plausible = admit::is_plausible(row.event_ns, origin.received_ns);
    if is_plausible { Ok(row) } else { Err(LineError::Time) }
}

/// Why a line can't be a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("parse a line that is not UTF-8")]
    Encoding,
    #[error("parse a line longer than {LINE_BYTES_MAX} bytes")]
    Long,
    #[error("parse a line that ends too early")]
    Cut,
    #[error("parse a line without a syslog header")]
    Header,
    #[error("parse a line whose quotes don't enclose three fields")]
    Quotes,
    #[error("parse a line without an address first")]
    Address,
    #[error("parse a line without a time in brackets")]
    Time,
    #[error("parse a line with something else where a number is due")]
    Number,
    #[error("parse a line that is no JSON object with the fields of its format")]
    Json,
    #[error("take a row of many flows for a request")]
    Aggregated,
}

impl LineError {
    /// The stable reason in `raw_quarantine`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Encoding => "line_not_utf8",
            Self::Long => "line_too_long",
            Self::Cut => "line_cut",
            Self::Header => "syslog_header",
            Self::Quotes => "quotes_unbalanced",
            Self::Address => "address_invalid",
            Self::Time => "time_invalid",
            Self::Number => "number_invalid",
            Self::Json => "json_invalid",
            Self::Aggregated => "flow_aggregated",
        }
    }
}

/// A moment in ISO 8601 or RFC 3339, such as `2016-04-15T20:17:00.310Z`, in nanoseconds.
fn iso_moment(text: &str) -> Result<i64, LineError> {
    let moment: jiff::Timestamp = text.parse().map_err(|_| LineError::Time)?;
    i64::try_from(moment.as_nanosecond()).map_err(|_| LineError::Time)
}

/// `ip:port` with brackets around IPv6, perhaps behind `tcp://`; `None` for `-` and names.
fn socket_address(text: &str) -> Option<std::net::SocketAddr> {
    text.strip_prefix("tcp://").unwrap_or(text).parse().ok()
}
