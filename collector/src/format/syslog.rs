//! The envelope of a syslog line as nginx sends it (RFC 3164), and how lines follow each other on
//! a stream (RFC 6587: octet-counted, or ended by a newline).

use super::{LINE_BYTES_MAX, LineError};

/// The message behind `<PRI>Mmm dd hh:mm:ss [host] tag: `. Time and host of the envelope are not
/// used: the message has a better time, and the socket says who sent it.
pub fn message(line: &[u8]) -> Result<&str, LineError> {
    let line = std::str::from_utf8(line).map_err(|_| LineError::Encoding)?;
    let rest = after_priority(line).ok_or(LineError::Header)?;
    let rest = after_timestamp(rest).ok_or(LineError::Header)?;
    // nginx writes `host tag: `, or `tag: ` alone with `nohostname`.
    let (first, after_first) = rest.split_once(' ').ok_or(LineError::Cut)?;
    if first.ends_with(':') {
        return Ok(after_first);
    }
    let (tag, message) = after_first.split_once(' ').ok_or(LineError::Cut)?;
    if tag.ends_with(':') { Ok(message) } else { Err(LineError::Header) }
}

fn after_priority(line: &str) -> Option<&str> {
    let (priority, rest) = line.strip_prefix('<')?.split_once('>')?;
    let value: u8 = priority.parse().ok()?;
    (value <= 191).then_some(rest)
}

/// `Nov  5 08:15:30 `: fifteen characters and a space.
fn after_timestamp(rest: &str) -> Option<&str> {
    let timestamp = rest.get(..16)?.as_bytes();
    let shape_fits = timestamp[3] == b' '
        && timestamp[6] == b' '
        && timestamp[9] == b':'
        && timestamp[12] == b':'
        && timestamp[15] == b' ';
    shape_fits.then_some(&rest[16..])
}

/// What the bytes of a stream hold first.
#[derive(Debug, PartialEq, Eq)]
pub enum Framed<'a> {
    /// A line, and the number of bytes it took with its framing.
    Line(&'a [u8], usize),
    /// More bytes are needed.
    Incomplete,
    /// Longer than any line may be; so many bytes are to be passed over.
    TooLong(usize),
}

/// Takes the first line off a stream. A digit announces an octet count, `<` a newline at the end.
pub fn first_line(bytes: &[u8]) -> Framed<'_> {
    if bytes.first().is_some_and(u8::is_ascii_digit)
        && let Some(framed) = octet_counted(bytes)
    {
        return framed;
    }
    match bytes.iter().position(|&byte| byte == b'\n') {
        Some(end) if end > LINE_BYTES_MAX => Framed::TooLong(end + 1),
        Some(end) => Framed::Line(bytes[..end].trim_ascii_end(), end + 1),
        None if bytes.len() > LINE_BYTES_MAX => Framed::TooLong(bytes.len()),
        None => Framed::Incomplete,
    }
}

/// `None` when the digits are no octet count, so that they begin a line of their own.
fn octet_counted(bytes: &[u8]) -> Option<Framed<'_>> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 6 {
        return None;
    }
    match bytes.get(digits) {
        None => return Some(Framed::Incomplete),
        Some(b' ') => {}
        Some(_) => return None,
    }
    let length: usize = std::str::from_utf8(&bytes[..digits]).ok()?.parse().ok()?;
    let start = digits + 1;
    if length > LINE_BYTES_MAX {
        return Some(Framed::TooLong((start + length).min(bytes.len())));
    }
    let line = bytes.get(start..start + length);
    Some(
        line.map_or(Framed::Incomplete, |line| Framed::Line(line.trim_ascii_end(), start + length)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_nginx_lose_their_envelope() {
        for (line, expected) in [
            ("<190>Nov 21 12:00:00 ingress-0 nginx: 10.0.0.1 - x", Ok("10.0.0.1 - x")),
            ("<190>Nov  1 12:00:00 nginx: 10.0.0.1", Ok("10.0.0.1")),
            ("10.0.0.1 - - no envelope", Err(LineError::Header)),
            ("<999>Nov 21 12:00:00 h nginx: x", Err(LineError::Header)),
            ("<190>Nov 21 12:00", Err(LineError::Header)),
            ("<190>Nov 21 12:00:00 ingress-0", Err(LineError::Cut)),
            ("<190>1 2026-11-21T12:00:00Z h nginx - - - x", Err(LineError::Header)),
        ] {
            assert_eq!(message(line.as_bytes()), expected, "{line}");
        }
        assert_eq!(message(b"<190>\xff"), Err(LineError::Encoding));
    }

    #[test]
    fn a_stream_is_cut_into_lines_by_either_framing() {
        for (bytes, expected) in [
            (&b"<1>a\n<2>b\n"[..], Framed::Line(b"<1>a", 5)),
            (b"<1>a\r\n", Framed::Line(b"<1>a", 6)),
            (b"5 <1>ab<2>", Framed::Line(b"<1>ab", 7)),
            (b"5 <1>", Framed::Incomplete),
            (b"5", Framed::Incomplete),
            (b"<1>a", Framed::Incomplete),
            (b"10.0.0.1 x\n", Framed::Line(b"10.0.0.1 x", 11)),
            (b"99999 <1>", Framed::TooLong(9)),
        ] {
            assert_eq!(first_line(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        assert_eq!(first_line(&long), Framed::TooLong(LINE_BYTES_MAX + 1));
    }
}
