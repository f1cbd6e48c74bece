//! Paths become route templates: what could name a person or a thing becomes `{}`.

/// Segments kept; what lies deeper names things rather than handlers.
const SEGMENTS_MAX: usize = 8;
/// Longer words are ids, tokens or titles.
const SEGMENT_CHARS_MAX: usize = 24;
/// A marker for segments beyond the bound.
const REST: &str = "**";
const PLACEHOLDER: &str = "{}";

/// Turns a path, a URL or a framework's own template into a template of ours.
///
/// Query and fragment never pass. Applying it to its own result changes nothing.
pub fn template(target: &str) -> String {
    let path = path_of(target);
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.is_empty() {
        return "/".to_owned();
    }
    let mut template = String::new();
    for segment in segments.iter().take(SEGMENTS_MAX) {
        template.push('/');
        template.push_str(if is_word(segment) { segment } else { PLACEHOLDER });
    }
    if segments.len() > SEGMENTS_MAX {
        template.push('/');
        template.push_str(REST);
    }
    template
}

/// The path of an absolute URL or of an origin-form target, without query and fragment.
fn path_of(target: &str) -> &str {
    let without_query = target.split(['?', '#', ';']).next().unwrap_or_default();
    match without_query.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |slash| &rest[slash..]),
        None => without_query,
    }
}

/// Only what looks like a word that a programmer wrote stays.
fn is_word(segment: &str) -> bool {
    let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if segment == REST {
        return true;
    }
    segment.len() <= SEGMENT_CHARS_MAX
        && segment.bytes().all(in_alphabet)
        && !is_numeric(segment)
        && !is_hex(segment)
        && !looks_encoded(segment)
}

/// Numbers, dates and addresses: digits with separators. `v1` and `2fa` are words.
fn is_numeric(segment: &str) -> bool {
    segment.bytes().any(|byte| byte.is_ascii_digit())
        && segment.bytes().all(|byte| !byte.is_ascii_alphabetic())
}

/// Eight or more hexadecimal digits, dashes aside: hashes and UUIDs. An ordinary word of these
/// letters, such as `facade`, is shorter or has no digit and passes as any other.
fn is_hex(segment: &str) -> bool {
    let digits = segment.bytes().filter(|&byte| byte != b'-').count();
    digits >= 8 && segment.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Base64 and its like: at least 12 characters that mix digits with letters, or upper case in the
/// middle of lower case without being a compound of words.
fn looks_encoded(segment: &str) -> bool {
    if segment.len() < 12 {
        return false;
    }
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let upper = segment.bytes().filter(u8::is_ascii_uppercase).count();
    let lower = segment.bytes().filter(u8::is_ascii_lowercase).count();
    digits >= 2 || (upper >= 4 && lower >= 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_become_templates() {
        for (target, expected) in [
            ("/", "/"),
            ("", "/"),
            ("*", "/{}"),
            ("/cart/checkout", "/cart/checkout"),
            ("/cart/42", "/cart/{}"),
            ("/cart/42?token=canary#x", "/cart/{}"),
            ("/cart;jsessionid=canary/x", "/cart"),
            ("/v1/users/550e8400-e29b-41d4-a716-446655440000/orders", "/v1/users/{}/orders"),
            ("/blob/deadbeef", "/blob/{}"),
            ("/facade/2fa", "/facade/2fa"),
            ("/u/alice@example.com", "/u/{}"),
            ("/u/a%20b", "/u/{}"),
            ("/t/QWxhZGRpbjpvcGVuIHNlc2FtZQ", "/t/{}"),
            ("/t/eyJhbGciOiJIUzI1NiJ9", "/t/{}"),
            ("/a-very-long-title-of-some-page", "/{}"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/**"),
            ("http://user:pass@host:80/price/7?q=1", "/price/{}"),
            ("https://some.domain", "/"),
            ("/users/{id}/<int:order>/:item", "/users/{}/{}/{}"),
            ("/caf\u{e9}", "/{}"),
        ] {
            assert_eq!(template(target), expected, "{target}");
        }
    }

    proptest! {
        #[test]
        fn templates_are_short_words_only_and_stay_as_they_are(target in ".{0,200}") {
            let result = template(&target);
            prop_assert_eq!(&template(&result), &result);
            prop_assert!(result.split('/').count() <= SEGMENTS_MAX + 2);
            for segment in result.split('/').filter(|segment| !segment.is_empty()) {
                prop_assert!(segment == PLACEHOLDER || is_word(segment), "{}", segment);
            }
            let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"/{}-_.*".contains(&byte);
            prop_assert!(result.bytes().all(in_alphabet), "{}", result);
        }

        #[test]
        fn ids_never_pass(id in "[0-9]{1,20}|[0-9a-f]{8,64}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{12}|[a-z]{25,40}|[a-z]{1,8}@[a-z]{1,8}") {
            prop_assert_eq!(template(&format!("/things/{id}/x")), "/things/{}/x");
        }
    }
}
