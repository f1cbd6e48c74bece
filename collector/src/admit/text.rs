//! Shapes that text must have to pass: words of fixed sets, ids, names.

/// Methods of HTTP's registry that are in use; any other word becomes `_OTHER`, the word of the
/// semantic conventions for it.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Kubernetes names are at most 253 bytes; service names of SDKs stay well below it.
const NAME_MAX: usize = 253;

pub fn method(word: &str) -> String {
    let known = METHODS.iter().find(|method| method.eq_ignore_ascii_case(word));
    known.unwrap_or(&"_OTHER").to_string()
}

/// Names of pods, namespaces, nodes and upstream groups: the alphabet of DNS names and `_`.
pub fn is_name(value: &str) -> bool {
    let in_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=NAME_MAX).contains(&value.len()) && value.bytes().all(in_alphabet)
}

/// Names that people give to services: some SDKs put a `/` between namespace and name.
pub(super) fn is_service_name(value: &str) -> bool {
    value.split('/').all(is_name)
}

/// A word the kernel or the agent's own source uses, such as a drop reason.
pub(super) fn is_word(value: &str) -> bool {
    (1..=64).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// A sentence of the agent's own, such as why a program is off. Agents are ours, but a sentence
/// may quote an error, so its length and alphabet are bounded.
pub(super) fn sentence(value: &str) -> String {
    value.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(256).collect()
}

/// Identity of a sender's life.
pub fn is_life_id(value: &str) -> bool {
    (1..=128).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// Ids that generators make: 64 to 256 bits in hexadecimal.
pub(super) fn is_hex_id(value: &str) -> bool {
    (16..=64).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_methods_become_one_word() {
        for (word, expected) in [("GET", "GET"), ("post", "POST"), ("secret-value", "_OTHER")] {
            assert_eq!(method(word), expected);
        }
    }

    #[test]
    fn names_hold_no_free_text() {
        for (value, expected) in [
            ("cart-0", true),
            ("shop/frontend", false),
            ("../etc", false),
            ("", false),
            ("two words", false),
            ("alice@example.com", false),
            ("a\nb", false),
        ] {
            assert_eq!(is_name(value), expected, "{value}");
        }
        assert!(is_service_name("shop/frontend") && !is_service_name("shop/front end"));
    }
}
