//! `edge_minute`: what one workload asked of another in one minute.

use serde::{Deserialize, Serialize};

use crate::row::{Layer, Micros, Row};

/// The requests of one edge of one minute that ended in one window.
///
/// A window shorter than a minute gives a part of the minute: readers add the rows up, which every
/// column here allows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EdgeMinute {
    pub hour: String,
    pub win: i64,
    pub stage: String,
    pub revision: i32,
    pub finality: String,
    /// Start of the minute.
    pub start_time: Micros,
    /// The same, seconds since the Unix epoch.
    pub minute: i64,
    /// Null for a client outside the cluster.
    pub source_namespace: Option<String>,
    pub source_workload: Option<String>,
    pub service_namespace: Option<String>,
    /// Null when the pod was called by its own address.
    pub service: Option<String>,
    /// Null when nobody was reached, or nobody known.
    pub destination_namespace: Option<String>,
    pub destination_workload: Option<String>,
    pub requests: i64,
    /// Answered with 4xx and with 5xx.
    pub errors_4xx: i64,
    pub errors_5xx: i64,
    /// Ended by a reset, refused at connection, ended without any response.
    pub errors_reset: i64,
    pub errors_refused: i64,
    pub errors_no_response: i64,
    /// Duration at the client, or at the server where only that was seen; buckets that hold
    /// something, by `upper_ns`.
    pub latency: Vec<LatencyBucket>,
    pub latency_sum_ns: i64,
    pub bytes_request: i64,
    pub bytes_response: i64,
    pub retransmits: i64,
}

/// Requests that took at most `upper_ns` and longer than the next lower bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyBucket {
    pub upper_ns: i64,
    pub count: i64,
}

/// Upper bound of the bucket of a duration: four linear steps an octave, as in HdrHistogram, so a
/// bucket is at most a quarter wider than its lower bound. One microsecond and less share the first.
pub fn latency_upper_ns(duration_ns: i64) -> i64 {
    const FIRST_NS: i64 = 1 << 10;
    if duration_ns <= FIRST_NS {
        return FIRST_NS;
    }
    let octave = 63 - (duration_ns - 1).leading_zeros();
    let step = 1i64 << (octave - 2);
    duration_ns.checked_add(step - 1).map_or(i64::MAX, |up| up / step * step)
}

impl Row for EdgeMinute {
    const TABLE: &'static str = "edge_minute";
    const LAYER: Layer = Layer::Derived;
    const STATISTICS: &'static [&'static str] =
        &["win", "start_time", "source_workload", "destination_workload"];
    const BLOOM: &'static [&'static str] = &[];
    fn hour(&self) -> &str {
        &self.hour
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_holds_its_duration_and_is_at_most_a_quarter_wider() {
        for d in (0..62).flat_map(|e| [(1i64 << e) - 1, 1 << e, (1 << e) + 1, (3 << e) / 2]) {
            let upper = latency_upper_ns(d);
            assert!(d <= upper, "{d} {upper}");
            assert!(d <= 1 << 10 || upper - d < d / 4 + 1, "{d} {upper}");
            assert_eq!(latency_upper_ns(upper), upper, "the bound is in its own bucket");
        }
        assert_eq!(latency_upper_ns(-5), 1 << 10);
        assert_eq!(latency_upper_ns(1025), 1280);
        assert!(latency_upper_ns(i64::MAX) == i64::MAX);
    }
}
