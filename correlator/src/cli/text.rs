//! Text for a terminal: control characters made visible, times, lines of a given width.

use jiff::Timestamp;

/// Characters that steer a terminal or reorder what is read are written as `\u{..}`.
pub(super) fn safe(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// JSON text in which such characters are escaped too; they can only be inside its strings.
pub(super) fn json_safe(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if steers(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

fn steers(c: char) -> bool {
    let is_format = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    );
    c.is_control() || is_format
}

/// `2026-11-21 12:34:56.789012`, UTC.
pub(super) fn moment_micros(ns: i64) -> String {
    moment(ns, "%Y-%m-%d %H:%M:%S%.6f")
}

/// `2026-11-21 12:34:56`, UTC.
pub(super) fn moment_seconds(ns: i64) -> String {
    moment(ns, "%Y-%m-%d %H:%M:%S")
}

fn moment(ns: i64, format: &str) -> String {
    match Timestamp::from_nanosecond(ns.into()) {
        Ok(at) => at.strftime(format).to_string(),
        // Every i64 of nanoseconds is within the library's years, so this never shows.
        Err(_) => format!("{ns} ns"),
    }
}

/// A span of time in three digits: `850 µs`, `12.3 ms`, `1.24 s`, `2m 05s`. Less than none is none:
/// a clock's skew must not show as a negative time.
pub(super) fn span(ns: i64) -> String {
    let ns = ns.max(0);
    let micros = ns as f64 / 1e3;
    match ns {
        0..1_000_000 => format!("{micros:.0} µs"),
        1_000_000..1_000_000_000 => format!("{} ms", three_digits(micros / 1e3)),
        1_000_000_000..60_000_000_000 => format!("{} s", three_digits(micros / 1e6)),
        60_000_000_000..3_600_000_000_000 => {
            let seconds = ns / 1_000_000_000;
            format!("{}m {:02}s", seconds / 60, seconds % 60)
        }
        _ => {
            let minutes = ns / 60_000_000_000;
            format!("{}h {:02}m", minutes / 60, minutes % 60)
        }
    }
}

fn three_digits(value: f64) -> String {
    let digits = match value {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

/// A confidence in at most five digits, rounded down: only what is certain reads `1`.
pub(super) fn sureness(confidence: f64) -> String {
    let floored = (confidence * 1e5).floor() / 1e5;
    format!("{floored:.5}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// How many characters a text takes; stored names are ASCII, and our own signs are one wide.
pub(super) fn width(text: &str) -> usize {
    text.chars().count()
}

/// Words in lines of at most `width` characters; a longer word is cut.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        let gap = usize::from(used > 0);
        if used + gap + word.len() > width && used > 0 {
            lines.push(String::new());
            used = 0;
        }
        while word.len() > width {
            let rest = word.split_off(width);
            push(&mut lines, &word);
            lines.push(String::new());
            word = rest;
        }
        if used > 0 {
            push(&mut lines, &[' ']);
            used += 1;
        }
        push(&mut lines, &word);
        used += word.len();
    }
    lines
}

fn push(lines: &mut [String], chars: &[char]) {
    if let Some(line) = lines.last_mut() {
        line.extend(chars);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_direction_characters_are_shown_not_obeyed() {
        assert_eq!(safe("a\u{1b}[31mb\r\n"), "a\\u{1b}[31mb\\u{d}\\u{a}");
        assert_eq!(safe("x\u{202e}y\u{9b}"), "x\\u{202e}y\\u{9b}");
        assert_eq!(safe("cart-0 é →"), "cart-0 é →");
    }

    #[test]
    fn json_stays_json_and_says_the_same() {
        let json = serde_json::to_string("a\u{9b}\u{202e}\u{e0001}\u{7f}\u{1b}é").unwrap();
        let shown = json_safe(&json);
        assert!(shown.chars().all(|c| c.is_ascii_graphic() || c == 'é'), "{shown}");
        let back: String = serde_json::from_str(&shown).unwrap();
        assert_eq!(back, "a\u{9b}\u{202e}\u{e0001}\u{7f}\u{1b}é");
    }

    #[test]
    fn moments_are_printed_in_utc() {
        let ns = 1_795_262_400_001_234_567;
        assert_eq!(moment_micros(ns), "2026-11-21 12:00:00.001234");
        assert_eq!(moment_seconds(ns), "2026-11-21 12:00:00");
    }

    #[test]
    fn spans_have_three_digits_and_are_never_negative() {
        for (ns, shown) in [
            (-5, "0 µs"),
            (850_400, "850 µs"),
            (1_000_000, "1.00 ms"),
            (12_345_678, "12.3 ms"),
            (999_999_999, "1000 ms"),
            (1_240_000_000, "1.24 s"),
            (59_999_000_000, "60.0 s"),
            (125_000_000_000, "2m 05s"),
            (7_380_000_000_000, "2h 03m"),
        ] {
            assert_eq!(span(ns), shown, "{ns}");
        }
    }

    #[test]
    fn only_certainty_reads_one() {
        for (confidence, shown) in
            [(1.0, "1"), (0.999_999_9, "0.99999"), (0.999, "0.999"), (0.5, "0.5"), (0.0, "0")]
        {
            assert_eq!(sureness(confidence), shown);
        }
    }

    #[test]
    fn lines_break_at_words_and_cut_what_is_too_long() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
