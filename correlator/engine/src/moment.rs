//! Moments and durations as people write them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Nanoseconds since the Unix epoch of `2026-11-21T12:00:00Z`, `2026-11-21T12:00` (UTC), `-15m` or
/// `now`. None when it is none of these.
pub fn parse(text: &str, now: Timestamp) -> Option<i64> {
    let timestamp = if text == "now" {
        now
    } else if let Some(ago) = text.strip_prefix('-') {
        return nanoseconds(now)?.checked_sub(duration_ns(ago)?);
    } else if let Ok(timestamp) = text.parse::<Timestamp>() {
        timestamp
    } else {
        text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp()
    };
    nanoseconds(timestamp)
}

/// A moment for people: RFC 3339, UTC, without a fraction where there is none.
pub fn show(ns: i64) -> String {
    Timestamp::from_nanosecond(i128::from(ns))
        .map_or_else(|_| format!("{ns} ns"), |t| t.to_string())
}

/// Nanoseconds of a duration such as `10s`, `15m`, `500ms`, `1h30m`.
pub fn duration_ns(text: &str) -> Option<i64> {
    let duration: SignedDuration = text.parse().ok()?;
    i64::try_from(duration.as_nanos()).ok()
}

fn nanoseconds(timestamp: Timestamp) -> Option<i64> {
    i64::try_from(timestamp.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_form_people_write() {
        let now: Timestamp = "2026-11-21T12:30:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-11-21T12:00:00Z", Some("2026-11-21T12:00:00Z")),
            ("2026-11-21T13:00:00+01:00", Some("2026-11-21T12:00:00Z")),
            ("2026-11-21T12:00", Some("2026-11-21T12:00:00Z")),
            ("2026-11-21", Some("2026-11-21T00:00:00Z")),
            ("-15m", Some("2026-11-21T12:15:00Z")),
            ("now", Some("2026-11-21T12:30:00Z")),
            ("yesterday", None),
            ("-soon", None),
            ("", None),
        ] {
            assert_eq!(parse(text, now).map(show).as_deref(), expected, "{text}");
        }
    }
}
