//! What a user may ask for: one struct a table, and the small values inside them.

use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::id::Id;

/// Half-open interval of event time, nanoseconds since the Unix epoch; open where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    pub since_ns: Option<i64>,
    pub until_ns: Option<i64>,
}

/// Which paths. Everything that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct PathFilter {
    pub id: Option<Id>,
    /// When the request started.
    pub started: Interval,
    pub service: Option<ServiceName>,
    pub pod: Option<String>,
    pub status: Option<StatusFilter>,
    pub verdict: Option<Verdict>,
    /// Most rows to return, newest first.
    pub limit: usize,
}

/// Which undecided segments. Everything that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct AmbiguousFilter {
    pub started: Interval,
    /// Reason code, such as `AMBIG_TIME_ONLY`.
    pub reason: Option<String>,
    /// Most rows to return, newest first.
    pub limit: usize,
}

/// A Service that the request passed through: `cart`, or `shop/cart` with its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName {
    pub namespace: Option<String>,
    pub name: String,
}

impl FromStr for ServiceName {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('/') {
            Some((namespace, name)) => {
                Self { namespace: Some(namespace.to_owned()), name: name.to_owned() }
            }
            None => Self { namespace: None, name: text.to_owned() },
        })
    }
}

/// A status code (`502`) or a class of them (`5xx`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusFilter(RangeInclusive<i32>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a status is a code from 100 to 599 such as 502, or a class from 1xx to 5xx")]
pub struct StatusError;

impl StatusFilter {
    pub fn codes(&self) -> RangeInclusive<i32> {
        self.0.clone()
    }
}

impl FromStr for StatusFilter {
    type Err = StatusError;

    fn from_str(text: &str) -> Result<Self, StatusError> {
        let codes = match text.to_ascii_lowercase().strip_suffix("xx") {
            Some(class) => {
                let hundreds = class.parse::<i32>().map_err(|_| StatusError)?;
                hundreds.checked_mul(100).map(|first| first..=first.saturating_add(99))
            }
            None => text.parse::<i32>().ok().map(|code| code..=code),
        };
        match codes {
            Some(codes) if (100..=599).contains(codes.start()) => Ok(Self(codes)),
            _ => Err(StatusError),
        }
    }
}

/// What is known of a line, as `path.verdict` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Complete,
    Partial,
    Ambiguous,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a verdict is complete, partial, ambiguous or failed")]
pub struct VerdictError;

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Ambiguous => "ambiguous",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for Verdict {
    type Err = VerdictError;

    fn from_str(text: &str) -> Result<Self, VerdictError> {
        [Self::Complete, Self::Partial, Self::Ambiguous, Self::Failed]
            .into_iter()
            .find(|verdict| verdict.as_str() == text)
            .ok_or(VerdictError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_code_or_a_class() {
        for (text, codes) in [
            ("502", Some(502..=502)),
            ("5xx", Some(500..=599)),
            ("4XX", Some(400..=499)),
            ("100", Some(100..=100)),
            ("0xx", None),
            ("6xx", None),
            ("600", None),
            ("-5xx", None),
            ("99999999999", None),
            ("21474836xx", None),
            ("xx", None),
            ("", None),
        ] {
            let parsed = text.parse::<StatusFilter>().ok().map(|status| status.codes());
            assert_eq!(parsed, codes, "{text}");
        }
    }

    #[test]
    fn a_verdict_is_one_of_four_words() {
        assert_eq!("partial".parse(), Ok(Verdict::Partial));
        assert_eq!("Complete".parse::<Verdict>(), Err(VerdictError));
    }
}
