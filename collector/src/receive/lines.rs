//! Log lines, however they came: each becomes an access log row or a quarantine row of a batch.

use tables::Origin;

use super::{Intake, Refused};
use crate::admit;
use crate::batch::Rows;
use crate::format::{LINE_BYTES_MAX, LineError, nginx};

/// Lines of one batch. The item number of a row is that of its line.
pub(crate) struct Lines<'a> {
    pub(crate) intake: &'a Intake,
    pub(crate) receiver: &'static str,
    pub(crate) emitter_ip: Option<&'a str>,
    pub(crate) origin: Origin,
    pub(crate) rows: Rows,
}

impl Lines<'_> {
    /// Takes one line in the default format of ingress-nginx.
    pub(crate) fn take(&mut self, line: &[u8]) {
        self.take_inside(line, |line| std::str::from_utf8(line).map_err(|_| LineError::Encoding));
    }

    /// Takes one line whose envelope this function removes.
    pub(crate) fn take_inside(
        &mut self,
        line: &[u8],
        open: impl Fn(&[u8]) -> Result<&str, LineError>,
    ) {
        match self.parse(line, open) {
            Ok(row) => self.rows.access_logs.push(row),
            Err(error) => self.refuse(line, error),
        }
        self.origin.item = self.origin.item.saturating_add(1);
    }

    fn parse(
        &self,
        line: &[u8],
        open: impl Fn(&[u8]) -> Result<&str, LineError>,
    ) -> Result<tables::AccessLog, LineError> {
        if line.len() > LINE_BYTES_MAX {
            return Err(LineError::Long);
        }
        let message = open(line)?;
        let row = nginx::parse(message, self.emitter_ip, &self.origin, &self.intake.admission)?;
        let is_plausible = admit::is_plausible(row.event_ns, self.origin.received_ns);
        if is_plausible { Ok(row) } else { Err(LineError::Time) }
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
