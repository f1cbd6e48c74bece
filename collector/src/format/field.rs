//! Fields of a text line that spaces separate, some of them in quotes or brackets.

use super::LineError;

/// The fields of a line. A quoted field ends at the next quote, which a space or the line's end
/// must follow: a quote that a client smuggled in makes the line one of too many fields, or none.
///
/// # Errors
/// When a quote or bracket is not closed, or closed inside a word.
pub(super) fn fields(line: &str) -> Result<Vec<&str>, LineError> {
    let mut fields = Vec::new();
    let mut rest = line.trim_end();
    while !rest.is_empty() {
        let (field, after) = match rest.as_bytes()[0] {
            b'"' => closed(&rest[1..], '"').ok_or(LineError::Quotes)?,
            b'[' => closed(&rest[1..], ']').ok_or(LineError::Time)?,
            _ => rest.split_once(' ').unwrap_or((rest, "")),
        };
        fields.push(field);
        rest = after;
    }
    Ok(fields)
}

/// What stands before a closing sign, and what comes behind the space that must follow it.
fn closed(text: &str, sign: char) -> Option<(&str, &str)> {
    let (field, after) = text.split_once(sign)?;
    if after.is_empty() { Some((field, after)) } else { Some((field, after.strip_prefix(' ')?)) }
}

/// `None` for `-`, which stands for an absent value.
pub(super) fn present(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty() && *text != "-")
}

/// A whole number, or `None` for an absent value and for the -1 that means one.
///
/// # Errors
/// When something else stands there.
pub(super) fn whole(text: &str) -> Result<Option<i64>, LineError> {
    let Some(text) = present(text) else { return Ok(None) };
    let value: i64 = text.parse().map_err(|_| LineError::Number)?;
    Ok(Some(value).filter(|value| *value >= 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_enclose_spaces_and_nothing_smuggled() {
        for (line, expected) in [
            (r#"[t] "GET / HTTP/1.1" 200 "-" x"#, Ok(vec!["t", "GET / HTTP/1.1", "200", "-", "x"])),
            (r#"a "b"#, Err(LineError::Quotes)),
            (r#"a "b"c d"#, Err(LineError::Quotes)),
            (r#"[t a"#, Err(LineError::Time)),
            ("", Ok(vec![])),
        ] {
            assert_eq!(fields(line), expected, "{line}");
        }
    }
}
