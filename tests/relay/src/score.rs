//! Compares choices with the truth, trace by trace and link by link.

use std::collections::BTreeMap;
use std::fmt;

use join::statistical::Assignment;
use serde_json::{Value, json};

use crate::task::Task;

/// What the product asks before it commits.
pub(crate) const P_MIN: f64 = 0.97;
pub(crate) const MARGIN_MIN: f64 = 0.5;

#[derive(Debug, Default)]
pub(crate) struct Score {
    /// By trace: is every mapping right; the same for services with one operation.
    whole: BTreeMap<u32, bool>,
    whole_single: BTreeMap<u32, bool>,
    calls: usize,
    right: usize,
    committed: usize,
    committed_right: usize,
    /// Sum of squared differences between posterior and outcome, of the likeliest candidates.
    brier: f64,
    /// By tenth of the posterior: candidates, sum of posteriors, how many were right.
    bins: [(f64, f64, f64); 10],
}

impl Score {
    pub(crate) fn add(&mut self, task: &Task, assignment: &Assignment) {
        for (call, choice) in assignment.choices.iter().enumerate().take(task.truth.len()) {
            let truth = task.truth[call];
            let sure = assignment.sure(call, P_MIN, MARGIN_MIN).map(|(request, _)| request);
            if let Some(request) = sure {
                self.committed += 1;
                self.committed_right += usize::from(Some(request) == truth);
            }
            if let Some((request, p)) = choice.candidates.first() {
                let outcome = f64::from(u8::from(Some(*request) == truth));
                self.brier += (p - outcome).powi(2);
                let bin = &mut self.bins[((p * 10.0) as usize).min(9)];
                *bin = (bin.0 + 1.0, bin.1 + p, bin.2 + outcome);
            }
            // A call without a cause in the data cannot be mapped right or wrong by force.
            if truth.is_none() {
                continue;
            }
            let is_right = choice.forced() == truth;
            self.calls += 1;
            self.right += usize::from(is_right);
            *self.whole.entry(task.trace[call]).or_insert(true) &= is_right;
            if task.operations == 1 {
                *self.whole_single.entry(task.trace[call]).or_insert(true) &= is_right;
            }
        }
    }

    pub(crate) fn line(&self, set: &str, traces: usize, cpu_ms: f64) -> Line {
        let share =
            |of: &BTreeMap<u32, bool>| ratio(of.values().filter(|right| **right).count(), of.len());
        let all: f64 = self.bins.iter().map(|b| b.0).sum();
        let ece: f64 = self.bins.iter().map(|b| (b.1 - b.2).abs()).sum::<f64>() / all.max(1.0);
        Line(vec![
            ("set", json!(set)),
            ("traces", json!(traces)),
            ("forced_accuracy", json!(share(&self.whole))),
            ("forced_accuracy_single_operation", json!(share(&self.whole_single))),
            ("committed_precision", json!(ratio(self.committed_right, self.committed))),
            ("coverage", json!(ratio(self.committed, self.calls).map(|c| c.min(1.0)))),
            ("cpu_ms_per_1000", json!(round(cpu_ms * 1000.0 / traces.max(1) as f64))),
            ("calls", json!(self.calls)),
            ("link_accuracy", json!(ratio(self.right, self.calls))),
            ("committed_wrong", json!(self.committed - self.committed_right)),
            ("ece", json!(round(ece))),
            ("brier", json!(round(self.brier / all.max(1.0)))),
        ])
    }
}

/// One line of the score; its keys keep their order.
#[derive(Debug)]
pub(crate) struct Line(Vec<(&'static str, Value)>);

impl Line {
    #[cfg(test)]
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        self.0.iter().find(|(k, _)| *k == key)?.1.as_f64()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<String> = self.0.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
        write!(f, "{{{}}}", fields.join(","))
    }
}

fn ratio(part: usize, of: usize) -> Option<f64> {
    (of > 0).then(|| (part as f64 / of as f64 * 1e5).round() / 1e5)
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
