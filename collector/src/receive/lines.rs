//! Log lines, however they came: each becomes an access log row or a quarantine row of a batch.

use tables::Origin;

use super::{Intake, Refused};
use crate::batch::Rows;
use crate::format::{self, Format, LINE_BYTES_MAX, LineError};

/// Lines of one batch. The item number of a row is that of its line.
pub(crate) struct Lines<'a> {
    pub(crate) intake: &'a Intake,
    pub(crate) receiver: &'static str,
    pub(crate) format: Format,
    pub(crate) emitter_ip: Option<&'a str>,
    pub(crate) origin: Origin,
    pub(crate) rows: Rows,
}

impl Lines<'_> {
    /// Takes one line.
    pub(crate) fn take(&mut self, line: &[u8]) {
        fn bare(line: &[u8]) -> Result<&[u8], LineError> {
            Ok(line)
        }
        self.take_inside(line, bare);
    }

    /// Takes one line whose envelope this function removes.
    pub(crate) fn take_inside(
        &mut self,
        line: &[u8],
        open: impl Fn(&[u8]) -> Result<&[u8], LineError>,
    ) {
        let read = |message: &[u8]| {
            let admission = &self.intake.admission;
            format::read(self.format, message, self.emitter_ip, &self.origin, admission)
        };
        let is_long = line.len() > LINE_BYTES_MAX;
        let row = if is_long { Err(LineError::Long) } else { open(line).and_then(read) };
        match row {
            Ok(row) => self.rows.access_logs.push(row),
            Err(error) => self.refuse(line, error),
        }
        self.origin.item = self.origin.item.saturating_add(1);
    }

    fn refuse(&mut self, line: &[u8], error: LineError) {
        let refused = Refused {
            receiver: self.receiver,
            reason: error.reason(),
            length: line.len(),
            input: line,
        };
        self.rows.quarantine.push(self.intake.quarantine_row(&self.origin, &refused));
    }
}
