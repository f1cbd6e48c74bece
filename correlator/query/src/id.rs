//! The three names a user may have for a request, and how each is written in the tables.
//!
//! A text of 32 hex digits can be a path id, a trace id and a request id at once, so an [`Id`]
//! keeps every reading that is possible; the reader asks for all of them.

use std::str::FromStr;

/// Longest text taken for an id. The longest id known to be stored is a request id, which the
/// collector keeps to 128 characters.
const LENGTH_MAX: usize = 128;

/// Digit that holds a UUID's version, which proxies overwrite to mark sampled requests.
const SAMPLING_DIGIT: usize = 12;

/// What a user typed to name a request, in every reading it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// Lower-case path or trace id, when the text is 32 hex digits.
    pub hex: Option<String>,
    /// Canonical request id. A UUID has two: with and without the sampling digit set back,
    /// because only a sender that wrote the dashes is known to have meant a UUID.
    pub request_ids: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("an id cannot be empty")]
    Empty,
    #[error("an id has at most {LENGTH_MAX} characters, this has {0}")]
    TooLong(usize),
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bare: String =
            text.trim().chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
        if bare.is_empty() {
            return Err(IdError::Empty);
        }
        let length = bare.chars().count();
        if length > LENGTH_MAX {
            return Err(IdError::TooLong(length));
        }
        let is_hex = bare.len() == 32 && bare.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_hex {
            return Ok(Self { hex: None, request_ids: vec![bare] });
        }
        let mut request_ids = vec![bare.clone()];
        let unsampled = with_sampling_digit_set_back(&bare);
        if unsampled != bare {
            request_ids.push(unsampled);
        }
        Ok(Self { hex: Some(bare), request_ids })
    }
}

fn with_sampling_digit_set_back(hex: &str) -> String {
    format!("{}4{}", &hex[..SAMPLING_DIGIT], &hex[SAMPLING_DIGIT + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, hex: Option<&str>, request_ids: &[&str]) {
        let id: Id = text.parse().unwrap();
        assert_eq!(id.hex.as_deref(), hex, "{text}");
        assert_eq!(id.request_ids, request_ids, "{text}");
    }

    #[test]
    fn every_spelling_of_a_uuid_finds_the_same_request() {
        let canonical = "8f14e45fceea467f9b8a1d2c3e4f5a6b";
        check("8F14E45F-CEEA-467F-9B8A-1D2C3E4F5A6B", Some(canonical), &[canonical]);
        check(" 8f14e45fceea467f9b8a1d2c3e4f5a6b\n", Some(canonical), &[canonical]);
    }

    #[test]
    fn a_sampled_uuid_is_also_read_without_its_mark() {
        let typed = "8f14e45fceea967f9b8a1d2c3e4f5a6b";
        check(typed, Some(typed), &[typed, "8f14e45fceea467f9b8a1d2c3e4f5a6b"]);
    }

    #[test]
    fn a_free_request_id_is_no_path_id() {
        check("Order-7731", None, &["order7731"]);
    }

    #[test]
    fn text_that_cannot_be_an_id_is_refused() {
        assert_eq!(" - ".parse::<Id>(), Err(IdError::Empty));
        assert_eq!("a".repeat(129).parse::<Id>(), Err(IdError::TooLong(129)));
    }
}
