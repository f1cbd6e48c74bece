//! What is known of a path's line. What became of the request is another question: a request may
//! fail while its path is complete.

use crate::confidence;
use crate::reason::Reason;

/// What was found out about one path while its rows were written.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Segments that are expected and have no evidence.
    pub(crate) missing: Vec<(String, Reason)>,
    /// Segments with more than one candidate.
    pub(crate) undecided: usize,
    /// Contradictions between what was observed.
    pub(crate) conflicts: usize,
    /// Confidence of each link.
    pub(crate) confidences: Vec<f64>,
}

impl Findings {
    pub(crate) fn miss(&mut self, segment: String, reason: Reason) {
        self.missing.push((segment, reason));
    }

    /// The least sure link; 1 where nothing had to be linked.
    pub(crate) fn conf_min(&self) -> f64 {
        self.confidences.iter().copied().fold(1.0, f64::min)
    }

    /// All links together, in the order of the path.
    pub(crate) fn conf_joint(&self) -> f64 {
        self.confidences.iter().product()
    }

    pub(crate) fn verdict(&self) -> &'static str {
        if self.undecided > 0 || self.conflicts > 0 {
            "ambiguous"
        } else if !self.missing.is_empty() {
            "partial"
        } else if self.conf_min() < confidence::COMPLETE_MIN {
            "ambiguous"
        } else {
            "complete"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubt_outranks_absence_and_absence_outranks_completeness() {
        let mut findings = Findings { confidences: vec![0.999, 0.98], ..Findings::default() };
        assert_eq!(findings.verdict(), "complete");
        findings.miss("client".into(), Reason::MissingNoCoverage);
        assert_eq!(findings.verdict(), "partial");
        findings.undecided = 1;
        assert_eq!(findings.verdict(), "ambiguous");
    }
}
