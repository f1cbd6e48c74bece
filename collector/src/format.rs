//! Log formats: one a file, bytes in, a row or a named reason out. Pure.

pub mod nginx;
pub mod syslog;

/// Longest line read. nginx's own lines are below 8 KiB even with long headers logged, and its
/// syslog messages below 4 KiB.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

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
        }
    }
}
