//! The canonical form of a request id: one rule for those who store ids and those who look them up.

/// Lower case, without dashes, and with the sampling nibble of a UUID masked; `None` for an absent
/// value.
///
/// Envoy overwrites the first digit of a UUID's third group with its trace decision, so the same
/// request carries ids that differ in that digit. Only text in the shape of a UUID is masked:
/// nginx's own ids are 32 digits without dashes, which Envoy leaves alone.
pub fn canonical(value: &str) -> Option<String> {
    let value = value.trim();
    if value.is_empty() || value == "-" {
        return None;
    }
    let mut canonical = value.replace('-', "").to_lowercase();
    if is_uuid(value) {
        canonical.replace_range(12..13, "4");
    }
    (!canonical.is_empty()).then_some(canonical)
}

fn is_uuid(value: &str) -> bool {
    let groups: Vec<&str> = value.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12]
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn ids_of_one_request_have_one_form() {
        for (value, expected) in [
            ("84961386-6d84-929d-98bd-c5aee93b5c88", Some("849613866d84429d98bdc5aee93b5c88")),
            ("84961386-6D84-429D-98BD-C5AEE93B5C88", Some("849613866d84429d98bdc5aee93b5c88")),
            ("c2c58cd42cb68822aae7d640ddf6583a", Some("c2c58cd42cb68822aae7d640ddf6583a")),
            (" Abc-1 ", Some("abc1")),
            ("-", None),
            ("---", None),
            ("", None),
        ] {
            assert_eq!(canonical(value).as_deref(), expected, "{value}");
        }
    }
}
